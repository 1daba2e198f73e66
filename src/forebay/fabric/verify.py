"""Time a step again at exact flow level, and say by how much the two differ.

Asked:  collectives are timed by the busiest link of aggregated loads. Is that what flows that share links fairly would take?
Answer: of every round of every exchange, flows are drawn and listed with all links that they cross and their shares (sprayed ways
        are worked out for each pair by itself, not for a home). All other traffic of the round stays on the links at the pace
        that was claimed; what it leaves is shared max-min fairly among the flows drawn (`rates`). The slowest of them must end
        when the round was said to end. Up to `DRAWN` flows all are drawn, and nothing is left as background: rings and pipelines
        of ten thousand cards are checked whole, an all-to-all by sample.
Units:  seconds.
        Of traffic that goes round (UGAL, Valiant) a flow covers nearly all cables, so up to a hundred flows of few switches are
        listed, each by itself (`detours`), and the rest of the round stays as background.
Limits: the mix of UGAL is the one that was claimed: that no other is better is for tests (tests/fabric/test_detours.py). The
        stages of a pipeline are checked one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit

from forebay.fabric.collectives import Stage
from forebay.fabric.detours import few, mixed
from forebay.fabric.flows import last_of_equals
from forebay.fabric.graph import FAR, search
from forebay.fabric.loads import best_share
from forebay.fabric.push import push
from forebay.fabric.rates import Longs, rates
from forebay.fabric.routes import first_of_host, forwards, nearest_port, routes
from forebay.fabric.stand_in import spliced, stand_ins
from forebay.fabric.step import ranks_of
from forebay.fabric.timing import Place, performed, round_loads, timed
from forebay.fabric.traffic import Traffic
from forebay.fabric.wiring import Floats, Ints

DRAWN = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How the exact times compare with the claimed ones."""

    worst: float  # the largest difference of a round, as a share; 0.0: none
    worst_exchange: str
    exchanges: int
    rounds: int  # of different pairs
    flows: int  # that were listed


def verify(at: Place, traffic: Traffic, cards: Ints | None = None, seed: int = 0) -> Verified:
    """Check every exchange of a step. Raises BadInput for traffic that goes round from NICs of several ports."""
    seat = np.arange(traffic.ranks, dtype=np.int32) if cards is None else cards
    dice = np.random.default_rng(seed)
    worst, where, rounds, flows = 0.0, "", 0, 0
    for e in traffic.exchanges:
        groups = seat[ranks_of(traffic, e)].astype(np.int32)
        if groups.shape[1] < 2 or not e.times:
            continue
        name = timed(at, e.collective, groups, e.nbytes).collective
        made = performed(at, name, groups)
        seen: set[bytes] = set()
        for stage in made.stages:
            source, target, key = _draw(stage, groups, dice)
            if key in seen:
                continue
            seen.add(key)
            if around := at.routing.kind in ("valiant", "ugal"):
                source, target = few(at.wiring, at.graph, source, target, dice)
            off, listed = _round(at, stage, groups, source, target, around=around)
            rounds, flows = rounds + 1, flows + listed
            if off > worst:
                worst, where = off, e.name
    return Verified(worst=worst, worst_exchange=where, exchanges=len(traffic.exchanges), rounds=rounds, flows=flows)


def _draw(stage: Stage, groups: Ints, dice: np.random.Generator) -> tuple[Ints, Ints, bytes]:
    """Some of a round's pairs of cards: all, if they are few."""
    count, n = groups.shape
    if stage.everyone:
        pick = dice.integers(0, count * n * (n - 1), min(DRAWN, count * n * (n - 1)))
        pick = np.unique(pick) if count * n * (n - 1) > DRAWN else np.arange(count * n * (n - 1))
        group, i, step = pick // (n * (n - 1)), pick // (n - 1) % n, pick % (n - 1) + 1
        return groups[group, i], groups[group, (i + step) % n], b"each"
    pairs = np.array(list(stage.pairs()), np.int32).reshape(-1, 2)
    source, target = groups[:, pairs[:, 0]].reshape(-1), groups[:, pairs[:, 1]].reshape(-1)
    if len(source) > DRAWN:
        chosen = dice.choice(len(source), DRAWN, replace=False)
        source, target = source[chosen], target[chosen]
    return source, target, pairs.tobytes()


def _round(at: Place, stage: Stage, groups: Ints, source: Ints, target: Ints, *, around: bool) -> tuple[float, int]:
    """By how much the slowest flow drawn misses the round's end, as a share; and how many were listed."""
    whole = round_loads(at, stage, groups)
    claimed = last_of_equals(whole.nbytes, at.capacity)
    keep = source != target
    offsets, links, weights = ways(at, source[keep], target[keep])
    if around and len(links):
        offsets, links, weights = mixed(at.wiring, at.graph, (offsets, links, weights), _share(at, stage, groups))
    if not len(links) or claimed <= 0 or claimed == float("inf"):
        return 0.0, 0
    mine = np.bincount(links, weights, minlength=len(at.capacity))
    rest = np.maximum(whole.nbytes - mine, 0.0)
    left = np.maximum(at.capacity - rest / claimed, 0.0)
    found = rates(offsets, links, left, weights)
    return max(0.0, 1.0 / (float(found.bytes_per_s.min()) * claimed) - 1.0), int(keep.sum())


def _share(at: Place, stage: Stage, groups: Ints) -> float:
    """How much of a round went round."""
    if at.routing.kind == "valiant":
        return 1.0
    near, far = (
        round_loads(replace(at, routing=replace(at.routing, kind=kind), known={}), stage, groups).nbytes
        for kind in ("spray", "valiant")
    )
    used = (near + far > 0) & (at.capacity > 0)
    return best_share(near[used] / at.capacity[used], far[used] / at.capacity[used])


def ways(at: Place, source: Ints, target: Ints) -> tuple[Longs, Ints, Floats]:
    """All links of each pair, with the share of its bytes on each: offsets (F + 1,), links, weights. By shortest ways; the pairs
    come in the order of their homes."""
    w, g = at.wiring, at.graph
    if at.routing.kind == "ecmp":
        found = routes(w, g, source, target, replace(at.routing, subflows=1))
        return found.offsets, found.links, np.ones(len(found.links))
    first, last = source, target
    if at.routing.stand_in and forwards(w, at.routing):
        source, target = stand_ins(w, g, source, target)
    order = np.argsort(g.home_of[g.unit_of[target]], kind="stable")
    offsets, links, weights = _ways(
        source[order], target[order], forwards(w, at.routing), w.domain_of, w.host_of, w.rail_of, w.scale_up_bytes_per_s,
        w.first_scale_up_link, w.links, first_of_host(w), g.unit_of, g.port_start, g.port, g.port_router, g.port_bytes_per_s,
        g.step_start, g.step_to, g.step_link, g.step_bytes_per_s, g.home_of, g.home_start, g.home_router,
    )  # fmt: skip
    if source is first:
        return offsets, links, weights
    return spliced(offsets, links, weights, w, first[order], last[order], source[order], target[order])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _ways(
    source: Any, target: Any, forward: Any, domain_of: Any, host_of: Any, rail_of: Any, scale_up: Any, first_scale_up: Any,
    links: Any, first_of_host: Any, unit_of: Any, port_start: Any, port: Any, port_router: Any, port_speed: Any,
    step_start: Any, step_to: Any, step_link: Any, step_speed: Any, home_of: Any, home_start: Any, home_router: Any,
) -> Any:  # fmt: skip
    """Pair after pair, pushed by itself. Pairs come in the order of their homes, which are searched once each."""
    routers = len(step_start) - 1
    away, order = np.empty(routers, np.int32), np.empty(routers, np.int32)
    none, held, carried = np.zeros(routers, np.bool_), np.zeros(routers), np.zeros(links)
    offsets = np.zeros(len(source) + 1, np.int64)
    found, share = np.empty(1024, np.int32), np.empty(1024)
    total, home, n = 0, -1, 0
    for f in range(len(source)):
        a, b = source[f], target[f]
        carried_now = total
        if len(found) < total + 64 + 64 * routers and len(found) < total + links:
            grow = max(len(found), min(64 + 64 * routers, links))
            found = np.concatenate((found, np.empty(grow, np.int32)))
            share = np.concatenate((share, np.empty(grow)))
        if scale_up > 0 and domain_of[a] == domain_of[b]:
            found[total], found[total + 1] = first_scale_up + 2 * a, first_scale_up + 2 * b + 1
            share[total] = share[total + 1] = 1.0
            total += 2
        elif home_of[unit_of[b]] >= 0:
            if home_of[unit_of[b]] != home:
                home = home_of[unit_of[b]]
                n = search(step_start, step_to, home_router[home_start[home] : home_start[home + 1]], none, -1, away, order)
            best = nearest_port(unit_of[a], port_start, port_router, away)
            if forward and rail_of[a] != rail_of[b]:
                peer = first_of_host[host_of[a]] + rail_of[b]
                if peer < len(host_of) and host_of[peer] == host_of[a]:
                    nearer = nearest_port(unit_of[peer], port_start, port_router, away)
                    if nearer < best:
                        found[total], found[total + 1] = first_scale_up + 2 * a, first_scale_up + 2 * peer + 1
                        share[total] = share[total + 1] = 1.0
                        total += 2
                        a, best = peer, nearer
            u, v, speed = unit_of[a], unit_of[b], 0.0
            if best < FAR:
                for k in range(port_start[u], port_start[u + 1]):
                    if away[port_router[k]] == best:
                        speed += port_speed[k]
                for k in range(port_start[u], port_start[u + 1]):
                    if away[port_router[k]] == best:
                        part = 1.0 if np.isinf(speed) else port_speed[k] / speed
                        found[total], share[total] = 2 * port[k], part
                        total += 1
                        held[port_router[k]] += part
                push(held, away, order, n, step_start, step_to, step_link, step_speed, carried)
                for i in range(n):
                    for k in range(step_start[order[i]], step_start[order[i] + 1]):
                        if carried[step_link[k]] > 0.0:
                            found[total], share[total] = step_link[k], carried[step_link[k]]
                            carried[step_link[k]] = 0.0
                            total += 1
                    if away[order[i]] > best:
                        break
                for k in range(port_start[v], port_start[v + 1]):
                    router, speed = port_router[k], 0.0
                    for j in range(port_start[v], port_start[v + 1]):
                        if port_router[j] == router:
                            speed += port_speed[j]
                    part = held[router] * (1.0 if np.isinf(speed) else port_speed[k] / speed)
                    if part > 0.0:
                        found[total], share[total] = 2 * port[k] + 1, part
                        total += 1
                for k in range(port_start[v], port_start[v + 1]):
                    held[port_router[k]] = 0.0
            else:
                total = carried_now
        offsets[f + 1] = total
    return offsets, found[:total], share[:total]
