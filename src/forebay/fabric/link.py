"""The noun Link: one direction of a cable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction of a cable. A cable is two Links."""

    src: str
    dst: str
    bytes_per_s: float
    latency_s: float

    def seconds(self, nbytes: int) -> float:
        """Time for one message alone on the wire (alpha-beta model; Hockney, Parallel Computing 20, 1994)."""
        return self.latency_s + nbytes / self.bytes_per_s
