"""Choose who makes way for a job: preemption with a price. Pure.

    way = make_way(state, standing, option, now_ns)     # cards and the runs to be stopped for them, or None

Asked:  no card is free. Does the job go before somebody who runs, and before whom?
Answer: before runs that are due later than it is (`share.py`), by more than stopping them costs in work; before runs of lower
        priority of its own organisation. Only runs that can be gone on with are stopped. An organisation isn't pushed below what
        is guaranteed to it. Whoever wants its guaranteed cards back gets them from those that borrowed, resumable or not. Those
        due last go first, and no more of them than needed, on one island.
Limits: the price is what `restart_s` and the newest checkpoint say. Runs that are stopping already aren't counted twice. Where a
        job's data lies doesn't matter here.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from forebay.cloud.core.choose import barred_for
from forebay.cloud.core.job import Job, Option, Run, Standing
from forebay.cloud.core.place import Barred, parts_over
from forebay.cloud.core.pool import Allocation, Room
from forebay.cloud.core.queue import Lane
from forebay.cloud.core.rooms import Island, IslandKey
from forebay.cloud.core.size import left_s
from forebay.cloud.core.spare import spared_until_ns
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S

MOST_LOOKED_AT = 256  # of a lane
FAR_S = 1e9
OWED = "the organisation to which these cards are guaranteed takes them back"
EARLIER = "a job that is due earlier goes first"
BEARABLE = 0.04  # of the time that a job takes under exact sharing


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Cards for a job, and the runs that hold some of them."""

    allocation: Allocation
    runs: tuple[str, ...]
    grace_s: float | None = None  # at most; None: as each run's job says
    reason: str = ""  # names nobody: those who make way read it, and they may be another organisation's


def urgency(state: State, job: Job, now_ns: int) -> float:
    """Seconds until a job is due, as things stand; below 0 when it is overdue."""
    clock, rate = state.shares.clock(job.organisation, job.project, now_ns)
    return (state.tag(job.id) - clock) / rate


def slack_s(state: State, job: Job, now_ns: int) -> float | None:
    """How long a job of which it is known how long it takes can still wait and end when it is due. None: it isn't known."""
    takes_s = min((o.expected_s for o in job.menu if o.expected_s is not None), default=None)
    if takes_s is None:
        return None
    left_s = takes_s * (1.0 - state.t.jobs[job.id].done)
    return urgency(state, job, now_ns) - left_s


def late(state: State, lanes: Iterable[Lane], now_ns: int) -> list[Standing]:
    """The jobs that would be late if they waited any longer, the latest first. Notes when the next one would be."""
    found: list[tuple[float, int, Standing]] = []
    for lane in lanes:
        queue, soonest = state.queue.lanes[lane], FAR_S
        if state.t.jobs[queue[0][2]].job.menu[0].expected_s is None:
            continue
        for _, order, job_id in queue[:MOST_LOOKED_AT]:
            standing = state.t.jobs[job_id]
            slack = slack_s(state, standing.job, now_ns)
            if slack is None:
                continue
            if slack <= standing.job.restart_s:
                found.append((slack, order, standing))
            else:
                soonest = min(soonest, slack - standing.job.restart_s)
        if soonest < FAR_S:
            for chip, _ in lane[4]:
                state.look_at(chip, now_ns + int(max(soonest, 1.0) * NS_PER_S))
    return [standing for *_, standing in sorted(found, key=lambda item: item[:2])]


class InVain:
    """For whom too few made way in this pass: whoever is due no earlier and wants as many cards needn't try."""

    def __init__(self) -> None:
        self._failed: dict[str, list[tuple[int, float]]] = {}  # chip -> (cards, urgency)

    def note(self, state: State, job: Job, option: Option, now_ns: int) -> None:
        if state.t.windows or any(o.expected_s is not None for o in job.menu):
            return  # others may find room where this job can't go, or bear more
        if not _ranked(state, job) or all(-lines[0][0] <= job.priority for lines in _own(state, job, option.chip)):
            # Else others may stop what this job may not.
            self._failed.setdefault(option.chip, []).append((option.cards, urgency(state, job, now_ns)))

    def covers(self, state: State, job: Job, option: Option, due_s: float) -> bool:
        """Whether a job that is due in so long would get nothing either."""
        failed = self._failed.get(option.chip)
        if not failed or not any(cards <= option.cards and other_s <= due_s for cards, other_s in failed):
            return False
        if state.rights.quota(job.organisation, option.chip) is not None or option.expected_s is not None:
            return False
        return not _ranked(state, job) or all(-lines[-1][0] >= job.priority for lines in _own(state, job, option.chip))

    def forget(self) -> None:
        self._failed.clear()


def _ranked(state: State, job: Job) -> bool:
    """Whether there are runs of another priority than a job's."""
    return not (state.softs.ranks.keys() | state.greens.ranks.keys()) <= {job.priority}


def _own(state: State, job: Job, chip: str) -> Iterator[list[tuple[int, float, str]]]:
    """The runs of a job's organisation."""
    for standby in (state.softs, state.greens):
        yield from (lines for key, lines in standby.on(chip).items() if key[1] == job.organisation)


def make_way(state: State, standing: Standing, option: Option, now_ns: int, at: str = "") -> Way | None:
    """None when too few make way. `at`: only at this centre."""
    job, chip = standing.job, option.chip
    owed = state.rights.is_owed(job.organisation, chip, option.cards) and state.rights.any_borrowed(chip)
    if not owed and not _anyone(state, job, chip, now_ns):
        _look_when_ripe(state, job, chip, now_ns)
        return None
    barred = barred_for(state, job, now_ns)
    islands = {
        key: island
        for key, island in state.rooms.islands.get(chip, {}).items()
        if island.total >= option.cards and (key[1], "") not in barred and (not at or key[1] == at)
    }
    free = {key: island.free for key, island in islands.items()}
    going: dict[IslandKey, list[Run]] = defaultdict(list)
    for run in _candidates(state, job, chip, owed, now_ns):
        centre = run.allocation.centre
        node = state.node(centre, run.allocation.parts[0].node)
        key = (node.pretend, centre, node.island) if node else None
        if node is None or key is None or key not in islands or (state.troubled and is_out(state, run)):
            continue
        if barred and any((centre, part.node) in barred for part in run.allocation.parts):
            continue
        going[key].append(run)
        free[key] += run.allocation.cards
        if free[key] >= option.cards and (plan := plan_on(state, islands[key], option, going[key], barred)):
            quota = state.rights.quota(job.organisation, chip) if owed else None
            allocation, runs = plan
            return Way(
                allocation=allocation, runs=runs, grace_s=quota.reclaim_s if quota else None, reason=OWED if owed else EARLIER
            )
    if not owed:
        _look_when_ripe(state, job, chip, now_ns)
    return None


def _look_when_ripe(state: State, job: Job, chip: str, now_ns: int) -> None:
    """Runs that are spared now may make way later: of each account the one that is due last is waited for."""
    mine = _claim_s(state, job, now_ns)
    for (_, organisation, project), lines in state.greens.on(chip).items():
        clock, rate = state.shares.clock(organisation, project, now_ns)
        if (lines[-1][1] - clock) / rate > mine:
            run = state.t.runs[lines[-1][2]]
            state.look_at(chip, max(now_ns + 1, spared_until_ns(run, state.t.jobs[run.job].job)))


def is_out(state: State, run: Run) -> bool:
    """Whether a node of it is out of use, so that its cards would be nobody's."""
    centre = run.allocation.centre
    nodes = [state.node(centre, part.node) for part in run.allocation.parts]
    return any(node is None or state.why_out(centre, node) for node in nodes)


def _anyone(state: State, job: Job, chip: str, now_ns: int) -> bool:
    """Whether anybody at all might make way: a quick look at those who would go first."""
    mine = urgency(state, job, now_ns)
    for (_, organisation, project), lines in state.softs.on(chip).items():
        minus_priority, tag, _ = lines[-1]
        if organisation == job.organisation and job.priority + minus_priority > 0:
            return True
        clock, rate = state.shares.clock(organisation, project, now_ns)
        if (tag - clock) / rate > mine:
            return True
    return _ranked(state, job) and any(-lines[-1][0] < job.priority for lines in _own(state, job, chip))


def _claim_s(state: State, job: Job, now_ns: int) -> float:
    """When a job is due; it goes before all that are due later."""
    slack = slack_s(state, job, now_ns)
    return urgency(state, job, now_ns) if slack is None or slack > job.restart_s else -FAR_S  # late: before all that aren't


def _candidates(state: State, job: Job, chip: str, owed: bool, now_ns: int) -> Iterator[Run]:
    """The runs that make way for a job: of its own organisation those of lower priority, then all by how late they are due."""
    for_s = min((o.expected_s for o in job.menu if o.expected_s is not None), default=0.0)
    mine = _claim_s(state, job, now_ns)
    taken: Counter[str] = Counter()  # organisation -> cards of it that make way already
    heap: list[tuple[float, float, int, _Account]] = []
    ranked = _ranked(state, job)
    for standby in (state.softs, state.greens, state.hards) if owed else (state.softs, state.greens):
        for (_, organisation, project), lines in standby.on(chip).items():
            own = organisation == job.organisation
            if standby is state.greens and not owed and not (own and ranked):
                continue
            clock, rate = state.shares.clock(organisation, project, now_ns)
            if own or owed or (lines[-1][1] - clock) / rate > mine:  # else none of its runs is due later
                account = _Account(organisation, own, standby is state.greens, clock, rate, lines)
                heap.append(_entry(job, lines, len(lines) - 1, account))
    heapq.heapify(heap)
    while heap:
        minus_lower, minus_late, at, account = heap[0]
        if at:
            heapq.heapreplace(heap, _entry(job, account.lines, at - 1, account))
        else:
            heapq.heappop(heap)
        due_s = -minus_late
        if due_s <= mine and minus_lower >= 0 and not owed:
            break  # all that follow are due earlier still
        if account.spared and not owed and minus_lower >= 0:
            continue
        run = state.t.runs[account.lines[at][2]]
        if run.stop or run.queue_reason:
            continue
        cards = run.allocation.cards
        if owed and not account.own:
            goes = state.rights.borrows(account.organisation, chip) > taken[account.organisation]
        elif minus_lower < 0:
            goes = True
        else:
            goes = minus_lower == 0 and due_s > mine + price_s(state, run, cards, account.rate, now_ns)
            goes = goes and not _is_tight(state, run, due_s, for_s, now_ns)
            if goes and not account.own:
                goes = state.rights.borrows(account.organisation, chip) - taken[account.organisation] >= cards
        if not goes or (account.own and owed and not state.t.jobs[run.job].job.resumable):
            continue
        if not owed and minus_lower < 0 and (until_ns := spared_until_ns(run, state.t.jobs[run.job].job, 1.0)) > now_ns:
            state.look_at(chip, until_ns)
            continue
        taken[account.organisation] += cards
        yield run


@dataclass(slots=True)
class _Account:
    """Runs of one account on a chip."""

    organisation: str
    own: bool  # whether it is of the organisation for whose job somebody makes way
    spared: bool  # whether they have just begun
    clock: float
    rate: float
    lines: list[tuple[int, float, str]]  # the one to go first last

    def __lt__(self, other: _Account) -> bool:
        return self.lines[0] < other.lines[0]


def _entry(job: Job, lines: list[tuple[int, float, str]], at: int, account: _Account) -> tuple[float, float, int, _Account]:
    """Sorts as they go. The first number: by how much its priority is below the job's, where both are of one organisation."""
    minus_priority, tag, _ = lines[at]
    lower = float(job.priority + minus_priority) if account.own else 0.0
    return -lower, -(tag - account.clock) / account.rate, at, account


def _is_tight(state: State, run: Run, due_s: float, for_s: float, now_ns: int) -> bool:
    """Whether a run that is stopped for so long would end later than exact sharing ends it, by more than can be borne."""
    if run.expected_s is None:
        return False
    standing = state.t.jobs[run.job]
    age_s = (now_ns - standing.submitted_at_ns) / NS_PER_S
    ends_s = left_s(state, run, now_ns) + standing.job.restart_s + for_s
    return ends_s - due_s > BEARABLE * (age_s + due_s)


def price_s(state: State, run: Run, cards: int, rate: float, now_ns: int) -> float:
    """What stopping a run loses, in seconds of its own account's clock: its start and its work since the newest checkpoint."""
    job = state.t.jobs[run.job].job
    since_s = (now_ns - max(run.checkpoint_at_ns, run.running_at_ns)) / NS_PER_S if run.checkpoint_at_ns else 0.0
    width = cards * state.compute(run.allocation.chip)
    return width * (job.restart_s + since_s) / rate


def plan_on(
    state: State, island: Island, option: Option, going: list[Run], barred: Barred
) -> tuple[Allocation, tuple[str, ...]] | None:
    """Cards on an island out of what is free and what the runs leave, and which of the runs it takes."""
    pretend, centre, _ = island.key
    more: dict[str, set[int]] = defaultdict(set)
    for run in going:
        for part in run.allocation.parts:
            more[part.node] |= set(part.cards)
    rooms = [
        room
        for room in island.with_free_cards(frozenset(node for where, node in barred if where == centre))
        if room.node.name not in more
    ]
    rooms += [
        Room(centre=centre, node=room.node, free=tuple(sorted({*room.free, *(cards - state.out_of(centre, room.node))})))
        for name, cards in more.items()
        if (room := island.rooms.get(name))
    ]
    parts = parts_over(rooms, option.cards)
    if parts is None:
        return None
    wanted = {(part.node, card) for part in parts for card in part.cards}
    runs = tuple(run.id for run in going if any((node, card) in wanted for _, node, card in run.allocation.each()))
    return Allocation(centre=centre, chip=option.chip, parts=parts, pretend=pretend), runs
