"""Collectives as rounds of sends, stated once.

Asked:  who sends which chunk to whom, and when, so that every rank ends with what the collective promises?
Answer: a list of rounds; the sends of a round run side by side. `fabric` prices the rounds, `comm` performs the same ones.
Limits: the ring, so far; ranks are places 0..n-1 of a group. Each round moves n chunks of 1/n of the buffer
        (Patarasuk and Yuan, Journal of Parallel and Distributed Computing 69, 2009).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Rank `src` sends its piece `chunk` to rank `dst`; `add` says that the receiver adds it to its own instead of keeping it."""

    src: int
    dst: int
    chunk: int
    add: bool = False


def ring_reduce_scatter(ranks: Sequence[int]) -> Iterator[list[Send]]:
    """Rounds after which the rank at place i holds the whole sum of chunk i + 1."""
    n = len(ranks)
    for r in range(n - 1):
        yield [Send(ranks[i], ranks[(i + 1) % n], (i - r) % n, add=True) for i in range(n)]


def ring_all_gather(ranks: Sequence[int], first: int = 0) -> Iterator[list[Send]]:
    """Rounds after which every rank holds every chunk. At the start the rank at place i holds chunk i + first."""
    n = len(ranks)
    for r in range(n - 1):
        yield [Send(ranks[i], ranks[(i + 1) % n], (i + first - r) % n) for i in range(n)]


def ring_all_reduce(ranks: Sequence[int]) -> Iterator[list[Send]]:
    """A reduce-scatter, then an all-gather of the sums: 2(n-1) rounds."""
    yield from ring_reduce_scatter(ranks)
    yield from ring_all_gather(ranks, first=1)
