"""Prompts read on cards of one kind, tokens made on those of another: which engines can go together?

Asked:  readers of one kind and makers of another (or of the same), and a target. Which pairs keep it, and what do they carry?
Answer: every reader with every maker. A maker's step keeps the time per token, or it is dropped. The time to first token is
            door + own pass + queue + handing over + the cache's way + a step + a place's wait
        with an M/D/1 queue before each reader: what the target leaves for the queue says how busy readers may be, BUSY at most,
        and so how many prompts a second they read in time. Links carry their share: cards' bandwidth over the cache's bytes.
        Of the pairs of two sizes those stay that read or make more than the others.
        Compute-rich cards read, cards with bandwidth make: Splitwise (ISCA 2024, section 5), Mooncake (FAST 2025), HexGen-2
        (ICLR 2025); here both directions are tried, and a step's kernels decide.
Units:  seconds, requests a second.
Limits: means. Any reader hands to any maker of its group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forebay.plan.kernels.grid import Floats
from forebay.plan.serving import ServingTarget
from forebay.plan.serving.apart import BUSY
from forebay.plan.serving.blocks import NONE, Apart, front
from forebay.plan.serving.handover import Wire, moved
from forebay.plan.serving.offer import Offer
from forebay.plan.serving.time import Ints
from forebay.plan.serving.wait import Habits

LIGHT = 0.05  # how busy a reader is of which is asked by how much it misses a target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matched:
    """Pairs that keep a target, an entry each."""

    way: Apart
    reader: Ints  # which of the readers
    maker: Ints  # which of the makers
    read: Floats  # prompts a second that a reader could read, whatever the target
    rest_s: Floats  # of the time to first token, all but the queue
    moved_s: Floats

    def first_s(self, i: int, busy: float) -> float:
        return float(self.rest_s[i]) + queue_s(busy) / float(self.read[i])


def queue_s(busy: float) -> float:
    """Times of service that a request waits before a server of even work (M/D/1)."""
    return busy / (2.0 * (1.0 - busy))


def matched(a: int, b: int, readers: Offer, makers: Offer, on: Wire, target: ServingTarget, habits: Habits) -> Matched:
    """Readers of kind number `a` with makers of kind number `b`."""
    here = _makers(makers, target)
    cuts, token = makers.cuts[here], makers.making.token_s[here]
    way_s, send, take = moved(on, makers.engine, readers.readers, cuts, float(target.input_tokens))
    rest = habits.door_s + habits.hand_s + readers.own_s[:, None] + way_s
    rest = rest + np.maximum(habits.stream_steps / 2.0, 1.0) * token + makers.making.first_s[here]
    busy: Floats = np.full(rest.shape, BUSY)
    if target.first_s is not None:
        room = np.maximum(target.first_s - rest, 0.0) * 2.0 * readers.prompts[:, None]  # M/D/1, solved for the load
        busy = np.minimum(busy, room / (1.0 + room))
    reads = np.minimum(busy * readers.prompts[:, None], BUSY * send)
    makes = np.broadcast_to(np.minimum(makers.making.requests_per_s[here], BUSY * take), reads.shape)
    sizes = readers.readers.cards[:, None] * (int(cuts.cards.max(initial=0)) + 1) + cuts.cards[None, :]
    ok = np.flatnonzero(busy.ravel() > 0)
    sizes, reads, makes = sizes.ravel()[ok], reads.ravel()[ok], makes.ravel()[ok]
    order = np.argsort(sizes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(sizes[order])) + 1) if len(order) else []
    kept = np.concatenate([NONE, *(group[front(reads[group], makes[group])] for group in groups)])
    reader, maker = np.divmod(ok[kept], max(len(here), 1))
    way = Apart(
        reads_on=a,
        makes_on=b,
        read_size=readers.readers.cards[reader],
        make_size=cuts.cards[maker],
        read_rate=reads[kept],
        make_rate=makes[kept],
    )
    return Matched(
        way=way,
        reader=reader,
        maker=here[maker],
        read=readers.prompts[reader],
        rest_s=rest[reader, maker],
        moved_s=way_s[reader, maker],
    )


def nearest(readers: Offer, makers: Offer, on: Wire, target: ServingTarget, habits: Habits) -> float:
    """By how much the pair that misses the target least misses it, lightly loaded."""
    way_s, _, _ = moved(on, makers.engine, readers.readers, makers.cuts, float(target.input_tokens))
    token = makers.making.token_s
    first = habits.door_s + habits.hand_s + (readers.own_s + queue_s(LIGHT) / readers.prompts)[:, None] + way_s
    first = first + np.maximum(habits.stream_steps / 2.0, 1.0) * token + makers.making.first_s
    over = np.zeros(first.shape)
    if target.first_s is not None:
        over = np.maximum(over, first / target.first_s)
    if target.token_s is not None:
        over = np.maximum(over, token / target.token_s)
    return float(over.min())


def _makers(makers: Offer, target: ServingTarget) -> Ints:
    """Those whose step is quick enough; where nobody asks for a first token, of each shape the one that carries most."""
    quick = np.flatnonzero(makers.making.token_s <= (np.inf if target.token_s is None else target.token_s))
    if target.first_s is not None:
        return quick
    order = quick[np.argsort(-makers.making.requests_per_s[quick], kind="stable")]
    cuts = makers.cuts[order]
    shapes = np.stack((cuts.tensor, cuts.data, cuts.stages, cuts.expert, cuts.expert_tensor), axis=1)
    _, first = np.unique(shapes, axis=0, return_index=True)
    return order[np.sort(first)]
