"""Where runs can be: Centre and the cards it has, the Allocation that a run holds, and what is out of use: Mark and Window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forebay.chips.node import Node

LOCAL_CENTRE = "local"
"""The centre on the cloud's own machine, which `forebay up` makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """A compute centre as the cloud knows it: what its agent last reported.

    Its store and its disks are its own affair.
    """

    name: str
    token_sha256: str  # what its operator hands over to join it; good for one key
    nodes: tuple[Node, ...] = ()
    key_sha256: str = ""  # its agent's own; empty: it hasn't joined, or its key was revoked
    token_key_sha256: str = ""  # the key for which the token was exchanged; empty: it is unused
    token_expires_at_ns: int | None = None
    engine: str = ""  # "local", "slurm", "ray"
    version: str = ""  # of the Forebay that its agent is
    revoked: bool = False
    away: bool = False  # nothing was heard of its agent for a while
    generation: int = 0  # how often it went away or joined; what an agent of an older one reports is stale
    back_at_ns: int = 0  # when it was last heard of again, or joined
    owner: str = ""  # the organisation that brought it, and earns what others pay for its cards
    owner_share: float = 0.0  # of what they pay
    said_bytes_per_s: float = 0.0  # how fast data comes to it, as an operator says; 0: nobody has
    pulled_bytes: int = 0  # what was brought there and measured, older bringings counting for less; 0: nothing since it was said
    pulled_ns: int = 0  # how long that took


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A centre, node or card that gets no new runs: an operator drained it, or a check found the card to be bad.

    What the centre's own operator or engine takes out of use is told by NodeState.
    """

    centre: str
    node: str = ""  # empty: the whole centre
    card: int | None = None
    reason: str = ""
    by: str = ""
    at_ns: int = 0
    quarantine: bool = False

    @property
    def place(self) -> str:
        return place_name(self.centre, self.node, self.card)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which a centre, or one node of it, is being maintained, and nothing of ours runs there."""

    id: str
    centre: str
    node: str = ""  # empty: the whole centre
    from_ns: int
    to_ns: int
    reason: str = ""
    by: str = ""
    began: bool = False  # and is on, as far as the journal says

    @property
    def place(self) -> str:
        return place_name(self.centre, self.node)


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
        parts = self.parts
        return len(parts[0].cards) if len(parts) == 1 else sum([len(part.cards) for part in parts])

    def each(self) -> Iterator[tuple[str, str, int]]:
        """Every card as (centre, node, index)."""
        for part in self.parts:
            for card in part.cards:
                yield self.centre, part.node, card


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A node with its cards that a run could get now. What `place` chooses from."""

    centre: str
    node: Node
    free: tuple[int, ...]


def split_place(place: str) -> tuple[str, str]:
    """Centre and node of "north/h3"."""
    centre, _, node = place.partition("/")
    return centre, node


def place_name(centre: str, node: str = "", card: int | None = None) -> str:
    """ "north", "north/h3" or "north/h3/7": how people and tables name a place in the pool."""
    return "/".join([centre, *([node] if node else []), *([str(card)] if card is not None else [])])
