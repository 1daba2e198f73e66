"""What a picture tells of a wiring: counts, words, and which way of drawing fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from forebay.fabric.wiring import Wiring
from forebay.units import show_bytes_per_s, show_seconds, write_bytes_per_s

WORDS = {0: ("card", "cards"), 1: ("leaf", "leaves"), 2: ("spine", "spines"), 3: ("core", "cores")}


def word(tier: int, n: int = 2) -> str:
    one, many = WORDS.get(tier, (f"tier-{tier} switch", f"tier-{tier} switches"))
    return one if n == 1 else many


def few(values: Any, what: str) -> str:
    """ "32 down", or "30 to 32 down" where they differ; nothing for nothing."""
    low, high = int(values.min(initial=1 << 30)), int(values.max(initial=0))
    if not high:
        return ""
    return f"{low:,} {what}" if low == high else f"{low:,} to {high:,} {what}"


def speeds(bytes_per_s: Any) -> str:
    """ "400 Gbit/s", "200 to 400 Gbit/s"."""
    finite = bytes_per_s[np.isfinite(bytes_per_s) & (bytes_per_s > 0)]
    if not len(finite):
        return ""
    low, high = speed(float(finite.min())), speed(float(finite.max()))
    return low if low == high else f"{low} to {high}"


def speed(bytes_per_s: float) -> str:
    """As people write it, where that is short: "400 Gbit/s", "8.33 GB/s"."""
    exact = write_bytes_per_s(bytes_per_s)
    return exact if len(exact) <= 12 else show_bytes_per_s(bytes_per_s)


def seconds(s: float) -> str:
    """With the digits that tell two fabrics apart: "10.20 s"."""
    return f"{s:.2f} s" if 1 <= s < 100 else f"{s:.3g} s" if s < 1 else show_seconds(s)


def summary(w: Wiring) -> str:
    """The line under the title."""
    switches = int((w.router_tier > 0).sum())
    told = [f"{w.hosts:,} hosts", f"{w.cards:,} cards"]
    told += [f"{switches:,} switches"] if switches else []
    access = 0 if not np.isfinite(w.port_bytes_per_s).any() else len(w.port_unit)
    told += [f"{access:,} access cables"] if access else []
    down = int((w.port_bytes_per_s == 0).sum() + (w.cable_bytes_per_s == 0).sum())
    last = [f"{down:,} of them down"] if down else []
    told.append(f"{len(w.cable_a):,} cables between {'switches' if switches and not w.direct else 'cards'}")
    return " · ".join(told + last)


def tiered(w: Wiring) -> bool:
    """A tree of tiers, to be drawn in bands; else groups that are joined to each other, or a box of sides."""
    if w.direct or not w.routers:
        return False
    a, b = w.router_tier[w.cable_a], w.router_tier[w.cable_b]
    across = (a == b) & (w.router_group[w.cable_a] != w.router_group[w.cable_b])
    return not across.any() and 2 * int((a == b).sum()) <= len(a)


def degrees(w: Wiring) -> tuple[Any, Any, Any]:
    """Of each router: ports and cables down, up, and sideways."""
    n = w.routers
    a, b = w.cable_a, w.cable_b
    ta, tb = w.router_tier[a], w.router_tier[b]
    down = np.bincount(a[ta > tb], minlength=n) + np.bincount(b[tb > ta], minlength=n)
    up = np.bincount(a[ta < tb], minlength=n) + np.bincount(b[tb < ta], minlength=n)
    side = np.bincount(a[ta == tb], minlength=n) + np.bincount(b[ta == tb], minlength=n)
    access = np.isfinite(w.port_bytes_per_s)
    return down + np.bincount(w.port_router[access], minlength=n), up, side


def sides(w: Wiring) -> tuple[tuple[int, ...], bool] | None:
    """The sides of a box in which routers lie, the last side fastest, and whether its rows are rings (else every two are joined).

    Taken from the design's shape, and believed only if the cables say the same: each cable changes one coordinate.
    """
    if not w.routers:
        return None
    lowest = int(w.router_tier.min())
    n = int((w.router_tier == lowest).sum())
    if w.design is None or len(w.design.shape) < 2 or (w.router_tier[:n] != lowest).any():
        return None
    inside = (w.cable_a < n) & (w.cable_b < n)
    a, b = w.cable_a[inside], w.cable_b[inside]
    for cut in range(len(w.design.shape), 1, -1):
        shape = w.design.shape[:cut]
        if math.prod(shape) != n or not len(a):
            continue
        apart = [np.abs(x - y) for x, y in zip(np.unravel_index(a, shape), np.unravel_index(b, shape), strict=True)]
        if (sum((d > 0).astype(int) for d in apart) == 1).all():
            near = all(((d <= 1) | (d == side - 1)).all() for d, side in zip(apart, shape, strict=True))
            return shape, near and max(shape) > 3
    return None
