"""Push sprayed traffic home: the loops of `loads`, compiled.

Asked:  what does each link carry when every router splits what it holds over the links that lead closer?
Answer: one breadth-first search from a home gives distances and an order; going through the order backwards, farthest first,
        each router has all it will ever hold when its turn comes.
        At a home of several routers (planes), which of them a sender's bytes arrive at is worked out the other way, from the home
        outwards, so each of its units gets them where its own senders' come in.
Limits: plain arrays in and out; what they mean stands in `graph.Graph` and `wiring.Wiring`, by the same names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from forebay.fabric.graph import FAR, search
from forebay.fabric.routes import nearest_port


@njit(cache=True)  # type: ignore[untyped-decorator]
def push(
    held: Any, away: Any, order: Any, n: Any, step_start: Any, step_to: Any, step_link: Any, step_speed: Any, carried: Any
) -> None:
    """Push what each router holds toward distance 0, farthest first. `held` keeps what has arrived."""
    for i in range(n - 1, -1, -1):
        router = order[i]
        if away[router] == 0 or held[router] == 0.0:
            continue
        speed = 0.0
        for k in range(step_start[router], step_start[router + 1]):
            if away[step_to[k]] == away[router] - 1:
                speed += step_speed[k]
        for k in range(step_start[router], step_start[router + 1]):
            if away[step_to[k]] == away[router] - 1:
                share = held[router] * step_speed[k] / speed
                carried[step_link[k]] += share
                held[step_to[k]] += share
        held[router] = 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def push_all(
    starts: Any, sources: Any, size: Any, group_of: Any, valiant: Any, forward: Any, domain_of: Any, host_of: Any, rail_of: Any,
    scale_up: Any, first_scale_up: Any, links: Any, first_of_host: Any, unit_of: Any, port_start: Any, port: Any,
    port_router: Any, port_speed: Any, step_start: Any, step_to: Any, step_link: Any, step_speed: Any, home_start: Any,
    home_router: Any, home_units: Any, units_by_home: Any, unit_cards: Any, cards_by_unit: Any, component: Any, leaves_in: Any,
) -> Any:  # fmt: skip
    """Home after home: count what each unit sends there, put it on its ports, push it home, spread it over the ports there.

    `starts`, `sources`: the senders to each card, or, with `group_of`, the members of each group.
    """
    routers, units, homes = len(step_start) - 1, len(port_start) - 1, len(home_start) - 1
    grouped = len(group_of) > 0
    carried = np.zeros(links)
    away, order = np.empty(routers, np.int32), np.empty(routers, np.int32)
    wanted = np.zeros(routers, np.bool_)
    held = np.zeros(routers)
    entering = np.zeros(routers)  # of all homes together: Valiant's first leg
    sent = np.zeros(units)  # to this home
    near = np.empty(units, np.int32)
    seen = np.full(units, -1, np.int32)
    cut = 0
    widest = 1
    for h in range(homes):
        widest = max(widest, home_start[h + 1] - home_start[h])
    reach = np.zeros((routers if widest > 1 else 0, widest))  # of a router's bytes, the part that arrives at each of the home's
    mix = np.zeros((units if widest > 1 else 0, widest))  # of a unit's
    got = np.zeros(widest)
    for h in range(homes):
        wanting, asked = 0, 0
        for i in range(home_units[h], home_units[h + 1]):
            for c in range(unit_cards[units_by_home[i]], unit_cards[units_by_home[i] + 1]):
                b = cards_by_unit[c]
                row = group_of[b] if grouped else b
                if row < 0:
                    continue
                for s in range(starts[row], starts[row + 1]):
                    a = sources[s]
                    if a == b or (scale_up > 0 and domain_of[a] == domain_of[b]):
                        continue
                    asked += 1
                    card = first_of_host[host_of[a]] if forward else a
                    if seen[unit_of[card]] == h:
                        continue
                    while card < len(unit_of) and host_of[card] == host_of[a]:
                        u = unit_of[card]
                        seen[u] = h
                        for k in range(port_start[u], port_start[u + 1]):
                            if not wanted[port_router[k]]:
                                wanted[port_router[k]] = True
                                wanting += 1
                        card += 1 if forward else len(unit_of)
        if asked > 0:
            n = search(
                step_start,
                step_to,
                home_router[home_start[h] : home_start[h + 1]],
                wanted,
                -1 if valiant else wanting,
                away,
                order,
            )
            wanted[:] = False
            for u in range(units):
                if seen[u] == h:
                    near[u] = nearest_port(u, port_start, port_router, away)
        arriving = 0.0
        for i in range(home_units[h], home_units[h + 1]):
            for c in range(unit_cards[units_by_home[i]], unit_cards[units_by_home[i] + 1]):
                b = cards_by_unit[c]
                row = group_of[b] if grouped else b
                if row < 0:
                    continue
                for s in range(starts[row], starts[row + 1]):
                    a = sources[s]
                    if a == b:
                        continue
                    nbytes = size[0] if grouped else size[s]
                    if scale_up > 0 and domain_of[a] == domain_of[b]:
                        carried[first_scale_up + 2 * a] += nbytes
                        carried[first_scale_up + 2 * b + 1] += nbytes
                        continue
                    u = unit_of[a]
                    peer = _handed(a, b, near, forward, host_of, rail_of, unit_of, first_of_host)
                    if peer >= 0:
                        carried[first_scale_up + 2 * a] += nbytes
                        carried[first_scale_up + 2 * peer + 1] += nbytes
                        u = unit_of[peer]
                    if near[u] >= FAR:
                        cut += 1
                        continue
                    sent[u] += nbytes
                    arriving += nbytes
        if arriving == 0.0:
            continue
        for u in range(units):
            if sent[u] == 0.0:
                continue
            speed = 0.0
            for k in range(port_start[u], port_start[u + 1]):
                if away[port_router[k]] == near[u]:
                    speed += port_speed[k]
            for k in range(port_start[u], port_start[u + 1]):
                if away[port_router[k]] == near[u]:
                    # A direct network's ports are without limit: they take equal shares.
                    share = sent[u] if np.isinf(speed) else sent[u] * port_speed[k] / speed
                    carried[2 * port[k]] += share
                    held[port_router[k]] += share
                    entering[port_router[k]] += share
            sent[u] = 0.0
        if valiant:
            _scatter(held, entering, component, leaves_in, port_router, wanted)
        push(held, away, order, n, step_start, step_to, step_link, step_speed, carried)
        wide = home_start[h + 1] - home_start[h]
        if wide > 1:
            _reaching(home_router[home_start[h] : home_start[h + 1]], away, order, n, step_start, step_to, step_speed, reach)
            if valiant:
                _averaged(reach, wide, component, leaves_in, port_router, wanted)
            for u in range(units):
                if seen[u] == h and near[u] < FAR:
                    _mixed(u, near[u], away, port_start, port_router, port_speed, reach, wide, mix)
        for i in range(home_units[h], home_units[h + 1]):
            v = units_by_home[i]
            got[:] = 0.0
            for c in range(unit_cards[v], unit_cards[v + 1]):
                b = cards_by_unit[c]
                row = group_of[b] if grouped else b
                if row < 0:
                    continue
                for s in range(starts[row], starts[row + 1]):
                    a = sources[s]
                    if a == b or (scale_up > 0 and domain_of[a] == domain_of[b]):
                        continue
                    peer = _handed(a, b, near, forward, host_of, rail_of, unit_of, first_of_host)
                    u = unit_of[peer if peer >= 0 else a]
                    if near[u] < FAR:
                        nbytes = size[0] if grouped else size[s]
                        if wide == 1:
                            got[0] += nbytes
                        else:
                            for r in range(wide):
                                got[r] += nbytes * mix[u, r]
            for r in range(wide):
                if got[r] > 0.0:
                    _land(got[r], v, home_router[home_start[h] + r], port_start, port, port_router, port_speed, carried)
        for i in range(home_start[h], home_start[h + 1]):
            held[home_router[i]] = 0.0
    if valiant:
        first_leg(entering, component, leaves_in, port_router, wanted, away, order, held,
                   step_start, step_to, step_link, step_speed, carried)  # fmt: skip
    return carried, cut


@njit(cache=True)  # type: ignore[untyped-decorator]
def _handed(a: Any, b: Any, near: Any, forward: Any, host_of: Any, rail_of: Any, unit_of: Any, first_of_host: Any) -> Any:
    """The card of a's host to which a hands over what is for b, being nearer; -1: none is."""
    if forward and rail_of[a] != rail_of[b]:
        peer = first_of_host[host_of[a]] + rail_of[b]
        if peer < len(host_of) and host_of[peer] == host_of[a] and near[unit_of[peer]] < near[unit_of[a]]:
            return peer
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _land(mine: Any, unit: Any, router: Any, port_start: Any, port: Any, port_router: Any, port_speed: Any, carried: Any) -> None:
    """Spread what a unit gets at a router over its ports there, by their speed."""
    speed = 0.0
    for k in range(port_start[unit], port_start[unit + 1]):
        if port_router[k] == router:
            speed += port_speed[k]
    for k in range(port_start[unit], port_start[unit + 1]):
        if port_router[k] == router:
            carried[2 * port[k] + 1] += mine * (1.0 if np.isinf(speed) else port_speed[k] / speed)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _reaching(
    home: Any, away: Any, order: Any, n: Any, step_start: Any, step_to: Any, step_speed: Any, reach: Any
) -> None:  # fmt: skip
    """Nearest first, what becomes of a byte at each router: `push`, read the other way."""
    for i in range(n):
        router = order[i]
        reach[router] = 0.0
        if away[router] == 0:
            for r in range(len(home)):
                if home[r] == router:
                    reach[router, r] = 1.0
            continue
        speed = 0.0
        for k in range(step_start[router], step_start[router + 1]):
            if away[step_to[k]] == away[router] - 1:
                speed += step_speed[k]
                for r in range(len(home)):
                    reach[router, r] += step_speed[k] * reach[step_to[k], r]
        for r in range(len(home)):
            reach[router, r] /= speed


@njit(cache=True)  # type: ignore[untyped-decorator]
def _averaged(reach: Any, wide: Any, component: Any, leaves_in: Any, port_router: Any, leaf: Any) -> None:
    """Valiant: a byte that enters goes on from any leaf of its part alike."""
    total = np.zeros((len(leaves_in), wide))
    for k in range(len(port_router)):
        leaf[port_router[k]] = True
    for router in range(len(leaf)):
        if leaf[router]:
            for r in range(wide):
                total[component[router], r] += reach[router, r] / leaves_in[component[router]]
    for router in range(len(leaf)):
        if leaf[router]:
            for r in range(wide):
                reach[router, r] = total[component[router], r]
    leaf[:] = False


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mixed(
    unit: Any, near: Any, away: Any, port_start: Any, port_router: Any, port_speed: Any, reach: Any, wide: Any, mix: Any
) -> None:  # fmt: skip
    """Where a unit's bytes arrive: by the speed of those of its ports that are nearest."""
    mix[unit] = 0.0
    speed, ports = 0.0, 0
    for k in range(port_start[unit], port_start[unit + 1]):
        if away[port_router[k]] == near:
            speed += port_speed[k]
            ports += 1
    for k in range(port_start[unit], port_start[unit + 1]):
        if away[port_router[k]] == near:
            share = 1.0 / ports if np.isinf(speed) else port_speed[k] / speed
            for r in range(wide):
                mix[unit, r] += share * reach[port_router[k], r]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _scatter(held: Any, entering: Any, component: Any, leaves_in: Any, port_router: Any, leaf: Any) -> None:
    """Valiant: what waits at the sources' routers stands, after the first leg, evenly at all leaves of their part."""
    total = np.zeros(len(leaves_in))
    for router in range(len(held)):
        total[component[router]] += held[router]
        held[router] = 0.0
    for k in range(len(port_router)):
        leaf[port_router[k]] = True
    for router in range(len(held)):
        if leaf[router]:
            held[router] = total[component[router]] / leaves_in[component[router]]
    leaf[:] = False


@njit(cache=True)  # type: ignore[untyped-decorator]
def first_leg(
    entering: Any, component: Any, leaves_in: Any, port_router: Any, leaf: Any, away: Any, order: Any, held: Any,
    step_start: Any, step_to: Any, step_link: Any, step_speed: Any, carried: Any,
) -> None:  # fmt: skip
    """Valiant: everything that entered goes to every leaf of its part, evenly."""
    for k in range(len(port_router)):
        leaf[port_router[k]] = True
    none = np.zeros(len(leaf), np.bool_)
    middle = np.empty(1, np.int32)
    for router in range(len(leaf)):
        if not leaf[router]:
            continue
        middle[0] = router
        n = search(step_start, step_to, middle, none, -1, away, order)
        for i in range(n):
            held[order[i]] = entering[order[i]] / leaves_in[component[router]]
        push(held, away, order, n, step_start, step_to, step_link, step_speed, carried)
        held[router] = 0.0
    leaf[:] = False
