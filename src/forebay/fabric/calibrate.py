"""Fit a fabric's Physics to a measured curve, from at most three of its points, and say how good it is on the others.

Asked:  what do efficiency, latency and fill have to be for this centre, and can the curve between be trusted?
Answer: `chosen` takes the smallest, the largest and the size in the middle (by ratio) of those between 16 MiB and 16 GiB: a rule
        that looks at sizes alone. The fit is the curve with the smallest sum of absolute relative errors on those three: with one
        odd point among them, as where a library changes its protocol, it goes through the other two instead of missing all (least
        absolute deviations; Bloomfield and Steiger, 1983). Two points give efficiency and latency, one gives the efficiency.
Limits: one system at a time, and its size: launch, messages and links can't be told apart in one curve, so launch and hops are
        the base's and the rest is each round's `message_s`. Other forms that were tried are in decision 0106. Sick systems aren't
        fitted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import log, sqrt
from pathlib import Path
from statistics import median

from forebay.codec import decode, encode
from forebay.errors import BadInput, Unknown
from forebay.fabric.curves import Curve, Point
from forebay.fabric.physics import DEFAULT, LINKS, Physics, bus_factor, busbw, rounds, together
from forebay.units import GIB, MIB

FROM_BYTES, TO_BYTES = 16 * MIB, 16 * GIB
LARGE_BYTES = 256 * MIB
_FILLS = tuple(eighth / 8 for eighth in range(9))
_WORTH = 1e-3  # by so much more fill has to lower the sum of errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """How far the fitted curve is from a measured point: 0.02 is 2 % too fast."""

    message_bytes: int
    measured_bytes_per_s: float
    error: float
    used: bool  # for the fit


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricCalibration:
    """The Physics of one system, the points that it came from, and how far it is from the others.

    It is the fabric's; what a plan's step takes on a chip is another calibration.
    """

    system: str
    date: str  # when it was measured
    source: str
    collective: str
    n_gpus: int
    algorithm: str
    links: float  # that a round crosses there
    link_bytes_per_s: float  # what the efficiency is a share of
    physics: Physics
    misses: tuple[Miss, ...]  # every point of the curve, smallest first


def chosen(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The points to fit on: at most three, by their sizes alone."""
    within = tuple(point for point in points if FROM_BYTES <= point.message_bytes <= TO_BYTES)
    within = within if len(within) >= 3 else points
    if len(within) <= 3:
        return within
    first, last = within[0], within[-1]
    middle = sqrt(first.message_bytes * last.message_bytes)
    return first, min(within[1:-1], key=lambda point: (abs(log(point.message_bytes / middle)), point.message_bytes)), last


def calibrate(
    curve: Curve,
    *,
    link_bytes_per_s: float = 0.0,
    algorithm: str = "ring",
    base: Physics = DEFAULT,
    links: float = LINKS,
) -> FabricCalibration:
    """The Physics of a healthy curve. Without a link's rate the efficiency is 1, of what the curve itself tends to.

    `links` is how many a round crosses on the measured system.
    """
    if not curve.healthy:
        raise BadInput("A sick system isn't calibrated on.", asked=curve.system, hint="see what it lacks with `diagnose`")
    if not curve.points:
        raise BadInput("There is no point to fit on.", asked=curve.system)
    used = chosen(curve.points)
    factor = bus_factor(curve.collective, curve.n_gpus)
    timed = [(factor * one.message_bytes, factor * one.message_bytes / one.busbw_bytes_per_s) for one in used]
    turns = rounds(curve.collective, curve.n_gpus, algorithm)
    latency_s, per_byte_s, fill = _fit(timed, base, base.launch_s + turns * (base.message_s + links * base.hop_s))
    link = link_bytes_per_s or 1 / per_byte_s
    launch_s = min(base.launch_s, latency_s)
    each_s = (latency_s - launch_s) / turns
    hop_s = min(base.hop_s, each_s / links) if links else base.hop_s
    physics = Physics(
        efficiency=1 / per_byte_s / link,
        launch_s=launch_s,
        message_s=each_s - links * hop_s,
        hop_s=hop_s,
        fill=fill,
        source=f"fitted to {curve.system} at {', '.join(str(one.message_bytes) for one in used)} bytes",
    )
    misses = tuple(
        Miss(
            message_bytes=one.message_bytes,
            measured_bytes_per_s=one.busbw_bytes_per_s,
            error=busbw(physics, curve.collective, curve.n_gpus, one.message_bytes, link, algorithm=algorithm, links=links)
            / one.busbw_bytes_per_s
            - 1,
            used=one in used,
        )
        for one in curve.points
    )
    return FabricCalibration(
        system=curve.system,
        date=curve.date,
        source=curve.source,
        collective=curve.collective,
        n_gpus=curve.n_gpus,
        algorithm=algorithm,
        links=links,
        link_bytes_per_s=link,
        physics=physics,
        misses=misses,
    )


def error(calibration: FabricCalibration, from_bytes: int = FROM_BYTES, to_bytes: int = TO_BYTES) -> float | None:
    """The median of the absolute errors on points that weren't used, within these sizes. None: there is none."""
    found = errors(calibration, from_bytes, to_bytes)
    return median(found) if found else None


def errors(calibration: FabricCalibration, from_bytes: int = FROM_BYTES, to_bytes: int = TO_BYTES) -> list[float]:
    return [abs(miss.error) for miss in calibration.misses if not miss.used and from_bytes <= miss.message_bytes <= to_bytes]


def write(calibration: FabricCalibration, path: str | Path) -> None:
    """A dated file of JSON, for people to keep beside their price book."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", calibration.date):
        raise BadInput("A calibration is written down with the day of its measurement.", asked=calibration.system,
                       found=repr(calibration.date), hint="2026-11-30")  # fmt: skip
    Path(path).write_text(json.dumps(encode(calibration), indent=1) + "\n", encoding="utf-8")


def read(path: str | Path) -> FabricCalibration:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Unknown("No calibration can be read there.", asked=str(path), found=str(error)) from None
    except ValueError as error:
        raise BadInput("That is no calibration: not JSON.", asked=str(path), found=str(error)) from None
    return decode(FabricCalibration, data)


Timed = tuple[float, float]  # bus bytes, seconds
Fit = tuple[float, float, float]  # latency in seconds, seconds a byte, fill


def _fit(timed: list[Timed], base: Physics, latency_s: float) -> Fit:
    """`latency_s` is the base's: for one point, which can't tell it."""
    if len(timed) == 1:
        return _through_one(timed[0], latency_s, base.fill)
    fills = _FILLS if len(timed) > 2 else (base.fill,)
    best, least = (0.0, 0.0, 0.0), float("inf")
    for fill in fills:
        off, latency_s, per_byte_s = min((_off(timed, *pair, fill), *pair) for pair in _candidates(timed, fill))
        if off < least - _WORTH:
            best, least = (latency_s, per_byte_s, fill), off
    return best


def _off(timed: list[Timed], latency_s: float, per_byte_s: float, fill: float) -> float:
    return sum(abs(log(together(latency_s, per_byte_s * size, fill) / took)) for size, took in timed)


def _candidates(timed: list[Timed], fill: float) -> Iterator[tuple[float, float]]:
    """The least sum of absolute errors in two unknowns is at a curve through two of the points, or at no latency at all."""
    for one, other in combinations(timed, 2):
        yield _through_two(one, other, fill)
    for size, took in timed:
        yield 0.0, took / size


def _through_one(point: Timed, latency_s: float, fill: float) -> Fit:
    size, took = point
    latency_s = min(latency_s, took / 2)  # a base whose latency alone is more than was measured can't be
    return latency_s, _per_byte(size, took, latency_s, fill), fill


def _through_two(small: Timed, large: Timed, fill: float) -> tuple[float, float]:
    """Bisection on the latency: the more of the small one's time it is, the fewer seconds a byte has, and so the large one."""
    low, high = 0.0, small[1]
    for _ in range(60):
        latency_s = (low + high) / 2
        per_byte_s = _per_byte(*small, latency_s, fill)
        if together(latency_s, per_byte_s * large[0], fill) > large[1]:
            low = latency_s
        else:
            high = latency_s
    return latency_s, max(_per_byte(*small, latency_s, fill), 1e-18)


def _per_byte(size: float, took: float, latency_s: float, fill: float) -> float:
    """Seconds a byte, so that `together` gives what it took: a quadratic in the root of the wire time."""
    root = sqrt(fill * latency_s + took - latency_s) - sqrt(fill * latency_s)
    return root * root / size
