"""Cost against step time: which fabrics nobody beats, and who they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forebay.errors import BadInput
from forebay.fabric.draw.facts import seconds
from forebay.fabric.draw.svg import Sheet, place, short, ticks, width
from forebay.units import MICRO_PER_UNIT

WIDE, HIGH, LEFT, RIGHT, TOP, FOOT = 1000.0, 600.0, 84.0, 30.0, 84.0, 96.0


NAMED = 40  # points: beyond, only the front is named
AROUND = (
    (1, 0, "start"), (1, -1, "start"), (1, 1, "start"), (0, -1, "middle"),
    (0, 1, "middle"), (-1, 0, "end"), (-1, -1, "end"), (-1, 1, "end"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A fabric in the scatter.

    It says what to draw, never how the figures came about.
    """

    name: str
    cost_micro: int | None  # None: unpriced, and not drawn
    step_s: float
    power_w: float = 0.0  # the area of its dot
    on_front: bool = False


def scatter(points: Sequence[Point], *, title: str = "Cost against step time", currency: str = "") -> str:
    """SVG. Points on the front are joined and named; others are named where there is room, and by their tool tip."""
    for point in points:
        if (
            not (point.step_s > 0 and math.isfinite(point.step_s))
            or (point.cost_micro or 0) < 0
            or not 0 <= point.power_w < math.inf
        ):
            raise BadInput("A point has a cost, a power and a step time that can be.", asked=point.name, found=repr(point))
    priced = sorted((p for p in points if p.cost_micro is not None), key=lambda p: (not p.on_front, p.cost_micro, p.step_s))
    unpriced = len(points) - len(priced)
    under = f"{len(priced)} fabrics" + (f"; {unpriced} unpriced, not drawn" if unpriced else "")
    sheet = Sheet(WIDE, HIGH, title, under)
    if not priced:
        sheet.text(WIDE / 2, HIGH / 2, "nothing is priced", size=14, anchor="middle", kind="soft")
        return sheet.done()
    costs = [(p.cost_micro or 0) / MICRO_PER_UNIT for p in priced]
    steps = [p.step_s for p in priced]
    x_low, x_high = _room(costs)
    y_low, y_high = _room(steps)

    def at(cost: float, step: float) -> tuple[float, float]:
        x = LEFT + (cost - x_low) / (x_high - x_low) * (WIDE - LEFT - RIGHT)
        return x, HIGH - FOOT - (step - y_low) / (y_high - y_low) * (HIGH - TOP - FOOT)

    _axes(sheet, at, (x_low, x_high), (y_low, y_high), currency)
    spots = [at(cost, step) for cost, step in zip(costs, steps, strict=True)]
    front = sorted(spot for spot, p in zip(spots, priced, strict=True) if p.on_front)
    if len(front) > 1:
        steps_d = f"M{front[0][0]:.1f} {front[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in front[1:])
        sheet.path(steps_d, "s1", thick=1.5, faint=0.7, dash="5 4")
    most = max(p.power_w for p in priced) or 1.0
    radii = [5 + 9 * math.sqrt(p.power_w / most) if p.power_w else 6.0 for p in priced]
    for (x, y), r, p, cost in reversed(list(zip(spots, radii, priced, costs, strict=True))):
        told = f"{p.name}: {short(cost)} {currency}, {seconds(p.step_s)} a step" + (f", {short(p.power_w)}W" if p.power_w else "")
        sheet.circle(x, y, r, "f1" if p.on_front else "f0", told=told, faint=0.85 if p.on_front else 0.5)
        sheet.block(x - r * 0.75, y - r * 0.75, r * 1.5, r * 1.5)
    for (x, y), r, p in zip(spots, radii, priced, strict=True):
        if p.on_front or len(priced) <= NAMED:
            _label(sheet, x, y, r, p)
    entries = [("f1", "on the Pareto front: nothing is both cheaper and faster"), ("f0", "beaten by another")]
    sheet.legend(LEFT, HIGH - 20, entries + ([("", "area of a dot: power")] if any(p.power_w for p in priced) else []))
    return sheet.done()


def _room(values: Sequence[float]) -> tuple[float, float]:
    """From nought, unless the values lie close together far from it."""
    low, high = min(values), max(values)
    pad = (high - low) * 0.12 or high * 0.1 or 1.0
    return (0.0 if low < 0.4 * high else max(0.0, low - pad)), high + pad


Pair = tuple[float, float]


def _axes(sheet: Sheet, at: Callable[[float, float], Pair], xs: Pair, ys: Pair, currency: str) -> None:
    for x in ticks(*xs):
        px, _ = at(x, ys[0])
        sheet.line(px, TOP, px, HIGH - FOOT, "axis", faint=0.5)
        sheet.text(px, HIGH - FOOT + 18, short(x), size=11, anchor="middle", kind="soft")
    for y in ticks(*ys):
        _, py = at(xs[0], y)
        sheet.line(LEFT, py, WIDE - RIGHT, py, "axis", faint=0.5)
        sheet.text(LEFT - 8, py + 4, f"{y:.4g} s", size=11, anchor="end", kind="soft")
    sheet.text(WIDE - RIGHT, HIGH - FOOT + 38, f"cost, {currency}" if currency else "cost", size=12, anchor="end", kind="soft")
    sheet.text(LEFT, TOP - 10, "step time", size=12, kind="soft")


def _label(sheet: Sheet, x: float, y: float, r: float, p: Point) -> None:
    """The name beside its dot, or further off with a line to it; one that isn't on the front may stay unnamed."""
    size = 12.0 if p.on_front else 10.5
    words = p.name if len(p.name) <= 40 else p.name[:39] + "…"
    far = (0.0, 12.0, 26.0, 44.0, 66.0, 90.0, 120.0, 160.0) if p.on_front else (0.0, 10.0)
    for more in far:
        for dx, dy, anchor in AROUND:
            lx, ly = x + dx * (r + 4 + more), y + dy * (r + 8 + more) + 4
            a, b, c, d = place(lx, ly, words, size, anchor)
            if sheet.free((a - 2, b - 1, c + 4, d + 2)) and b + d < HIGH - FOOT and a > LEFT:
                if more > 12:
                    sheet.line(x + dx * r, y + dy * r, lx, ly - 4, "axis")
                sheet.text(
                    lx, ly, words, size=size, anchor=anchor, kind="" if p.on_front else "soft", weight=600 if p.on_front else 0
                )
                return
    if p.on_front:  # nowhere: it keeps its tool tip, and a number would only add to the crowd
        sheet.block(x, y, width(words[:1], size), size)
