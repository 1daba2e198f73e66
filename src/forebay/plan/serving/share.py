"""Who does what: cards of several kinds shared between ways to serve.

Asked:  some ways to serve (prompts here and tokens there, or both on one kind) compete for the cards of a pool. Which of them,
        and with how many workers, carry most, or carry enough at the least price?
Answer: every choice of at most two ways, with every number of workers that can be best (`blocks`); for the most, what is
        left of a kind does both. Requests a second add up: this is a linear programme with a row a kind, whose best corner needs
        no more ways than kinds; whole workers are why all numbers are tried (Splitwise, ISCA 2024, section 4.5, searches
        numbers of machines too; HexGen-2, ICLR 2025, and Helix, ASPLOS 2025, solve a flow).
Units:  cards, requests a second, a price in any unit.
Limits: exact over that space up to 128 workers of a kind. One engine a way: two sizes of engines don't share a way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from forebay.plan.kernels.grid import Floats
from forebay.plan.serving.blocks import Apart, Blocks, Together, blocks, filled
from forebay.plan.serving.time import Ints

Way = Together | Apart
LEAST = 0.002  # of the requests, for a few engines to be worth their lines
AT_ONCE = 1_000_000  # sums looked at together, and cards that are counted one by one beforehand


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Workers of one way. It holds no engine: `which` is an entry of the way."""

    way: int
    which: int
    readers: int
    makers: int
    rate: float
    used: tuple[int, ...]  # cards by kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A pool's cards shared out."""

    portions: tuple[Portion, ...]
    rate: float

    @property
    def used(self) -> tuple[int, ...]:
        return tuple(map(sum, zip(*(one.used for one in self.portions), strict=True)))


def most(ways: Sequence[Way], counts: Ints) -> list[Shared]:
    """For each choice of at most two ways apart the most that it carries, what is left doing both; best first."""
    fills = [(i, way) for i, way in enumerate(ways) if isinstance(way, Together)]
    found = [_filled((), ways, fills, counts)]
    apart = {i: blocks(way, counts) for i, way in enumerate(ways) if isinstance(way, Apart)}
    tables = {way.kind: filled(way, np.arange(counts[way.kind] + 1))[0] for _, way in fills if counts[way.kind] <= AT_ONCE}

    def left_does(left: Ints) -> Floats:
        done = np.zeros(left.shape[:-1])
        for _, way in fills:
            here = left[..., way.kind]
            done = done + (tables[way.kind][here] if way.kind in tables else filled(way, here)[0])
        return done

    for i, one in apart.items():
        if len(one):
            best = int(np.argmax(one.rate + left_does(counts - one.used)))
            found.append(_filled((_portion(i, one, best),), ways, fills, counts))
    for i, j in combinations(apart, 2):
        top: tuple[float, tuple[Portion, ...]] = (0.0, ())
        for a, b, left in _sums(apart[i], apart[j], counts):
            rate = a.rate[:, None] + b.rate[None, :]
            rate = np.where((left >= 0).all(axis=-1), rate + left_does(np.maximum(left, 0)), 0.0)
            at = np.unravel_index(int(np.argmax(rate)), rate.shape)
            if rate[at] > top[0]:
                top = float(rate[at]), (_portion(i, a, int(at[0])), _portion(j, b, int(at[1])))
        if top[1]:
            found.append(_filled(top[1], ways, fills, counts))
    return sorted((one for one in found if one.portions), key=lambda one: (-one.rate, len(one.portions)))


def cheapest(ways: Sequence[Way], counts: Ints, wanted: float, prices: Floats) -> list[tuple[float, Shared]]:
    """For each choice of at most two ways the least that carries so much, with its price; best first. None may."""
    every = {i: blocks(way, counts) for i, way in enumerate(ways)}
    found: list[tuple[float, Shared]] = []
    for i, one in every.items():
        enough = one.pick(np.flatnonzero(one.rate >= wanted))
        if len(enough):
            price = enough.used @ prices
            best = int(np.argmin(price))
            found.append((float(price[best]), _shared((_portion(i, enough, best),))))
    for i, j in combinations(every, 2):
        top: tuple[float, tuple[Portion, ...]] = (np.inf, ())
        for a, b, left in _sums(every[i], every[j], counts):
            enough_here = (a.rate[:, None] + b.rate[None, :] >= wanted) & (left >= 0).all(axis=-1)
            price = np.where(enough_here, (a.used @ prices)[:, None] + (b.used @ prices)[None, :], np.inf)
            at = np.unravel_index(int(np.argmin(price)), price.shape)
            if price[at] < top[0]:
                top = float(price[at]), (_portion(i, a, int(at[0])), _portion(j, b, int(at[1])))
        if top[1]:
            found.append((top[0], _shared(top[1])))
    return sorted(found, key=lambda one: (one[0], len(one[1].portions), -one[1].rate))


def plain(shared: Shared) -> Shared:
    """Without what carries less than LEAST of all."""
    return _shared(tuple(one for one in shared.portions if one.rate >= LEAST * shared.rate))


def _sums(a: Blocks, b: Blocks, counts: Ints) -> Iterator[tuple[Blocks, Blocks, Ints]]:
    """Some of `a` with all of `b`, and what they leave of each kind."""
    if not len(b):
        return
    rows = max(AT_ONCE // len(b), 1)
    for start in range(0, len(a), rows):
        some = a.pick(np.arange(start, min(start + rows, len(a))))
        yield some, b, counts - some.used[:, None, :] - b.used[None, :, :]


def _filled(portions: tuple[Portion, ...], ways: Sequence[Way], fills: Sequence[tuple[int, Together]], counts: Ints) -> Shared:
    left = counts.copy()
    for one in portions:
        left = left - np.array(one.used)
    for i, way in fills:
        rate, which, workers = (x[()] for x in filled(way, left[way.kind]))
        if workers:
            used = [0] * len(counts)
            used[way.kind] = int(workers * way.size[which])
            more = Portion(way=i, which=int(which), readers=0, makers=int(workers), rate=float(rate), used=tuple(used))
            portions = (*portions, more)
    return _shared(portions)


def _shared(portions: tuple[Portion, ...]) -> Shared:
    return Shared(portions=portions, rate=sum(one.rate for one in portions))


def _portion(way: int, of: Blocks, i: int) -> Portion:
    return Portion(
        way=way,
        which=int(of.way[i]),
        readers=int(of.readers[i]),
        makers=int(of.makers[i]),
        rate=float(of.rate[i]),
        used=tuple(int(x) for x in of.used[i]),
    )
