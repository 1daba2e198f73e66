"""The noun Pool: the cards that a plan may use, and how they are joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """Cards of one kind, joined alike.

    Speeds are one way, of one card: half of what vendors print for scale-up links.
    """

    chip: str  # a name of the catalogue; another's where memory, bandwidth and a peak are given
    count: int
    island: int  # cards that share one scale-up fabric: 8 in a DGX, 72 in an NVL72 rack
    up_bytes_per_s: float  # inside an island, a card, one way
    out_bytes_per_s: float  # between islands, a card, one way
    up_latency_s: float = 3.3e-6  # of one step of a collective
    out_latency_s: float = 3.7e-6
    oversubscription: float = 1.0  # how many times less the core carries than the cards can send
    price_per_hour: int | None = None  # of a card, in micro-units of the pool's currency
    watts: float | None = None  # of a card at work, with its share of the host
    mesh: int = 0  # so many cards are joined two by two, and a pair has up / (mesh - 1); 0: a switch gives a pair all of it
    memory_bytes: int | None = None  # None: the catalogue's
    memory_bytes_per_s: float | None = None  # None: the catalogue's
    flop_per_s: Mapping[str, float] = field(default_factory=dict, hash=False)  # dense peaks by format, before the catalogue's
    label: str = ""  # where they stand, in words: "centre a, hall 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Cards of one or several kinds, the slowest link between kinds, and the currency of their prices."""

    cards: tuple[Cards, ...]
    between_bytes_per_s: float | None = None  # a card, one way, between kinds; None: the slower of the two scale-outs
    currency: str = ""

    @property
    def count(self) -> int:
        return sum(one.count for one in self.cards)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What plans call the kinds: their chips; with their labels or numbers where two kinds have one chip."""
        chips = [one.chip for one in self.cards]
        told = [f"{one.chip} ({one.label})" if chips.count(one.chip) > 1 and one.label else one.chip for one in self.cards]
        return tuple(f"{name} ({i + 1})" if told.count(name) > 1 else name for i, name in enumerate(told))

    @property
    def by_kind(self) -> Mapping[str, Cards]:
        return dict(zip(self.kinds, self.cards, strict=True))
