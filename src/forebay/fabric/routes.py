"""Ways through a fabric: for each flow, the links that it crosses.

Asked:  card a sends to card b. Over which ports, cables and scale-up links?
Answer: cards of one scale-up domain use that. Else a shortest way over the wiring as it is, broken or not: at each router one of
        the links that lead closer, chosen by a hash of flow and router, as ECMP does. So flows collide as they do in life.
        *Forwarding*: where b's rail is nearer to another card of a's host, a hands over to that card first (NCCL calls it PXN).
        *Valiant*: by way of a random router, then on; it halves the best case and saves the worst (Valiant, SIAM J. Comput. 11,
        1982). *Spraying* and *UGAL* split flows over all shortest ways: they are not lists of links, see `loads`.
Limits: a hash is drawn from numbers and a seed, not from anybody's switch chip. With `polarised` all routers draw the same hash,
        which is how badly chosen ones behave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from forebay.errors import BadInput
from forebay.fabric.graph import FAR, Graph, search
from forebay.fabric.rates import Longs
from forebay.fabric.stand_in import spliced, stand_ins
from forebay.fabric.wiring import Ints, Wiring

KINDS = ("spray", "ecmp", "valiant", "ugal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How traffic finds its way. It says which of the shortest ways are taken, never which there are: that is the wiring's."""

    kind: str = "spray"
    seed: int = 0
    subflows: int = 1  # of ecmp: queue pairs over which a flow is split evenly
    polarised: bool = False  # of ecmp: every router draws the same hash
    forward: bool = True  # through the scale-up, where that is nearer
    stand_in: bool = False  # a card without a port goes by another's of its host, as after a restart

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput("There is no such routing.", asked=self.kind, hint=", ".join(KINDS))
        if self.subflows < 1:
            raise BadInput("A flow has at least one sub-flow.", asked=f"subflows = {self.subflows}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routes:
    """The links of F flows, in order from source to target: flow f crosses links[offsets[f]:offsets[f + 1]]."""

    offsets: Longs  # (F + 1,)
    links: Ints
    cut: Ints  # flows that find no way; they have no links


def routes(wiring: Wiring, graph: Graph, source: Ints, target: Ints, routing: Routing, flow: Ints | None = None) -> Routes:
    """One way for each pair of cards (F,). `flow` (F,) numbers the flows for the hash; flows of one number go alike."""
    source, target = np.ascontiguousarray(source, np.int32), np.ascontiguousarray(target, np.int32)
    check(wiring, source, target)
    number = np.arange(len(source), dtype=np.int32) if flow is None else np.ascontiguousarray(flow, np.int32)
    asked = (source, target)
    if routing.stand_in and forwards(wiring, routing):
        source, target = stand_ins(wiring, graph, source, target)
    middle = np.full(len(source), -1, np.int32)
    if routing.kind == "valiant" and wiring.routers > 2:
        leaves = np.unique(graph.port_router)
        middle = leaves[_mix(number.astype(np.uint64), np.uint64(routing.seed + 7)) % np.uint64(len(leaves))].astype(np.int32)
    offsets, links, cut = _walk(
        source, target, number, middle, np.uint64(routing.seed), routing.polarised, forwards(wiring, routing),
        wiring.domain_of, wiring.host_of, wiring.rail_of, wiring.scale_up_bytes_per_s, wiring.first_scale_up_link,
        first_of_host(wiring), graph.unit_of, graph.port_start, graph.port, graph.port_router,
        graph.step_start, graph.step_to, graph.step_link, graph.home_of, graph.home_start, graph.home_router,
    )  # fmt: skip
    if source is not asked[0]:
        offsets, links, _ = spliced(offsets, links, np.ones(len(links)), wiring, *asked, source, target)
    return Routes(offsets=offsets, links=links, cut=cut)


def check(wiring: Any, *cards: Ints) -> None:
    for who in cards:
        if len(who) and not 0 <= int(who.min()) <= int(who.max()) < wiring.cards:
            worst = int(who.max()) if int(who.max()) >= wiring.cards else int(who.min())
            raise BadInput(
                "The fabric has no such card.", asked=f"card {worst}", found=f"{wiring.cards} cards, 0 to {wiring.cards - 1}"
            )


def forwards(wiring: Wiring, routing: Routing) -> bool:
    """Hosts hand over between their own cards: they may, and all cards of a host share a scale-up domain."""
    return (
        routing.forward
        and wiring.scale_up_bytes_per_s > 0
        and bool(np.all(np.diff(wiring.domain_of)[np.diff(wiring.host_of) == 0] == 0))
    )


def first_of_host(wiring: Wiring) -> Ints:
    """The first card of each host, whose cards stand in a row."""
    return np.searchsorted(wiring.host_of, np.arange(wiring.hosts)).astype(np.int32)


def _mix(x: Any, seed: Any) -> Any:
    """splitmix64 (Steele, Lea and Flood, OOPSLA 2014), on arrays."""
    with np.errstate(over="ignore"):
        z = x * np.uint64(0x9E3779B97F4A7C15) + seed * np.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _draw(flow: Any, router: Any, seed: Any, choices: Any) -> Any:
    """One of `choices`, from a hash of flow and router."""
    z = np.uint64(flow) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(router) * np.uint64(0xC2B2AE3D27D4EB4F)
    z += seed * np.uint64(0xD1342543DE82EF95)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((z ^ (z >> np.uint64(31))) % np.uint64(choices))


@njit(cache=True)  # type: ignore[untyped-decorator]
def nearest_port(unit: Any, port_start: Any, port_router: Any, away: Any) -> Any:
    """The least distance from a unit's ports; FAR: none leads there."""
    best = FAR
    for k in range(port_start[unit], port_start[unit + 1]):
        best = min(best, away[port_router[k]])
    return best


@njit(cache=True)  # type: ignore[untyped-decorator]
def _port_at(unit: Any, port_start: Any, port_router: Any, away: Any, best: Any, flow: Any, seed: Any, salt: Any) -> Any:
    """One of a unit's ports whose routers lie `best` away, by hash."""
    ways = 0
    for k in range(port_start[unit], port_start[unit + 1]):
        ways += away[port_router[k]] == best
    pick = _draw(flow, salt, seed, ways)
    for k in range(port_start[unit], port_start[unit + 1]):
        if away[port_router[k]] == best:
            if pick == 0:
                return k
            pick -= 1
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _port_on(unit: Any, port_start: Any, port_router: Any, router: Any, flow: Any, seed: Any) -> Any:
    """One of a unit's ports on this router, by hash."""
    ways = 0
    for k in range(port_start[unit], port_start[unit + 1]):
        ways += port_router[k] == router
    pick = _draw(flow, -2, seed, ways)
    for k in range(port_start[unit], port_start[unit + 1]):
        if port_router[k] == router:
            if pick == 0:
                return k
            pick -= 1
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _step_closer(router: Any, step_start: Any, step_to: Any, away: Any, flow: Any, seed: Any, salt: Any) -> Any:
    """One of a router's links that lead one closer, by hash."""
    ways = 0
    for k in range(step_start[router], step_start[router + 1]):
        ways += away[step_to[k]] == away[router] - 1
    pick = _draw(flow, salt, seed, ways)
    for k in range(step_start[router], step_start[router + 1]):
        if away[step_to[k]] == away[router] - 1:
            if pick == 0:
                return k
            pick -= 1
    return -1


@njit(cache=True)  # type: ignore[untyped-decorator]
def _walk(
    source: Any, target: Any, number: Any, middle: Any, seed: Any, polarised: Any, forward: Any,
    domain_of: Any, host_of: Any, rail_of: Any, scale_up: Any, first_scale_up: Any,
    first_of_host: Any, unit_of: Any, port_start: Any, port: Any, port_router: Any,
    step_start: Any, step_to: Any, step_link: Any, home_of: Any, home_start: Any, home_router: Any,
) -> Any:  # fmt: skip
    """Walk the flows home by home, so that one search serves all that go there; then put them back in order."""
    flows, routers, homes = len(source), len(step_start) - 1, len(home_start) - 1
    begins = np.zeros(homes + 2, np.int64)  # the last bin: targets that hang nowhere
    for f in range(flows):
        h = home_of[unit_of[target[f]]]
        begins[(h if h >= 0 else homes) + 1] += 1
    for h in range(homes + 1):
        begins[h + 1] += begins[h]
    place = begins.copy()
    ordered = np.empty(flows, np.int32)
    for f in range(flows):
        h = home_of[unit_of[target[f]]]
        h = h if h >= 0 else homes
        ordered[place[h]] = f
        place[h] += 1

    away, order = np.empty(routers, np.int32), np.empty(routers, np.int32)
    to_middle, unused = np.empty(routers, np.int32), np.empty(routers, np.int32)
    wanted, none = np.zeros(routers, np.bool_), np.zeros(routers, np.bool_)
    longest = 2 * routers + 8  # no way is longer
    found = np.empty(8 * flows + longest, np.int32)
    begin, length = np.zeros(flows, np.int64), np.zeros(flows, np.int32)
    cut = np.zeros(flows, np.bool_)
    total = 0
    for h in range(homes + 1):
        if begins[h + 1] == begins[h]:
            continue
        if h < homes:
            wanting = 0
            for i in range(begins[h], begins[h + 1]):
                a = source[ordered[i]]
                card = first_of_host[host_of[a]] if forward else a
                while card < len(unit_of) and host_of[card] == host_of[a]:
                    for k in range(port_start[unit_of[card]], port_start[unit_of[card] + 1]):
                        if not wanted[port_router[k]]:
                            wanted[port_router[k]] = True
                            wanting += 1
                    card += 1 if forward else len(unit_of)
                if middle[ordered[i]] >= 0:
                    wanting = FAR
            search(step_start, step_to, home_router[home_start[h] : home_start[h + 1]], wanted, wanting, away, order)
            wanted[:] = False
        for i in range(begins[h], begins[h + 1]):
            f = ordered[i]
            a, b = source[f], target[f]
            begin[f] = total
            if total + longest > len(found):
                more = np.empty(2 * len(found) + longest, np.int32)
                more[:total] = found[:total]
                found = more
            if a == b:
                continue
            if scale_up > 0 and domain_of[a] == domain_of[b]:
                found[total] = first_scale_up + 2 * a
                found[total + 1] = first_scale_up + 2 * b + 1
                total += 2
                length[f] = 2
                continue
            best = nearest_port(unit_of[a], port_start, port_router, away) if h < homes else FAR
            if forward and h < homes and rail_of[a] != rail_of[b]:
                peer = first_of_host[host_of[a]] + rail_of[b]
                if peer < len(host_of) and host_of[peer] == host_of[a]:
                    nearer = nearest_port(unit_of[peer], port_start, port_router, away)
                    if nearer < best:
                        found[total] = first_scale_up + 2 * a
                        found[total + 1] = first_scale_up + 2 * peer + 1
                        total += 2
                        a, best = peer, nearer
            if best >= FAR:
                total = begin[f]
                cut[f] = True
                continue
            k = _port_at(unit_of[a], port_start, port_router, away, best, number[f], seed, -1)
            found[total] = 2 * port[k]
            total += 1
            router = port_router[k]
            if middle[f] >= 0:
                search(step_start, step_to, middle[f : f + 1], none, -1, to_middle, unused)
                while FAR > to_middle[router] > 0:  # else the middle is cut off from here: go straight
                    k = _step_closer(router, step_start, step_to, to_middle, number[f], seed, 0 if polarised else router + 1)
                    found[total] = step_link[k]
                    total += 1
                    router = step_to[k]
            while away[router] > 0:
                k = _step_closer(router, step_start, step_to, away, number[f], seed, 0 if polarised else router + 1)
                found[total] = step_link[k]
                total += 1
                router = step_to[k]
            k = _port_on(unit_of[b], port_start, port_router, router, number[f], seed)
            found[total] = 2 * port[k] + 1
            total += 1
            length[f] = total - begin[f]
    offsets = np.zeros(flows + 1, np.int64)
    for f in range(flows):
        offsets[f + 1] = offsets[f] + length[f]
    links = np.empty(offsets[flows], np.int32)
    for f in range(flows):
        for k in range(length[f]):
            links[offsets[f] + k] = found[begin[f] + k]
    return offsets, links, np.flatnonzero(cut).astype(np.int32)
