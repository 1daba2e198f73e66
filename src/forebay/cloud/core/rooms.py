"""Which cards are free, by chip, island and node: an index that State keeps, so that placing costs the same in any pool.

Asked:  how many cards of a chip are free; which islands have enough; which node of an island leaves the fewest over?
Answer: a room a node, and within an island the rooms by how many cards are free. Changing a room costs as much as its own cards
        and one place in a sorted list; nothing here walks over the pool.
Limits: an island's rooms with the same count of free cards are one sorted list: right for thousands of nodes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field

from forebay.chips.node import Node
from forebay.cloud.core.pool import Room

IslandKey = tuple[bool, str, str]
"""Whether its cards are pretended, its centre, its name. They sort as they are chosen: real cards first."""


@dataclass(slots=True, kw_only=True)
class Island:
    """Nodes of one chip over whose links a gang may run, with what is free on them."""

    key: IslandKey
    total: int = 0  # cards, free or not
    free: int = 0
    rooms: dict[str, Room] = field(default_factory=dict)
    by_free: dict[int, list[str]] = field(default_factory=dict)  # free cards -> the names of such nodes, in order

    def smallest_that_holds(self, cards: int, barred: frozenset[str] = frozenset()) -> Room | None:
        """The room with the fewest free cards that are enough; of equal ones the first by name."""
        for count in sorted(self.by_free):
            if count >= cards:
                for name in self.by_free[count]:
                    if name not in barred:
                        return self.rooms[name]
        return None

    def with_free_cards(self, barred: frozenset[str] = frozenset()) -> list[Room]:
        return [self.rooms[name] for names in self.by_free.values() for name in names if name not in barred]


class Rooms:
    """All rooms of the pool."""

    def __init__(self) -> None:
        self.by_node: dict[tuple[str, str], Room] = {}
        self._of: dict[str, list[str]] = {}  # centre -> the names of its nodes
        self.islands: dict[str, dict[IslandKey, Island]] = {}  # by chip
        self.total: Counter[str] = Counter()  # chip -> cards
        self.real: Counter[str] = Counter()  # chip -> cards that aren't pretended
        self.free: Counter[str] = Counter()  # chip -> cards that are free
        self.more: set[str] = set()  # chips of which cards came free since somebody last went through those that want them

    def largest(self, chip: str) -> int:
        """Cards of the chip's largest island."""
        return max((island.total for island in self.islands.get(chip, {}).values()), default=0)

    def add(self, centre: str, node: Node, free: tuple[int, ...]) -> None:
        key = (node.pretend, centre, node.island)
        island = self.islands.setdefault(node.chip, {}).setdefault(key, Island(key=key))
        island.total += len(node.cards)
        self.total[node.chip] += len(node.cards)
        self.real[node.chip] += 0 if node.pretend else len(node.cards)
        self._of.setdefault(centre, []).append(node.name)
        self.more.add(node.chip)
        self._put(island, Room(centre=centre, node=node, free=free))

    def set_free(self, centre: str, node: str, free: tuple[int, ...]) -> None:
        """Which cards of a node are free now."""
        room = self.by_node[(centre, node)]
        if room.free == free:
            return
        island = self._island(room)
        self._take_out(island, room)
        self._put(island, Room(centre=centre, node=room.node, free=free))
        if len(free) > len(room.free):
            self.more.add(room.node.chip)

    def remove_centre(self, centre: str) -> None:
        for name in self._of.pop(centre, []):
            self._remove(name, self.by_node[(centre, name)])

    def _remove(self, name: str, room: Room) -> None:
        chip, island = room.node.chip, self._island(room)
        self._take_out(island, room)
        del self.by_node[(room.centre, name)], island.rooms[name]
        island.total -= len(room.node.cards)
        self.total[chip] -= len(room.node.cards)
        self.real[chip] -= 0 if room.node.pretend else len(room.node.cards)
        if not island.rooms:
            del self.islands[chip][island.key]
        if not self.islands[chip]:
            del self.islands[chip], self.total[chip], self.free[chip], self.real[chip]

    def _island(self, room: Room) -> Island:
        return self.islands[room.node.chip][(room.node.pretend, room.centre, room.node.island)]

    def _put(self, island: Island, room: Room) -> None:
        name, count = room.node.name, len(room.free)
        self.by_node[(room.centre, name)] = island.rooms[name] = room
        if count:
            insort(island.by_free.setdefault(count, []), name)
        island.free += count
        self.free[room.node.chip] += count

    def _take_out(self, island: Island, room: Room) -> None:
        name, count = room.node.name, len(room.free)
        if count:
            names = island.by_free[count]
            del names[bisect_left(names, name)]
            if not names:
                del island.by_free[count]
        island.free -= count
        self.free[room.node.chip] -= count
