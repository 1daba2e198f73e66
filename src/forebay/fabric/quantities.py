"""From a wiring to what a price book prices: lots of equal things.

Asked:  how many switches of which size, cables of which speed, NICs and cards does this fabric need?
Answer: equal ones are counted together. A cable slower than a port comes out of a port that is split, and takes its share of that
        port's cable and optics; a port has eight lanes, so no share is below an eighth. The ports of a direct network are the
        cards' own, so it has no NICs. A full mesh that is too large to be laid is counted by formula.
Limits: which cable is copper is left to the book (`made_of`); optical circuit switches have no price anywhere yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from forebay.fabric.build import build, direct, fill
from forebay.fabric.build.lay import card_bytes_per_s
from forebay.fabric.design import Design
from forebay.fabric.prices import Lot, Quantities
from forebay.fabric.wiring import Wiring

LANES = 8


def quantities(fabric: Wiring | Design) -> Quantities:
    """What is to be bought for a fabric. Raises what `build` raises."""
    if isinstance(fabric, Design):
        design = fill(fabric)
        if design.kind == "full-mesh" and design.cards > direct.MOST_MESHED:
            return _meshed(design)
        fabric = build(design)
    w, d = fabric, fabric.design
    box = w.router_tier > 0
    full = d.port_bytes_per_s if d else 0.0
    ends = box[w.cable_a].astype(int) + box[w.cable_b]
    domains = w.cards // d.scale_up.cards if d and d.scale_up else 0
    return Quantities(
        switches=tuple(_switches(w, box)),
        access_links=tuple(_lots(np.concatenate([w.port_bytes_per_s[box[w.port_router]], w.cable_bytes_per_s[ends == 1]]), full)),
        inter_switch_links=tuple(_lots(w.cable_bytes_per_s[ends == 2], full)),
        card_links=tuple(_lots(w.cable_bytes_per_s[ends == 0], full)),
        nics=(Lot(n=w.nics, bytes_per_s=full),) if w.nics and not w.direct else (),
        cards=w.cards,
        scale_up_switches=domains * d.scale_up.switches if d and d.scale_up else 0,
        scale_up_links=domains * d.scale_up.links if d and d.scale_up else 0,
    )


def _switches(w: Wiring, box: Any) -> Iterator[Lot]:
    """By the box as it is sold: split ports count as the ports that they were. From a file: by size and fastest cable."""
    if not box.any():
        return
    if w.design:
        yield Lot(n=int(box.sum()), ports=w.design.switch_ports, bytes_per_s=w.design.port_bytes_per_s)
        return
    speed = np.zeros(w.routers)
    np.maximum.at(speed, w.port_router, np.where(box[w.port_router], w.port_bytes_per_s, 0.0))
    np.maximum.at(speed, w.cable_a, w.cable_bytes_per_s)
    np.maximum.at(speed, w.cable_b, w.cable_bytes_per_s)
    used = np.bincount(np.concatenate([w.port_router, w.cable_a, w.cable_b]), minlength=w.routers)
    ports = np.where(w.router_ports > 0, w.router_ports, used)
    kinds, n = np.unique(np.stack([ports[box], speed[box]]), axis=1, return_counts=True)
    for (size, fastest), count in zip(kinds.T, n, strict=True):
        yield Lot(n=int(count), ports=int(size), bytes_per_s=float(fastest))


def _lots(speeds: Any, full: float) -> Iterator[Lot]:
    values, n = np.unique(speeds, return_counts=True)
    whole: dict[float, float] = {}
    for speed, count in zip(values, n, strict=True):
        part = max(speed / full, 1 / LANES) if 0 < speed < full else 1.0
        kind = full if part < 1 else float(speed)
        whole[kind] = whole.get(kind, 0.0) + count * part
    return (Lot(n=ceil(count - 1e-6), bytes_per_s=speed) for speed, count in whole.items())


def _meshed(d: Design) -> Quantities:
    pairs = d.cards * (d.cards - 1) // 2
    each = card_bytes_per_s(d) / (d.cards - 1)
    part = min(1.0, max(each / d.port_bytes_per_s, 1 / LANES))
    domains = d.cards // d.scale_up.cards if d.scale_up else 0
    return Quantities(
        card_links=(Lot(n=ceil(pairs * part), bytes_per_s=d.port_bytes_per_s),),
        cards=d.cards,
        scale_up_switches=domains * d.scale_up.switches if d.scale_up else 0,
        scale_up_links=domains * d.scale_up.links if d.scale_up else 0,
    )
