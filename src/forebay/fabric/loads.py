"""How many bytes each link carries, when many cards send at once.

Asked:  these pairs of cards, or all pairs of these groups, exchange so many bytes. What goes over each link?
Answer: sprayed traffic is pushed toward one home after the other (Brandes' accumulation, J. Math. Sociology 25, 2001, with
        capacities): what a router holds is split over the links that lead one closer, in proportion to their speed, as packet
        spraying does. All sources of a home are pushed at once, so an all-to-all of 10,000 cards, 99,990,000 flows, costs one
        pass over the cables for each home and a count for each pair. Nothing is listed.
        A torus or mesh that is whole is worked out once for each difference of places (`lattice`).
        Hashed traffic (`ecmp`) is walked flow by flow while there are at most `LISTED` of them; beyond that so many flows cross
        each link that the hash averages out, and they are taken as sprayed: `averaged` says so.
        *Valiant* pushes to every leaf and from every leaf. *UGAL* (Singh, 2005) is taken as the best fixed mix of shortest ways
        and Valiant for this traffic, which is what it aims for; real ones lag behind.
Units:  bytes.
Limits: what spraying does inside one NIC or switch is not modelled; ports of a unit share its traffic by their speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.graph import Graph, parts
from forebay.fabric.lattice import Lattice, carry, lattice
from forebay.fabric.push import push_all
from forebay.fabric.rates import Longs
from forebay.fabric.routes import Routing, check, first_of_host, forwards, routes
from forebay.fabric.stand_in import portless, stand_ins
from forebay.fabric.wiring import Floats, Ints, Wiring

LISTED = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loads:
    """What each link carries. It knows no time: that is `flows.last_of_equals` or `rates`."""

    nbytes: Floats  # (L,)
    cut: int = 0  # pairs that find no way
    averaged: bool = False  # hashed flows were too many to be listed, and taken as sprayed

    def seconds(self, bytes_per_s: Floats) -> float:
        """Of the busiest link, if nothing else holds it up: when the last of equal flows ends (`flows.last_of_equals`)."""
        used = self.nbytes > 0
        with np.errstate(divide="ignore"):
            return float((self.nbytes[used] / bytes_per_s[used]).max()) if used.any() else 0.0


def of_pairs(wiring: Wiring, graph: Graph, source: Ints, target: Ints, nbytes: Floats | float, routing: Routing) -> Loads:
    """Card source[i] sends nbytes[i] (or as many each) to card target[i]; (F,)."""
    source, target = np.ascontiguousarray(source, np.int32), np.ascontiguousarray(target, np.int32)
    check(wiring, source, target)
    if len(source) != len(target):
        raise BadInput("Each card that sends has one that gets.", asked=f"{len(source)} sources", found=f"{len(target)} targets")
    size = np.broadcast_to(np.asarray(nbytes, np.float64), source.shape)
    _check_bytes(size)
    if routing.kind == "ecmp":
        flows = np.repeat(np.arange(len(source)), routing.subflows)
        number = np.arange(len(flows), dtype=np.int32)
        found = routes(wiring, graph, source[flows], target[flows], routing, number)
        each = np.repeat(size[flows] / routing.subflows, np.diff(found.offsets))
        return Loads(
            nbytes=np.bincount(found.links, each, minlength=wiring.links).astype(np.float64),
            cut=len(found.cut) // routing.subflows,
        )
    if routing.stand_in and forwards(wiring, routing) and portless(wiring, graph).any():
        x, y = stand_ins(wiring, graph, source, target)
        lent = of_pairs(wiring, graph, x, y, size, replace(routing, stand_in=False))
        before, after = x != source, y != target
        _through_scale_up(wiring, lent.nbytes, source[before], x[before], size[before])
        _through_scale_up(wiring, lent.nbytes, y[after], target[after], size[after])
        return lent
    if (flat := _lattice(wiring, graph, routing)) is not None:
        return _over_lattice(wiring, graph, flat, routing, source, target, size)
    order = np.argsort(target, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=wiring.cards))]).astype(np.int64)
    return _sprayed(wiring, graph, routing, starts, source[order], np.ascontiguousarray(size[order]), np.zeros(0, np.int32))


def of_groups(wiring: Wiring, graph: Graph, groups: Ints, nbytes: float, routing: Routing) -> Loads:
    """Every card of a group sends `nbytes` to every other of it; groups (G, n), cards, all groups at once."""
    groups = np.ascontiguousarray(groups, np.int32)
    if groups.ndim != 2:
        raise BadInput("Groups are equally large rows of cards.", found=f"an array of {groups.ndim} dimensions")
    check(wiring, groups.reshape(-1))
    _check_bytes(np.full(1, float(nbytes)))
    count, width = groups.shape
    if len(np.unique(groups)) != groups.size:
        raise BadInput("Groups that send at the same time share no card.", asked=f"{count} groups of {width}")
    if routing.kind == "ecmp" and count * width * (width - 1) * routing.subflows <= LISTED:
        pair = np.array([(i, j) for i in range(width) for j in range(width) if i != j], np.int32).reshape(-1, 2)
        return of_pairs(wiring, graph, groups[:, pair[:, 0]].reshape(-1), groups[:, pair[:, 1]].reshape(-1), nbytes, routing)
    if count * width * (width - 1) <= LISTED and (flat := _lattice(wiring, graph, routing)) is not None:
        i, j = np.nonzero(~np.eye(width, dtype=bool))
        source, target = groups[:, i].reshape(-1), groups[:, j].reshape(-1)
        return _over_lattice(wiring, graph, flat, routing, source, target, np.full(len(source), float(nbytes)))
    if routing.stand_in and forwards(wiring, routing) and (lost := portless(wiring, graph)[groups]).any():
        return _beside(wiring, graph, groups, lost, nbytes, replace(routing, stand_in=False))
    group_of = np.full(wiring.cards, -1, np.int32)
    group_of[groups] = np.arange(count, dtype=np.int32)[:, None]
    starts = np.arange(count + 1, dtype=np.int64) * width
    found = _sprayed(wiring, graph, routing, starts, groups.reshape(-1), np.full(1, nbytes), group_of)
    return replace(found, averaged=routing.kind == "ecmp")


def _beside(wiring: Wiring, graph: Graph, groups: Ints, lost: Any, nbytes: float, routing: Routing) -> Loads:
    """Groups (G, n) of which some cards have no port: their pairs are listed, all others aggregated."""
    count, width = groups.shape
    row, place = np.nonzero(lost)
    one, many = np.repeat(groups[row, place], width), groups[row].reshape(-1)
    known = np.zeros(wiring.cards, bool)
    known[groups[lost]] = True
    out, back = one != many, (one != many) & ~known[many]  # of two that are both lost, each lists its own way
    source, target = np.concatenate([one[out], many[back]]), np.concatenate([many[out], one[back]])
    listed = of_pairs(wiring, graph, source, target, nbytes, replace(routing, stand_in=True))
    group_of = np.full(wiring.cards, -1, np.int32)
    group_of[groups] = np.arange(count, dtype=np.int32)[:, None]
    group_of[groups[lost]] = -1
    starts = np.concatenate([[0], np.cumsum((~lost).sum(axis=1))]).astype(np.int64)
    rest = _sprayed(wiring, graph, routing, starts, groups[~lost], np.full(1, nbytes), group_of)
    return Loads(nbytes=rest.nbytes + listed.nbytes, cut=rest.cut + listed.cut, averaged=routing.kind == "ecmp")


def _check_bytes(size: Floats) -> None:
    if len(size) and not (np.isfinite(size).all() and size.min() >= 0):
        raise BadInput("A card sends zero bytes or more.", asked=f"{size[~np.isfinite(size) | (size < 0)][0]:g} bytes")


def _sprayed(wiring: Wiring, graph: Graph, routing: Routing, starts: Longs, sources: Ints, size: Floats, group_of: Ints) -> Loads:
    g, w = graph, wiring
    units_by_home = np.argsort(g.home_of, kind="stable").astype(np.int32)
    home_units = np.searchsorted(g.home_of[units_by_home], np.arange(g.homes + 1)).astype(np.int64)
    cards_by_unit = np.argsort(w.unit_of, kind="stable").astype(np.int32)
    unit_cards = np.searchsorted(w.unit_of[cards_by_unit], np.arange(w.units + 1)).astype(np.int64)
    component, leaves_in = _components(g)

    def push(valiant: bool) -> tuple[Floats, int]:
        carried, cut = push_all(
            starts, sources, size, group_of, valiant, forwards(w, routing), w.domain_of, w.host_of, w.rail_of,
            w.scale_up_bytes_per_s, w.first_scale_up_link, w.links, first_of_host(w), g.unit_of, g.port_start, g.port,
            g.port_router, g.port_bytes_per_s, g.step_start, g.step_to, g.step_link, g.step_bytes_per_s, g.home_start,
            g.home_router, home_units, units_by_home, unit_cards, cards_by_unit, component, leaves_in,
        )  # fmt: skip
        return carried, int(cut)

    carried, cut = push(routing.kind == "valiant")
    if routing.kind == "ugal":
        detour, _ = push(True)
        carried = _best_mix(carried, detour, wiring.capacities())
    for card in np.flatnonzero(g.home_of[w.unit_of] < 0):  # targets without any port: no home asked for them
        cut += _to_lost(w, int(card), starts, sources, size, group_of, carried)
    return Loads(nbytes=carried, cut=cut)


def _lattice(wiring: Wiring, graph: Graph, routing: Routing) -> Lattice | None:
    return lattice(wiring, graph) if routing.kind == "spray" and wiring.direct else None


def _over_lattice(
    wiring: Wiring, graph: Graph, flat: Lattice, routing: Routing, source: Ints, target: Ints, size: Floats
) -> Loads:
    """As `_sprayed`: the scale-up inside a domain, hand-over where it is nearer, and the network for the rest."""
    w = wiring
    carried = np.zeros(w.links)
    near = (w.domain_of[source] == w.domain_of[target]) & (w.scale_up_bytes_per_s > 0) & (source != target)
    _through_scale_up(w, carried, source[near], target[near], size[near])
    far = ~near & (source != target)
    first, last, nbytes = source[far], target[far], size[far]
    if forwards(w, routing):
        peer = first_of_host(w)[w.host_of[first]] + w.rail_of[last]
        handed = (w.rail_of[first] != w.rail_of[last]) & (flat.apart(peer, last) < flat.apart(first, last))
        _through_scale_up(w, carried, first[handed], peer[handed], nbytes[handed])
        first = np.where(handed, peer, first)
    carried += np.bincount(2 * graph.port[first], nbytes, minlength=w.links) + np.bincount(
        2 * graph.port[last] + 1, nbytes, minlength=w.links
    )
    return Loads(nbytes=carried + carry(flat, graph, first.astype(np.int32), last, nbytes, w.links))


def _through_scale_up(wiring: Wiring, carried: Floats, source: Ints, target: Ints, nbytes: Floats) -> None:
    np.add.at(carried, wiring.first_scale_up_link + 2 * source, nbytes)
    np.add.at(carried, wiring.first_scale_up_link + 2 * target + 1, nbytes)


def _best_mix(near: Floats, detour: Floats, capacity: Floats) -> Floats:
    """The mix with the least busy busiest link."""
    used = (near + detour > 0) & (capacity > 0)
    if not used.any():
        return near
    share = best_share(near[used] / capacity[used], detour[used] / capacity[used])
    mixed: Floats = near + share * (detour - near)
    return mixed


def best_share(near: Floats, detour: Floats) -> float:
    """How much is to go round, of 1: the busiest link is convex in the share, so a ternary search finds it."""
    low, high = 0.0, 1.0
    for _ in range(60):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        if (near + one * (detour - near)).max() <= (near + two * (detour - near)).max():
            high = two
        else:
            low = one
    share = (low + high) / 2
    return 0.0 if share < 1e-9 else share


def _to_lost(wiring: Wiring, card: int, starts: Longs, sources: Ints, size: Floats, group_of: Ints, carried: Floats) -> int:
    """What a card without ports gets through its scale-up is carried; how many others ask for it in vain."""
    row = card if not len(group_of) else int(group_of[card])
    if row < 0:
        return 0
    asking = slice(starts[row], starts[row + 1])
    source = sources[asking]
    nbytes = np.full(len(source), size[0]) if len(group_of) else size[asking]
    near = (wiring.domain_of[source] == wiring.domain_of[card]) & (wiring.scale_up_bytes_per_s > 0) & (source != card)
    _through_scale_up(wiring, carried, source[near], np.full(int(near.sum()), card, np.int32), nbytes[near])
    return int(((source != card) & ~near).sum())


def _components(graph: Graph) -> tuple[Ints, Longs]:
    """Which routers can reach each other (R,), and how many routers with ports each such part has."""
    part = parts(graph.step_start, graph.step_to)
    leaves = np.unique(graph.port_router)
    return part, np.bincount(part[leaves], minlength=int(part.max(initial=0)) + 1).astype(np.int64)
