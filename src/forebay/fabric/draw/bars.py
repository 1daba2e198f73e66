"""What a step is made of: compute, and the traffic that nothing hides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay.errors import BadInput
from forebay.fabric.draw.facts import seconds
from forebay.fabric.draw.svg import Sheet, fit, ticks, width

WIDE, LEFT, RIGHT, TALL = 1000.0, 230.0, 110.0, 34.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A step on one fabric.

    It says what to draw: seconds of compute, and seconds exposed of each kind of traffic.
    """

    name: str
    compute_s: float
    exposed_s: Mapping[str, float]  # "data": 0.12


def bars(rows: Sequence[Bar], *, title: str = "A step, in seconds") -> str:
    """SVG: a bar a fabric, in the order given."""
    for row in rows:
        if not all(0 <= s < math.inf for s in (row.compute_s, *row.exposed_s.values())):
            raise BadInput("A part of a step takes zero seconds or more.", asked=row.name, found=repr(row))
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.exposed_s))
    sheet = Sheet(WIDE, 110 + TALL * len(rows) + 76, title, "compute, and what of the traffic isn't hidden behind it")
    total = [row.compute_s + sum(row.exposed_s.values()) for row in rows]
    most = max(total, default=0.0) or 1.0
    scale = (WIDE - LEFT - RIGHT) / most
    foot = 92 + TALL * len(rows)
    for s in ticks(0, most):
        sheet.line(LEFT + s * scale, 84, LEFT + s * scale, foot, "axis", faint=0.6)
        sheet.text(LEFT + s * scale, foot + 16, f"{s:.4g} s", size=11, anchor="middle", kind="soft")
    for i, (row, whole) in enumerate(zip(rows, total, strict=True)):
        y, x = 92 + TALL * i, LEFT
        sheet.text(LEFT - 10, y + 16, fit(row.name, 12, LEFT - 34), size=12, anchor="end")
        for kind, s, colour in [
            ("compute", row.compute_s, 0),
            *((k, row.exposed_s.get(k, 0.0), 1 + j % 7) for j, k in enumerate(kinds)),
        ]:
            if not s:
                continue
            sheet.rect(x, y, max(s * scale, 0.5), TALL - 12, f"f{colour}", round_=2, told=f"{row.name}: {kind} {seconds(s)}")
            words = seconds(s)
            if width(words, 11) < s * scale - 6:
                sheet.text(x + s * scale / 2, y + 15, words, size=11, anchor="middle", kind="on")
            x += s * scale
        sheet.text(x + 8, y + 16, seconds(whole), size=12, weight=600)
    sheet.legend(
        24, sheet.high - 28, [("f0", "compute"), *((f"f{1 + j % 7}", f"{kind}, exposed") for j, kind in enumerate(kinds))]
    )
    return sheet.done()
