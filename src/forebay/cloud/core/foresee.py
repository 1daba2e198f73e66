"""Say when a job would end on each line of its menu, and which line ends first.

    outlooks = [outlook(option, startable=…, free_in_s=…), …]
    best(outlooks)

Asked:  a job takes ten minutes on one chip, whose cards are free, and four on another, whose cards are busy. Which?
Answer: an option whose cards are free ends after its own time and that in which its data is brought there (`transfer.py`); one
        whose cards are busy ends that long after enough of them come free. What ends first is taken, and waited for if it is
        busy. Of equals, what is free wins, then what comes first.
Limits: cards come free when the runs on them are expected to end, or reach their time limit. Of a run that says neither, or is
        past it, nothing is known, and nobody waits for it. Where the time on a free option is unknown, nobody waits either. How
        long it takes to build an environment isn't counted, nor who else waits for the same cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FASTEST, CHEAPEST, BALANCED = "fastest", "cheapest", "balanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one option promises, counted from now. It is a forecast, made of what people said."""

    chip: str
    cards: int
    starts_in_s: float | None  # 0: its cards are free; None: nobody knows when they come free
    ends_in_s: float | None  # None: nobody knows
    transfer_s: float = 0.0  # of that: how long its data is on the way to the centre where it ends first
    centre: str = ""  # which that is; empty: nobody knows, or it was decided by an older Forebay


def outlook(
    chip: str, cards: int, expected_s: float | None, starts_in_s: float | None, transfer_s: float = 0.0, centre: str = ""
) -> Outlook:
    known = starts_in_s is not None and expected_s is not None
    return Outlook(
        chip=chip,
        cards=cards,
        starts_in_s=starts_in_s,
        ends_in_s=(starts_in_s or 0.0) + transfer_s + (expected_s or 0.0) if known else None,
        transfer_s=transfer_s,
        centre=centre,
    )


def best(
    outlooks: Sequence[Outlook],
    costs: Sequence[float] = (),
    prefer: str = FASTEST,
    by_s: float | None = None,
    rents_s: Sequence[float] = (),
) -> int | None:
    """Which of the options to take, or to wait for. None: wait for any of them.

    `costs`: of each, in any unit. `by_s`: those that end within this time come first, if any does. `rents_s`: what holding its
    cards costs others (`adapt.py`); it counts as if the option ended so much later.
    """
    free = [i for i, o in enumerate(outlooks) if o.starts_in_s == 0]
    unknown = [i for i in free if outlooks[i].ends_in_s is None]
    among = free if unknown else range(len(outlooks))
    ends = {i: end for i in among if (end := outlooks[i].ends_in_s) is not None}
    if not ends:
        return free[0] if free else None
    if by_s is not None:
        ends = {i: end for i, end in ends.items() if end <= by_s} or ends
    if rents_s:
        ends = {i: end + rents_s[i] for i, end in ends.items()}
    cost = {i: costs[i] if costs else 0.0 for i in ends}
    return min(
        ends,
        key=lambda i: (
            _worth(ends[i], cost[i], min(ends.values()), min(cost.values()), prefer),
            outlooks[i].starts_in_s or 0.0,
            i,
        ),
    )


def _worth(end_s: float, cost: float, soonest_s: float, cheapest: float, prefer: str) -> float:
    """The smaller the better. Balanced: how many times the soonest end plus how many times the least cost."""
    if prefer == CHEAPEST:
        return cost
    if prefer == FASTEST or cheapest <= 0.0:
        return end_s
    return end_s / max(soonest_s, 1.0) + cost / cheapest


def comes_free_in_s(free: int, cards: int, ends: Sequence[tuple[float, int]]) -> float | None:
    """When `cards` are free, where `free` are now and (in how many seconds, how many cards) come free, in order of time."""
    for in_s, more in ends:
        free += more
        if free >= cards:
            return in_s
    return None
