"""Let runs go over to another line of their menus: elastic jobs grow, shrink and move. Pure.

    chosen = better(state, chips, now_ns)      # runs that would end earlier on cards that nobody wants
    chosen = wider(state, option, now_ns)      # runs with more than was asked for, when somebody waits

Asked:  cards are idle, or somebody waits while an elastic job holds many. Which runs are asked to start again otherwise?
Answer: when nobody waits for the idle cards: the run that gains most time by them, if it gains more than stopping and starting it
        costs, twice over, and a tenth of what is left. When somebody waits: those that hold more than the first line of their
        menu says, the widest first; started again they take no more than that (`asked_for`).
Limits: only runs whose job says how long it takes on each line. What a checkpoint costs is what `restart_s` says.
"""

from __future__ import annotations

from forebay.cloud.core.job import Job, Option, Run
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S

WORTH = 2.0  # times what a restart costs
MOST_LOOKED_AT = 512


def asked_for(job: Job, chip: str) -> int:
    """How many cards of a chip an elastic job takes while others wait: what stands first in its menu."""
    return next((option.cards for option in job.menu if option.chip == chip), 1)


def left_s(state: State, run: Run, now_ns: int) -> float:
    """How long a run with a known time still goes on."""
    whole_s = run.expected_s or 0.0
    ran_s = (now_ns - (run.running_at_ns or run.launched_at_ns)) / NS_PER_S
    return max(0.0, whole_s * (1.0 - state.t.jobs[run.job].done) - ran_s)


def better(state: State, chips: set[str], now_ns: int) -> list[tuple[Run, Option]]:
    """Runs that are to start again on better cards, each with the line of its menu that it is stopped for."""
    free = {chip: state.free_cards(chip) for chip in chips}
    chosen: list[tuple[Run, Option]] = []
    if not any(free.values()):
        return chosen
    wishes: list[tuple[float, str, Option]] = []
    for run_id in list(state.elastic)[:MOST_LOOKED_AT]:
        run = state.t.runs[run_id]
        job = state.t.jobs[run.job].job
        if run.stop or not run.running_at_ns or run.expected_s is None or not job.resumable:
            continue
        left = left_s(state, run, now_ns)
        worth_s = max(WORTH * job.restart_s, 0.1 * left)
        for option in job.menu:
            if option.expected_s is None or not free.get(option.chip) or state.why_not(job, option):
                continue
            gain_s = left - left * option.expected_s / run.expected_s - job.restart_s
            more = option.cards * state.compute(option.chip) - run.allocation.cards * state.compute(run.allocation.chip)
            if gain_s > worth_s:
                wishes.append((gain_s / max(more, 1.0), run_id, option))
    for _, run_id, option in sorted(wishes, key=lambda wish: (-wish[0], wish[1])):
        run = state.t.runs[run_id]
        own = run.allocation.cards if run.allocation.chip == option.chip else 0
        if free[option.chip] + own >= option.cards and all(run_id != other.id for other, _ in chosen):
            free[option.chip] -= option.cards - own
            chosen.append((run, option))
    return chosen


def wider(state: State, option: Option, now_ns: int) -> list[Run]:
    """Runs that hold more than was asked for first, enough of them to leave the cards of an option, or none."""
    found: list[tuple[float, Run]] = []
    for run_id in list(state.elastic)[:MOST_LOOKED_AT]:
        run = state.t.runs[run_id]
        job = state.t.jobs[run.job].job
        if run.allocation.chip != option.chip or run.stop or not run.running_at_ns or not job.resumable:
            continue
        width = run.allocation.cards
        if width > asked_for(job, option.chip) and left_s(state, run, now_ns) > WORTH * job.restart_s:
            found.append((width, run))
    found.sort(key=lambda item: (-item[0], item[1].id))
    chosen: list[Run] = []
    free = float(state.free_cards(option.chip))
    for _, run in found:
        if free >= option.cards:
            break
        chosen.append(run)
        free += run.allocation.cards - _narrowest(state, run)
    return chosen if free >= option.cards else []


def _narrowest(state: State, run: Run) -> float:
    """How many cards its job takes when it starts again."""
    job = state.t.jobs[run.job].job
    chip = run.allocation.chip
    return max(option.cards for option in job.menu if option.chip == chip and option.cards <= asked_for(job, chip))
