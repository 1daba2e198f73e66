"""Say when a waiting job is likely to start. Pure.

    start = foretell(state, standing, option, now_ns)     # None: nobody can say

Asked:  when do so many cards come to this job?
Answer: jobs that are due first are let start in order on the cards that come free as runs are expected to end; runs that would
        make way leave at once, or when they have worked as long as they are spared. Each lasts as some
        of its kind did: one short, one long, one in between, so that many of them together last as many of a kind do. For the
        interval all last as the shortest tenth, or as nine tenths stay below.
Limits: of what nothing is known no end is foretold: where the job can't start without that, nobody can say when. Islands aren't
        told apart, and who comes later and goes first isn't foreseen.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from forebay.cloud.core.job import Job, Option, Run, Standing
from forebay.cloud.core.size import kinds, lasted_s
from forebay.cloud.core.spare import spared_until_ns
from forebay.cloud.core.state import State
from forebay.cloud.core.yields import price_s, urgency
from forebay.units import NS_PER_S

MOST_AHEAD = 20_000
SOON, LATE = 0.1, 0.9  # of a kind that stay below
STRATA = 16  # into which a kind's durations are cut, from the shortest to the longest
GOLDEN = 0.6180339887498949  # steps of this size go evenly over the strata, in whatever number
SOONEST, LIKELY, LATEST = 0, 1, 2
SETTLES_S = 5.0  # until it is heard that a run has left


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """When a job is likely to start, in seconds from now: about one in ten starts sooner than `soonest_s`, and one later than
    `latest_s`.
    """

    soonest_s: float
    likely_s: float
    latest_s: float


def ahead(state: State, job: Job, chip: str, now_ns: int) -> list[tuple[float, str]]:
    """The jobs that want a chip and are due before this one, in order."""
    mine = urgency(state, job, now_ns)
    found = []
    for lane in state.queue.by_chip.get(chip, ()):
        clock, rate = state.shares.clock(lane[0], lane[1], now_ns)
        same = lane[0] == job.organisation
        for tag, _, other in state.queue.lanes[lane]:
            due = (tag - clock) / rate
            if same and lane[2] != job.priority:
                goes_first = lane[2] > job.priority
            else:
                goes_first = due < mine
            if not goes_first:
                break  # a lane is sorted
            if other != job.id:
                found.append((due, other))
    found.sort()
    return found[:MOST_AHEAD]


def foretell(state: State, standing: Standing, option: Option, now_ns: int, own_only: bool = False) -> Start | None:
    ground = _survey(state, standing, option, now_ns, own_only)
    likely = _play(ground, LIKELY)
    if likely is None:
        return None
    soonest, latest = _play(ground, SOONEST), _play(ground, LATEST)
    return Start(
        soonest_s=min(likely, soonest if soonest is not None else 0.0),
        likely_s=likely,
        latest_s=max(likely, latest if latest is not None else likely) + ground.leaving_s,
    )


_Lasts = tuple[float, float, float] | None
"""How long something goes on: as SOON of its kind, as its lot says, as LATE. None: nothing is known of its kind."""


class _Known:
    """What was looked up of kinds. Each that asks draws the next lot: a short one, a long one, one in the middle…"""

    def __init__(self, state: State) -> None:
        self._history = state.history
        self._drawn = 0
        self._known: dict[tuple[tuple[str, ...], float, int], _Lasts] = {}

    def left(self, kinds: tuple[str, ...], before_s: float) -> _Lasts:
        """What is left of something of these kinds that has lasted so long. None: of none of them enough is known."""
        self._drawn += 1
        lot = int(self._drawn * GOLDEN % 1.0 * STRATA)
        key = kinds, before_s, lot
        if key not in self._known:
            self._known[key] = self._look(kinds, before_s, (lot + 0.5) / STRATA)
        return self._known[key]

    def _look(self, kinds: tuple[str, ...], before_s: float, share: float) -> _Lasts:
        if not self._history.knows(kinds):
            return None
        soon, drawn, late = (max(1.0, self._history.between_s(kinds, before_s, s) - before_s) for s in (SOON, share, LATE))
        return soon, drawn, late


@dataclass(slots=True)
class _Ground:
    """What a forecast is made of: looked up once, and played three times."""

    free: int
    mine: int  # cards that the job itself wants
    runs: list[tuple[_Lasts, int]]  # those that go on, and their cards
    line: list[tuple[_Lasts, int]]  # the jobs that go first
    leaving_s: float  # how long those that make way may take to leave


def _survey(state: State, standing: Standing, option: Option, now_ns: int, own_only: bool) -> _Ground:
    job, chip = standing.job, option.chip
    mine = urgency(state, job, now_ns)
    ground = _Ground(0 if own_only else state.free_cards(chip), option.cards, [], [], 0.0)
    known = _Known(state)
    promised: set[str] = set()  # runs whose cards are another's already
    for reservation in state.t.reservations.values():
        holder = state.t.jobs[reservation.job]
        if reservation.allocation.chip == chip and not (own_only and holder.job.organisation != job.organisation):
            promised.update(reservation.runs)
            ground.runs.append((_next_s(state, holder, option, known), reservation.allocation.cards))
    for run_id in state.live:
        run = state.t.runs[run_id]
        if run.allocation.chip != chip or run_id in promised:
            continue
        other = state.t.jobs[run.job]
        if own_only and other.job.organisation != job.organisation:
            continue
        same = other.job.organisation == job.organisation
        is_lower = same and other.job.priority < job.priority
        if not own_only and other.job.resumable and (is_lower or _is_worth(state, run, mine, now_ns)):  # it would make way
            until_ns = spared_until_ns(run, other.job, 1.0) if is_lower else spared_until_ns(run, other.job)
            spared_s = max(0.0, (until_ns - now_ns) / NS_PER_S)
            ground.runs.append(((spared_s, spared_s, spared_s), run.allocation.cards))
            ground.leaving_s = max(ground.leaving_s, other.job.grace_s + SETTLES_S)
            continue
        so_far_s = (now_ns - (run.running_at_ns or run.launched_at_ns)) / NS_PER_S
        ground.runs.append((_left_s(state, other, run.expected_s, so_far_s, known), run.allocation.cards))
    if not own_only:
        for _, name in ahead(state, job, chip, now_ns):
            other = state.t.jobs[name]
            ground.line.append((_next_s(state, other, option, known), _on(other.job, option).cards))
    return ground


def _is_worth(state: State, run: Run, mine_s: float, now_ns: int) -> bool:
    """Whether a run is due later than a job that is due in `mine_s` by more than stopping it loses."""
    job = state.t.jobs[run.job].job
    clock, rate = state.shares.clock(job.organisation, job.project, now_ns)
    return (state.tag(job.id) - clock) / rate > mine_s + price_s(state, run, run.allocation.cards, rate, now_ns)


def _on(job: Job, option: Option) -> Option:
    """The line of another job's menu with the chip of an option."""
    return next((o for o in job.menu if o.chip == option.chip), option)


def _next_s(state: State, standing: Standing, option: Option, known: _Known) -> _Lasts:
    """How long the next run of a job lasts on the chip of an option."""
    return _left_s(state, standing, _on(standing.job, option).expected_s, 0.0, known)


def _play(ground: _Ground, which: int) -> float | None:
    """When the job starts if everything lasts as long as is said of it. None: nobody can say, as not of all it is known."""
    free, now_s = ground.free, 0.0
    ends = [(lasts[which], cards) for lasts, cards in ground.runs if lasts is not None]
    heapq.heapify(ends)
    for lasts, cards in [*ground.line, (None, ground.mine)]:
        while free < cards:
            if not ends:
                return None
            now_s, more = heapq.heappop(ends)
            free += more
        free -= cards
        if lasts is not None:
            heapq.heappush(ends, (now_s + lasts[which], cards))
    return now_s


def _left_s(
    state: State,
    standing: Standing,
    expected_s: float | None,
    so_far_s: float,
    known: _Known,
) -> _Lasts:
    """How long a run goes on that has run so far, or a job's next run. `known`: what was looked up for others."""
    job = standing.job
    limit_s = None if job.time_limit_s is None else max(0.0, job.time_limit_s - so_far_s)
    if expected_s is not None:
        left_s = max(0.0, expected_s * (1.0 - standing.done) - so_far_s)
        left_s = left_s if limit_s is None else min(left_s, limit_s)
        return left_s, left_s, left_s
    before_s = (lasted_s(state, standing) if job.resumable else 0.0) + so_far_s
    left = known.left(kinds(job), before_s)
    if limit_s is None:
        return left
    return (limit_s, limit_s, limit_s) if left is None else (min(left[0], limit_s), min(left[1], limit_s), min(left[2], limit_s))
