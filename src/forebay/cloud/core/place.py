"""Choose the cards of a run.

    allocation = place(rooms, option)

Asked:  on which nodes do so many cards of a chip go?
Answer: on the one node where they leave the fewest cards over; if no node holds them all, on nodes of one island, fullest
        rooms first, so that few nodes are touched. Real cards before pretend ones, and never both in one run.
Limits: no fabric yet: islands are taken as flat.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from forebay.cloud.core.job import Option
from forebay.cloud.core.pool import Allocation, Part, Room


def place(rooms: Iterable[Room], option: Option) -> Allocation | None:
    """The cards for an option out of `rooms` (all of its chip), or None when they don't suffice."""
    islands: dict[tuple[bool, str, str], list[Room]] = defaultdict(list)
    for room in rooms:
        if room.free:
            islands[(room.node.pretend, room.centre, room.node.island)].append(room)
    for key in sorted(islands):  # False sorts before True: real cards first
        parts = _within(islands[key], option.cards)
        if parts:
            return Allocation(centre=key[1], chip=option.chip, parts=parts, pretend=key[0])
    return None


def _within(rooms: list[Room], cards: int) -> tuple[Part, ...] | None:
    whole = [room for room in rooms if len(room.free) >= cards]
    if whole:
        room = min(whole, key=lambda r: (len(r.free), r.node.name))
        return (Part(node=room.node.name, cards=room.free[:cards]),)
    if sum(len(room.free) for room in rooms) < cards:
        return None
    parts: list[Part] = []
    for room in sorted(rooms, key=lambda r: (-len(r.free), r.node.name)):
        take = room.free[:cards]
        parts.append(Part(node=room.node.name, cards=take))
        cards -= len(take)
        if not cards:
            break
    return tuple(parts)
