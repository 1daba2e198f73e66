"""A wiring, indexed for walking: who is next to whom, and which units hang where.

Asked:  from this router, which links lead closer to that card, whatever the fabric's family and whatever is broken?
Answer: neighbours in one array (`step_*`), the ports of each unit in another, and the *homes*: units that hang on the same
        routers share one home, so that one breadth-first search from a home serves all of them. A fabric of 65,536 endpoints has
        2,048 homes.
Limits: distances count cables between routers; all cables count one, whatever their speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from forebay.fabric.rates import Longs
from forebay.fabric.wiring import Floats, Ints, Wiring

FAR = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """Neighbours, ports and homes of a wiring. Letters: R routers, S steps (two a cable), U units, P ports, H homes."""

    step_start: Longs  # (R + 1,)
    step_to: Ints  # (S,)
    step_link: Ints  # (S,)
    step_bytes_per_s: Floats  # (S,)
    port_start: Longs  # (U + 1,)
    port: Ints  # (P,) sorted by unit
    port_router: Ints  # (P,) of `port`
    port_bytes_per_s: Floats  # (P,) of `port`
    home_of: Ints  # (U,) -1: hangs nowhere
    home_start: Longs  # (H + 1,)
    home_router: Ints
    unit_of: Ints  # (N,) of cards

    @property
    def homes(self) -> int:
        return len(self.home_start) - 1


def graph(wiring: Wiring) -> Graph:
    """Index a wiring. Linear in its cables."""
    w = wiring
    cables, routers, units = len(w.cable_a), w.routers, w.units
    live = w.cable_bytes_per_s > 0
    number = np.arange(cables, dtype=np.int32)[live]
    source = np.concatenate([w.cable_a[live], w.cable_b[live]])
    target = np.concatenate([w.cable_b[live], w.cable_a[live]])
    link = w.first_cable_link + 2 * np.concatenate([number, number]) + np.repeat([0, 1], len(number))
    speed = np.concatenate([w.cable_bytes_per_s[live]] * 2)
    order = np.lexsort((target, source))
    alive = np.flatnonzero(w.port_bytes_per_s > 0)
    by_unit = alive[np.lexsort((w.port_router[alive], w.port_unit[alive]))]
    home_of, home_start, home_router = _homes(w.port_unit[by_unit], w.port_router[by_unit], units)
    return Graph(
        step_start=_starts(source, routers),
        step_to=target[order].astype(np.int32),
        step_link=link[order].astype(np.int32),
        step_bytes_per_s=speed[order],
        port_start=_starts(w.port_unit[by_unit], units),
        port=by_unit.astype(np.int32),
        port_router=w.port_router[by_unit],
        port_bytes_per_s=w.port_bytes_per_s[by_unit],
        home_of=home_of,
        home_start=home_start,
        home_router=home_router,
        unit_of=w.unit_of,
    )


def distances(graph: Graph, home: int) -> Ints:
    """Cables from each router (R,) to the nearest router of this home; FAR: no way."""
    routers = len(graph.step_start) - 1
    away, order = np.empty(routers, np.int32), np.empty(routers, np.int32)
    start = graph.home_router[graph.home_start[home] : graph.home_start[home + 1]]
    search(graph.step_start, graph.step_to, start, np.full(routers, False), -1, away, order)
    return away


@njit(cache=True)  # type: ignore[untyped-decorator]
def search(step_start: Any, step_to: Any, start: Any, wanted: Any, wanting: Any, away: Any, order: Any) -> Any:
    """Breadth-first from the routers of `start`. Fills `away` (R,) and `order` (nearest first); gives how many were reached.

    Ends early, with a whole shell, when `wanting` routers marked in `wanted` were reached; -1 searches on.
    """
    away[:] = FAR
    n = 0
    for i in range(len(start)):
        if away[start[i]] == FAR:
            away[start[i]] = 0
            order[n] = start[i]
            n += 1
    missing = wanting
    at = 0
    last = FAR  # the shell in which the last wanted router lies
    while at < n:
        router = order[at]
        at += 1
        if wanted[router]:
            missing -= 1
            if missing == 0:
                last = away[router]
        if away[router] >= last:
            continue
        for k in range(step_start[router], step_start[router + 1]):
            to = step_to[k]
            if away[to] == FAR:
                away[to] = away[router] + 1
                order[n] = to
                n += 1
    return n


@njit(cache=True)  # type: ignore[untyped-decorator]
def parts(step_start: Any, step_to: Any) -> Any:
    """Which routers can reach each other (R,): equal numbers do."""
    routers = len(step_start) - 1
    part = np.full(routers, -1, np.int32)
    queue = np.empty(routers, np.int32)
    parts = 0
    for first in range(routers):
        if part[first] >= 0:
            continue
        part[first] = parts
        queue[0], at, n = first, 0, 1
        while at < n:
            router = queue[at]
            at += 1
            for k in range(step_start[router], step_start[router + 1]):
                if part[step_to[k]] < 0:
                    part[step_to[k]] = parts
                    queue[n] = step_to[k]
                    n += 1
        parts += 1
    return part


def _starts(key: Any, bins: int) -> Longs:
    return np.concatenate([[0], np.cumsum(np.bincount(key, minlength=bins))]).astype(np.int64)


def _homes(unit: Any, router: Any, units: int) -> tuple[Ints, Longs, Ints]:
    """Units with the same sorted routers get the same home."""
    counts = np.bincount(unit, minlength=units)
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    home_of = np.full(units, -1, np.int32)
    starts, routers = [0], []
    widths = [int(k) for k in np.unique(counts) if k > 0]
    homes = 0
    for width in widths:  # units of equally many ports are compared as rows
        mine = np.flatnonzero(counts == width)
        rows = router[first[mine][:, None] + np.arange(width)]
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        home_of[mine] = homes + inverse.reshape(-1)
        homes += len(unique)
        for row in unique:
            here = np.unique(row)
            routers.append(here)
            starts.append(starts[-1] + len(here))
    flat = np.concatenate(routers) if routers else np.zeros(0)
    return home_of, np.asarray(starts, np.int64), flat.astype(np.int32)
