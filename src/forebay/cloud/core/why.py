"""Say why a job waits, what would let it go, and when it is likely to start. Pure.

    found = why(state, standing, now_ns)                     # forecast=False: `start` is left out, and it costs next to nothing
    found.text        # "8 x h100-sxm: 3 of 64 are free, and 2 jobs are due before it"
    found.release     # "runs that end, or one that is due later and makes way"
    found.start       # Start(soonest_s=0, likely_s=1260, latest_s=5400), or None: nobody can say

Asked:  which single thing keeps this job from starting?
Answer: the first of these that is true: its cards are being left by others; it waits out a pause after a failure; its quota or
        budget; cards that are out of use; a window of maintenance; cards that are busy, with those that go first.
Start:  jobs that are due first are let start in order on the cards that come free as runs are expected to end; runs that would
        make way leave at once, or when they have worked as long as beginning cost. Once with the times that half of a kind stay
        below, and for the interval with those that a tenth and nine tenths do. Of what nothing is known no end is foretold: where
        the job can't start without that, nobody can say when. Who comes later and goes first isn't foreseen.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from forebay.cloud.core.budget import over_budget
from forebay.cloud.core.job import Job, Option, Phase, Standing
from forebay.cloud.core.money import cost_micro
from forebay.cloud.core.size import kinds, lasted_s
from forebay.cloud.core.spare import spared_until_ns
from forebay.cloud.core.state import State
from forebay.cloud.core.yields import urgency
from forebay.units import NS_PER_S, show_money, show_seconds

MOST_AHEAD = 20_000
SHARES = (0.1, 0.5, 0.9)  # of a kind that stay below
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What keeps a job from starting."""

    constraint: str  # "reserved", "pause", "quota", "budget", "out of use", "maintenance", "busy"
    text: str
    release: str
    start: Start | None = None


def why(state: State, standing: Standing, now_ns: int, *, forecast: bool = True) -> Why | None:
    """None for a job that doesn't wait for the cloud. Without `forecast` no start is foretold, nor counted who goes first."""
    if standing.phase is not Phase.WAITING:
        return None
    job = standing.job
    reservation = state.t.reservations.get(job.id)
    if reservation:
        grace_s = max((state.t.runs[run].grace_s for run in reservation.runs), default=0.0)
        return Why(
            constraint="reserved",
            text=f"{reservation.allocation.cards} x {reservation.allocation.chip} are kept for it; "
            f"{len(reservation.runs)} runs are leaving them",
            release="the last of these runs has saved its work and ended",
            start=Start(soonest_s=0.0, likely_s=grace_s / 2, latest_s=grace_s + 5.0),
        )
    if standing.not_before_ns > now_ns:
        left_s = (standing.not_before_ns - now_ns) / NS_PER_S
        return Why(
            constraint="pause",
            text=f"it is tried again in {show_seconds(left_s)}, after: {standing.reason}",
            release="the pause is over",
            start=Start(soonest_s=left_s, likely_s=left_s, latest_s=left_s + 1.0),
        )
    spent = over_budget(state, job.organisation, job.project, now_ns)
    if spent:
        return Why(constraint="budget", text=spent, release="the budget is raised or lifted")
    spent = _over_its_own(state, standing, now_ns)
    if spent:
        return Why(constraint="budget", text=spent, release="nothing: cancel it, and submit it with a larger budget")
    refused = {option: reason for option in job.menu if (reason := state.why_not(job, option))}
    if len(refused) == len(job.menu):
        option, reason = next(iter(refused.items()))
        return Why(
            constraint="quota",
            text=reason,
            release=f"a run of {job.organisation} ends, or its quota is raised",
            start=_foretell(state, standing, option, now_ns, own_only=True) if forecast else None,
        )
    options = [option for option in job.menu if option not in refused]
    out = [option for option in options if _usable(state, option) < option.cards]
    if len(out) == len(options):
        option = out[0]
        usable, total = _usable(state, option), state.total.get(option.chip, 0)
        return Why(
            constraint="out of use",
            text=f"{option.cards} x {option.chip} are wanted on one island, of which {usable} are in use; {total} are known",
            release=f"nodes with {option.chip} come back: see `forebay pool`",
        )
    window = next((w for w in state.t.windows.values() if w.to_ns > now_ns), None)
    options = [option for option in options if option not in out]
    best, start = _best(state, standing, options, now_ns) if forecast else (options[0], None)
    if window and best is not None and state.free_cards(best.chip) >= best.cards:
        left_s = (window.to_ns - now_ns) / NS_PER_S
        return Why(
            constraint="maintenance",
            text=f"its time limit reaches into the maintenance of {window.place}",
            release="the maintenance is over, or a shorter time limit",
            start=Start(soonest_s=left_s, likely_s=left_s, latest_s=left_s + 60.0),
        )
    assert best is not None
    first = len(_ahead(state, job, best.chip, now_ns)) if forecast else 0
    free, total = state.free_cards(best.chip), state.total[best.chip]
    behind = f", and {first} {'job is' if first == 1 else 'jobs are'} due before it" if first else ""
    return Why(
        constraint="busy",
        text=f"it wants {best.cards} x {best.chip}; {free} of {total} are free{behind}",
        release="runs end, or one that is due later makes way",
        start=start,
    )


def start_of(state: State, standing: Standing, now_ns: int) -> Start | None:
    """When a job is likely to start. At once, when it has; None: nobody can say."""
    if standing.runs and standing.phase is not Phase.WAITING:
        return Start(soonest_s=0.0, likely_s=0.0, latest_s=0.0)
    found = why(state, standing, now_ns)
    return found.start if found else None


def _over_its_own(state: State, standing: Standing, now_ns: int) -> str:
    """Why a job's own budget lets no run of it start; empty: it does."""
    job = standing.job
    if job.budget_micro is None:
        return ""
    left = job.budget_micro - sum(cost_micro(state.t.runs[run], now_ns) for run in standing.runs)
    if left <= 0:
        return f"its budget of {show_money(job.budget_micro)} is spent"
    rest = min(rest_micro(state, standing, option) for option in job.menu)
    return (
        f"{show_money(left)} of its budget are left, and the rest of it costs at least {show_money(rest)}" if rest > left else ""
    )


def rest_micro(state: State, standing: Standing, option: Option) -> int:
    """What the rest of a job costs on a line of its menu at today's price, as far as it said how long it takes there."""
    return int((option.expected_s or 0.0) * (1.0 - standing.done) * option.cards * state.price(option.chip))


def _usable(state: State, option: Option) -> int:
    """Cards of the island that has most in use now, busy or free."""
    most = 0
    for island in state.rooms.islands.get(option.chip, {}).values():
        if not state.troubled:
            most = max(most, island.total)
            continue
        rooms = (room for room in island.rooms.values() if not state.why_out(room.centre, room.node))
        bad = state.bad_cards
        most = max(most, sum(len(room.node.cards) - len(bad.get((room.centre, room.node.name), {})) for room in rooms))
    return most


def _best(state: State, standing: Standing, options: list[Option], now_ns: int) -> tuple[Option | None, Start | None]:
    found = [(option, _foretell(state, standing, option, now_ns)) for option in options]
    known = [(start.likely_s, i) for i, (_, start) in enumerate(found) if start]
    return found[min(known)[1]] if known else found[0] if found else (None, None)


def _ahead(state: State, job: Job, chip: str, now_ns: int) -> list[tuple[float, str]]:
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


def _foretell(state: State, standing: Standing, option: Option, now_ns: int, own_only: bool = False) -> Start | None:
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
"""How long something goes on, by the times below which SHARES of its kind stay. None: nothing is known of its kind."""
_Known = dict[tuple[tuple[str, ...], float], _Lasts]


@dataclass(slots=True)
class _Ground:
    """What a forecast is made of: looked up once, and played with the times of each of SHARES."""

    free: int
    mine: int  # cards that the job itself wants
    runs: list[tuple[_Lasts, int]]  # those that go on, and their cards
    line: list[tuple[_Lasts, int]]  # the jobs that go first
    leaving_s: float  # how long those that make way may take to leave


def _survey(state: State, standing: Standing, option: Option, now_ns: int, own_only: bool) -> _Ground:
    job, chip = standing.job, option.chip
    mine = urgency(state, job, now_ns)
    ground = _Ground(0 if own_only else state.free_cards(chip), option.cards, [], [], 0.0)
    known: _Known = {}
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
        if not own_only and other.job.resumable and urgency(state, other.job, now_ns) > mine:  # it would make way, if not at once
            is_lower = other.job.organisation == job.organisation and other.job.priority < job.priority
            until_ns = spared_until_ns(run, other.job, 1.0) if is_lower else spared_until_ns(run, other.job)
            spared_s = max(0.0, (until_ns - now_ns) / NS_PER_S)
            ground.runs.append(((spared_s, spared_s, spared_s), run.allocation.cards))
            ground.leaving_s = max(ground.leaving_s, other.job.grace_s + SETTLES_S)
            continue
        so_far_s = (now_ns - (run.running_at_ns or run.launched_at_ns)) / NS_PER_S
        ground.runs.append((_left_s(state, other, run.expected_s, so_far_s, known), run.allocation.cards))
    for _, name in () if own_only else _ahead(state, job, chip, now_ns):
        other = state.t.jobs[name]
        ground.line.append((_next_s(state, other, option, known), _on(other.job, option).cards))
    return ground


def _on(job: Job, option: Option) -> Option:
    """The line of another job's menu with the chip of an option."""
    return next((o for o in job.menu if o.chip == option.chip), option)


def _next_s(state: State, standing: Standing, option: Option, known: _Known) -> _Lasts:
    """How long the next run of a job lasts on the chip of an option."""
    return _left_s(state, standing, _on(standing.job, option).expected_s, 0.0, known)


def _play(ground: _Ground, which: int) -> float | None:
    """When the job starts if everything lasts as long as one of SHARES says. None: nobody can say, as not of all it is known."""
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
    key = kinds(job), before_s
    if key not in known:
        known[key] = _by_history(state, *key)
    left = known[key]
    if limit_s is None:
        return left
    return (limit_s, limit_s, limit_s) if left is None else (min(left[0], limit_s), min(left[1], limit_s), min(left[2], limit_s))


def _by_history(state: State, kinds: tuple[str, ...], before_s: float) -> _Lasts:
    """What is left of something of these kinds that has lasted so long; None: of none of them enough is known."""
    if not state.history.knows(kinds):
        return None
    soon, half, late = (max(1.0, state.history.between_s(kinds, before_s, share) - before_s) for share in SHARES)
    return soon, half, late
