"""The cards of a pool, for the baselines: which are free, and where so many go.

Asked:  where do so many cards of a chip go?
Answer: on the node where they leave the fewest over; else over several, whole nodes first. The same rule as the core's, in fewer
        words, so that what differs between a baseline and the core is the order of jobs and not the packing.
Limits: one centre and one island a chip; nothing is ever out of use.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from forebay.chips.node import Node
from forebay.cloud.core.pool import Allocation, Part


class Floor:
    """Free cards by chip and node."""

    def __init__(self, centre: str, nodes: tuple[Node, ...]) -> None:
        self.centre = centre
        self.free: dict[str, int] = {}
        self.total: dict[str, int] = {}
        self._cards: dict[str, list[int]] = {}  # node -> its free cards
        self._by_free: dict[str, list[list[str]]] = {}  # chip -> number of free cards -> nodes
        self._size: dict[str, int] = {}
        for node in nodes:
            count = len(node.cards)
            self.free[node.chip] = self.total[node.chip] = self.total.get(node.chip, 0) + count
            self._cards[node.name] = [card.index for card in node.cards]
            self._size[node.name] = count
            buckets = self._by_free.setdefault(node.chip, [])
            buckets.extend([] for _ in range(count + 1 - len(buckets)))
            insort(buckets[count], node.name)

    def take(self, chip: str, cards: int) -> Allocation | None:
        if self.free.get(chip, 0) < cards:
            return None
        self.free[chip] -= cards
        buckets = self._by_free[chip]
        parts: list[Part] = []
        left = cards
        while left:
            count = next((n for n in range(left, len(buckets)) if buckets[n]), 0)
            if not count:  # no node has so many: the fullest of them gives all that it has
                count = next(n for n in range(len(buckets) - 1, 0, -1) if buckets[n])
            node = buckets[count][0]
            some = min(left, count)
            parts.append(Part(node=node, cards=tuple(self._cards[node][:some])))
            del self._cards[node][:some]
            self._move(buckets, node, count, count - some)
            left -= some
        return Allocation(centre=self.centre, chip=chip, parts=tuple(parts))

    def give_back(self, allocation: Allocation) -> None:
        buckets = self._by_free[allocation.chip]
        for part in allocation.parts:
            cards = self._cards[part.node]
            before = len(cards)
            cards.extend(part.cards)
            if len(cards) > 1:
                cards.sort()
            self._move(buckets, part.node, before, len(cards))
            self.free[allocation.chip] += len(part.cards)

    @staticmethod
    def _move(buckets: list[list[str]], node: str, before: int, after: int) -> None:
        names = buckets[before]
        del names[bisect_left(names, node)]
        insort(buckets[after], node)
