"""The noun Physics: what a centre's links and libraries cost beside the bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """A few constants of one centre."""

    efficiency: float = 1.0  # share of a link's rate that flows get
    launch_s: float = 0.0  # to start a collective
    message_s: float = 0.0  # of a round, at its ends
    hop_s: float = 0.0  # of a round, for each link crossed
