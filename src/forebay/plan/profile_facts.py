"""The nouns of a profile: what was seen while a module ran, before anybody says what it means."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A weight of two dimensions or more, and how it was first used."""

    name: str
    layer: int | None
    shape: tuple[int, ...]
    time: int = 0  # 0: not seen in a product
    into: int = 0
    out: int = 0
    stacked: int = 1  # matrices in one weight, as experts have

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def many(self) -> int:
        """Matrices in a weight of experts: seen so, or of three dimensions and used as one wide matrix."""
        return self.shape[0] if self.stacked == 1 and len(self.shape) == 3 else self.stacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Attend:
    """One call of attention. `value` 0: not seen, as wide as a key."""

    layer: int | None
    heads: int
    key: int
    value: int
    time: int
    at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A list of alike modules in a layer."""

    name: str
    layer: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was seen of a module."""

    layers: tuple[str, ...]
    parts: tuple[Part, ...]
    attends: tuple[Attend, ...]
    embeddings: tuple[str, ...]
    experts: tuple[Experts, ...] = ()
    chosen: int = 0
    heads_said: int = 0  # by an attribute
    chosen_said: int = 0
    failed: str = ""
    skipped: bool = False
