"""Choose what a job that could start gets now: one of its options with cards, or none, and then what it waits for. Pure.

Asked:  which line of the menu, and which cards?
Answer: without a word on how long the job takes, the first option whose cards are free. With it, the option that ends first
        (`foresee.py`), which may be one whose cards are still busy; then the job waits for those alone.
Limits: a run with a time limit isn't started where it would reach into a window of maintenance; one without is, and is asked to
        stop when the window begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forebay.cloud.core import foresee
from forebay.cloud.core.foresee import Outlook
from forebay.cloud.core.job import Job, Option, Standing
from forebay.cloud.core.outputs import home
from forebay.cloud.core.place import Barred, place
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.rooms import Island
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a job gets, and the forecasts behind it; without cards, the chips that it waits for."""

    allocation: Allocation | None = None
    expected_s: float | None = None
    outlooks: tuple[Outlook, ...] = ()
    waits_for: frozenset[str] = frozenset()


def choose(state: State, standing: Standing, spoken_for: set[str], now_ns: int) -> Choice:
    """`spoken_for`: chips for which an earlier job waits."""
    job = standing.job
    allowed = [o for o in job.menu if _within_quota(state, job, o)]
    open_ = [o for o in allowed if o.chip not in spoken_for]
    prefer = home(state, standing) if standing.runs else ""
    barred = _barred(state, job, now_ns)
    if any(option.expected_s is not None for option in job.menu):
        soonest = _soonest(state, open_, prefer, barred, now_ns)
        if soonest:
            return soonest
    else:
        for option in open_:
            found = _place(state, option, prefer, barred)
            if found:
                return Choice(allocation=found)
    # What only maintenance keeps from a job isn't kept from others, who are through before it begins.
    return Choice(waits_for=frozenset(o.chip for o in allowed if not (barred and _place(state, o, prefer, frozenset()))))


def _soonest(state: State, options: list[Option], prefer: str, barred: Barred, now_ns: int) -> Choice | None:
    """The option that ends first, with its cards, or what is waited for instead. None: nothing is known of any that is free."""
    found = [_place(state, option, prefer, barred) for option in options]
    outlooks = tuple(
        foresee.outlook(o.chip, o.cards, o.expected_s, 0.0 if cards else _comes_free_in_s(state, o, barred, now_ns))
        for o, cards in zip(options, found, strict=True)
    )
    best = foresee.best(outlooks)
    if best is None:
        return None
    if found[best] is None:
        return Choice(waits_for=frozenset({options[best].chip}))
    return Choice(allocation=found[best], expected_s=options[best].expected_s, outlooks=outlooks)


def _place(state: State, option: Option, prefer: str, barred: Barred) -> Allocation | None:
    if state.free_cards(option.chip) < option.cards:
        return None
    return place(state.rooms.islands[option.chip], option, prefer=prefer, barred=barred)


def _within_quota(state: State, job: Job, option: Option) -> bool:
    left = state.quota_left(job.organisation, option.chip)
    return left is None or option.cards <= left


def _barred(state: State, job: Job, now_ns: int) -> Barred:
    """Where maintenance is, or begins before a run of this job would surely have ended."""
    lasts_ns = int((job.time_limit_s + job.grace_s) * NS_PER_S) if job.time_limit_s is not None else 0
    return frozenset(
        (window.centre, window.node)
        for window in state.t.windows.values()
        if window.from_ns <= now_ns + lasts_ns and now_ns < window.to_ns
    )


def _comes_free_in_s(state: State, option: Option, barred: Barred, now_ns: int) -> float | None:
    """When the cards of an option come free, on the island where that is first. None: nobody knows."""
    if option.expected_s is None:
        return None  # then it doesn't matter
    found = [
        foresee.comes_free_in_s(island.free, option.cards, list(_ends(state, option.chip, island, barred, now_ns)))
        for island in state.rooms.islands.get(option.chip, {}).values()
        if (island.key[1], "") not in barred and island.total >= option.cards
    ]
    return min((in_s for in_s in found if in_s is not None), default=None)


def _ends(state: State, chip: str, island: Island, barred: Barred, now_ns: int) -> Iterator[tuple[float, int]]:
    """When runs of an island are expected to end, from now on, and how many cards that frees. Cards that are out stay out."""
    for end_ns, run_id in state.ends.on(chip, island.key):
        if end_ns <= now_ns:
            continue  # it is past its time, and nothing is known of it
        allocation = state.t.runs[run_id].allocation
        freed = sum(
            len(part.cards)
            for part in allocation.parts
            if (room := island.rooms.get(part.node))
            and (allocation.centre, part.node) not in barred
            and not state.why_out(allocation.centre, room.node)
        )
        yield (end_ns - now_ns) / NS_PER_S, freed
