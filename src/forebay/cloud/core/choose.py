"""Choose what a job that could start gets now: one of its options with cards, or none, and then what it waits for. Pure.

Asked:  which line of the menu, and which cards?
Answer: without a word on how long the job takes, the first option whose cards are free. With it, the option that ends first
        (`foresee.py`), which may be one whose cards are still busy; then the job waits for those alone. Of several centres with
        free cards, the one to which its data is brought soonest (`transfer.py`).
        A job that can't be stopped again takes no cards that an earlier one will need by then (`Block`): that is backfill with
        reservations, as in EASY (Lifka, JSSPP 1995). One that can be stopped may: it makes way when the time comes.
Limits: a run with a time limit isn't started where it would reach into a window of maintenance; one without is, and is asked to
        stop when the window begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forebay.cloud.core import foresee, money
from forebay.cloud.core.budget import over_budget
from forebay.cloud.core.evidence import shunned
from forebay.cloud.core.foresee import Outlook
from forebay.cloud.core.job import Job, Option, Standing
from forebay.cloud.core.outputs import home
from forebay.cloud.core.place import NOWHERE_FAR, Barred, place
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.rooms import Island
from forebay.cloud.core.size import lasts_s
from forebay.cloud.core.state import State
from forebay.cloud.core.transfer import far
from forebay.cloud.core.width import rents_s
from forebay.units import NS_PER_S


@dataclass(slots=True, kw_only=True)
class Block:
    """An earlier job waits for cards of a chip."""

    from_ns: int  # when it is expected to start
    spare: int  # cards that it will leave over then


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a job gets, and the forecasts behind it; without cards, what it waits for."""

    allocation: Allocation | None = None
    option: Option | None = None
    outlooks: tuple[Outlook, ...] = ()
    lasts_s: float = 0.0
    waits_for: tuple[Option, ...] = ()
    by_choice: bool = False  # cards are free that it could have, and better ones are soon
    until_ns: int = 0  # when these are expected; 0: it doesn't wait by choice
    at: str = ""  # the one centre at which it waits for them, since its data is there and far from the free ones


def choose(state: State, standing: Standing, blocks: Blocks, now_ns: int) -> Choice:
    """`blocks`: the earlier jobs that wait."""
    job = standing.job
    if state.t.budgets and over_budget(state, job.organisation, job.project, now_ns):
        return Choice()
    if len(job.menu) == 1 and state.free_cards(job.menu[0].chip) < job.menu[0].cards and not state.t.windows:
        return Choice(waits_for=() if state.why_not(job, job.menu[0]) else job.menu)  # the common case, fast
    allowed = [o for o in job.menu if not state.why_not(job, o)]
    if job.budget_micro is not None:
        left_micro = job.budget_micro - sum(money.cost_micro(state.t.runs[run], now_ns) for run in standing.runs)
        allowed = [o for o in allowed if left_micro > 0 and _cost(state, standing, o) <= left_micro]
    prefer = home(state, standing) if standing.runs else ""
    shun = shunned(state, standing) if standing.runs and state.t.suspects else frozenset()
    barred = barred_for(state, job, now_ns)
    timed = any(option.expected_s is not None for option in job.menu)
    far_s = far(state, standing)
    found = [
        _place(state, o, prefer, barred, shun, far_s)
        if state.free_cards(o.chip) >= o.cards and _may_pass(state, standing, o, blocks, now_ns)
        else None
        for o in allowed
    ]
    if far_s:  # it must be through in time with its data on the way, too
        found = [
            cards if cards and _may_pass(state, standing, o, blocks, now_ns, far_s[cards.centre]) else None
            for o, cards in zip(allowed, found, strict=True)
        ]
    which: int | None
    outlooks: tuple[Outlook, ...] = ()
    if timed:
        outlooks = tuple(
            [_outlook(state, standing, o, cards, barred, far_s, now_ns) for o, cards in zip(allowed, found, strict=True)]
        )
        rents = rents_s(state, standing, allowed, now_ns)
        by_s = (job.deadline_ns - now_ns) / NS_PER_S if job.deadline_ns else None
        which = foresee.best(outlooks, [_cost(state, standing, o) for o in allowed], job.prefer, by_s, rents)
    else:
        which = next((i for i, cards in enumerate(found) if cards), None)
    waits = timed and which is not None and bool(outlooks[which].starts_in_s)  # even where its cards are free, far from its data
    if which is not None and not waits and (allocation := found[which]):
        option = allowed[which]
        return Choice(allocation=allocation, option=option, outlooks=outlooks, lasts_s=lasts_s(state, standing, option))
    if which is not None:
        until_ns = now_ns + int((outlooks[which].starts_in_s or 0.0) * NS_PER_S)
        return Choice(
            waits_for=(allowed[which],),
            by_choice=any(found),
            until_ns=until_ns if any(found) else 0,
            at=outlooks[which].centre if found[which] else "",
        )
    # What only maintenance keeps from a job isn't kept from others, who are through before it begins.
    return Choice(waits_for=tuple(o for o in allowed if not (barred and _could(state, o))))


class Blocks:
    """The first job of each chip that waits, and what it keeps others from; reckoned when somebody asks."""

    def __init__(self, state: State, now_ns: int) -> None:
        self._state = state
        self._now_ns = now_ns
        self._waiting: dict[str, Option] = {}
        self._known: dict[str, Block] = {}

    def add(self, option: Option) -> None:
        self._waiting.setdefault(option.chip, option)

    def waits(self, chip: str) -> bool:
        return chip in self._waiting

    def on(self, chip: str) -> Block | None:
        option = self._waiting.get(chip)
        if option is None:
            return None
        known = self._known.get(chip)
        if known is None:
            known = self._known[chip] = _block(self._state, option, self._now_ns)
        return known


def _block(state: State, option: Option, now_ns: int) -> Block:
    """On the island where the cards of a job that waits come free first."""
    best, could = Block(from_ns=_NEVER_NS, spare=0), False
    for island in state.rooms.islands.get(option.chip, {}).values():
        if _in_use(state, island) < option.cards:
            continue
        could = True
        free = island.free
        for in_s, freed in _ends(state, option.chip, island, frozenset(), now_ns):
            free += freed
            if free >= option.cards:
                at_ns = now_ns + int(in_s * NS_PER_S)
                if at_ns < best.from_ns:
                    best = Block(from_ns=at_ns, spare=free - option.cards)
                break
    if not could:
        return Block(from_ns=_NEVER_NS, spare=_NEVER_NS)  # what is in use isn't enough for it: whoever passes delays nothing
    return best if best.from_ns < _NEVER_NS else Block(from_ns=now_ns, spare=0)  # nobody knows when: then nobody may pass


_NEVER_NS = 2**62


def _in_use(state: State, island: Island) -> int:
    """Cards of an island that aren't out of use, whoever holds them."""
    if not state.troubled:
        return island.total
    _, centre, _ = island.key
    return sum(
        len(room.node.cards) - len(state.out_of(centre, room.node))
        for room in island.rooms.values()
        if not state.why_out(centre, room.node)
    )


def _may_pass(state: State, standing: Standing, option: Option, blocks: Blocks, now_ns: int, far_s: float = 0.0) -> bool:
    if standing.job.resumable:
        return True
    blocked = blocks.on(option.chip)
    if blocked is None or option.cards <= blocked.spare:
        return True
    return now_ns + (far_s + lasts_s(state, standing, option)) * NS_PER_S <= blocked.from_ns


def _outlook(
    state: State,
    standing: Standing,
    option: Option,
    cards: Allocation | None,
    barred: Barred,
    far_s: Mapping[str, float],
    now_ns: int,
) -> Outlook:
    """On the cards that it could have, or on busy ones where that ends sooner: because they are where its data is."""
    takes_s = option.expected_s * (1.0 - standing.done) if option.expected_s is not None else None
    here_s = far_s.get(cards.centre, 0.0) if cards else None
    if here_s == 0.0:
        return foresee.outlook(option.chip, option.cards, takes_s, 0.0, centre=cards.centre if cards and far_s else "")
    busy = _comes_free(state, option, barred, far_s, now_ns)
    if cards and here_s is not None and (busy is None or here_s <= busy[0]):
        return foresee.outlook(option.chip, option.cards, takes_s, 0.0, here_s, cards.centre)
    if busy is None:
        return foresee.outlook(option.chip, option.cards, takes_s, None)
    _, in_s, centre = busy
    return foresee.outlook(option.chip, option.cards, takes_s, in_s, far_s.get(centre, 0.0), centre if far_s else "")


def _cost(state: State, standing: Standing, option: Option) -> float:
    """What the rest of a job would cost, in micro-units."""
    return (option.expected_s or 0.0) * (1.0 - standing.done) * option.cards * state.price(option.chip)


def _could(state: State, option: Option) -> bool:
    return state.free_cards(option.chip) >= option.cards and _place(state, option, "", frozenset()) is not None


def _place(
    state: State,
    option: Option,
    prefer: str,
    barred: Barred,
    shun: Barred = frozenset(),
    far_s: Mapping[str, float] = NOWHERE_FAR,
) -> Allocation | None:
    """`shun`: nodes on which it failed, and to which it goes only where it would else wait, leave its centre or bring more."""
    islands = state.rooms.islands.get(option.chip, {})
    found = place(islands, option, prefer=prefer, barred=barred, far_s=far_s)
    if found is None or shun.isdisjoint((found.centre, part.node) for part in found.parts):
        return found
    other = place(islands, option, prefer=prefer, barred=barred | shun, far_s=far_s)
    is_as_good = (
        other
        and other.pretend == found.pretend
        and (not prefer or other.centre == found.centre)
        and far_s.get(other.centre, 0.0) <= far_s.get(found.centre, 0.0)
    )
    return other if is_as_good else found


def barred_for(state: State, job: Job, now_ns: int) -> Barred:
    """Where maintenance is, or begins before a run of this job would surely have ended."""
    lasts_ns = int((job.time_limit_s + job.grace_s) * NS_PER_S) if job.time_limit_s is not None else 0
    return frozenset(
        (window.centre, window.node)
        for window in state.t.windows.values()
        if window.from_ns <= now_ns + lasts_ns and now_ns < window.to_ns
    )


def _comes_free(
    state: State, option: Option, barred: Barred, far_s: Mapping[str, float], now_ns: int
) -> tuple[float, float, str] | None:
    """When a job could begin on cards of an option that are busy, data and all; when these come free; and the centre where that
    is first. None: nobody knows.
    """
    if option.expected_s is None:
        return None  # then it doesn't matter
    found = []
    for island in state.rooms.islands.get(option.chip, {}).values():
        centre = island.key[1]
        if (centre, "") in barred or island.total < option.cards:
            continue
        in_s = foresee.comes_free_in_s(island.free, option.cards, list(_ends(state, option.chip, island, barred, now_ns)))
        if in_s is not None:
            found.append((in_s + far_s.get(centre, 0.0), in_s, centre))
    return min(found, default=None)


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
            and not (state.troubled and state.why_out(allocation.centre, room.node))
        )
        yield (end_ns - now_ns) / NS_PER_S, freed
