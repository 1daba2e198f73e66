"""How long jobs take: what was said, corrected by what happened; and where nothing was said, what happened to others like it.

    history.note(kind, lasted_s)                     # a job ended by itself
    history.lasts_s(kind, so_far_s, share=0.9)       # how long such a job lasts that has lasted so far

Asked:  nobody says how long a job takes. What is to be expected of it, at its start and after it has run for a while?
Answer: jobs of one kind (an organisation's project, a name, a count of cards) are counted by how long they ran, in bins that
        grow by a half. Of those that lasted longer than this one has so far, the time below which `share` of them stay. Where too
        few of a kind are known, what is known of the next wider kind counts.
Limits: a kind's counts are halved when they become many, so that what is new weighs more. The answer is a bin's upper edge.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import MutableMapping
from itertools import accumulate

FIRST_S = 1.0
GROWTH = 1.5
BINS = 40  # the last one begins after 13 weeks
ENOUGH = 8  # jobs of a kind, longer than this one so far, from which a forecast is made
MOST = 4096  # of a kind; then all are halved
UNKNOWN_S = 3600.0  # what a job lasts of which nothing at all is known

EDGES = tuple(FIRST_S * GROWTH**k for k in range(BINS))


class History:
    """Counts of jobs by kind and how long they lasted. The counts themselves are in the tables."""

    def __init__(self, counts: MutableMapping[str, tuple[int, ...]]) -> None:
        self._counts = counts

    def note(self, kinds: tuple[str, ...], lasted_s: float) -> None:
        """A job of these kinds, the narrowest first, ran to its end."""
        which = bin_of(lasted_s)
        for kind in kinds:
            counts = list(self._counts.get(kind) or [0] * BINS)
            counts[which] += 1
            if counts[which] >= MOST:
                counts = [count // 2 for count in counts]
            self._counts[kind] = tuple(counts)

    def lasts_s(self, kinds: tuple[str, ...], so_far_s: float = 0.0, share: float = 0.9) -> float:
        """Seconds from its start to its end, of which at least `so_far_s` are over."""
        first = min(bisect_right(EDGES, so_far_s), BINS - 1)
        for kind in kinds:
            counts = self._counts.get(kind)
            if counts is None:
                continue
            longer = sum(counts[first:])
            if longer >= ENOUGH:
                wanted, seen = share * longer, 0
                for which in range(first, BINS):
                    seen += counts[which]
                    if seen >= wanted:
                        return EDGES[which]
        # Nothing is known of anything that lasted so long: it lasts as long again.
        return max(UNKNOWN_S, 2.0 * so_far_s)

    def outgrown_s(self, kinds: tuple[str, ...], so_far_s: float, beyond_s: float, share: float = 0.9) -> float:
        """How long such a job has lasted when it is first expected to last longer than `beyond_s`, by what is known now."""
        known = [list(accumulate(counts)) for kind in kinds if (counts := self._counts.get(kind))]
        for which in range(min(bisect_right(EDGES, so_far_s), BINS - 1), BINS):
            lasts_s = max(UNKNOWN_S, 2.0 * EDGES[which])
            for sums in known:  # as in `lasts_s`, of jobs that have come to this edge
                shorter = sums[which]
                longer = sums[-1] - shorter
                if longer >= ENOUGH:
                    lasts_s = EDGES[min(bisect_left(sums, shorter + share * longer), BINS - 1)]
                    break
            if lasts_s > beyond_s:
                return EDGES[which]
        return EDGES[-1]

    def between_s(self, kinds: tuple[str, ...], so_far_s: float, share: float) -> float:
        """The same from the middle of the bin: for what is told to people."""
        return max(so_far_s, self.lasts_s(kinds, so_far_s, share) / math.sqrt(GROWTH))


def bin_of(lasted_s: float) -> int:
    """The bin whose upper edge is the first that isn't below."""
    if lasted_s <= FIRST_S:
        return 0
    return min(BINS - 1, math.ceil(math.log(lasted_s / FIRST_S) / math.log(GROWTH) - 1e-9))
