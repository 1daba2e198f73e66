"""Start what can start now, in the order of fair share. Pure.

    decisions = schedule(state, now_ns, {"h100-sxm"})     # folded into the state as they are made

Asked:  cards came free, or jobs came in. Who gets them?
Answer: whoever is due first (`share.py`): organisations by the job of theirs that is due first, and within one its jobs by
        priority and then by when they are due. A job takes the option of its menu that suits it best (`choose.py`), all its cards at once
        or none. Where none are free, runs that are due later make way (`yields.py`): the cards are reserved, those that are free
        at once, and the job is launched when the last of the runs has left. What can't be stopped again is let past a job that
        waits only if it is through before that could start (`Block`).
Limits: reservations are made for a chip's first job that waits; of the others the order keeps them from starving.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from forebay.cloud.core import events as e
from forebay.cloud.core.choose import Block, Choice, block, choose
from forebay.cloud.core.job import Job, Standing
from forebay.cloud.core.pool import Allocation
from forebay.cloud.core.queue import Lane, lane_of
from forebay.cloud.core.size import lasts_s, size_of
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Reservation
from forebay.cloud.core.yields import Way, make_way
from forebay.units import NS_PER_S

MOST_OF_A_LANE = 64  # jobs of one lane that are looked at after one of it waits by its own choice


def start(state: State, job: Job, now_ns: int) -> list[e.Event]:
    """What follows from a new job: nothing, when it surely waits."""
    lane = state.queue.lanes[lane_of(job)]
    if lane[0][2] != job.id and not any(option.expected_s is not None for option in job.menu):
        return []
    chips = {option.chip for option in job.menu}
    if not any(
        state.free_cards(o.chip) >= o.cards or state.softs.on(o.chip) or state.rights.any_borrowed(o.chip) for o in job.menu
    ):
        return []
    return schedule(state, now_ns, chips)


def schedule(state: State, now_ns: int, chips: set[str] | None = None) -> list[e.Event]:
    """Launch, or make room for, every job that wants one of these chips (None: any) and can have it, in order."""
    if not state.queue.count:
        return []
    decisions: list[e.Event] = []
    blocks: dict[str, Block] = {}
    heap = _in_order(state, state.queue.on(chips), now_ns)
    places = dict.fromkeys((lane for *_, lane in heap), 0)  # lane -> the place in it of the job that is looked at
    while heap:
        *_, lane = heapq.heappop(heap)
        queue = state.queue.lanes[lane]
        standing = state.t.jobs[queue[places[lane]][2]]
        choice = choose(state, standing, blocks, now_ns)
        way = None if choice.allocation else _way(state, standing, choice, now_ns)
        if choice.allocation:
            decisions.append(_made(state, _launch(state, standing, choice.allocation, choice, now_ns)))
        elif way:
            decisions += _reserve(state, standing, way, now_ns)
        elif choice.by_choice and places[lane] < MOST_OF_A_LANE:
            places[lane] += 1  # it could start and would rather wait; the next may not
        else:
            for option in choice.waits_for:
                if option.chip not in blocks:
                    blocks[option.chip] = block(state, option, now_ns)
            continue
        if lane in state.queue.lanes and places[lane] < len(state.queue.lanes[lane]):
            heapq.heappush(heap, _line(state, lane, places[lane], now_ns))
    return decisions


def reckon(state: State, now_ns: int) -> list[e.Event]:
    """Forecast anew for runs that lasted longer than was forecast."""
    decisions: list[e.Event] = []
    for run_id in state.ends.checks_due(now_ns):
        run = state.t.runs[run_id]
        standing = state.t.jobs[run.job]
        more_s = (now_ns - (run.running_at_ns or run.launched_at_ns)) / NS_PER_S
        size = size_of(state, standing, more_s)
        if size > state.t.sizes[run.job] * 1.2:
            width = size / max(1e-9, state.t.sizes[run.job])
            lasts = max(more_s * 1.2, run.lasts_s * width)
            decisions.append(_made(state, e.Reckoned(at_ns=now_ns, by="forebay", run=run_id, lasts_s=lasts, size=size)))
        state.ends.check_again(run_id, now_ns)
    return decisions


def given_back(state: State, now_ns: int) -> list[e.Event]:
    """Launch the jobs whose reserved cards are all free now, and give up reservations that can't be kept."""
    decisions: list[e.Event] = []
    for reservation in list(state.t.reservations.values()):
        broken = _broken(state, reservation)
        if broken:
            decisions.append(_made(state, e.Released(at_ns=now_ns, by="forebay", job=reservation.job, reason=broken)))
        elif not reservation.runs:
            standing = state.t.jobs[reservation.job]
            option = next((o for o in standing.job.menu if _fits(o.chip, o.cards, reservation.allocation)), standing.job.menu[0])
            choice = Choice(option=option, lasts_s=lasts_s(state, standing, option))
            decisions.append(_made(state, _launch(state, standing, reservation.allocation, choice, now_ns)))
    return decisions


def _fits(chip: str, cards: int, allocation: Allocation) -> bool:
    return (chip, cards) == (allocation.chip, allocation.cards)


def _broken(state: State, reservation: Reservation) -> str:
    centre = reservation.allocation.centre
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


def _way(state: State, standing: Standing, choice: Choice, now_ns: int) -> Way | None:
    for option in choice.waits_for:
        way = make_way(state, standing, option, now_ns)
        if way:
            return way
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
        price_micro_per_card_s=state.price(allocation.chip),
        free_cards=state.free_cards(allocation.chip),
        waiting=state.waiting,
        expected_s=choice.option.expected_s if choice.option else None,
        lasts_s=choice.lasts_s,
        outlooks=choice.outlooks,
    )


def _reserve(state: State, standing: Standing, way: Way, now_ns: int) -> list[e.Event]:
    """Keep cards for a job, and ask the runs on them to leave; if none is on them, launch."""
    job = standing.job
    reserved = e.Reserved(at_ns=now_ns, by="forebay", job=job.id, allocation=way.allocation, runs=way.runs, reason=way.reason)
    decisions = [_made(state, reserved)]
    for run_id in way.runs:
        grace_s = state.t.jobs[state.t.runs[run_id].job].job.grace_s
        grace_s = grace_s if way.grace_s is None else min(grace_s, way.grace_s)
        stop = e.StopAsked(
            at_ns=now_ns, by="forebay", run=run_id, reason=f"makes way: {way.reason}", grace_s=grace_s, requeue=True
        )
        decisions.append(_made(state, stop))
    return decisions
