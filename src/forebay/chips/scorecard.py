"""The noun Scorecard: what a chip did when we tried it, dated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """What one card of a chip was measured to do, on one day, with one set of software.

    Not a promise for other cards or later software, and never a vendor's figure: those are in Chip. A measured speed may lie
    above the vendor's peak, and is kept as it is.
    """

    chip: str
    measured_on: str  # ISO date
    software: Mapping[str, str] = field(default_factory=dict)  # {"torch": "2.6.0+metax", "driver": "..."}
    reference: str | None = None  # the chip whose results it was compared with
    operators: Mapping[str, int] = field(default_factory=dict)  # verdict -> how many operators: {"works": 668, "wrong": 4}
    flop_per_s: Mapping[str, float] = field(default_factory=dict)  # of a large matrix product, by number format
    memory_bytes_per_s: float | None = None  # of a large copy, read and written bytes together

    @property
    def coverage(self) -> float | None:
        """The share of the operators tried that work. None: none was tried."""
        tried = sum(self.operators.values())
        return self.operators.get("works", 0) / tried if tried else None
