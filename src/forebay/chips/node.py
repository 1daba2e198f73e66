"""The nouns Card and Node: physical pieces, and the hosts they sit in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One physical piece of a chip.

    On a host without accelerators a card of the chip `cpu` is a group of processor cores.
    """

    index: int  # as the visible-devices variable counts
    cores: tuple[int, ...] = ()  # CPU cards: the cores that a rank on it is bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A host with cards of one chip. A host with two kinds of chips is two nodes.

    A pretend node's cards are stood in for by CPU processes: figures for planning and placing, never for speed.
    """

    name: str
    chip: str
    cards: tuple[Card, ...]
    island: str = ""  # nodes of one island are joined by the vendor's own collectives
    pretend: bool = False
