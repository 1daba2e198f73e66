"""The nouns Card and Node: physical pieces, and the hosts they sit in; and NodeState, how a node stands just now."""

from __future__ import annotations

import enum
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
    address: str = ""  # by which the other nodes of its centre reach it; empty: the machine itself
    leaf: str = ""  # the switch below which it hangs, where the centre knows: "spine1/leaf3"
    counted: bool = False  # its engine (Slurm, Ray) picks the cards itself: only how many are held counts, not which


class Condition(enum.Enum):
    """How a node stands, as its engine says."""

    UP = "up"
    DOWN = "down"  # doesn't answer, or has failed
    DRAINED = "drained"  # the centre's own operator has taken it out of use, or is about to


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """How a node stands just now. What it has is for Node to say."""

    name: str
    condition: Condition = Condition.UP
    reason: str = ""  # the engine's own words
    busy: tuple[int, ...] = ()  # cards that others than Forebay hold; never one that a run of ours holds
