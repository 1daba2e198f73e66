"""How many engines of each kind: every number that can be best, of one way to serve.

Asked:  a way to serve takes so many cards of some kinds a worker, and carries so many requests a second. Which numbers of
        workers are worth a look?
Answer: `Together`: engines that read and make, one number. `Apart`: readers on one kind and makers on another, or on the same.
        The slower side sets the rate, so a reader too many or a maker too many is never best: for each number of readers there
        are as many makers as they feed, rounded up, and the other way round. What takes no fewer cards of any kind and carries
        no more than another is dropped.
Units:  cards, workers, requests a second.
Limits: exact up to FINE workers of a kind; above that numbers of workers have seven binary digits, at most 1.6 % too few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forebay.plan.kernels.grid import Floats
from forebay.plan.serving.time import Ints

FINE = 128
SAFE = 1e-9  # of a worker: what is lost in a division
NONE: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Together:
    """Engines of one kind that read prompts and make tokens, an entry a size."""

    kind: int
    size: Ints  # cards of a worker
    rate: Floats  # requests a second of a worker


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Apart:
    """Engines that read prompts and engines that make tokens, an entry a pair."""

    reads_on: int  # the kind of the readers
    makes_on: int
    read_size: Ints
    make_size: Ints
    read_rate: Floats  # requests a second whose prompts a reader reads in time
    make_rate: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """Numbers of workers, an entry each. Without readers: makers read too."""

    used: Ints  # cards by kind, a column each
    rate: Floats
    way: Ints  # which entry of the Together or Apart
    readers: Ints
    makers: Ints

    def __len__(self) -> int:
        return len(self.rate)

    def pick(self, which: Ints) -> Blocks:
        return Blocks(
            used=self.used[which],
            rate=self.rate[which],
            way=self.way[which],
            readers=self.readers[which],
            makers=self.makers[which],
        )


def blocks(way: Together | Apart, counts: Ints) -> Blocks:
    """All that can be best of it, within these cards of each kind."""
    return _together(way, counts) if isinstance(way, Together) else _apart(way, counts)


def filled(way: Together, left: Ints) -> tuple[Floats, Ints, Ints]:
    """The most that so many cards carry together, with engines of which size, and how many."""
    best, which, workers = np.zeros(left.shape), np.zeros(left.shape, dtype=np.int64), np.zeros(left.shape, dtype=np.int64)
    for i, (size, rate) in enumerate(zip(way.size, way.rate, strict=True)):
        now = left // size
        better = now * rate > best
        best, which = np.where(better, now * rate, best), np.where(better, i, which)
        workers = np.where(better, now, workers)
    return best, which, workers


def useful(size: Ints, rate: Floats) -> Ints:
    """Entries of engines that are the best of their size, and better than as many small ones as would stand there."""
    kept: list[int] = []
    for i in np.lexsort((-rate, size)):
        if all((size[i] // size[j]) * rate[j] < rate[i] for j in kept):
            kept.append(int(i))
    return np.array(kept, dtype=np.int64)


def front(read: Floats, make: Floats) -> Ints:
    """Entries of which none reads and makes at least as much as another."""
    order = np.lexsort((-make, -read))
    most = np.maximum.accumulate(make[order])
    first = np.concatenate(([True], make[order][1:] > most[:-1]))
    return order[first]


def _ladder(most: int) -> Ints:
    """Numbers from 1 to `most`: all up to FINE, then with seven binary digits. Those of a smaller `most` are among them."""
    steps = [np.arange(1, min(most, FINE) + 1)]
    step, top = 2, 2 * FINE
    while top // 2 < most:
        steps.append(np.arange(top // 2 + step, min(most, top) + 1, step))
        step, top = 2 * step, 2 * top
    return np.concatenate(steps).astype(np.int64)


def _together(way: Together, counts: Ints) -> Blocks:
    kind = way.kind
    found = [(i, _ladder(int(counts[kind] // size))) for i, size in enumerate(way.size) if size <= counts[kind]]
    which = np.concatenate([NONE, *(np.full(len(n), i) for i, n in found)])
    makers = np.concatenate([NONE, *(n for _, n in found)])
    used = np.zeros((len(which), len(counts)), dtype=np.int64)
    used[:, kind] = makers * way.size[which]
    every = Blocks(used=used, rate=makers * way.rate[which], way=which, readers=np.zeros_like(makers), makers=makers)
    return _pruned(every, kind, kind)


def _apart(way: Apart, counts: Ints) -> Blocks:
    a, b = way.reads_on, way.makes_on
    found = [(NONE, NONE, NONE)]
    for i, (s, d, p, r) in enumerate(zip(way.read_size, way.make_size, way.read_rate, way.make_rate, strict=True)):
        readers, makers = _ladder(int(counts[a] // s)), _ladder(int(counts[b] // d))
        fed, feed = _ups(readers * (p / r), makers), _ups(makers * (r / p), readers)
        x, y = np.concatenate((readers, feed)), np.concatenate((fed, makers))
        fits = (x > 0) & (y > 0)
        if a == b:
            fits &= x * s + y * d <= counts[a]
        found.append((np.full(int(fits.sum()), i, dtype=np.int64), x[fits], y[fits]))
    which, readers, makers = (np.concatenate(column) for column in zip(*found, strict=True))
    rate = np.minimum(readers * way.read_rate[which], makers * way.make_rate[which])
    used = np.zeros((len(which), len(counts)), dtype=np.int64)
    used[:, a] += readers * way.read_size[which]
    used[:, b] += makers * way.make_size[which]
    return _pruned(Blocks(used=used, rate=rate, way=which, readers=readers, makers=makers), a, b)


def _ups(wanted: Floats, ladder: Ints) -> Ints:
    """The first number of the ladder that is as large, or the last; 0 where there is none."""
    if not len(ladder):
        return np.zeros(len(wanted), dtype=np.int64)
    at = np.searchsorted(ladder, wanted - SAFE)
    return ladder[np.minimum(at, len(ladder) - 1)]


def _pruned(every: Blocks, a: int, b: int) -> Blocks:
    """Without those that take as much of both kinds as another, and carry no more."""
    if not len(every):
        return every
    rows, at = np.unique(every.used[:, a], return_inverse=True)
    columns, of = np.unique(every.used[:, b] if a != b else np.zeros(len(every), dtype=np.int64), return_inverse=True)
    table = np.zeros((len(rows) + 1, len(columns) + 1))
    np.maximum.at(table, (at + 1, of + 1), every.rate)
    most = np.maximum.accumulate(np.maximum.accumulate(table, axis=0), axis=1)
    less = np.maximum(most[at, of + 1], most[at + 1, of])  # with fewer cards of either kind
    best = (every.rate >= most[at + 1, of + 1]) & (every.rate > less)
    kept = np.flatnonzero(best)
    _, first = np.unique(np.stack((at[kept], of[kept]), axis=1), axis=0, return_index=True)
    return every.pick(kept[first])
