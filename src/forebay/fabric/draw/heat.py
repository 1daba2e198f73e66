"""How full the links are, from kind of place to kind of place."""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.draw.facts import word
from forebay.fabric.draw.svg import Sheet, fit
from forebay.fabric.wiring import Wiring

MOST = 40  # rows
RAMP = ((250, 246, 232), (254, 217, 142), (253, 157, 72), (222, 72, 45), (122, 4, 38))


def heat(w: Wiring, used: Any, *, title: str = "") -> str:
    """SVG. `used` is (links,): how full each link is, 0 to 1, numbered as in Wiring. A cell is the fullest from row to column.

    Rows are routers where these are few; else groups of a tier and plane, then planes, then tiers. Scale-up has a row of its own.
    """
    used = np.asarray(used, float)
    if used.shape != (w.links,):
        raise BadInput("A use for each link.", asked=f"{w.links:,} links", found=f"{used.shape}")
    if not np.isfinite(used).all() or (used < 0).any():
        raise BadInput("The use of a link is a number, zero or more.", found=f"link {int(np.argmax(~(used >= 0)))}")
    place, names = _places(w)
    source, target = _ends(w, place, len(names))
    size = len(names)
    keep = np.ones(len(source), bool)
    if not w.scale_up_bytes_per_s:
        keep[w.first_scale_up_link :] = False
    keep &= np.isfinite(w.capacities())
    cell = source[keep] * size + target[keep]
    top = np.full(size * size, -1.0)
    np.maximum.at(top, cell, used[keep])
    count = np.bincount(cell, minlength=size * size)
    mean = np.bincount(cell, weights=used[keep], minlength=size * size) / np.maximum(count, 1)
    return _draw(w, names, top.reshape(size, size), mean.reshape(size, size), count.reshape(size, size), title)


def _places(w: Wiring) -> tuple[Any, list[str]]:
    """The row of each router, and the names of rows; the first is the cards', the second scale-up's if there is one."""
    first = ["cards"] + (["scale-up"] if w.scale_up_bytes_per_s else [])
    tiers, planes, groups = w.router_tier.astype(np.int64), w.router_plane.astype(np.int64), w.router_group.astype(np.int64)
    if w.routers + len(first) <= MOST:
        order = np.lexsort((np.arange(w.routers), groups, planes, tiers))
        row = np.empty(w.routers, np.int64)
        row[order] = np.arange(w.routers)
        return row + len(first), first + [w.router_name(int(i)) for i in order]
    many_planes, many_groups = planes.max(initial=0) > 0, len(set(groups.tolist())) > 1
    for keys in ((tiers, planes, groups), (tiers, groups), (tiers, planes), (tiers,)):
        kinds, row = np.unique(np.stack(keys), axis=1, return_inverse=True)
        if kinds.shape[1] + len(first) <= MOST or len(keys) == 1:
            break
    names = []
    for kind in kinds.T.tolist():
        told = [word(kind[0]) if kind[0] else "cards, passing on"]
        for key, value in zip(keys[1:], kind[1:], strict=True):
            if key is planes and many_planes:
                told.append(f"plane {value}")
            if key is groups and many_groups:
                told.append(f"group {value}")
        names.append(", ".join(told))
    return row.reshape(-1) + len(first), first + names


def _ends(w: Wiring, place: Any, size: int) -> tuple[Any, Any]:
    """The row and the column of each link."""
    ports, ups = len(w.port_unit), w.cards
    one = np.concatenate([np.zeros(ports, np.int64), place[w.cable_a], np.zeros(ups, np.int64)])
    two = np.concatenate([place[w.port_router], place[w.cable_b], np.ones(ups, np.int64)])
    return np.stack([one, two], 1).reshape(-1), np.stack([two, one], 1).reshape(-1)


def _draw(w: Wiring, names: list[str], top: Any, mean: Any, count: Any, title: str) -> str:
    size = len(names)
    cell = max(15.0, min(46.0, 560.0 / size))
    left, head = 250.0, 108.0
    sheet = Sheet(
        max(800.0, left + cell * size + 40),
        head + cell * size + 90,
        title or f"Link load: {w.name}",
        "the fullest link from each row to each column",
    )
    for i, name in enumerate(names):
        y = head + cell * (i + 0.5) + 4
        sheet.text(left - 34, y, fit(name, 11, left - 60), size=11, anchor="end", kind="soft")
        sheet.text(left - 6, y, str(i + 1), size=10, anchor="end")
        if cell >= 15:
            sheet.text(left + cell * (i + 0.5), head - 6, str(i + 1), size=min(10, cell * 0.55), anchor="middle")
    for i in range(size):
        for j in range(size):
            x, y = left + cell * j, head + cell * i
            if top[i, j] < 0:
                sheet.rect(x + 0.5, y + 0.5, cell - 1, cell - 1, "box", round_=1)
                continue
            told = (
                f"{names[i]} -> {names[j]}: fullest {100 * top[i, j]:.3g} %, mean {100 * mean[i, j]:.3g} %, {count[i, j]:,} links"
            )
            sheet.rect(x + 0.5, y + 0.5, cell - 1, cell - 1, round_=1, told=told, colour=colour(top[i, j]))
            if cell >= 20:
                kind = "night" if top[i, j] > 0.66 else "day"
                sheet.text(
                    x + cell / 2,
                    y + cell / 2 + 4,
                    f"{100 * top[i, j]:.0f}",
                    size=min(11, cell * 0.36),
                    anchor="middle",
                    kind=kind,
                )
    y = sheet.high - 50
    for k in range(41):
        sheet.rect(left + 7 * k, y, 7.5, 12, round_=0, colour=colour(k / 40))
    for share in (0, 50, 100):
        sheet.text(left + 2.8 * share, y + 27, f"{share} %", size=11, anchor="middle", kind="soft")
    sheet.text(left + 300, y + 11, "full; an empty cell: no link", size=11, kind="soft")
    return sheet.done()


def colour(share: float) -> str:
    """From pale over orange to dark red, as hexadecimal. What is over 1 is as 1."""
    at = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    i = min(int(at), len(RAMP) - 2)
    return "#" + "".join(f"{round(a + (b - a) * (at - i)):02x}" for a, b in zip(RAMP[i], RAMP[i + 1], strict=True))
