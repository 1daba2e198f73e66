"""The nouns Exchange and Traffic: what a plan sends over a fabric in one step.

Asked:  what must the plan room say of a step so that the fabric room can time it without knowing what a layer is?
Answer: a grid of ranks ("tensor" 8, "pipeline" 16, "data" 80), seconds of computing, and for each kind of message the collective,
        the groups, the bytes, how often, and behind which stretch of computing it may hide.
Limits: every step is like the next; bubbles of the pipeline are in the computing, as the plan has worked them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, prod

from forebay.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One kind of message of a training step: a collective over groups of ranks, so often and so large.

    It says how much, never over which links: that is the routes' business.
    """

    name: str  # "gradients"
    collective: str  # "all_reduce" (the fabric takes the fastest), or one of collectives.COLLECTIVES
    nbytes: float  # of the buffer on each rank, as nccl-tests counts it: of an all-gather, what all have at the end
    times: int = 1  # a step
    along: tuple[str, ...] = ()  # sides of the grid over which a group runs
    groups: tuple[tuple[int, ...], ...] = ()  # or the ranks themselves
    window: str = ""  # the stretch of computing behind which it runs; "": nothing goes on meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one training step sends, and what it computes.

    It knows ranks, never cards: who sits where is a placement's.
    """

    name: str
    grid: Mapping[str, int]  # sides, the one whose ranks are neighbours first: {"tensor": 8, "pipeline": 16, "data": 80}
    compute_s: float  # of a step, on each card, bubbles included
    exchanges: tuple[Exchange, ...]
    windows: Mapping[str, float]  # {"backward": 2.1}: seconds of computing that hide what runs behind them
    source: str = ""  # where the figures are from

    @property
    def ranks(self) -> int:
        return prod(self.grid.values())


def checked(traffic: Traffic) -> Traffic:
    """The same traffic. Raises BadInput for what cannot be: one error, with the numbers."""
    t = traffic
    for side, size in t.grid.items():
        if size < 1:
            raise BadInput("A side of the grid has at least one rank.", asked=f"{side} = {size}")
    if not 0 <= t.compute_s < inf:
        raise BadInput("Computing takes zero seconds or more.", asked=f"compute_s = {t.compute_s}")
    for window, seconds in t.windows.items():
        if not 0 <= seconds <= t.compute_s * (1 + 1e-9):
            raise BadInput(
                "A window is a part of the computing.", asked=f"{window} = {seconds:g} s", found=f"{t.compute_s:g} s computing"
            )
    for e in t.exchanges:
        if not 0 <= e.nbytes < inf or e.times < 0:
            raise BadInput("Bytes and times are zero or more.", asked=f"{e.name}: {e.nbytes:g} bytes, {e.times} times")
        if e.window and e.window not in t.windows:
            raise BadInput(
                "There is no such window.", asked=f"{e.name}: {e.window}", hint=", ".join(t.windows) or "no window at all"
            )
        if bool(e.along) == bool(e.groups):
            raise BadInput("An exchange runs along sides of the grid, or among groups.", asked=e.name, hint="one of the two")
        for side in e.along:
            if side not in t.grid:
                raise BadInput("The grid has no such side.", asked=f"{e.name}: {side}", hint=", ".join(t.grid))
        if len(set(e.along)) < len(e.along):
            asked = f"{e.name}: {', '.join(e.along)}"
            raise BadInput("A group runs along a side once.", asked=asked, hint=", ".join(dict.fromkeys(e.along)))
        _check_groups(e, t.ranks)
    return t


def _check_groups(exchange: Exchange, ranks: int) -> None:
    seen: set[int] = set()
    for group in exchange.groups:
        for rank in group:
            if not 0 <= rank < ranks:
                raise BadInput(
                    "A group names a rank that isn't there.",
                    asked=f"{exchange.name}: rank {rank}",
                    found=f"{ranks} ranks, 0 to {ranks - 1}",
                )
            if rank in seen:
                raise BadInput("Groups that run at the same time share no rank.", asked=f"{exchange.name}: rank {rank} twice")
            seen.add(rank)
    if len({len(group) for group in exchange.groups}) > 1:
        sizes = sorted({len(group) for group in exchange.groups})
        raise BadInput(
            "The groups of one exchange are equally large.", asked=f"{exchange.name}: {sizes}", hint="one exchange a size"
        )
