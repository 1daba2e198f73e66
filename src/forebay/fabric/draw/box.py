"""Routers in a box of sides: a torus, a mesh, a HyperX. The true graph where it is flat and small, else a sketch of it."""

from __future__ import annotations

import math
from itertools import product

from forebay.fabric.draw.facts import speeds, summary
from forebay.fabric.draw.svg import Sheet
from forebay.fabric.wiring import Wiring
from forebay.units import write_bytes_per_s

MOST = 5  # drawn on a side


def box(w: Wiring, shape: tuple[int, ...], rings: bool) -> str:
    """Up to three sides are drawn, in slant; of a longer side some, with a gap. Rows are rings, or every two in a row are joined."""
    last = shape[-3:]
    more = shape[:-3]
    drawn = [min(side, 16 if len(last) == 2 and math.prod(last) <= 64 else MOST) for side in last]
    across, up = drawn[-1], drawn[-2]
    deep = drawn[0] if len(last) == 3 else 1
    step, slant = 84.0, (40.0, 30.0)
    if max(across, up) > MOST:
        step = 56.0
    wide = max(820.0, (across - 1) * step + (deep - 1) * slant[0] + 420)
    tall = (up - 1) * step + (deep - 1) * slant[1]
    sheet = Sheet(wide, max(tall + 210, 390), w.name, summary(w))
    x0, y0 = 80.0, 120.0 + (deep - 1) * slant[1]

    def at(z: int, y: int, x: int) -> tuple[float, float]:
        return x0 + x * step + z * slant[0], y0 + y * step - z * slant[1]

    for z in reversed(range(deep)):
        for y, x in product(range(up), range(across)):
            here = at(z, y, x)
            faint = 0.9 - 0.12 * z
            for side, (dz, dy, dx), place, n in ((-1, (0, 0, 1), x, across), (-2, (0, 1, 0), y, up), (-3, (1, 0, 0), z, deep)):
                if place + 1 < n:
                    cut = last[side] > n and place == n - 2
                    sheet.line(*here, *at(z + dz, y + dy, x + dx), f"s{-side}", thick=1.6, faint=faint, dash="4 4" if cut else "")
    _closing(sheet, at, last, (deep, up, across), rings)
    for z in reversed(range(deep)):
        for y, x in product(range(up), range(across)):
            sheet.circle(*at(z, y, x), 6.5, "f1" if w.router_tier.min() else "f0", told="", faint=1)
    _words(sheet, w, shape, last, more, rings, (deep, up, across), x0 + (across - 1) * step + (deep - 1) * slant[0] + 70)
    return sheet.done()


def _closing(sheet: Sheet, at, last, counts, rings: bool) -> None:  # type: ignore[no-untyped-def]
    """What closes a row: the way back of a ring, or the cables from each to each; on one row a side, so that it can be read."""
    deep, up, across = counts
    rows = [(1, [at(0, up - 1, x) for x in range(across)], (0.0, 34.0)), (2, [at(0, y, 0) for y in range(up)], (-34.0, 0.0))]
    if deep > 1:
        rows.append((3, [at(z, 0, 0) for z in range(deep)], (-16.0, -26.0)))
    for side, spots, (bx, by) in rows:
        n = len(spots)
        pairs = [(0, n - 1)] if rings else [(i, j) for i in range(n) for j in range(i + 2, n)]
        for i, j in pairs:
            if j - i < 2:
                continue
            (x1, y1), (x2, y2), far = spots[i], spots[j], (j - i) / max(1, n - 1)
            sheet.path(
                f"M{x1:.1f} {y1:.1f}Q{(x1 + x2) / 2 + 2 * bx * far:.1f} {(y1 + y2) / 2 + 2 * by * far:.1f} {x2:.1f} {y2:.1f}",
                f"s{side}",
                thick=1.6,
            )


def _words(sheet, w: Wiring, shape, last, more, rings: bool, counts, x: float) -> None:  # type: ignore[no-untyped-def]
    lowest = int(w.router_tier.min())
    n = math.prod(shape)
    inside = (w.cable_a < n) & (w.cable_b < n)
    y = 110.0
    sheet.text(x, y, " × ".join(map(str, shape)) + f" = {n:,} {'routers' if lowest else 'cards'}", size=14, weight=600)
    rows = [("s1", "across", last[-1]), ("s2", "down", last[-2])] + (
        [("s3", "into the depth", last[0])] if len(last) == 3 else []
    )
    for i, (kind, way, side) in enumerate(rows):
        told = f"{side} {way}, " + ("a ring" if rings and side > 2 else "every two joined" if side > 2 else "joined")
        y = sheet.legend(x, 138 + 22 * i, [(kind, told)], room=400)
    lines = []
    if more:
        lines.append(
            f"and {len(more)} more side{'s' if len(more) > 1 else ''} of {' and '.join(map(str, more))}: such boxes, joined place by place"
        )
    lines.append(f"{int(inside.sum()):,} cables of {speeds(w.cable_bytes_per_s[inside])}")
    if not inside.all():
        lines.append(f"{int((~inside).sum()):,} cables to {w.routers - n:,} switches beside")
    if lowest:
        lines.append(f"{w.cards / n:.4g} cards at each router")
    if w.scale_up_bytes_per_s:
        lines.append(f"scale-up at {write_bytes_per_s(w.scale_up_bytes_per_s)} a card")
    if any(d < s for d, s in zip(counts[-len(last) :], last, strict=True)):
        lines.append("dashed: more of the like between")
    lines.append("closing cables are drawn on one row a side")
    from forebay.fabric.draw.svg import fit

    for i, line in enumerate(lines):
        sheet.text(x, y + 10 + 20 * i, fit(line, 12, sheet.wide - x - 16), size=12, kind="soft")
