"""Choose the cards of a run.

    allocation = place(islands, option)

Asked:  on which nodes do so many cards of a chip go?
Answer: on the one node where they leave the fewest cards over; if no node holds them all, on nodes of one island: below one
        leaf switch where that is enough, else below switches as near to each other as can be; whole nodes first, and the rest
        where it leaves the fewest over. Real cards before pretend ones, and never both in one run. The centre where the job's
        data is soonest comes first, then the one that has what the job left before.
Limits: no fabric yet: a switch is a name, not a bandwidth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from forebay.cloud.core.job import Option
from forebay.cloud.core.pool import Allocation, Part, Room
from forebay.cloud.core.rooms import Island, IslandKey

Barred = frozenset[tuple[str, str]]
"""(centre, node) where a run may not go, by a window of maintenance; an empty node stands for the whole centre."""

NOWHERE_FAR: Mapping[str, float] = {}


def place(
    islands: Mapping[IslandKey, Island],
    option: Option,
    *,
    prefer: str = "",
    barred: Barred = frozenset(),
    far_s: Mapping[str, float] = NOWHERE_FAR,
) -> Allocation | None:
    """The cards for an option out of `islands` (all of its chip), or None when they don't suffice. `far_s`: how long it takes to
    bring the job's data to a centre.
    """
    for key in sorted(islands, key=lambda key: (key[0], far_s.get(key[1], 0.0), key[1] != prefer, key)):
        island = islands[key]
        pretend, centre, _ = key
        if island.free < option.cards or (centre, "") in barred:
            continue
        parts = _within(island, option.cards, frozenset(node for where, node in barred if where == centre))
        if parts:
            return Allocation(centre=centre, chip=option.chip, parts=parts, pretend=pretend)
    return None


def _within(island: Island, cards: int, barred: frozenset[str]) -> tuple[Part, ...] | None:
    room = island.smallest_that_holds(cards, barred)
    if room:
        return (Part(node=room.node.name, cards=room.free[:cards]),)
    rooms = island.with_free_cards(barred)
    for group in _by_nearness(rooms):
        if sum(len(room.free) for room in group) >= cards:
            return _over(group, cards)
    return None


def parts_over(rooms: Sequence[Room], cards: int) -> tuple[Part, ...] | None:
    """The same out of rooms that are no island's own: what would be free if somebody made way."""
    holding = [room for room in rooms if len(room.free) >= cards]
    if holding:
        room = min(holding, key=lambda room: (len(room.free), room.node.name))
        return (Part(node=room.node.name, cards=room.free[:cards]),)
    for group in _by_nearness(rooms):
        if sum(len(room.free) for room in group) >= cards:
            return _over(group, cards)
    return None


def _by_nearness(rooms: Sequence[Room]) -> list[list[Room]]:
    """The rooms below each leaf, those with the fewest free cards first; then below the switches above; at last all of them."""
    groups: list[list[Room]] = []
    depth = max((room.node.leaf.count("/") + 1 for room in rooms if room.node.leaf), default=0)
    for levels in range(depth, 0, -1):
        below: dict[str, list[Room]] = defaultdict(list)
        for room in rooms:
            parts = room.node.leaf.split("/")
            if room.node.leaf and len(parts) >= levels:
                below["/".join(parts[:levels])].append(room)
        groups += [below[name] for name in sorted(below, key=lambda name: (sum(len(r.free) for r in below[name]), name))]
    return [*groups, list(rooms)]


def _over(rooms: Sequence[Room], cards: int) -> tuple[Part, ...]:
    """Cards of several nodes, which together have enough: whole and large ones first, and the rest where it fits best."""
    left = sorted(rooms, key=lambda room: (len(room.free) < len(room.node.cards), -len(room.free), room.node.name))
    parts: list[Part] = []
    while cards:
        holding = [room for room in left if len(room.free) >= cards]
        room = min(holding, key=lambda room: (len(room.free), room.node.name)) if holding else left[0]
        left.remove(room)
        take = room.free[:cards]
        parts.append(Part(node=room.node.name, cards=take))
        cards -= len(take)
    return tuple(parts)
