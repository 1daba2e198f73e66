"""How long do the transfers of a plan take, for many plans at once?

Asked:  a group of ranks shares a vector. Its ranks stand `stride` apart, so some share an island and some don't. How long?
Answer: the closed forms of the fabric room (`fabric.physics`: latency of the rounds, then bytes over what a flow gets), with
        each link's own efficiency: `nvlink` inside islands, `infiniband` between them. A ring that crosses hosts leaves and
        enters each by as many NICs as it has ranks there, so it runs at the lower of the two rates (NCCL's rings over several
        NICs). An all-to-all sends to each island what its ranks need, over the sender's own NIC. An all-reduce inside an island
        (`total`) is NCCL's measured one where there is a table of the chip (`data/kernels`): small groups and vectors of some
        megabytes take up to twice the closed form.
Units:  seconds, bytes, bytes a second.
Limits: rails without contention; the core carries its share (oversubscription). A drawn fabric is checked by `fabric.step`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.chips import catalogue
from forebay.fabric.physics import DEFAULTS, Physics
from forebay.plan.kernels.grid import grid, members
from forebay.plan.kernels.known import SAME
from forebay.plan.lane import lane
from forebay.plan.pool import Cards

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a card's links carry, and what a round on them costs."""

    island: int
    up_bytes_per_s: float  # what flows get inside an island
    out_bytes_per_s: float  # between islands
    up_latency_s: float  # of a round inside an island
    out_latency_s: float
    mesh: int = 0  # cards of an island that are joined two by two; 0: by a switch
    table: str = ""  # the chip whose measured collectives speak for those inside an island; "": the closed form does


def links(cards: Cards, up: Physics = DEFAULTS["nvlink"], out: Physics = DEFAULTS["infiniband"], measured: bool = True) -> Links:
    name = SAME.get(cards.chip, cards.chip)
    known = measured and f"{name}/all_reduce/nccl" in members("collectives")
    return Links(
        mesh=cards.mesh,
        table=name if known and cards.up_bytes_per_s == _up(name) and not cards.mesh else "",
        island=cards.island,
        up_bytes_per_s=cards.up_bytes_per_s * up.efficiency,
        out_bytes_per_s=cards.out_bytes_per_s * out.efficiency / cards.oversubscription,
        up_latency_s=cards.up_latency_s,
        out_latency_s=cards.out_latency_s,
    )


def split(on: Links, ranks: Any, stride: Any) -> tuple[Any, Any]:
    """Ranks of the group that share an island, and islands it spans."""
    inside = np.clip(on.island // np.maximum(stride, 1), 1, ranks)
    return inside, ranks / inside


def nearer(on: Links, outer: Any, inner: Any, first: Any, stride: Any) -> Any:
    """The stride at which a group of `first` x `outer` ranks would lie if it were one run, where `inner` other ranks lie between
    two of the outer side: with as many ranks in an island.
    """
    together = np.clip(on.island // stride, 1, first) * np.clip(on.island // (stride * first * inner), 1, outer)
    return np.maximum(stride, on.island // together)


def gather(on: Links, ranks: Any, stride: Any, nbytes: Any) -> Floats:
    """All-gather to `nbytes`, or reduce-scatter of them; an all-reduce is both."""
    return _gathered(on, ranks, stride, nbytes, lane(on, split(on, ranks, stride)[0]))


def ring(on: Links, ranks: Any, stride: Any, nbytes: Any) -> Floats:
    """The same bytes handed on from neighbour to neighbour: in a mesh a card has one link to its next."""
    return _gathered(on, ranks, stride, nbytes, lane(on, 2))


def _gathered(on: Links, ranks: Any, stride: Any, nbytes: Any, up: Any) -> Floats:
    inside, islands = split(on, ranks, stride)
    rate = np.where(islands > 1, np.minimum(up, inside * on.out_bytes_per_s), up)
    rate = np.where(inside > 1, rate, on.out_bytes_per_s)
    wire = nbytes * (ranks - 1) / np.maximum(ranks, 1) / rate
    out: Floats = np.where(np.asarray(ranks) > 1, wire + _latency(on, inside, islands), 0.0)
    return out


def total(on: Links, ranks: Any, stride: Any, nbytes: Any) -> Floats:
    """All-reduce of them. Gathers and scatters keep the closed form: who hides them (userbuffers) doesn't use NCCL's."""
    twice = 2 * gather(on, ranks, stride, nbytes)
    if not on.table:
        return twice
    near = (split(on, ranks, stride)[1] <= 1) & (np.asarray(ranks) > 1)
    out: Floats = np.where(near, _measured(on, "all_reduce", ranks, nbytes), twice)
    return out


def _measured(on: Links, op: str, ranks: Any, nbytes: Any) -> Floats:
    """Of NCCL, by itself; more cards than were timed have the bus bandwidth of the most that were."""
    table = grid("collectives", f"{on.table}/{op}/nccl", 2)
    among = np.clip(ranks, 2, float(np.exp(table.axes[0][-1])))
    took: Floats = table.seconds(among, np.maximum(nbytes, 1.0)) * (1 - 1 / np.maximum(ranks, 2)) / (1 - 1 / among)
    return took


@cache
def _up(chip: str) -> float | None:
    both = catalogue.find(chip).scale_up_bytes_per_s if chip in catalogue.load() else None
    return None if both is None else both / 2


def exchange(on: Links, ranks: Any, stride: Any, nbytes: Any, out_bytes: Any = None) -> Floats:
    """All-to-all in which each rank sends `nbytes` in all, its own share included.

    `out_bytes` are those that leave the island, where each island gets a vector once however many of its ranks want it.
    """
    inside, islands = split(on, ranks, stride)
    near = nbytes * (inside - 1) / np.maximum(ranks, 1) / lane(on, inside)
    crossing = nbytes if out_bytes is None else np.minimum(nbytes, out_bytes)
    far = crossing * (islands - 1) / islands / on.out_bytes_per_s
    took = np.maximum(near, far) + _latency(on, np.minimum(inside, 2), np.minimum(islands, 2))
    out: Floats = np.where(np.asarray(ranks) > 1, took, 0.0)
    return out


def send(on: Links, stride: Any, nbytes: Any) -> Floats:
    """One message to the neighbour `stride` ranks away."""
    near = np.asarray(stride) < on.island
    rate = np.where(near, lane(on, 2), on.out_bytes_per_s)
    out: Floats = nbytes / rate + np.where(near, on.up_latency_s, on.out_latency_s)
    return out


def _latency(on: Links, inside: Any, islands: Any) -> Floats:
    """Rounds in a row: a ring inside an island; between islands a ring of at most 32 rounds, then trees."""
    rounds = np.where(islands > 32, 2 * np.log2(np.maximum(islands, 2)) + 22, islands - 1)
    out: Floats = (inside - 1) * on.up_latency_s + np.where(islands > 1, rounds * on.out_latency_s, 0.0)
    return out
