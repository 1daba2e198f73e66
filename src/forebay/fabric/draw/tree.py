"""A small tree of tiers, every box and cable of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from forebay.fabric.draw.facts import speeds, summary, word
from forebay.fabric.draw.svg import Sheet, fit, width
from forebay.fabric.wiring import Wiring

TALL, BOX = 110, 26  # from tier to tier; of a switch


def tree(w: Wiring) -> str:
    """Cards in their hosts at the foot, tiers of switches above. Parallel cables lie side by side."""
    tiers = sorted(set(w.router_tier.tolist()))
    most = max(int((w.router_tier == t).sum()) for t in tiers)
    cards = np.bincount(w.host_of)
    across = max(1, min(4, int(cards.max()))) if w.hosts > 1 else int(cards.max())
    host_wide = across * 11 + 8
    wide = float(min(1500, max(900, most * 46 + 80, w.hosts * (host_wide + 6) + 60)))
    a_row = max(1, int((wide - 48) // (host_wide + 6)))
    rows = -(-w.hosts // a_row)
    host_high = -(-int(cards.max()) // across) * 11 + 8
    foot = 96 + TALL * len(tiers)
    sheet = Sheet(wide, foot + rows * (host_high + 22) + 70, w.name, summary(w))
    at, boxes = _switches(w, tiers, wide)
    spots = _cards(w, a_row, across, host_wide, host_high, foot, wide)
    many = len(w.cable_a) + len(w.port_unit)
    faint = 0.75 if many < 200 else 0.45 if many < 800 else 0.28
    # Cables first, so that boxes lie upon them.
    unit_card = np.full(w.units, 0)
    unit_card[w.unit_of[::-1]] = np.arange(w.cards)[::-1]
    ends = [
        (spots[unit_card[u]][0], spots[unit_card[u]][1], *at[r], int(w.router_plane[r]))
        for u, r in _pairs(w.port_unit, w.port_router)
    ]
    ends += [(*at[a], *at[b], int(w.router_plane[a])) for a, b in _pairs(w.cable_a, w.cable_b)]
    seen: dict[tuple[float, ...], int] = {}
    for end in ends:
        seen[end[:4]] = seen.get(end[:4], 0) + 1
    drawn: dict[tuple[float, ...], int] = {}
    planes = int(w.router_plane.max(initial=0)) + 1
    speed = np.concatenate([w.port_bytes_per_s, w.cable_bytes_per_s]).tolist()
    for (x1, y1, x2, y2, plane), fast in zip(ends, speed, strict=True):
        n, k = seen[x1, y1, x2, y2], drawn.get((x1, y1, x2, y2), 0)
        drawn[x1, y1, x2, y2] = k + 1
        shift = (k - (n - 1) / 2) * min(2.2, 14 / n)
        kind = f"s{(1 + plane) % 8}" if planes > 1 else "s0"
        if y1 == y2:
            sheet.path(
                f"M{x1:.1f} {y1 - BOX / 2:.1f}Q{(x1 + x2) / 2:.1f} {y1 - 60 - 3 * k:.1f} {x2:.1f} {y2 - BOX / 2:.1f}",
                kind,
                faint=faint,
            )
        else:
            sheet.line(
                x1 + shift, y1, x2 + shift, y2, kind if fast else "s5", faint=faint if fast else 1, dash="" if fast else "3 3"
            )
    _draw_boxes(sheet, w, at, boxes)
    _draw_hosts(sheet, w, spots, across, host_wide, host_high)
    entries = [
        (f"f{min(t, 7)}", f"{int((w.router_tier == t).sum()):,} {word(t, int((w.router_tier == t).sum()))}")
        for t in reversed(tiers)
    ]
    entries += [("f0", f"{w.cards:,} cards in {w.hosts:,} hosts")]
    entries += [(f"s{(1 + p) % 8}", f"plane {p}") for p in range(planes)] if planes > 1 else []
    entries += [("s5", "down")] if 0.0 in speed else []
    entries += [("s0" if planes == 1 else "", f"cables of {speeds(np.concatenate([w.port_bytes_per_s, w.cable_bytes_per_s]))}")]
    sheet.legend(24, sheet.high - 40, entries)
    return sheet.done()


def _pairs(a: Any, b: Any) -> Any:
    return zip(a.tolist(), b.tolist(), strict=True)


def _switches(w: Wiring, tiers: list[int], wide: float) -> tuple[dict[int, tuple[float, float]], dict[int, float]]:
    """The middle of each switch and the width of its box; a gap where a plane or a group ends."""
    at, boxes = {}, {}
    for row, tier in enumerate(reversed(tiers)):
        here = np.flatnonzero(w.router_tier == tier)
        here = here[np.lexsort((here, w.router_group[here], w.router_plane[here]))].tolist()
        gaps = [0.0]
        for one, two in pairwise(here):
            plane = w.router_plane[one] != w.router_plane[two]
            gaps.append(gaps[-1] + 1 + (0.9 if plane else 0.45 if w.router_group[one] != w.router_group[two] else 0))
        step = min(150.0, (wide - 60) / (gaps[-1] + 1))
        first = (wide - step * gaps[-1]) / 2
        for router, gap in zip(here, gaps, strict=True):
            at[router] = (first + step * gap, 96.0 + TALL * row)
            boxes[router] = min(96.0, step - 6)
    return at, boxes


def _cards(w: Wiring, a_row: int, across: int, wide: int, high: int, foot: float, sheet: float) -> list[tuple[float, float]]:
    """The place of each card: hosts in rows from the left, in the order of their numbers."""
    spots = []
    first = np.concatenate([[0], np.cumsum(np.bincount(w.host_of))])
    for card, host in enumerate(w.host_of.tolist()):
        row, column = divmod(host, a_row)
        in_row = min(a_row, w.hosts - row * a_row)
        left = (sheet - in_row * (wide + 6)) / 2 + column * (wide + 6)
        y, x = divmod(card - int(first[host]), across)
        spots.append((left + 3 + 4 + 11 * x + 5.5, foot + row * (high + 22) + 4 + 11 * y + 5.5))
    return spots


def _draw_boxes(sheet: Sheet, w: Wiring, at: dict[int, tuple[float, float]], boxes: dict[int, float]) -> None:
    for tier in set(w.router_tier.tolist()):
        here = np.flatnonzero(w.router_tier == tier).tolist()
        # One way to write the names of a tier: whole, without the plane, or the last word alone.
        whole = [w.router_name(router) for router in here]
        bare = [name.partition(" of plane")[0] for name in whole]
        ways = (whole, bare, [name.split()[-1] for name in bare])
        good = next((way for way in ways if all(width(told, 10) < boxes[r] - 2 for told, r in zip(way, here, strict=True))), None)
        for router, name, label in zip(here, whole, good or [""] * len(here), strict=True):
            (x, y), wide = at[router], boxes[router]
            sheet.rect(x - wide / 2, y - BOX / 2, wide, BOX, f"f{min(tier, 7)}", told=name)
            sheet.text(x, y + 4, label, size=10, anchor="middle", kind="on")


def _draw_hosts(sheet: Sheet, w: Wiring, spots: list[tuple[float, float]], across: int, wide: int, high: int) -> None:
    first = np.searchsorted(w.host_of, np.arange(w.hosts)).tolist()
    for host, card in enumerate(first):
        x, y = spots[card][0] - 9.5, spots[card][1] - 9.5
        sheet.rect(x, y, wide, high, "box", told=w.host_name(host))
        name = w.host_name(host)
        label = next((told for told in (name, name.split()[-1]) if width(told, 9) <= wide + 4), "")
        sheet.text(x + wide / 2, y + high + 11, label or fit(name, 9, wide + 4), size=9, anchor="middle", kind="soft")
    for card, (x, y) in enumerate(spots):
        sheet.circle(x, y, 4, "f0", told=w.card_name(card))
