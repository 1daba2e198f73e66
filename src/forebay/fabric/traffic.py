"""The noun Traffic: what a plan sends over a fabric in one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One kind of message of a training step: a collective over groups of ranks, so often and so large.

    It says how much, never over which links: that is the routes' business.
    """

    collective: str  # "ring_all_reduce": a function of `collectives`
    groups: tuple[tuple[int, ...], ...]  # ranks; the groups run side by side
    nbytes: int  # of the buffer on each rank
    times: int  # a step
