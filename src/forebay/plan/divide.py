"""Which layers has each stage, so that the slowest stage is done soonest? For many plans of one chip at once.

Asked:  seconds of a plain layer (the leading ones of a mixture) and of the others, of what the first stage does beside them (the
        embedding) and the last (vocabulary, loss, predicted layers), for each way in which a stage may recompute; and how many
        layers each stage can hold in each way.
Answer: `divided`, of stages with one piece: a limit is tried: each stage in turn takes as many layers as it is done with within
        the limit and has room for. If that leaves none over, the limit can be kept, else no split keeps it, since a stage that
        took fewer would leave more to those behind it. The first limit is a layer above the mean, or, where room is short,
        found by halving; then it is lowered to just under the split's own slowest stage until nothing keeps it, so the slowest
        stage is the shortest of all splits (tests compare with all of small cases). Of the splits that are as fast, the one
        whose stages are as even as can be, the first ones shorter: they hold the most micro-batches in flight. Where a stage
        may recompute in several ways it takes the first that holds its layers.
        `spared`, of interleaved stages: chunk by chunk all stages wait for the one with most layers in that chunk, so that all
        pieces have as many, but those of the first and the last stage, from whose ends what is lacking is taken.
Units:  seconds of forward and backward of one micro-batch.
Limits: layers are of two kinds, and the plain ones lead. Only the slowest stage is minimised; filling and draining take the sum
        of all stages, which no split of the same ways changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

STEPS = 12  # halvings, where stages have too little room for the mean and a layer
NEAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of one micro-batch, (ways, plans) each."""

    plain: Floats
    mixed: Floats
    first: Floats
    last: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Layers of each stage, and the way in which it recomputes: (plans, stages), -1 behind the last stage."""

    layers: Ints
    ways: Ints
    slowest: Floats  # of each plan; inf where no split fits


def leading(layers: Ints, chunks: Ints) -> Ints:
    """Of each stage's layers, (plans, stages), those in its first piece. All pieces have as many, but what is lacking is lacking
    in the first ones of the first stage, and in the last ones of others."""
    each = -(-layers.max(axis=1) // chunks)[:, None]
    found: Ints = np.minimum(layers, each)
    found[:, 0] = np.maximum(layers[:, 0] - each[:, 0] * (chunks - 1), 0)
    return found


def spared(count: int, stages: Ints, chunks: Ints, mixed: Floats, first: Floats, last: Floats) -> Ints:
    """Layers of each stage, (plans, stages), whose pieces are alike but at the ends; all 0 where there is no such split."""
    each = -(-count // (stages * chunks))
    lacking = stages * chunks * each - count
    # What each number of layers fewer at the last stage leaves of both ends' excess over a piece.
    behind = np.arange(int(each.max(initial=0)) + 1)
    ahead = lacking[:, None] - behind
    could = (ahead >= 0) & (ahead <= each[:, None]) & (behind <= each[:, None])  # no other piece is without a layer

    def excess(extra: Floats, fewer: Ints) -> Floats:
        return np.maximum(0.0, extra[:, None] - fewer * mixed[:, None])

    over = np.where(could, np.maximum(excess(first, ahead), excess(last, behind)), np.inf)
    at = np.argmin(over, axis=1)
    place, one = np.arange(int(stages.max(initial=0))), np.arange(len(stages))
    found = np.where(place < stages[:, None], (each * chunks)[:, None], 0)
    found[:, 0] -= np.where(could[one, at], ahead[one, at], 0)
    found[one, stages - 1] -= at
    return np.asarray(np.where(could[one, at][:, None], found, 0))


def divided(count: int, lead: int, costs: Costs, stages: Ints, most: Ints) -> Split:
    """`most` is (ways, plans, stages): the layers that a stage can hold. `lead` of the `count` layers are plain."""
    order = np.argsort(-stages, kind="stable")
    back = np.argsort(order, kind="stable")
    some = _Rows(count, lead, _at(costs, order), stages[order], most[:, order])
    layers, ways, slowest = some.best()
    return Split(layers=layers[back], ways=ways[back], slowest=slowest[back])


def _at(costs: Costs, which: Any) -> Costs:
    return Costs(plain=costs.plain[:, which], mixed=costs.mixed[:, which], first=costs.first[:, which], last=costs.last[:, which])


class _Rows:
    """Plans in the order of their stages, most first, so that the plans that have a stage are the first so many."""

    def __init__(self, count: int, lead: int, costs: Costs, stages: Ints, most: Ints) -> None:
        self.count, self.lead, self.costs, self.stages, self.most = count, lead, costs, stages, most
        self.wide = int(stages.max(initial=0))
        self.have = [int(np.count_nonzero(stages > s)) for s in range(self.wide)]
        place, end = np.arange(self.wide), stages[:, None] - 1
        ends = (place == 0) | (place == end)
        # The embedding and the loss may have a stage for themselves.
        self.least = np.where((place <= end) & ~ends, 1, 0)
        self.after = self.least[:, ::-1].cumsum(axis=1)[:, ::-1] - self.least  # of the stages behind
        self.extra = (place == 0) * costs.first[:, :, None] + (place == end) * costs.last[:, :, None]

    def best(self) -> tuple[Ints, Ints, Floats]:
        c = self.costs
        work = (self.count - self.lead) * c.mixed + self.lead * c.plain + c.first + c.last
        low, high = work.min(axis=0) / self.stages, 2 * work.max(axis=0)
        layers, possible = self._greedy(high)
        near = low + np.maximum(c.mixed, c.plain).max(axis=0)
        other, ok = self._greedy(near)
        ok &= possible
        layers, high, low = np.where(ok[:, None], other, layers), np.where(ok, near, high), np.where(ok, low, near)
        for _ in range(STEPS if (possible & ~ok).any() else 0):
            tried = (low + high) / 2
            other, ok = self._greedy(tried)
            ok &= possible
            high, low = np.where(ok, tried, high), np.where(ok, low, tried)
            layers = np.where(ok[:, None], other, layers)
        slowest = self._slowest(layers)
        ok = possible
        while ok.any():
            other, ok = self._greedy(slowest * (1 - NEAR))
            ok &= possible
            layers = np.where(ok[:, None], other, layers)
            slowest = np.where(ok, self._slowest(layers), slowest)
        even = self._evened(layers, slowest)
        took = self._slowest(even)
        layers = np.where((took <= slowest * (1 + NEAR))[:, None], even, layers)
        slowest = np.where(possible, self._slowest(layers), np.inf)
        behind = np.arange(self.wide) >= self.stages[:, None]
        return np.where(behind, -1, layers), np.where(behind, -1, self._ways(layers)), slowest

    def _greedy(self, limit: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """Each stage with the most layers, and whether that leaves none over."""
        rest, plain = np.full(len(limit), self.count), np.full(len(limit), self.lead)
        layers, ok = np.zeros((len(limit), self.wide), dtype=np.int64), np.ones(len(limit), dtype=np.bool_)
        for s, n in enumerate(self.have):
            most = self._most(s, limit[:n], plain[:n])
            took = np.minimum(most, rest[:n] - self.after[:n, s])
            ok[:n] &= (took >= self.least[:n, s]) & ((s < self.stages[:n] - 1) | (took == rest[:n]))
            layers[:n, s] = took = np.maximum(took, 0)
            rest[:n] -= took
            plain[:n] -= np.minimum(plain[:n], took)
        return layers, ok

    def _most(self, s: int, limit: Floats, plain: Ints) -> Ints:
        """The layers that stage s is done with within the limit, and has room for; -1: not even none."""
        n, c = len(limit), self.costs
        found = np.full(n, -1)
        for way in range(len(c.mixed)):
            a, b, room = c.plain[way, :n], c.mixed[way, :n], limit * (1 + 1e-12) - self.extra[way, :n, s]
            fits = np.floor(room / b).astype(np.int64)
            if (at := np.flatnonzero(plain > 0)).size:
                many = np.arange(self.count + 1)
                some = np.minimum(plain[at, None], many)
                took = some * a[at, None] + (many - some) * b[at, None]
                fits[at] = np.count_nonzero(took <= room[at, None], axis=1) - 1
            fits = np.where(room < 0, -1, np.minimum(fits, self.most[way, :n, s]))
            found = np.maximum(found, fits)
        return found

    def _plain(self, layers: Ints) -> Ints:
        """Of each stage's layers the plain ones."""
        return np.asarray(np.clip(self.lead - (np.cumsum(layers, axis=1) - layers), 0, layers))

    def _times(self, layers: Ints) -> Floats:
        """(ways, plans, stages)"""
        plain, c = self._plain(layers), self.costs
        return np.asarray(plain * c.plain[:, :, None] + (layers - plain) * c.mixed[:, :, None] + self.extra)

    def _ways(self, layers: Ints) -> Ints:
        """The first way that holds a stage's layers."""
        return np.asarray(np.argmax(self.most >= layers, axis=0), dtype=np.int64)

    def _slowest(self, layers: Ints) -> Floats:
        times = np.take_along_axis(self._times(layers), self._ways(layers)[None], axis=0)[0]
        here = np.arange(self.wide) < self.stages[:, None]
        return np.asarray(np.where(here, times, 0.0).max(axis=1))

    def _evened(self, layers: Ints, limit: Floats) -> Ints:
        """No stage slower than the limit, and each with its share of what is left, rounded down."""
        limit = limit * (1 + NEAR)
        size = len(limit)
        room = np.zeros((size, self.wide), dtype=np.int64)
        for s, n in enumerate(self.have):
            room[:n, s] = self._most(s, limit[:n], np.zeros(n, dtype=np.int64))
        room = np.maximum(room, 0)
        behind = room[:, ::-1].cumsum(axis=1)[:, ::-1] - room  # what the stages behind can take
        a, b, extra = self.costs.plain[0], self.costs.mixed[0], self.extra[0]
        left = extra[:, ::-1].cumsum(axis=1)[:, ::-1]
        rest, plain, found = np.full(size, self.count), np.full(size, self.lead), np.zeros_like(layers)
        for s, n in enumerate(self.have):
            spared = plain[:n] * (a[:n] - b[:n])
            share = (rest[:n] * b[:n] + spared + left[:n, s]) / (self.stages[:n] - s)
            wanted = np.floor((share - extra[:n, s] - spared) / b[:n] + NEAR).astype(np.int64)
            least = np.maximum(self.least[:n, s], rest[:n] - behind[:n, s])
            most = np.minimum(self._most(s, limit[:n], plain[:n]), rest[:n] - self.after[:n, s])
            found[:n, s] = took = np.clip(wanted, least, np.maximum(most, least))
            rest[:n] -= took
            plain[:n] -= np.minimum(plain[:n], took)
        good = (rest == 0) & (found <= self.most.max(axis=0)).all(axis=1) & (found >= self.least).all(axis=1)
        return np.where(good[:, None], found, layers)
