"""Routers in a box of sides: a torus, a mesh, a HyperX. Every cable where it is small and flat, else a sketch of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from forebay.fabric.draw.facts import speed, speeds, summary
from forebay.fabric.draw.svg import Sheet, fit
from forebay.fabric.wiring import Wiring

MOST, WHOLE = 5, 8  # drawn on a side; and where all is drawn
Spot = tuple[float, float]


def whole(w: Wiring, shape: tuple[int, ...]) -> bool:
    """All of it can be drawn so: cards alone, two or three sides, no parallel cables."""
    low, high = np.minimum(w.cable_a, w.cable_b).astype(np.int64), np.maximum(w.cable_a, w.cable_b)
    pairs = np.unique(low * w.routers + high)
    return w.routers == math.prod(shape) == w.cards and len(shape) < 4 and max(shape) <= WHOLE and len(pairs) == len(w.cable_a)


def box(w: Wiring, shape: tuple[int, ...], rings: bool, *, every: bool) -> str:
    """Up to three sides are drawn, in slant. Of a longer side some, with a gap, and then what closes a row once a side."""
    last = shape[-3:]
    across, up = (side if every else min(side, MOST) for side in (last[-1], last[-2]))
    deep = 1 if len(last) < 3 else last[0] if every else min(last[0], MOST)
    step, (slant_x, slant_y) = (92.0, (44.0, 32.0)) if max(across, up) <= MOST else (64.0, (30.0, 22.0))
    right = 84 + (across - 1) * step + (deep - 1) * slant_x
    tall = (up - 1) * step + (deep - 1) * slant_y
    sheet = Sheet(max(900.0, right + 400), max(tall + 220, 400), w.name, summary(w))

    def at(z: int, y: int, x: int) -> Spot:
        return 84 + x * step + z * slant_x, 126 + (deep - 1) * slant_y + y * step - z * slant_y

    for z, y, x in product(reversed(range(deep)), range(up), range(across)):
        for kind, (dz, dy, dx), place, n, side in (
            ("s1", (0, 0, 1), x, across, last[-1]),
            ("s2", (0, 1, 0), y, up, last[-2]),
            ("s3", (1, 0, 0), z, deep, last[0]),
        ):
            if place + 1 < n:
                gap = side > n and place == n - 2
                ends = (*at(z, y, x), *at(z + dz, y + dy, x + dx))
                sheet.line(*ends, kind, thick=1.6, faint=0.9 - 0.1 * min(z, 5), dash="4 4" if gap else "")
    _closing(sheet, at, (deep, up, across), rings, every)
    for z, y, x in product(reversed(range(deep)), range(up), range(across)):
        told = w.router_name(int(np.ravel_multi_index((z, y, x)[-len(last) :], last))) if every else ""
        sheet.circle(*at(z, y, x), 7, "f1" if w.router_tier.min() else "f0", told=told)
    _words(sheet, w, shape, rings, every, right + 70)
    return sheet.done()


def _closing(sheet: Sheet, at: Callable[[int, int, int], Spot], counts: tuple[int, int, int], rings: bool, every: bool) -> None:
    """What closes a row: the way back of a ring, or the cables from each to each."""
    deep, up, across = counts
    bend = 0.45 if every else 1.0
    for z, y in product(range(deep), range(up)):
        if every or (z == 0 and y == up - 1):
            _close(sheet, [at(z, y, x) for x in range(across)], "s1", (0, 34 * bend), rings)
    for z, x in product(range(deep), range(across)):
        if every or (z == 0 and x == 0):
            _close(sheet, [at(z, y, x) for y in range(up)], "s2", (-34 * bend, 0), rings)
    for y, x in product(range(up), range(across)):
        if deep > 1 and (every or (y == 0 and x == 0)):
            _close(sheet, [at(z, y, x) for z in range(deep)], "s3", (-16 * bend, -26 * bend), rings)


def _close(sheet: Sheet, spots: list[Spot], kind: str, bend: Spot, rings: bool) -> None:
    n = len(spots)
    pairs = [(0, n - 1)] if rings else [(one, two) for one in range(n) for two in range(one + 2, n)]
    for i, j in pairs:
        if j - i > 1:
            (x1, y1), (x2, y2), far = spots[i], spots[j], 2 * (j - i) / (n - 1)
            middle = f"{(x1 + x2) / 2 + bend[0] * far:.1f} {(y1 + y2) / 2 + bend[1] * far:.1f}"
            sheet.path(f"M{x1:.1f} {y1:.1f}Q{middle} {x2:.1f} {y2:.1f}", kind, thick=1.3, faint=0.8)


def _words(sheet: Sheet, w: Wiring, shape: tuple[int, ...], rings: bool, every: bool, x: float) -> None:
    lowest, n, last, more = int(w.router_tier.min()), math.prod(shape), shape[-3:], shape[:-3]
    inside = (w.cable_a < n) & (w.cable_b < n)
    sheet.text(x, 110, f"{' × '.join(map(str, shape))} = {n:,} {'routers' if lowest else 'cards'}", size=14, weight=600)
    y = 136.0
    ways = ("s1", "s2", "s3"), ("across", "down", "into the depth"), reversed(last)
    for kind, way, side in zip(*ways, strict=False):
        joined = "a ring" if rings and side > 2 else "every two joined" if side > 2 else "joined"
        y = sheet.legend(x, y, [(kind, f"{side} {way}, {joined}")], room=400) + 2
    lines = []
    if more:
        lines.append(f"and {len(more)} more side{'s' if len(more) > 1 else ''} of {' and '.join(map(str, more))}:")
        lines.append("such boxes, joined place by place")
    lines.append(f"{int(inside.sum()):,} cables of {speeds(w.cable_bytes_per_s[inside])}")
    if not inside.all():
        lines.append(f"{int((~inside).sum()):,} cables to {w.routers - n:,} switches beside")
    lines += [f"{w.cards / n:.4g} cards at each router"] if lowest else []
    lines += [f"scale-up at {speed(w.scale_up_bytes_per_s)} a card"] if w.scale_up_bytes_per_s else []
    if not every:
        lines += ["dashed: more of the like between"] if max(last) > MOST else []
        lines += ["what closes a row is drawn once a side"] if max(last) > 2 else []
    for row, line in enumerate(lines):
        sheet.text(x, y + 10 + 20 * row, fit(line, 12, sheet.wide - x - 16), size=12, kind="soft")
