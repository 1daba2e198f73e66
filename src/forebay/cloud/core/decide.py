"""Decide what follows from what happened.

    decisions = decide(state, fact)

The fact and then every decision are folded into `state` as they are made; the caller writes all of them to the journal before
it acts on any. Called with the same state and fact it decides the same: there is no clock, no dice and no I/O here.

Policy: first come, first served, by chip. A job takes the first option of its menu whose cards are free, or, where it says how
        long it takes on them, the one that ends first. A job that waits for cards of a chip holds back later jobs that want
        that chip, so small jobs never starve a wide one; a job that waits for its organisation's quota, or for its next try,
        holds back nobody but its own lane. No backfill, no preemption, no shares: they come with the scheduler proper
        (docs/decisions/0004).
"""

from __future__ import annotations

import heapq

from forebay.cloud.core import events as e
from forebay.cloud.core.choose import Choice, choose
from forebay.cloud.core.dues import due
from forebay.cloud.core.job import Job, Phase, Run, Standing
from forebay.cloud.core.state import State, lane_of
from forebay.units import NS_PER_S, show_seconds

FIRST_BACKOFF_S = 5.0
LONGEST_BACKOFF_S = 300.0
MOST_FORGIVEN = 20  # ends of a job's runs that use up no retry, so that nothing goes round for ever


def decide(state: State, fact: e.Event) -> list[e.Event]:
    """Fold a fact, and return the decisions that it leads to, folded too."""
    if not isinstance(fact, e.Tick):
        state.fold(fact)
    match fact:
        case e.Submitted(job=job):
            return _start(state, fact.at_ns) if _may_start(state, job) else []
        case e.Ended():
            return [*due(state, fact), *_after(state, fact), *_start(state, fact.at_ns)]
        case e.Cancelled(job=job_id):
            return [*_cancel(state, fact, job_id), *_start(state, fact.at_ns)]
        case e.CentreRevoked(centre=centre, give_up=True):
            runs = [run.id for run in state.runs_at(centre)]
            return [*(line for run in runs for line in _give_up(state, run, fact.at_ns)), *_start(state, fact.at_ns)]
        case e.CheckSeen():
            return _quarantine(state, fact)
        case e.Tick():
            return [*due(state, fact), *_overdue(state, fact.at_ns), *_maintain(state, fact.at_ns), *_start(state, fact.at_ns)]
        case _:
            return _start(state, fact.at_ns) if isinstance(fact, MAKES_ROOM) else []


MAKES_ROOM = (
    e.NodesSeen,
    e.NodeStatesSeen,
    e.CentreJoined,
    e.CentreBack,
    e.Undrained,
    e.MaintenanceLifted,
    e.QuotaSet,
)


def _made(state: State, decision: e.Event) -> e.Event:
    state.fold(decision)
    return decision


# Starting.


def _may_start(state: State, job: Job) -> bool:
    """False when a new job surely waits: somebody of its own lane does already, or no card of its chips is free."""
    return len(state.lanes[lane_of(job)]) == 1 and any(state.free_cards(option.chip) >= option.cards for option in job.menu)


def _start(state: State, now_ns: int) -> list[e.Event]:
    """Launch every job that can start now, in order."""
    decisions: list[e.Event] = []
    spoken_for: set[str] = set()  # chips for which an earlier job waits
    heads = [(queue[0][0], lane) for lane, queue in state.lanes.items()]
    heapq.heapify(heads)
    while heads:
        _, lane = heapq.heappop(heads)
        standing = state.t.jobs[state.lanes[lane][0][1]]
        if standing.not_before_ns > now_ns:
            continue
        choice = choose(state, standing, spoken_for, now_ns)
        if choice.allocation is None:
            spoken_for |= choice.waits_for
            continue
        decisions.append(_made(state, _launch(state, standing, choice, now_ns)))
        if lane in state.lanes:
            heapq.heappush(heads, (state.lanes[lane][0][0], lane))
    return decisions


def _launch(state: State, standing: Standing, choice: Choice, now_ns: int) -> e.Launched:
    attempt = len(standing.runs) + 1
    allocation = choice.allocation
    assert allocation is not None
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
        expected_s=choice.expected_s,
        outlooks=choice.outlooks,
    )


# Ending.


def _after(state: State, ended: e.Ended) -> list[e.Event]:
    """What becomes of the job whose run ended."""
    run = state.t.runs[ended.run]
    standing = state.t.jobs[run.job]
    if ended.outcome == "succeeded":
        return [_over(state, ended, run.job, Phase.SUCCEEDED)]
    if run.stop and not run.requeue:
        return [_over(state, ended, run.job, Phase.CANCELLED if run.stop.startswith("cancelled") else Phase.FAILED, run.stop)]
    forgiven = _is_forgiven(run, ended) and standing.forgiven < MOST_FORGIVEN
    tries = run.attempt - standing.forgiven  # that count
    left = standing.job.retries - (tries - 1)
    why_not = "" if forgiven else _not_again(ended, left)
    if why_not:
        return [_over(state, ended, run.job, Phase.FAILED, f"{ended.reason.rstrip('.')}; {why_not}")]
    again = e.Requeued(
        at_ns=ended.at_ns,
        by="forebay",
        job=run.job,
        run=run.id,
        not_before_ns=ended.at_ns + int(_backoff_s(run, ended, tries, standing.forgiven, forgiven) * NS_PER_S),
        left=left if forgiven else left - 1,
        reason=run.stop if run.requeue else ended.reason,
        forgiven=forgiven,
    )
    return [_made(state, again)]


def _is_forgiven(run: Run, ended: e.Ended) -> bool:
    """Whether an end is nobody's fault at the job's side: it was taken back, or lost before a line of it ran."""
    return run.requeue or ended.outcome in ("preempted", "unfit") or (ended.outcome == "lost" and not run.running_at_ns)


def _over(state: State, ended: e.Ended, job: str, phase: Phase, reason: str = "") -> e.Event:
    return _made(state, e.Finished(at_ns=ended.at_ns, by="forebay", job=job, phase=phase.value, reason=reason))


def _not_again(ended: e.Ended, left: int) -> str:
    """Why a failed run is not tried again; empty: it is.

    A program that ends with an exit code of its own and got no further than before would do the same again. A kill, a lost
    supervisor, or a new checkpoint says that the next try may get further.
    """
    if ended.outcome == "unprepared":
        return "not tried again, because its code, data or environment can't be laid out"
    if ended.outcome == "revoked":
        return "not tried again, because somebody of its centre ended it there"
    if left <= 0:
        return "no retries left"
    if ended.outcome == "failed" and (ended.exit_code or 0) > 0 and not ended.checkpointed:
        return "not tried again, because it ended by itself before a checkpoint"
    return ""


def _backoff_s(run: Run, ended: e.Ended, tries: int, forgiven_before: int, forgiven: bool) -> float:
    """At once after a first failure, after progress, or where the pool took the cards back; then 5, 10, 20... seconds, up to
    five minutes. A run that was unfit twice, or lost twice before its start, may have met a fault that stays.
    """
    if forgiven and not run.requeue and ended.outcome in ("unfit", "lost"):
        tries = forgiven_before + 1
    elif forgiven or ended.checkpointed:
        return 0.0
    return 0.0 if tries <= 1 else float(min(FIRST_BACKOFF_S * 2 ** (tries - 2), LONGEST_BACKOFF_S))


def _cancel(state: State, fact: e.Cancelled, job_id: str) -> list[e.Event]:
    standing = state.t.jobs[job_id]
    reason = f"cancelled by {fact.by}"
    if standing.phase is Phase.WAITING:
        return [_made(state, e.Finished(at_ns=fact.at_ns, by="forebay", job=job_id, phase=Phase.CANCELLED.value, reason=reason))]
    run = state.live_run(job_id)
    if run is None:
        return []
    decisions: list[e.Event] = []
    if not run.stop or run.requeue:
        stop = e.StopAsked(at_ns=fact.at_ns, by="forebay", run=run.id, reason=reason, grace_s=standing.job.grace_s)
        decisions.append(_made(state, stop))
    if state.t.centres[run.allocation.centre].revoked:
        decisions += _give_up(state, run.id, fact.at_ns)
    return decisions


def _give_up(state: State, run: str, now_ns: int) -> list[e.Event]:
    """Take a run for lost of which nobody will ever tell. What it held wasn't measured, so it isn't billed."""
    reason = "the key of its centre was revoked, so nobody can tell what became of it"
    ended = e.Ended(at_ns=now_ns, by="forebay", run=run, outcome="lost", held_ns=0, reason=reason)
    return [_made(state, ended), *due(state, ended), *_after(state, ended)]


def _overdue(state: State, now_ns: int) -> list[e.Event]:
    """Stop the runs whose time limit has passed. The limit counts from the first line of the script, not from the queue."""
    decisions = []
    for run_id in list(state.limited):
        run = state.t.runs[run_id]
        job = state.t.jobs[run.job].job
        if run.stop or job.time_limit_s is None or not run.running_at_ns:
            continue
        if now_ns - run.running_at_ns > job.time_limit_s * NS_PER_S:
            reason = f"its time limit of {show_seconds(job.time_limit_s)} passed"
            decisions.append(
                _made(state, e.StopAsked(at_ns=now_ns, by="forebay", run=run_id, reason=reason, grace_s=job.grace_s))
            )
    return decisions


# The pool.


def _maintain(state: State, now_ns: int) -> list[e.Event]:
    """Ask the runs to stop over which maintenance has begun. They are tried again, elsewhere or afterwards."""
    decisions: list[e.Event] = []
    for window in state.t.windows.values():
        if not window.from_ns <= now_ns < window.to_ns:
            continue
        for run in list(state.runs_at(window.centre, window.node)):
            if run.stop:
                continue
            reason = f"maintenance of {window.place} began" + (f": {window.reason}" if window.reason else "")
            grace_s = state.t.jobs[run.job].job.grace_s
            stop = e.StopAsked(at_ns=now_ns, by="forebay", run=run.id, reason=reason, grace_s=grace_s, requeue=True)
            decisions.append(_made(state, stop))
    return decisions


def _quarantine(state: State, check: e.CheckSeen) -> list[e.Event]:
    """Take the cards out of use that failed a check."""
    decisions: list[e.Event] = []
    for card, wrong in sorted(check.bad.items()):
        known = state.bad_cards.get((check.centre, check.node), {})
        if not card.isdigit() or int(card) in known:
            continue
        decision = e.Quarantined(
            at_ns=check.at_ns,
            by="forebay",
            centre=check.centre,
            node=check.node,
            card=int(card),
            reason=wrong or "it failed a check",
            run=check.run,
        )
        decisions.append(_made(state, decision))
    return decisions
