"""A large tree as a sketch: a band a tier, a box a plane, with counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.fabric.draw.facts import degrees, few, speed, speeds, summary, word
from forebay.fabric.draw.svg import Sheet, fit, width
from forebay.fabric.wiring import Wiring

WIDE, GAP, MOST = 1100.0, 92.0, 8
Place = tuple[float, float, float, float]  # left, width, top, height


def bands(w: Wiring) -> str:
    """Hosts at the foot; above them the tiers; between them how many cables."""
    tiers = sorted(set(w.router_tier.tolist()), reverse=True)
    deg = degrees(w)
    planes = sorted(set(w.router_plane.tolist()))
    shown: list[int | None] = list(planes) if len(planes) <= MOST else [*planes[:5], None, planes[-1]]
    slot = (WIDE - 48) / len(shown)
    tall = 62.0 if slot > 480 else 92.0
    sheet = Sheet(WIDE, 80 + len(tiers) * (tall + GAP) + 130, w.name, summary(w))
    foot = 80 + len(tiers) * (tall + GAP)
    spans: dict[tuple[int, int], Place] = {}  # of a tier in a plane
    for row, tier in enumerate(tiers):
        top = 80 + row * (tall + GAP)
        for i, plane in enumerate(shown):
            left, wide = 24 + i * slot + 6, slot - 12
            if plane is not None and ((w.router_tier == tier) & (w.router_plane == plane)).any():
                spans[tier, plane] = (left, wide, top, tall)
            elif plane is None:
                sheet.text(
                    left + wide / 2,
                    top + tall / 2,
                    fit(f"… {len(planes) - 6:,} more", 13, wide),
                    size=13,
                    anchor="middle",
                    kind="soft",
                )
    for i, plane in enumerate(shown):
        if plane is not None:
            _bundles(sheet, w, tiers, plane, spans, (24 + i * slot + 6, slot - 12, foot, 0.0))
    for (tier, plane), spot in spans.items():
        here = np.flatnonzero((w.router_tier == tier) & (w.router_plane == plane))
        _box(sheet, w, here, deg, spot, f"plane {plane}: " if len(planes) > 1 else "")
    _hosts(sheet, w, foot)
    entries = [
        (f"f{min(t, 7)}", f"{int((w.router_tier == t).sum()):,} {word(t, int((w.router_tier == t).sum()))}") for t in tiers
    ]
    sheet.legend(24, sheet.high - 24, [*entries, ("s0", "cables"), *_skips(w)])
    return sheet.done()


def _box(sheet: Sheet, w: Wiring, here: Any, deg: tuple[Any, Any, Any], place: Place, of: str) -> None:
    left, wide, top, tall = place
    tier = int(w.router_tier[here[0]])
    inside = np.unique(w.router_group[here], return_counts=True)[1]
    for back in (8, 4) if len(inside) > 1 else ():
        sheet.rect(left + back, top - back, wide - 8, tall, "box", round_=6)
    right = wide - 8
    sheet.rect(left, top, right, tall, "box", round_=6)
    sheet.rect(left, top, 5, tall, f"f{min(tier, 7)}", round_=2)
    head = f"{len(here):,} {word(tier, len(here))}"
    down, up, side = (few(d[here], what) for d, what in zip(deg, ("down", "up", "sideways"), strict=True))
    ports = few(w.router_ports[here], "ports each")
    spread = f"in {len(inside):,} groups of {few(inside, '').strip()}" if len(inside) > 1 else ""
    room = right - 18
    either = ", ".join(x for x in (down, up, side) if x)
    if width(ports, 12) > room:
        ports = few(w.router_ports[here], "ports")
    # On one line, on three, or in the fewest words that fit.
    ways = [[" · ".join(x for x in (spread, ports, either) if x)], [spread, ports, either], [ports, down, up or side]]
    told = [x for x in next((way for way in ways if all(width(x, 12) <= room for x in way)), ways[-1]) if x]
    size = 12.0
    title = of + head if width(of + head, 14) <= room else head
    sheet.text(left + 13, top + 22, fit(title, 14, room), size=14, kind="bare", weight=600)
    for i, line in enumerate(told):
        sheet.text(left + 13, top + 42 + 18 * i, fit(line, size, room), size=size, kind="soft bare")


def _bundles(sheet: Sheet, w: Wiring, tiers: list[int], plane: int, spans: dict[tuple[int, int], Place], hosts: Place) -> None:
    """Fans of lines from a plane's box to the box below, and how many cables they stand for."""
    mine = [t for t in tiers if (t, plane) in spans]
    ta, tb = w.router_tier[w.cable_a], w.router_tier[w.cable_b]
    for i, tier in enumerate(mine):
        left, wide, top, tall = spans[tier, plane]
        if i + 1 < len(mine):
            below = mine[i + 1]
            joins = ((ta == tier) & (tb == below) | (ta == below) & (tb == tier)) & (
                w.router_plane[np.where(ta <= tb, w.cable_a, w.cable_b)] == plane
            )
            n, said = int(joins.sum()), speeds(w.cable_bytes_per_s[joins])
            lower = spans[below, plane]
        else:
            joins = (w.router_plane[w.port_router] == plane) & (w.router_tier[w.port_router] == tier)
            n, said = int(joins.sum()), speeds(w.port_bytes_per_s[joins])
            lower = hosts
        if not n:
            continue
        y1, y2 = top + tall, lower[2] - (8 if i + 1 < len(mine) else 0)
        for a in (0.15, 0.38, 0.62, 0.85):
            for b in (0.15, 0.38, 0.62, 0.85):
                sheet.line(left + wide * a, y1, lower[0] + lower[1] * b, y2, "s0", faint=0.4)
        x, y = left + wide / 2, (y1 + y2) / 2
        one = f"{n:,} {'cables' if n > 1 else 'cable'} of {said}"
        if width(one, 12) <= wide - 8:
            sheet.text(x, y + 4, one, size=12, anchor="middle")
        else:
            sheet.text(x, y - 3, fit(f"{n:,} cables", 12, wide), size=12, anchor="middle")
            sheet.text(x, y + 13, fit(said, 11, wide), size=11, anchor="middle", kind="soft")


def _hosts(sheet: Sheet, w: Wiring, top: float) -> None:
    cards = np.bincount(w.host_of)
    sheet.rect(24, top, WIDE - 48, 56, "box", round_=6)
    sheet.rect(24, top, 5, 56, "f0", round_=2)
    sheet.text(40, top + 24, f"{w.hosts:,} hosts", size=14, kind="bare", weight=600)
    told = [few(cards, "cards each"), f"{w.nics:,} NICs" if w.nics else ""]
    if w.scale_up_bytes_per_s:
        domains = np.bincount(w.domain_of)
        told.append(f"{len(domains):,} scale-up domains of {few(domains, 'cards')} at {speed(w.scale_up_bytes_per_s)}")
    sheet.text(40, top + 43, fit(" · ".join(x for x in told if x), 12, WIDE - 90), size=12, kind="soft bare")


def _skips(w: Wiring) -> list[tuple[str, str]]:
    """Cables that no band shows: within a tier, or past one."""
    ta, tb = w.router_tier[w.cable_a], w.router_tier[w.cable_b]
    present = sorted(set(w.router_tier.tolist()))
    rank = np.zeros(max(present, default=0) + 1, int)
    rank[present] = np.arange(len(present))
    odd = np.abs(rank[ta] - rank[tb]) != 1
    return [("", f"and {int(odd.sum()):,} cables within a tier or past one")] if odd.any() else []
