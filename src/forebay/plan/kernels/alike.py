"""Which measured chip speaks for one that nobody measured?

Asked:  a table knows some chips; which of them is most like this one?
Answer: the chip itself where it has a table; else the one whose roofs are nearest, in the logarithms of bf16 peak and bandwidth.
        Where something else than roofs matters, as links do for collectives, the caller says how far a chip is (`away`).
Limits: one neighbour, not a mean of several: its kernels stay whole. What is measured below its roof is the neighbour's loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import log

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.plan.kernels.grid import members
from forebay.plan.kernels.known import Device, device

MEASURED, SHEET = "kernel tables", "data sheet"
MATH = {"fp8_block": "fp8", "fp8_static": "fp8", "w4a16_mxfp4": "bf16", "w4a8_mxfp4_mxfp8": "fp8", "int4": "bf16", "mxfp4": "fp8"}


def peak(dev: Device, number_format: str) -> float:
    """Dense peak of the format that the units multiply in; bf16's where the sheet knows no narrower one."""
    for one in (MATH.get(number_format, number_format), "fp4" if number_format == "nvfp4" else "bf16", "fp8", "bf16", "fp16"):
        if one in dev.flop_per_s:
            return dev.flop_per_s[one]
    raise BadInput("The chip's data sheet has no peak to plan with.", asked=dev.name, found=", ".join(sorted(dev.flop_per_s)))


def speaks(dev: Device, table: str, middle: str, away: Callable[[Device], float] | None = None) -> tuple[Device, str]:
    """The device whose members CHIP/MIDDLE... of the table stand for this one, and the tier of that knowledge.

    Of those that are equally far `away` the one with the nearest roofs.
    """
    known = _chips(table, middle) - dev.ignored
    if dev.tables in known:
        return dev, MEASURED
    near = [other for name in sorted(known) if (other := _device(name)) is not None]
    if not near:
        raise BadInput("No kernel table is left to carry over.", asked=f"{table} {middle} for {dev.name}")
    return min(near, key=lambda other: (away(other) if away else 0.0, _away(dev, other))), SHEET


def _away(one: Device, other: Device) -> float:
    return log(peak(one, "bf16") / peak(other, "bf16")) ** 2 + log(one.memory_bytes_per_s / other.memory_bytes_per_s) ** 2


@cache
def _chips(table: str, middle: str) -> frozenset[str]:
    return frozenset(m.split("/", 1)[0] for m in members(table) if m.split("/", 1)[1].startswith(middle))


@cache
def _device(name: str) -> Device | None:
    return device(name) if name in catalogue.load() else None
