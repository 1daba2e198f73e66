"""Let runs go over to another line of their menus: elastic jobs grow, shrink and move. Pure.

    chosen = better(state, chips, now_ns)               # runs that gain by cards that nobody wants
    way = squeeze(state, standing, option, now_ns)      # cards for a job that waits, out of what runs hold beyond their width

Asked:  cards are idle, or somebody waits while an elastic job holds many. Which runs are asked to start again otherwise?
Answer: how many cards a run should hold, `width.py` says; it is the same rule by which it started. While nobody waits for idle
        cards, the run goes over that gains most by them a card, its rent counted, if it gains more than stopping and starting it
        costs, twice over, and a tenth of what is left. When somebody waits, runs that hold more than they would take now, the
        one with most left first; the cards are reserved, so that the run can't take them back.
Limits: only runs whose job says how long it takes on each line. What a checkpoint costs is what `restart_s` says. No more than
        `MOST_LOOKED_AT` runs are looked at, the oldest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from forebay.cloud.core.choose import barred_for
from forebay.cloud.core.job import Job, Option, Run, Standing
from forebay.cloud.core.rooms import IslandKey
from forebay.cloud.core.size import left_s
from forebay.cloud.core.spare import spared_until_ns
from forebay.cloud.core.state import State
from forebay.cloud.core.width import has_widths, price, wanted
from forebay.cloud.core.yields import Way, is_out, plan_on

WORTH = 2.0  # times what a restart costs
SHARE = 0.1  # of what is left: a gain smaller than that isn't worth the trouble
MOST_LOOKED_AT = 128
NARROWER = "a job that waits gets what this one holds beyond its width"


def better(state: State, chips: set[str], now_ns: int) -> list[tuple[Run, Option]]:
    """Runs that are to start again on better cards, each with the line of its menu that it is stopped for."""
    free = {chip: state.free_cards(chip) for chip in chips}
    chosen: list[tuple[Run, Option]] = []
    if not any(free.values()):
        return chosen
    wishes = [wish for run, job in _movable(state, now_ns) if (wish := _wish(state, run, job, free, now_ns))]
    for _, run_id, option in sorted(wishes, key=lambda wish: (-wish[0], wish[1])):
        run = state.t.runs[run_id]
        own = run.allocation.cards if run.allocation.chip == option.chip else 0
        if free[option.chip] + own >= option.cards:
            free[option.chip] -= option.cards - own
            chosen.append((run, option))
    return chosen


def squeeze(state: State, standing: Standing, option: Option, now_ns: int, at: str = "") -> Way | None:
    """The cards of an option, out of free ones and of what runs hold beyond their width; None: that isn't enough.

    `at`: only at this centre.
    """
    job, chip = standing.job, option.chip
    short = option.cards - state.free_cards(chip)
    if not state.elastic or short <= 0:
        return None
    barred = barred_for(state, job, now_ns)
    going: dict[IslandKey, list[Run]] = {}
    spare: dict[IslandKey, int] = {}
    found = [(left_s(state, run, now_ns), run) for run, _ in _movable(state, now_ns) if run.allocation.chip == chip]
    found.sort(key=lambda item: (-item[0], item[1].id))
    given: dict[str, int] = {}  # by organisation
    beyond: dict[str, int] = {}  # by run
    for left, run in found:
        its = state.t.jobs[run.job]
        over = _beyond(state, its, run, left, now_ns)
        owner = its.job.organisation
        if owner == job.organisation:
            may = its.job.priority <= job.priority
        else:
            may = state.rights.borrows(owner, chip) - given.get(owner, 0) >= over
        if over <= 0 or not may:
            continue
        key = _island_of(state, run)
        if (
            key is None
            or (at and at != key[1])
            or (state.troubled and is_out(state, run))
            or any((run.allocation.centre, name) in barred for name in ("", *(part.node for part in run.allocation.parts)))
        ):
            continue
        given[owner] = given.get(owner, 0) + over
        beyond[run.id] = over
        going.setdefault(key, []).append(run)
        spare[key] = spare.get(key, 0) + over
        island = state.rooms.islands[chip][key]
        if island.free + spare[key] < option.cards:
            continue
        plan = plan_on(state, island, option, going[key], barred)
        if plan and island.free + sum(beyond[name] for name in plan[1]) >= option.cards:  # each finds its width in what is left
            return Way(allocation=plan[0], runs=plan[1], reason=NARROWER)
    return None


def _movable(state: State, now_ns: int) -> Iterator[tuple[Run, Job]]:
    for run_id in islice(state.elastic, MOST_LOOKED_AT):
        run = state.t.runs[run_id]
        job = state.t.jobs[run.job].job
        is_going = run.running_at_ns and not run.stop and run.expected_s is not None
        if is_going and job.resumable and spared_until_ns(run, job, 1.0) <= now_ns:
            yield run, job


def _wish(state: State, run: Run, job: Job, free: dict[str, int], now_ns: int) -> tuple[float, str, Option] | None:
    """The line by which a run gains most, if that is worth a restart, and how much it gains by each card more."""
    assert run.expected_s
    left = left_s(state, run, now_ns)
    worth_s = max(WORTH * job.restart_s, SHARE * left)
    if left <= worth_s + job.restart_s:
        return None
    a_card = price(state, job, now_ns) if has_widths(job) else 0.0
    own = run.allocation.cards * state.compute(run.allocation.chip)
    now_costs_s = left * (1.0 + a_card * own)
    best: tuple[float, str, Option] | None = None
    best_s = worth_s
    for option in job.menu:
        if option.expected_s is None or not free.get(option.chip) or option.expected_s >= run.expected_s:
            continue
        has = run.allocation.cards if run.allocation.chip == option.chip else 0
        if free[option.chip] + has < option.cards:
            continue
        width = option.cards * state.compute(option.chip)
        takes_s = left * option.expected_s / run.expected_s + job.restart_s
        gain_s = min(left - takes_s, now_costs_s - takes_s * (1.0 + a_card * width))
        if gain_s > best_s and not _why_not(state, job, option, has):
            best, best_s = (gain_s / max(width - own, 1.0), run.id, option), gain_s
    return best


def _why_not(state: State, job: Job, option: Option, has: int) -> str:
    """Why it may not have an option, whose cards it partly has."""
    return state.rights.why_not(job.organisation, option.chip, option.cards - has, state.total[option.chip])


def _beyond(state: State, standing: Standing, run: Run, left: float, now_ns: int) -> int:
    """How many cards a run holds that it wouldn't take now; 0 where going over costs more than it is worth."""
    job = standing.job
    if not has_widths(job) or left <= WORTH * job.restart_s:
        return 0
    lines = [o for o in job.menu if o.chip == run.allocation.chip and o.cards < run.allocation.cards]
    line = wanted(state, standing, [*lines, _line_of(run)], now_ns)
    return run.allocation.cards - line.cards if line else 0


def _line_of(run: Run) -> Option:
    return Option(chip=run.allocation.chip, cards=run.allocation.cards, expected_s=run.expected_s)


def _island_of(state: State, run: Run) -> IslandKey | None:
    node = state.node(run.allocation.centre, run.allocation.parts[0].node)
    return (node.pretend, run.allocation.centre, node.island) if node else None
