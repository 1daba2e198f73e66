"""Seconds of matrix products and causal attention on any chip: from its own measured table, or carried over from others'.

Asked:  what does this product take on this chip, of which there may be no measurement?
Answer: the chip's own table, read between its points (`grid`). Without one: the utilisation that other chips reach, times this
        chip's own roofs. Utilisation is the roofline's time over the measured time, at a product whose sides are scaled so that
        it would keep the other chip as busy as this one keeps this chip; the nearer the other's roofs, the more it counts.
        NeuSight (ASPLOS 2025, section 4) shows that utilisation bounded by the roofline carries over where times don't.
Units:  seconds, flop a second, bytes a second.
Limits: forward kernels, alone on a cool chip ("burst"); what sustained power costs is for the calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import log
from typing import Any

import numpy as np

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.plan.kernels.grid import Floats, Grid, grid, members, risen
from forebay.plan.pool import Cards

NARROW: Mapping[str, float] = {
    "fp32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "nvfp4": 0.5,
    "mxfp4": 0.5,
    "fp4": 0.5,
}
SAME = {"a100-sxm-40gb": "a100-sxm-80gb", "a800": "a100-sxm-80gb", "h800": "h100-sxm", "gh200": "h100-sxm"}  # the same silicon
LIKE = {"fp16": "bf16", "fp32": "bf16", "mxfp4": "nvfp4", "fp4": "nvfp4"}  # formats that read another's table


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A chip as the planner prices it: its roofs, and which kernel tables speak of it.

    Made from the catalogue by `device`; by `device_of` for cards whose owner says more, or knows a chip that nobody else does.
    """

    name: str
    flop_per_s: Mapping[str, float]
    memory_bytes_per_s: float
    memory_bytes: int
    tables: str = ""  # the chip's name in the packed tables; "": it has none
    ignored: frozenset[str] = field(default_factory=frozenset)  # chips whose tables are not looked at (to test the transfer)

    def peak(self, number_format: str) -> float:
        """Dense peak. A format that the chip multiplies in another (fp8 on an A100) is refused."""
        peaks = self.flop_per_s
        found = peaks.get(number_format)
        if found is None:
            for twins in (("bf16", "fp16"), ("nvfp4", "mxfp4", "fp4")):
                if number_format in twins:
                    found = next((peaks[one] for one in twins if one in peaks), None)
        if found is None:
            other = next((f"--format {one}, or " for one in ("bf16", "fp16", "fp8") if one in peaks), "")
            raise BadInput(
                "The chip doesn't multiply in that number format, as far as its data sheet says.",
                asked=f"{number_format} on {self.name}",
                found=", ".join(sorted(peaks)) or "no peak at all",
                hint=f'{other}a pool file with your own figure: peak = {{ {number_format} = "... TFLOP/s" }}',
            )
        return found


@cache
def device(name: str) -> Device:
    """The catalogue's chip as a Device. Raises BadInput where its data sheet lacks a roof."""
    chip = catalogue.find(name)
    return _roofed(name, chip.flop_per_s, chip.memory_bytes_per_s, chip.memory_bytes, _tables(name))


def device_of(cards: Cards) -> Device:
    """The chip of these cards, with what their owner says of it before the catalogue's figures.

    A chip of another peak or bandwidth than the catalogue's isn't the one that was timed: tables are carried over to it.
    """
    own = bool(cards.flop_per_s) or cards.memory_bytes_per_s is not None
    if not own and cards.memory_bytes is None:
        return device(cards.chip)
    chip = catalogue.load().get(cards.chip)
    return _roofed(
        cards.chip,
        {**(chip.flop_per_s if chip else {}), **cards.flop_per_s},
        cards.memory_bytes_per_s or (chip.memory_bytes_per_s if chip else None),
        cards.memory_bytes or (chip.memory_bytes if chip else None),
        "" if own else _tables(cards.chip),
    )


def _tables(name: str) -> str:
    return name if name in {member.split("/")[0] for member in members("matmul")} else SAME.get(name, "")


def _roofed(name: str, peaks: Mapping[str, float], bandwidth: float | None, memory: int | None, tables: str) -> Device:
    if bandwidth is None or memory is None or not peaks:
        lacking = [what for what, has in (("memory", memory), ("bandwidth", bandwidth), ("peak", peaks)) if not has]
        says = {"memory": 'memory = "... GiB"', "bandwidth": 'bandwidth = "... TB/s"', "peak": 'peak = { bf16 = "... TFLOP/s" }'}
        raise BadInput(
            f"The chip can't be planned with: nobody trustworthy says its {' and '.join(lacking)}.",
            asked=name,
            hint=f"a pool file (docs/plan-models.md) with your own figures: {', '.join(says[what] for what in lacking)}",
        )
    return Device(name=name, flop_per_s=dict(peaks), memory_bytes_per_s=bandwidth, memory_bytes=memory, tables=tables)


def matmul(dev: Device, number_format: str, m: Any, n: Any, k: Any, long_job: bool = False) -> Floats:
    """Seconds of out[m, n] = a[m, k] x b[k, n], sides as arrays. In a long job none runs at a lower rate than a smaller one."""
    table = LIKE.get(number_format, number_format)
    if dev.tables and dev.tables not in dev.ignored and f"{dev.tables}/{table}/burst" in members("matmul"):
        return _products(dev.tables, table, long_job).seconds(m, n, k)
    m, n, k = (np.asarray(side, dtype=np.float64) for side in (m, n, k))
    total: Any = 0.0
    weights = 0.0
    if not _table_devices(table, "matmul"):
        table = "bf16"  # nobody's table in this format: the share of the peak that 16-bit products reach
    for other, weight in _others(dev, table, "matmul"):
        stretch = (other.peak(table) / dev.peak(number_format)) ** (1 / 3)
        sides = m * stretch, n * stretch, k * stretch
        used = _roof(other, table, *sides) / _products(other.tables, table, long_job).seconds(*sides)
        total = total + weight * np.log(used)
        weights += weight
    found: Floats = _roof(dev, number_format, m, n, k) / np.exp(total / weights)
    return found


@cache
def _products(chip: str, number_format: str, long_job: bool) -> Grid:
    measured = grid("matmul", f"{chip}/{number_format}/burst", 3)
    return risen(measured) if long_job else measured


def attention(dev: Device, tokens: Any, lanes: Any, head: int, kind: str = "gqa") -> Floats:
    """Seconds of causal attention forward in bf16: `lanes` (sequences x heads) of `tokens` each.

    `head` is the width of a head; for kind "mla" queries and keys have 192 and values 128.
    """
    tokens, lanes = np.asarray(tokens, dtype=np.float64), np.asarray(lanes, dtype=np.float64)
    flop = 2.0 * tokens * tokens * lanes * head
    if dev.tables and dev.tables not in dev.ignored and (found := _nearest_head(dev.tables, kind, head)):
        name, width = found
        return grid("prefill", name, 2, (2.0, 1.0)).seconds(tokens, lanes) * (head / width)
    total: Any = 0.0
    weights = 0.0
    for other, weight in _others(dev, "bf16", "prefill"):
        if (found := _nearest_head(other.tables, kind, head)) is None:
            continue
        name, width = found
        busy = lanes * (other.peak("bf16") / dev.peak("bf16"))
        used = (
            2.0 * tokens * tokens * busy * width / other.peak("bf16") / grid("prefill", name, 2, (2.0, 1.0)).seconds(tokens, busy)
        )
        total = total + weight * np.log(used)
        weights += weight
    seconds: Floats = flop / dev.peak("bf16") / np.exp(total / weights)
    return seconds


def tier(dev: Device, number_format: str) -> str:
    """What matrix products of this chip and format rest on: "kernel tables" or "data sheet"."""
    table = LIKE.get(number_format, number_format)
    own = dev.tables and dev.tables not in dev.ignored and f"{dev.tables}/{table}/burst" in members("matmul")
    return "kernel tables" if own else "data sheet"


def _roof(dev: Device, number_format: str, m: Any, n: Any, k: Any) -> Floats:
    """The roofline's seconds: flop over peak, or bytes (operands in the format, result in 2) over bandwidth."""
    size = NARROW.get(number_format, 2.0)
    moved = size * (m * k + n * k) + 2.0 * m * n
    found: Floats = np.maximum(2.0 * m * n * k / dev.peak(number_format), moved / dev.memory_bytes_per_s)
    return found


@cache
def _table_devices(number_format: str, name: str) -> tuple[Device, ...]:
    names = {member.split("/")[0] for member in members("matmul") if member.endswith(f"/{number_format}/burst")}
    if name == "prefill":
        names &= {member.split("/")[0] for member in members("prefill")}
    known = catalogue.load()
    formats = {number_format, *(twin for twin, table in LIKE.items() if table == number_format)}
    return tuple(device(one) for one in sorted(names) if one in known and formats & set(known[one].flop_per_s))


def _others(dev: Device, number_format: str, table: str) -> list[tuple[Device, float]]:
    """Chips with a table in this format, and how much each counts: the inverse square of how far its roofs are."""
    out = []
    for other in _table_devices(number_format, table):
        if other.name in dev.ignored:
            continue
        away = log(other.peak("bf16") / dev.peak("bf16")) ** 2 + log(other.memory_bytes_per_s / dev.memory_bytes_per_s) ** 2
        out.append((other, 1.0 / (0.05 + away)))
    if not out:
        raise BadInput("No kernel table is left to carry over.", asked=dev.name)
    return out


@cache
def _nearest_head(tables: str, kind: str, head: int) -> tuple[str, int] | None:
    """The attention table whose head's width is nearest: its member and that width."""
    names = [
        member for member in members("prefill") if member.startswith(f"{tables}/{kind}/bf16/burst/") and member.count("/") == 4
    ]
    if not names:
        return None
    best = min(names, key=lambda name: abs(log(int(name.rsplit("/", 1)[1]) / head)))
    return best, int(best.rsplit("/", 1)[1])


__all__ = ["Device", "Grid", "attention", "device", "matmul", "tier"]
