"""Where runs can be: Centre, the cards it has, and the Allocation that a run holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forebay.chips.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """A compute centre as the cloud knows it: what its agent last reported.

    Its engine, its store and its disks are its own affair.
    """

    name: str
    token_sha256: str
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Cards of one node in an allocation."""

    node: str
    cards: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The cards that a run holds, all of one chip and in one centre."""

    centre: str
    chip: str
    parts: tuple[Part, ...]
    pretend: bool = False

    @property
    def cards(self) -> int:
        return sum(len(part.cards) for part in self.parts)

    def each(self) -> Iterator[tuple[str, str, int]]:
        """Every card as (centre, node, index)."""
        for part in self.parts:
            for card in part.cards:
                yield self.centre, part.node, card


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A node with its cards that no run holds. What `place` chooses from."""

    centre: str
    node: Node
    free: tuple[int, ...]
