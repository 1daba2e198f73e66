"""Start what can start now, in the order of fair share. Pure.

    decisions = schedule(state, now_ns, {"h100-sxm"})     # folded into the state as they are made

Asked:  cards came free, or jobs came in. Who gets them?
Answer: whoever is due first (`share.py`): organisations by the job of theirs that is due first, and within one its jobs by
        priority and then by when they are due. A job that would miss the time at which exact sharing ends it, if it waited any
        longer, comes before all that wouldn't. A job takes the option of its menu that suits it best (`choose.py`), all its
        cards at once or none. Where none are free, runs that are due later make way (`yields.py`): the cards are reserved, and
        the job is launched when the last of the runs has left. What can't be stopped again is let past a job that waits only if
        it is through before that could start (`Blocks`). What nobody wants, elastic runs may grow into (`adapt.py`).
Limits: reservations are made for a chip's first job that waits; of the others the order keeps them from starving.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from forebay.cloud.core import events as e
from forebay.cloud.core.adapt import better, squeeze
from forebay.cloud.core.choose import Blocks, Choice, barred_for, choose
from forebay.cloud.core.job import Job, Run, Standing
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.queue import Lane, lane_of
from forebay.cloud.core.size import OUTGROWN, lasts_s, size_of
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Reservation
from forebay.cloud.core.transfer import far
from forebay.cloud.core.yields import InVain, Way, late, make_way, urgency
from forebay.units import NS_PER_S

DRIFT_NS = 300 * NS_PER_S  # after that, who goes first may be somebody else
MOST_OF_A_LANE = 64  # jobs of one lane that are looked at after one of it waits by its own choice


def start(state: State, job: Job, now_ns: int) -> list[e.Event]:
    """What follows from a new job: nothing, when it surely waits."""
    lane = lane_of(job)
    if state.queue.lanes[lane][0][2] != job.id and not any(option.expected_s is not None for option in job.menu):
        return []
    if not any(
        state.free_cards(o.chip) >= o.cards
        or state.softs.on(o.chip)
        or state.greens.on(o.chip)
        or state.rights.any_borrowed(o.chip)
        for o in job.menu
    ):
        return []
    chips = {option.chip for option in job.menu}
    if not job.resumable and any(state.free_cards(o.chip) >= o.cards for o in job.menu):
        return schedule(state, now_ns, chips)  # it may start only if it delays nobody who waits already
    return follow(state, now_ns, chips, lane)


def follow(state: State, now_ns: int, chips: set[str], lane: Lane | None) -> list[e.Event]:
    """What follows when nothing but a job came (back) to the queue, into a lane: it alone is served, for whoever waits already
    can have no more than before. Unless cards came free, or all were last gone through long ago: who goes first changes in time.
    Without a lane, nothing follows but from that.
    """
    is_calm = not (state.t.quotas or state.t.budgets) and state.rooms.more.isdisjoint(chips)
    if is_calm and all(now_ns - state.passed_ns.get(chip, 0) < DRIFT_NS for chip in chips):
        return _go_through(state, now_ns, chips, (lane,)) if lane and lane in state.queue.lanes else []
    return schedule(state, now_ns, chips)


def schedule(state: State, now_ns: int, chips: set[str] | None = None) -> list[e.Event]:
    """Launch, or make room for, every job that wants one of these chips (None: any) and can have it, in order."""
    if chips == set():
        return []
    if chips is None:
        state.looks.clear()
        state.looked = True
    for chip in state.total if chips is None else chips:
        state.looks.pop(chip, None)  # what was said of others stands, since nobody looks at them now
        state.passed_ns[chip] = now_ns
        state.rooms.more.discard(chip)
    if not state.queue.count:
        return _adapt(state, chips, now_ns)
    return _go_through(state, now_ns, chips, state.queue.on(chips))


def _go_through(state: State, now_ns: int, chips: set[str] | None, lanes: Iterable[Lane]) -> list[e.Event]:
    decisions: list[e.Event] = []
    blocks, vain = Blocks(state, now_ns), InVain()
    heap = _in_order(state, lanes, now_ns)
    places = dict.fromkeys((lane for *_, lane in heap), 0)  # lane -> the place in it of the job that is looked at
    for standing in late(state, (lane for *_, lane in heap), now_ns):
        decisions += _serve(state, standing, blocks, vain, now_ns)[0]
    while heap:
        *_, due_s, lane = heapq.heappop(heap)
        queue = state.queue.lanes.get(lane, ())
        if places[lane] >= len(queue):
            continue
        standing = state.t.jobs[queue[places[lane]][2]]
        if _waits_in_vain(state, standing, due_s, blocks, vain):
            continue
        served, choice = _serve(state, standing, blocks, vain, now_ns)
        decisions += served
        if served and state.t.quotas:
            vain.forget()  # who got cards may have borrowed them
        if not served and choice.by_choice and places[lane] < MOST_OF_A_LANE:
            places[lane] += 1  # it could start and would rather wait; the next may not
        elif not served:
            continue
        if lane in state.queue.lanes and places[lane] < len(state.queue.lanes[lane]):
            heapq.heappush(heap, _line(state, lane, places[lane], now_ns))
    return [*decisions, *_adapt(state, {chip for chip in chips or state.total if not blocks.waits(chip)}, now_ns)]


def _waits_in_vain(state: State, standing: Standing, due_s: float, blocks: Blocks, vain: InVain) -> bool:
    """Whether a look is for nothing: no cards are free, and somebody due earlier found nobody who makes way. The common case."""
    menu = standing.job.menu
    option = menu[0]
    return (
        len(menu) == 1
        and state.free_cards(option.chip) < option.cards
        and blocks.waits(option.chip)
        and not state.elastic
        and vain.covers(state, standing.job, option, due_s)
    )


def _serve(state: State, standing: Standing, blocks: Blocks, vain: InVain, now_ns: int) -> tuple[list[e.Event], Choice]:
    """Launch a job, or make room for it, if it can have cards now; else note what it waits for."""
    choice = choose(state, standing, blocks, now_ns)
    faster = _in_time(state, standing, choice, now_ns)
    if faster:
        return _reserve(state, standing, faster, now_ns), choice
    if choice.allocation:
        return [_made(state, _launch(state, standing, choice.allocation, choice, now_ns))], choice
    way = _way(state, standing, choice, blocks, vain, now_ns)
    if way:
        return _reserve(state, standing, way, now_ns), choice
    for option in choice.waits_for:
        if choice.until_ns:
            state.look_at(option.chip, choice.until_ns)
        if not choice.at:  # else it could start elsewhere, and nobody need be kept from these for it
            blocks.add(option)
    return [], choice


def _in_time(state: State, standing: Standing, choice: Choice, now_ns: int) -> Way | None:
    """Where a job would be late on what is free: room on an option on which it wouldn't, held by runs that are due later."""
    if choice.allocation is None or choice.option is None or choice.option.expected_s is None or len(standing.job.menu) < 2:
        return None
    due_s, left = urgency(state, standing.job, now_ns), 1.0 - standing.done
    if choice.option.expected_s * left <= due_s:
        return None
    for option in standing.job.menu:
        if option.expected_s is None or option.expected_s * left + standing.job.restart_s >= choice.option.expected_s * left:
            continue
        way = None if state.why_not(standing.job, option) else make_way(state, standing, option, now_ns)
        if way:
            return way
    return None


def _adapt(state: State, chips: set[str] | None, now_ns: int) -> list[e.Event]:
    if not state.elastic:
        return []
    return [
        _made(state, _restart(state, run, f"it goes on with {option.cards} x {option.chip}, which are free", now_ns))
        for run, option in better(state, chips if chips is not None else set(state.total), now_ns)
    ]


def _restart(state: State, run: Run, reason: str, now_ns: int) -> e.StopAsked:
    grace_s = state.t.jobs[run.job].job.grace_s
    return e.StopAsked(at_ns=now_ns, by="forebay", run=run.id, reason=reason, grace_s=grace_s, requeue=True)


def reckon(state: State, now_ns: int) -> list[e.Reckoned]:
    """Forecast anew for runs that lasted longer than was forecast."""
    decisions: list[e.Reckoned] = []
    for run_id in state.ends.checks_due(now_ns):
        run = state.t.runs[run_id]
        standing = state.t.jobs[run.job]
        more_s = (now_ns - (run.running_at_ns or run.launched_at_ns)) / NS_PER_S
        size = size_of(state, standing, more_s)
        if size > state.t.sizes[run.job] * OUTGROWN:
            width = size / max(1e-9, state.t.sizes[run.job])
            lasts = max(more_s * 1.2, run.lasts_s * width)
            reckoned = e.Reckoned(at_ns=now_ns, by="forebay", run=run_id, lasts_s=lasts, size=size)
            state.fold(reckoned)
            decisions.append(reckoned)
        state.check_later(state.t.runs[run_id], now_ns)
    return decisions


def chips_of(state: State, reckoned: Iterable[e.Reckoned]) -> set[str]:
    """On which the order may be another now."""
    return {state.t.runs[event.run].allocation.chip for event in reckoned}


def given_back(state: State, now_ns: int) -> list[e.Event]:
    """Launch the jobs whose reserved cards are all free now, and give up reservations that can't be kept."""
    decisions: list[e.Event] = []
    for reservation in list(state.t.reservations.values()):
        broken = _broken(state, reservation, now_ns)
        if broken:
            decisions.append(_made(state, e.Released(at_ns=now_ns, by="forebay", job=reservation.job, reason=broken)))
        elif not reservation.runs:
            decisions.append(_begin(state, state.t.jobs[reservation.job], reservation.allocation, now_ns))
    return decisions


def _begin(state: State, standing: Standing, allocation: Allocation, now_ns: int) -> e.Event:
    """Launch a job on cards for which room was made."""
    option = next((o for o in standing.job.menu if _fits(o.chip, o.cards, allocation)), standing.job.menu[0])
    choice = Choice(option=option, lasts_s=lasts_s(state, standing, option))
    return _made(state, _launch(state, standing, allocation, choice, now_ns))


def _fits(chip: str, cards: int, allocation: Allocation) -> bool:
    return (chip, cards) == (allocation.chip, allocation.cards)


def _broken(state: State, reservation: Reservation, now_ns: int) -> str:
    centre = reservation.allocation.centre
    job, chip = state.t.jobs[reservation.job].job, reservation.allocation.chip
    quota = state.rights.quota(job.organisation, chip)
    if quota and quota.borrow is not None and state.rights.borrows(job.organisation, chip) > quota.borrow:
        return f"{job.organisation} may hold {quota.cards + quota.borrow} {chip} now"
    if state.t.windows:
        barred = barred_for(state, job, now_ns)
        if barred & {(centre, ""), *((centre, part.node) for part in reservation.allocation.parts)}:
            return f"maintenance of {centre} begins before it would have ended"
    for part in reservation.allocation.parts:
        node = state.node(centre, part.node)
        if node is None:
            return f"{centre}/{part.node} has left the pool"
        why = state.why_out(centre, node)
        if why:
            return f"{centre}/{part.node}: {why}"
        if set(part.cards) & set(state.bad_cards.get((centre, part.node), {})):
            return f"a card of {centre}/{part.node} is out of use"
    return ""


def _made(state: State, decision: e.Event) -> e.Event:
    state.fold(decision)
    return decision


_Line = tuple[float, str, int, float, Lane]


def _in_order(state: State, lanes: Iterable[Lane], now_ns: int) -> list[_Line]:
    """The lanes as they are served: organisations by what of theirs is due first, within one by priority and then by that."""
    due = [(_due_s(state, lane, 0, now_ns), lane) for lane in lanes]
    first: dict[str, float] = {}
    for due_s, lane in due:
        first[lane[0]] = min(due_s, first.get(lane[0], due_s))
    heap = [(first[lane[0]], lane[0], -lane[2], due_s, lane) for due_s, lane in due]
    heapq.heapify(heap)
    return heap


def _line(state: State, lane: Lane, place: int, now_ns: int) -> _Line:
    due_s = _due_s(state, lane, place, now_ns)
    mine = [_due_s(state, other, 0, now_ns) for other in state.queue.of(lane[0])]
    return min(mine, default=due_s), lane[0], -lane[2], due_s, lane


def _due_s(state: State, lane: Lane, place: int, now_ns: int) -> float:
    clock, rate = state.shares.clock(lane[0], lane[1], now_ns)
    return (state.queue.lanes[lane][place][0] - clock) / rate


def _way(state: State, standing: Standing, choice: Choice, blocks: Blocks, vain: InVain, now_ns: int) -> Way | None:
    for option in choice.waits_for:
        narrower = None if blocks.waits(option.chip) else squeeze(state, standing, option, now_ns, at=choice.at)
        way = narrower or make_way(state, standing, option, now_ns, at=choice.at)
        if way:
            return way
        vain.note(state, standing.job, option, now_ns)
    return None


def _launch(state: State, standing: Standing, allocation: Allocation, choice: Choice, now_ns: int) -> e.Launched:
    attempt = len(standing.runs) + 1
    return e.Launched(
        at_ns=now_ns,
        by="forebay",
        run=f"{standing.job.id}-{attempt}",
        job=standing.job.id,
        attempt=attempt,
        allocation=allocation,
        price_micro_per_card_s=state.price(allocation.chip, now_ns),
        free_cards=state.free_cards(allocation.chip),
        waiting=state.waiting,
        expected_s=choice.option.expected_s if choice.option else None,
        lasts_s=choice.lasts_s,
        outlooks=choice.outlooks,
        transfer_s=far(state, standing).get(allocation.centre, 0.0),
    )


def _reserve(state: State, standing: Standing, way: Way, now_ns: int) -> list[e.Event]:
    """Keep cards for a job, and ask the runs on them to leave; if none is on them, launch."""
    job = standing.job
    if not way.runs:
        return [_begin(state, standing, way.allocation, now_ns)]
    reserved = e.Reserved(at_ns=now_ns, by="forebay", job=job.id, allocation=way.allocation, runs=way.runs, reason=way.reason)
    decisions = [_made(state, reserved)]
    for run_id in way.runs:
        grace_s = state.t.jobs[state.t.runs[run_id].job].job.grace_s
        grace_s = grace_s if way.grace_s is None else min(grace_s, way.grace_s)
        stop = e.StopAsked(
            at_ns=now_ns,
            by="forebay",
            run=run_id,
            reason=f"makes way: {way.reason}",
            grace_s=grace_s,
            requeue=True,
            for_job=job.id,
        )
        decisions.append(_made(state, stop))
    return decisions
