"""How long a collective takes on a wiring, all its groups at once.

Asked:  seconds, and which links are busy how long.
Answer: stage after stage. The sends of a round are equal flows that start together, so a round ends when its busiest link has
        carried its bytes (`flows.last_of_equals`: exact for max-min fair flows); a stage is that many times its round. Each round
        also costs its latency: what its ends take, and so much for each link on the way, the mean over the pairs, since a ring's
        chunk travels all hops of the ring one after the other.
        "all_reduce" and its like take the fastest of the algorithms that the place allows, as libraries do.
Units:  seconds and bytes.
Limits: a pairwise all-to-all of more than `SHIFTS` ranks is timed by as many of its rounds, evenly chosen: `sampled` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric import loads
from forebay.fabric.collectives import Collective, Stage, collective
from forebay.fabric.graph import Graph, graph
from forebay.fabric.physics import Physics, together
from forebay.fabric.routes import Routing, check
from forebay.fabric.wiring import Floats, Ints, Wiring

SHIFTS = 512
AT_ONCE = 256  # ranks that a card sends to at the same time, at the most
KEPT = 64  # rounds that a place remembers: a reduce-scatter and its all-gather go the same ways
PIECES = (8, 64, 512, 4096)  # into which a tree may cut what it sends
ALGORITHMS = {
    "all_reduce": (
        "ring_all_reduce",
        "hierarchical_all_reduce",
        "double_tree_all_reduce",
        "bucket_all_reduce",
        "direct_all_reduce",
    ),
    "all_gather": ("ring_all_gather", "hierarchical_all_gather", "direct_all_gather"),
    "reduce_scatter": ("ring_reduce_scatter", "hierarchical_reduce_scatter", "direct_reduce_scatter"),
    "all_to_all": ("direct_all_to_all",),
    "broadcast": ("binomial_broadcast", "chain_broadcast"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timed:
    """What one exchange takes. `busy_s` (L,) is how long each link works for it."""

    collective: str  # the algorithm that was taken
    seconds: float
    latency_s: float  # of `seconds`, what isn't bytes
    busy_s: Floats
    rounds: int
    cut: int = 0  # pairs that find no way
    averaged: bool = False
    sampled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where collectives are timed: a wiring with its index, how traffic finds its way, and the centre's physics."""

    wiring: Wiring
    graph: Graph
    capacity: Floats  # (L,) what flows get of each link
    routing: Routing
    physics: Physics
    known: dict[tuple[int, bytes, bytes], loads.Loads] = field(
        default_factory=dict
    )  # rounds that were worked out, by groups and pairs


def place(
    wiring: Wiring,
    routing: Routing | None = None,
    physics: Physics | None = None,
    known: dict[tuple[int, bytes, bytes], loads.Loads] | None = None,
) -> Place:
    """`known`: rounds of another place with the same cables and routing, whatever their speed, as long as they are all of one."""
    p = physics or Physics()
    return Place(
        wiring=wiring,
        graph=graph(wiring),
        capacity=wiring.capacities() * p.efficiency,
        routing=routing or Routing(),
        physics=p,
        known={} if known is None else known,
    )


def timed(at: Place, name: str, groups: Any, nbytes: float) -> Timed:
    """A collective of `nbytes` in each of the groups (G, n) of cards at once.

    Raises BadInput for cards that aren't there, groups that overlap, or a collective that these groups can't do.
    """
    cards = np.ascontiguousarray(groups, np.int32)
    if cards.ndim != 2:
        raise BadInput("Groups are equally large rows of cards.", found=f"an array of {cards.ndim} dimensions")
    if not 0 <= nbytes < float("inf"):
        raise BadInput("A buffer has zero bytes or more.", asked=f"{nbytes:g}")
    check(at.wiring, cards.reshape(-1))
    if len(np.unique(cards)) != cards.size:
        raise BadInput("Groups that run at the same time share no card.", asked=f"{cards.shape[0]} groups of {cards.shape[1]}")
    tried = [_stages(at, made, cards, nbytes) for made in _candidates(name, at.wiring, cards)]
    return min(tried, key=lambda found: (found.cut, found.seconds))


def _candidates(name: str, wiring: Wiring, cards: Ints) -> list[Collective]:
    """The collective of that name, or those that these groups allow of a kind."""
    n, inner = cards.shape[1], in_a_domain(wiring, cards)
    shape = wiring.design.shape if wiring.design and wiring.design.kind.startswith("torus") else ()
    whole = bool(shape) and int(np.prod(shape)) == n == wiring.cards and bool((cards == np.arange(n)).all())
    suits = {
        "hierarchical_all_reduce": 1 < inner < n,
        "hierarchical_all_gather": 1 < inner < n,
        "hierarchical_reduce_scatter": 1 < inner < n,
        "bucket_all_reduce": whole,
        # Over switches it moves the same bytes as a ring, and libraries don't: so many at once overrun a port.
        **dict.fromkeys(("direct_all_reduce", "direct_all_gather", "direct_reduce_scatter"), wiring.direct and n <= AT_ONCE),
    }
    found = []
    for one in ALGORITHMS.get(name, (name,)):
        if one == name or suits.get(one, True):
            cuts = PIECES if "tree" in one else PIECES[:1]
            found += [collective(one, n, inner=inner, shape=shape if whole else (), pieces=pieces) for pieces in cuts]
    return found


def in_a_domain(wiring: Wiring, cards: Ints) -> int:
    """How many members in a row share a scale-up domain, alike in all groups (G, n); 1: it isn't so."""
    if wiring.scale_up_bytes_per_s <= 0 or not cards.size:
        return 1
    domain = wiring.domain_of[cards]
    n = cards.shape[1]
    change = np.flatnonzero((domain[:, 1:] != domain[:, :-1]).any(axis=0)) + 1
    inner = int(change[0]) if len(change) else n
    if n % inner:
        return 1
    blocks = domain.reshape(len(cards), n // inner, inner)
    return inner if bool((blocks == blocks[:, :, :1]).all()) else 1


def _stages(at: Place, made: Collective, cards: Ints, nbytes: float) -> Timed:
    stages: list[tuple[Stage, float]] = [(stage, 1.0) for stage in made.stages]
    sampled = made.name == "pairwise_all_to_all" and len(stages) > SHIFTS
    if sampled:
        chosen = np.unique(np.linspace(0, len(stages) - 1, SHIFTS).round().astype(int))
        stages = [(made.stages[k], len(made.stages) / len(chosen)) for k in chosen]
    busy = np.zeros(at.wiring.links)
    wire = latency = 0.0
    cut = rounds = 0
    averaged = False
    for stage, weight in stages:
        size = nbytes * stage.count / made.chunks
        carried, hops = _round(at, stage, cards)
        times = stage.times * weight
        wire += times * size * carried.seconds(at.capacity)
        latency += times * (at.physics.message_s + at.physics.hop_s * hops)
        with np.errstate(divide="ignore", invalid="ignore"):
            busy += np.where(carried.nbytes > 0, times * size * carried.nbytes / at.capacity, 0.0)
        cut = max(cut, carried.cut)
        averaged |= carried.averaged
        rounds += stage.times
    latency += at.physics.launch_s if stages else 0.0
    return Timed(
        collective=made.name,
        seconds=together(latency, wire, at.physics.fill),
        latency_s=latency,
        busy_s=busy,
        rounds=rounds,
        cut=cut,
        averaged=averaged,
        sampled=sampled,
    )


def _round(at: Place, stage: Stage, cards: Ints) -> tuple[loads.Loads, float]:
    """What a round carries for each byte of a piece, and the links that a piece crosses, on average."""
    count, n = cards.shape
    found = round_loads(at, stage, cards)
    sends = count * (n * (n - 1) if stage.everyone else len(list(stage.pairs())))
    return found, float(found.nbytes.sum()) / max(1, sends - found.cut)


def round_loads(at: Place, stage: Stage, cards: Ints) -> loads.Loads:
    """What each link carries in a round of a stage, in all groups (G, n), for each byte of a piece."""
    n = cards.shape[1]
    pairs = np.zeros((0, 2), np.int32) if stage.everyone else np.array(list(stage.pairs()), np.int32).reshape(-1, 2)
    key = (n, cards.tobytes(), pairs.tobytes())
    if key not in at.known:
        if stage.everyone:
            found = loads.of_groups(at.wiring, at.graph, cards, 1.0, at.routing)
        else:
            source, target = cards[:, pairs[:, 0]].reshape(-1), cards[:, pairs[:, 1]].reshape(-1)
            found = loads.of_pairs(at.wiring, at.graph, source, target, 1.0, at.routing)
        if len(at.known) >= KEPT:
            at.known.clear()
        at.known[key] = found
    return at.known[key]
