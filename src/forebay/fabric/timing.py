"""How long a collective takes on a wiring, all its groups at once.

Asked:  seconds, and which links are busy how long.
Answer: stage after stage. The sends of a round are equal flows that start together, so a round ends when its busiest link has
        carried its bytes (`flows.last_of_equals`: exact for max-min fair flows); a stage is that many times its round. Each round
        also costs its latency: what its ends take, and so much for each link on the way, the mean over the pairs, since a ring's
        chunk travels all hops of the ring one after the other.
        A collective in slices is a pipeline: its stages work on different slices at the same time, so after the first slice each
        further one takes as long as the slowest stage, or the link that works longest for all stages together.
        "all_reduce" and its like take the fastest of the algorithms that the place allows, as libraries do.
Units:  seconds and bytes.
Limits: a pairwise all-to-all of more than `SHIFTS` ranks is timed by as many of its rounds, evenly chosen: `sampled` says so.
        A stage takes up a slice when it has done with the one before; rings of libraries begin earlier, so latency is less there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric import loads
from forebay.fabric.collectives import Collective, Stage, collective
from forebay.fabric.graph import Graph, graph
from forebay.fabric.mesh import Mesh, MeshPlace
from forebay.fabric.physics import Physics, together
from forebay.fabric.routes import Routing, check
from forebay.fabric.wiring import Floats, Ints, Wiring

SHIFTS = 512
AT_ONCE = 256  # ranks that a card sends to at the same time, at the most
KEPT = 64  # rounds that a place remembers: a reduce-scatter and its all-gather go the same ways
PIECES = (8, 64, 512, 4096)  # into which a tree may cut what it sends
SLICES = (1, 2, 4, 8, 16, 32, 64, 128)  # into which a pipeline of stages may cut the buffer
# What libraries do. A sum goes in slices over the hosts, inside and between them at once (NCCL's trees); a gather or a scatter
# alone goes round in rings, one for each rail (NCCL's channels), and sums nothing inside the hosts first.
ALGORITHMS = {
    "all_reduce": (
        "ring_all_reduce",
        "hierarchical_all_reduce",
        "pipelined_all_reduce",
        "double_tree_all_reduce",
        "bucket_all_reduce",
        "direct_all_reduce",
    ),
    "all_gather": ("ring_all_gather", "hierarchical_all_gather", "rails_all_gather", "direct_all_gather"),
    "reduce_scatter": (
        "ring_reduce_scatter",
        "hierarchical_reduce_scatter",
        "rails_reduce_scatter",
        "direct_reduce_scatter",
    ),
    "all_to_all": ("direct_all_to_all",),
    "broadcast": ("binomial_broadcast", "chain_broadcast"),
}
_INNER = ("all_reduce", "all_gather", "reduce_scatter")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timed:
    """What one exchange takes. `busy_s` (L,) is how long each link works for it; of a mesh that isn't laid, its `mesh.Work`."""

    collective: str  # the algorithm that was taken
    seconds: float
    latency_s: float  # of `seconds`, what isn't bytes
    busy_s: Any
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

    def idle(self) -> Floats:
        """No link works."""
        return np.zeros(self.wiring.links)


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


def timed(at: Place | MeshPlace, name: str, groups: Any, nbytes: float) -> Timed:
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
    tried = [one for made in _candidates(name, at.wiring, cards) for one in _timings(at, made, cards, nbytes)]
    return min(tried, key=lambda found: (found.cut, found.seconds))


def performed(at: Place | MeshPlace, name: str, cards: Ints) -> Collective:
    """The collective of that name among these groups (G, n), with the hosts and the sides of where they are."""
    inner, shape = in_a_domain(at.wiring, cards), torus_sides(at.wiring, cards)
    return collective(name, cards.shape[1], inner=inner, shape=shape)


def torus_sides(wiring: Wiring | Mesh, cards: Ints) -> tuple[int, ...]:
    """The sides of the torus that one group is, all of it and in order; (): it isn't."""
    d, n = wiring.design, cards.shape[1]
    if d is None or d.kind not in ("torus", "ocs-torus"):
        return ()
    whole = n == wiring.cards and bool((cards == np.arange(n)).all())
    return d.shape[:3] if whole else ()


def _candidates(name: str, wiring: Wiring | Mesh, cards: Ints) -> list[Collective]:
    """The collective of that name, or those that these groups allow of a kind."""
    n, inner = cards.shape[1], in_a_domain(wiring, cards)
    shape = torus_sides(wiring, cards)
    hosts = dict.fromkeys((f"{how}_{kind}" for how in ("hierarchical", "pipelined", "rails") for kind in _INNER), 1 < inner < n)
    # Over switches it moves the same bytes as a ring, and libraries don't: so many at once overrun a port.
    direct = dict.fromkeys((f"direct_{kind}" for kind in _INNER), wiring.direct and n <= AT_ONCE)
    suits = {**hosts, **direct, "bucket_all_reduce": bool(shape)}
    found = []
    for one in ALGORITHMS.get(name, (name,)):
        if one == name or suits.get(one, True):
            cuts = PIECES if "tree" in one else PIECES[:1]
            found += [collective(one, n, inner=inner, shape=shape, pieces=pieces) for pieces in cuts]
    return found


def in_a_domain(wiring: Wiring | Mesh, cards: Ints) -> int:
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """A stage, priced: all its rounds, for the whole buffer."""

    wire_s: float
    latency_s: float  # however small the buffer is
    busy_s: Any
    cut: int
    averaged: bool


def _timings(at: Place | MeshPlace, made: Collective, cards: Ints, nbytes: float) -> list[Timed]:
    """What a collective takes: one time, or, in slices, one for each number of slices."""
    stages: list[tuple[Stage, float]] = [(stage, 1.0) for stage in made.stages]
    sampled = made.name == "pairwise_all_to_all" and len(stages) > SHIFTS
    if sampled:
        chosen = np.unique(np.linspace(0, len(stages) - 1, SHIFTS).round().astype(int))
        stages = [(made.stages[k], len(made.stages) / len(chosen)) for k in chosen]
    busy: Any = at.idle()
    parts = []
    for stage, weight in stages:
        part = _part(at, stage, cards, nbytes * stage.count * made.slices / made.chunks, stage.times * weight)
        busy = busy + part.busy_s
        parts.append(part)
    launch = at.physics.launch_s if stages else 0.0
    rounds = sum(stage.times for stage, _ in stages)
    found = []
    for slices in SLICES if made.slices > 1 else (1,):
        latency, wire = sum(part.latency_s for part in parts), sum(part.wire_s for part in parts)
        if slices > 1:
            pace = max((part.latency_s + part.wire_s / slices for part in parts), default=0.0)
            worst = float(busy.max(initial=0.0))
            whole = latency + wire / slices + (slices - 1) * max(pace, worst / slices)
            latency, wire = max(0.0, whole - worst), worst
        latency += launch
        found.append(
            Timed(
                collective=made.name,
                seconds=together(latency, wire, at.physics.fill),
                latency_s=latency,
                busy_s=busy,
                rounds=rounds * slices,
                cut=max((part.cut for part in parts), default=0),
                averaged=any(part.averaged for part in parts),
                sampled=sampled,
            )
        )
    return found


def _part(at: Place | MeshPlace, stage: Stage, cards: Ints, size: float, times: float) -> _Part:
    """`times` rounds of a stage, of pieces of `size` bytes."""
    busy: Any
    if isinstance(at, MeshPlace):
        work, hops = at.round(stage, cards)
        wire, busy, cut, averaged = work.max(), work * (times * size), 0, False
    else:
        carried, hops = _round(at, stage, cards)
        wire, cut, averaged = carried.seconds(at.capacity), carried.cut, carried.averaged
        with np.errstate(divide="ignore", invalid="ignore"):
            busy = np.where(carried.nbytes > 0, times * size * carried.nbytes / at.capacity, 0.0)
    latency = times * (at.physics.message_s + at.physics.hop_s * hops)
    return _Part(wire_s=times * size * wire, latency_s=latency, busy_s=busy, cut=cut, averaged=averaged)


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
