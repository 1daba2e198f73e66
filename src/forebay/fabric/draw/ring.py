"""Routers on a ring, every cable a chord; or groups of routers, with their counts, where there are too many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from forebay.fabric.draw.facts import degrees, few, speeds, summary, word
from forebay.fabric.draw.svg import Sheet, fit, width
from forebay.fabric.wiring import Wiring

MOST = 48  # groups drawn


def ring(w: Wiring) -> str:
    """The true graph: routers in the order of their groups, cards outside."""
    order = np.lexsort((np.arange(w.routers), w.router_tier, w.router_group)).tolist()
    group = w.router_group[order].tolist()
    groups = len(set(group))
    r = max(150.0, (w.routers + 0.8 * groups) * 24 / (2 * math.pi))
    held: dict[int, list[int]] = {}
    unit_cards: dict[int, list[int]] = {}
    for card, unit in enumerate(w.unit_of.tolist()):
        unit_cards.setdefault(unit, []).append(card)
    direct = {i for i in range(w.routers) if w.router_tier[i] == 0}
    for unit, router in zip(w.port_unit.tolist(), w.port_router.tolist(), strict=True):
        held.setdefault(router, []).extend([] if router in direct else unit_cards[unit])
    deep = max((len(cards) for cards in held.values()), default=0)
    out = 16 + 9 * min(deep, 16) + 26
    side = 2 * (r + out) + 20
    sheet = Sheet(max(900.0, side + 40), side + 130, w.name, summary(w))
    cx, cy = sheet.wide / 2, 76 + side / 2
    gap = 0.8 if groups > 1 else 0.0
    step = 2 * math.pi / (w.routers + gap * groups)
    at, angle, angles, before = {}, -math.pi / 2, {}, group[0]
    for router, of in zip(order, group, strict=True):
        angle += gap * step if of != before else 0
        before = of
        angles[router] = angle
        at[router] = (cx + r * math.cos(angle), cy + r * math.sin(angle))
        angle += step
    _chords(sheet, w, at, cx, cy)
    for router, (x, y) in at.items():
        c, s = math.cos(angles[router]), math.sin(angles[router])
        for i, card in enumerate(held.get(router, [])):
            sheet.circle(x + c * (18 + 9 * i), y + s * (18 + 9 * i), 3.2, "f0", told=w.card_name(card))
        sheet.circle(
            x, y, 10, f"f{1 + int(w.router_tier[router]) % 7 if w.router_tier[router] else 1}", told=w.router_name(router)
        )
        sheet.text(x, y + 3, str(router) if router < 1000 else "", size=9, anchor="middle", kind="on")
    if groups > 1:
        for of in sorted(set(group)):
            mine = [angles[x] for x, g in zip(order, group, strict=True) if g == of]
            mid = sum(mine) / len(mine)
            far = r + out - 12
            label = f"group {of}" if len(mine) * 24 > width(f"group {of}", 10) + 4 else str(of)
            box_w = width(label, 10)
            x, y = cx + (far + abs(math.cos(mid)) * max(0, box_w / 2 - 14)) * math.cos(mid), cy + far * math.sin(mid) + 4
            if sheet.free((x - box_w / 2, y - 8, box_w, 10)):
                sheet.text(x, y, label, size=10, anchor="middle", kind="soft")
    within, between = _split(w)
    tiers = sorted(set(w.router_tier.tolist()))
    entries = [
        (f"f{1 + t % 7 if t else 1}", f"{int((w.router_tier == t).sum()):,} {word(t) if t != 1 else 'routers'}") for t in tiers
    ]
    entries += [("f0", f"{w.cards:,} cards")] if deep else []
    entries += [("s2", f"{within:,} cables within groups")] if groups > 1 and within else []
    entries += [("s4" if groups > 1 else "s0", f"{between:,} cables between groups" if groups > 1 else f"{within:,} cables")]
    entries += [("s5", "down")] if (w.cable_bytes_per_s == 0).any() else []
    sheet.legend(24, sheet.high - 40, [*entries, ("", f"cables of {speeds(w.cable_bytes_per_s)}")])
    return sheet.done()


def _split(w: Wiring) -> tuple[int, int]:
    same = int((w.router_group[w.cable_a] == w.router_group[w.cable_b]).sum())
    return same, len(w.cable_a) - same


def _chords(sheet: Sheet, w: Wiring, at: dict[int, tuple[float, float]], cx: float, cy: float) -> None:
    faint = 0.8 if len(w.cable_a) < 150 else 0.45 if len(w.cable_a) < 700 else 0.22
    alone = len(set(w.router_group.tolist())) == 1
    drawn: dict[tuple[int, int], int] = {}
    for a, b, fast in zip(w.cable_a.tolist(), w.cable_b.tolist(), w.cable_bytes_per_s.tolist(), strict=True):
        k = drawn[min(a, b), max(a, b)] = drawn.get((min(a, b), max(a, b)), -1) + 1
        (x1, y1), (x2, y2) = at[a], at[b]
        same = w.router_group[a] == w.router_group[b]
        # Chords bend a little to the middle, parallel ones more and more.
        pull = 0.12 + 0.1 * k
        mx, my = (x1 + x2) / 2 * (1 - pull) + cx * pull, (y1 + y2) / 2 * (1 - pull) + cy * pull
        kind = "s0" if alone else "s2" if same else "s4"
        sheet.path(
            f"M{x1:.1f} {y1:.1f}Q{mx:.1f} {my:.1f} {x2:.1f} {y2:.1f}",
            kind if fast else "s5",
            faint=faint,
            dash="" if fast else "3 3",
        )


def groups(w: Wiring) -> str:
    """The sketch: a circle a group; how many routers, cards and cables are in one, and between two."""
    named = len(set(w.router_group.tolist())) > 1
    group = np.unique(w.router_group, return_inverse=True)[1] if named else np.arange(w.routers)
    count = int(group.max()) + 1
    shown = count if count <= MOST else 24
    sheet = Sheet(1000, 620, w.name, summary(w))
    cx, cy, r = 290.0, 330.0, 205.0
    dot = min(22.0, math.pi * r / shown * 0.8)
    where = [
        (cx + r * math.cos(2 * math.pi * i / shown - math.pi / 2), cy + r * math.sin(2 * math.pi * i / shown - math.pi / 2))
        for i in range(shown)
    ]
    a, b = group[w.cable_a], group[w.cable_b]
    across = a != b
    low, high = np.minimum(a, b)[across].astype(np.int64), np.maximum(a, b)[across]
    pairs, cables = np.unique(low * count + high, return_counts=True)
    most = int(cables.max(initial=1))
    faint = 0.7 if shown < 12 else 0.4
    for pair, n in zip(pairs.tolist(), cables.tolist(), strict=True):
        i, j = divmod(pair, count)
        if i < shown and j < shown:
            (x1, y1), (x2, y2) = where[i], where[j]
            sheet.line(x1, y1, x2, y2, "s4" if named else "s0", thick=0.6 + 2 * n / most, faint=faint)
    for i, (x, y) in enumerate(where):
        sheet.circle(x, y, dot, "f1", told=f"{'group' if named else w.router_name(i)} {i if named else ''}".strip())
        size = min(11.0, dot)
        sheet.text(x, y + size * 0.35, str(i) if width(str(i), size) < 2 * dot - 2 else "", size=size, anchor="middle", kind="on")
    drawn = (
        f"{count:,} {'groups' if named else 'routers'}"
        if shown == count
        else f"{shown} of {count:,} {'groups' if named else 'routers'} drawn"
    )
    sheet.text(cx, cy + r + 58, drawn, size=13, anchor="middle", kind="soft")
    _panel(sheet, w, group, named, pairs, cables, count)
    return sheet.done()


def _panel(sheet: Sheet, w: Wiring, group: Any, named: bool, pairs: Any, cables: Any, count: int) -> None:
    """At the right: one group in words and counts."""
    down, up, side = degrees(w)
    within, between = (_split(w)) if named else (0, len(w.cable_a))
    rows: list[tuple[str, str]] = []
    for tier in sorted(set(w.router_tier.tolist()), reverse=True):
        here = w.router_tier == tier
        what = word(tier) if tier != 1 or (w.router_tier > 1).any() else "routers"
        rows.append(
            (f"{int(here.sum()):,} {what}", few(np.bincount(group[here], minlength=count), "in each group") if named else "")
        )
        ports = few(w.router_ports[here], "ports each")
        used = ", ".join(x for x in (few(down[here], "down"), few(up[here], "up"), few(side[here], "to their like")) if x)
        rows.append(("", ports))
        rows.append(("", used))
    if not w.direct:
        rows.append(
            (
                f"{w.cards:,} cards",
                few(
                    np.bincount(w.port_router, minlength=w.routers)[w.router_tier == w.router_tier.min()],
                    "ports to cards at each",
                ),
            )
        )
    if within:
        rows.append(
            (
                f"{within:,} cables within groups",
                few(np.bincount(group[w.cable_a][group[w.cable_a] == group[w.cable_b]], minlength=count), "in each"),
            )
        )
    rows.append((f"{between:,} cables between {'groups' if named else 'them'}", few(cables, "for each pair that is joined")))
    whole = count * (count - 1) // 2
    rows.append(("", "every two are joined" if len(pairs) == whole else f"{len(pairs):,} of {whole:,} pairs are joined"))
    rows.append((f"cables of {speeds(w.cable_bytes_per_s)}", ""))
    lines = [(word_, head) for row in rows for word_, head in zip(row, (True, False), strict=True) if word_]
    x, y = 590.0, 110.0
    sheet.rect(x - 20, y - 30, 400, 22 * len(lines) + 40, "box", round_=8)
    for i, (words, head) in enumerate(lines):
        if head:
            sheet.text(x, y + 22 * i, fit(words, 13, 360), size=13, kind="bare", weight=600)
        else:
            sheet.text(x + 16, y + 22 * i, fit(words, 12, 344), size=12, kind="soft bare")
    entries = [("f1", "a group" if named else "a router"), ("s4" if named else "s0", "cables between two, the thicker the more")]
    sheet.legend(590, y + 22 * len(lines) + 46, entries, room=390)
