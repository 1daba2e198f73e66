"""How fast can a chip be at best?

Asked:  how many flop a second can a computation reach that does `intensity` flop for each byte it moves?
Answer: the lower of two roofs, the peak of the units and what memory can feed them (Williams, Waterman and Patterson,
        Roofline: An Insightful Visual Performance Model, CACM 52(4), 2009).
Units:  flop and bytes per second; intensity in flop per byte.
Limits: one level of memory, the vendor's peaks, perfect overlap. A bound, not a forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay.chips.chip import Chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The two roofs of a chip for one number format.

    Nothing real ever lies above it; how far below is for measurements to say.
    """

    flop_per_s: float
    memory_bytes_per_s: float

    def attainable(self, intensity: float) -> float:
        """Flop a second at this intensity, at most."""
        return min(self.flop_per_s, intensity * self.memory_bytes_per_s)

    @property
    def ridge(self) -> float:
        """The intensity at which the roofs meet: below it memory is the limit, above it the units."""
        return self.flop_per_s / self.memory_bytes_per_s


def roofline(chip: Chip, number_format: str) -> Roofline | None:
    """The chip's roofline in a number format, or None where a source for one of its roofs is missing."""
    if number_format not in chip.flop_per_s or chip.memory_bytes_per_s is None:
        return None
    return Roofline(flop_per_s=chip.flop_per_s[number_format], memory_bytes_per_s=chip.memory_bytes_per_s)
