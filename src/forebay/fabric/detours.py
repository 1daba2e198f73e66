"""All links of a flow that goes round: Valiant's ways and UGAL's mix, listed.

Asked:  a part of a flow takes the shortest ways, the rest goes by way of every leaf alike. Which links does it cross, with what
        share of its bytes?
Answer: the first leg of each switch that a flow enters by, to each of the leaves; the second of all leaves to each switch that it
        leaves by; both worked out for this one switch, not for all traffic at once. A flow covers nearly every cable, so few are
        listed: some of each of few switches.
Limits: NICs of one port, as the networks have that are routed so.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.graph import Graph, parts, search
from forebay.fabric.push import first_leg, push
from forebay.fabric.rates import Longs
from forebay.fabric.wiring import Floats, Ints, Wiring

ENTRANCES = 12  # switches whose flows are listed
FLOWS = 96

Ways = tuple[Longs, Ints, Floats]


def few(wiring: Wiring, graph: Graph, source: Ints, target: Ints, dice: np.random.Generator) -> tuple[Ints, Ints]:
    """Flows that enter by few switches, so that few first legs are worked out; and in the order of their homes."""
    port = graph.port_start[wiring.unit_of[source]]
    at = graph.port_router[np.minimum(port, len(graph.port_router) - 1)]
    chosen = dice.permutation(np.unique(at))[:ENTRANCES]
    mine = dice.permutation(np.flatnonzero(np.isin(at, chosen)))[:FLOWS]
    mine = mine[np.argsort(graph.home_of[wiring.unit_of[target[mine]]], kind="stable")]
    return source[mine], target[mine]


def mixed(wiring: Wiring, graph: Graph, straight: Ways, share: float) -> Ways:
    """The same flows, of which `share` goes round. Raises BadInput where a NIC has several ports."""
    w, g = wiring, graph
    if len(g.port) and int(np.diff(g.port_start).max()) > 1:
        raise BadInput("Ways round are listed for NICs of one port.", found=w.name, hint="spray or ecmp")
    offsets, links, shares = straight
    flow = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    cables = slice(w.first_cable_link, w.first_scale_up_link)
    carried = np.zeros((len(offsets) - 1, w.links))
    np.add.at(carried, (flow, links), shares)
    carried[:, cables] *= 1.0 - share
    leg = _legs(w, g)
    seen: dict[tuple[int, bool], Floats] = {}
    for f in range(len(offsets) - 1):
        ports = links[offsets[f] : offsets[f + 1]]
        ports = ports[ports < w.first_cable_link]
        for link in ports:  # none within a scale-up domain, else one out of a card and one into a card
            key = (int(w.port_router[link // 2]), bool(link % 2))
            if key not in seen:
                seen[key] = leg(*key)
            carried[f] += share * seen[key]
    flows, crossed = np.nonzero(carried)
    found = np.concatenate([[0], np.cumsum(np.bincount(flows, minlength=len(carried)))]).astype(np.int64)
    return found, crossed.astype(np.int32), carried[flows, crossed]


def _legs(w: Wiring, g: Graph) -> Callable[[int, bool], Floats]:
    """What a byte puts on every link, from a router to all leaves of its part, or (`home`) from all of them to it."""
    component = parts(g.step_start, g.step_to)
    leaves = np.unique(g.port_router)
    count = np.bincount(component[leaves], minlength=int(component.max()) + 1).astype(np.int64)
    away, order = np.empty(w.routers, np.int32), np.empty(w.routers, np.int32)
    none = np.zeros(w.routers, np.bool_)

    def leg(router: int, home: bool) -> Floats:
        carried, held, entering = np.zeros(w.links), np.zeros(w.routers), np.zeros(w.routers)
        steps = (g.step_start, g.step_to, g.step_link, g.step_bytes_per_s, carried)
        if home:
            mine = leaves[component[leaves] == component[router]]
            held[mine] = 1.0 / len(mine)
            n = search(g.step_start, g.step_to, np.array([router], np.int32), none, -1, away, order)
            push(held, away, order, n, *steps)
        else:
            entering[router] = 1.0
            first_leg(entering, component, count, g.port_router, none.copy(), away, order, held, *steps)
        return carried

    return leg
