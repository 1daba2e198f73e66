"""Decide what follows from what happened.

    decisions = decide(state, fact)

The fact and then every decision are folded into `state` as they are made; the caller writes all of them to the journal before
it acts on any. Called with the same state and fact it decides the same: there is no clock, no dice and no I/O here.

Policy: in the order of fair share (`schedule.py`). A job is tried again after a failure that may pass, and asked to stop when its
        time is over or maintenance begins.
"""

from __future__ import annotations

from forebay.cloud.core import events as e
from forebay.cloud.core.dues import due
from forebay.cloud.core.evidence import NODES, failed_on, speaks, verdicts
from forebay.cloud.core.job import Phase, Run
from forebay.cloud.core.queue import lane_of
from forebay.cloud.core.schedule import chips_of, follow, given_back, reckon, schedule, start
from forebay.cloud.core.silence import lost, next_ns
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE
from forebay.cloud.core.why import start_of
from forebay.units import NS_PER_S, show_seconds

FIRST_BACKOFF_S = 5.0
LONGEST_BACKOFF_S = 300.0
MOST_FORGIVEN = 20  # ends of a job's runs that use up no retry, so that nothing goes round for ever


def decide(state: State, fact: e.Event) -> list[e.Event]:
    """Fold a fact, and return the decisions that it leads to, folded too."""
    if not isinstance(fact, e.Tick):
        state.fold(fact)
    state.ripen(fact.at_ns)
    woken = state.wake(fact.at_ns)
    decisions = _follow(state, fact, woken)
    # Whatever the fact was about: where a job's pause is over, where cards are kept for nobody any more, and where a job that
    # held others back has gone to another chip, is worth a look now. Nobody would look again.
    freed = set() if isinstance(fact, e.Tick) else woken
    fresh = decisions
    while freed := freed | _left_behind(state, fact, fresh):
        fresh = schedule(state, fact.at_ns, freed)
        decisions += fresh
        freed = set()
    return decisions


def _let_go(state: State, run: str) -> set[str]:
    """The chips on which others of its organisation may have waited for the end of a run: of limits that go over all chips."""
    organisation = state.t.jobs[state.t.runs[run].job].job.organisation
    if not state.t.budgets and state.rights.quota(organisation, COMPUTE) is None:
        return set()
    return {chip for lane in state.queue.of(organisation) for chip, _ in lane[4]}


def _left_behind(state: State, fact: e.Event, decisions: list[e.Event]) -> set[str]:
    """The chips on which a job held others back that it holds back no more."""
    chips: set[str] = set()
    for decision in decisions:
        match decision:
            case e.Released(job=job_id):
                chips |= {option.chip for option in state.t.jobs[job_id].job.menu}
            case e.Launched(job=job_id, allocation=allocation) | e.Reserved(job=job_id, allocation=allocation):
                job = state.t.jobs[job_id].job
                if len(job.menu) > 1 and not (isinstance(fact, e.Submitted) and fact.job.id == job_id):
                    chips |= {option.chip for option in job.menu} - {allocation.chip}
    return chips


def _follow(state: State, fact: e.Event, woken: set[str]) -> list[e.Event]:
    now_ns = fact.at_ns
    match fact:
        case e.Submitted(job=job):
            return start(state, job, now_ns)
        case e.Ended(run=run):
            chips = {state.t.runs[run].allocation.chip} | _let_go(state, run)
            ended = [*due(state, fact), *_after(state, fact), *_convict(state, fact)]
            back = next((lane_of(state.t.jobs[one.job].job) for one in ended if isinstance(one, e.Requeued)), None)
            return [*ended, *given_back(state, now_ns), *follow(state, now_ns, chips, back)]
        case e.Cancelled(job=job_id):
            return [*_cancel(state, fact, job_id), *schedule(state, now_ns)]
        case e.CentreRevoked(centre=centre, give_up=True):
            runs = [run.id for run in state.runs_at(centre)]
            gone = [line for run in runs for line in _give_up(state, run, now_ns)]
            return [*gone, *given_back(state, now_ns), *schedule(state, now_ns)]
        case e.CheckSeen():
            return [*_quarantine(state, fact), *given_back(state, now_ns)]
        case e.Tick():
            everywhere = not state.looked or bool(state.t.windows)  # one of them may be over now
            reckoned = reckon(state, now_ns) if state.queue.count else []  # while nobody waits, no forecast matters
            stranded = _strand(state, fact)
            overdue = [  # as they were folded: a replay of the journal folds them in this order
                *reckoned,
                *stranded,
                *due(state, fact),
                *_overdue(state, now_ns),
                *_maintain(state, now_ns),
                *given_back(state, now_ns),
            ]
            looks = {chip for chip, at_ns in state.looks.items() if at_ns <= now_ns}
            freed = {state.t.runs[line.run].allocation.chip for line in stranded if isinstance(line, e.Ended)}
            chips = woken | freed | looks | chips_of(state, reckoned)
            return [*overdue, *schedule(state, now_ns, None if everywhere else chips)]
        case _ if isinstance(fact, TAKES_ROOM):
            return [*given_back(state, now_ns), *schedule(state, now_ns)]
        case _:
            return schedule(state, now_ns) if isinstance(fact, MAKES_ROOM) else []


def due_ns(state: State) -> int | None:
    """When a Tick may decide something next, if nothing happens before. None: only a fact can."""
    found = [min(state.looks.values())] if state.looks else []
    if state.queue.later:
        found.append(state.queue.later[0][0])
    if state.queue.count and (check_ns := state.ends.next_check_ns()) is not None:
        found.append(check_ns)
    for run_id in state.limited:
        run = state.t.runs[run_id]
        limit_s = state.t.jobs[run.job].job.time_limit_s
        if run.running_at_ns and limit_s is not None and not run.stop:
            found.append(run.running_at_ns + int(limit_s * NS_PER_S) + 1)
    found += next_ns(state)
    for window in state.t.windows.values():
        found.append(window.to_ns if window.began else window.from_ns)
    return min(found, default=None)


def forecast_ns(state: State, job: str, now_ns: int) -> tuple[int, int, int] | None:
    """When a job starts at the soonest, likely, and at the latest; None: nobody can say (`why.py`)."""
    start = start_of(state, state.t.jobs[job], now_ns)
    if start is None:
        return None
    soonest, likely, latest = (now_ns + int(in_s * NS_PER_S) for in_s in (start.soonest_s, start.likely_s, start.latest_s))
    return soonest, likely, latest


TAKES_ROOM = (e.NodesSeen, e.NodeStatesSeen, e.Drained, e.CentreAway, e.CentreRevoked, e.MaintenanceSet)
MAKES_ROOM = (
    e.CentreJoined,
    e.CentreBack,
    e.Undrained,
    e.MaintenanceLifted,
    e.QuotaSet,
    e.OrganisationSet,
    e.BudgetSet,
    e.BudgetLifted,
)


def _made(state: State, decision: e.Event) -> e.Event:
    state.fold(decision)
    return decision


# Ending.


def _after(state: State, ended: e.Ended) -> list[e.Event]:
    """What becomes of the job whose run ended."""
    run = state.t.runs[ended.run]
    standing = state.t.jobs[run.job]
    if ended.outcome == "succeeded":
        return [_over(state, ended, run.job, Phase.SUCCEEDED)]
    if run.stop and not run.requeue:
        return [_over(state, ended, run.job, Phase.CANCELLED if run.stop.startswith("cancelled") else Phase.FAILED, run.stop)]
    nodes = failed_on(state, standing) if speaks(run) else 0
    forgiven = run.requeue or (_is_forgiven(run, ended) and standing.forgiven < MOST_FORGIVEN)
    tries = run.attempt - standing.forgiven  # that count
    left = standing.job.retries - (tries - 1)
    poison = f"failed on {nodes} different nodes without getting further, so it is not tried again" if nodes >= NODES else ""
    why_not = poison or ("" if forgiven else _not_again(ended, left))
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
    return _end(state, ended)


def _end(state: State, ended: e.Ended) -> list[e.Event]:
    return [_made(state, ended), *due(state, ended), *_after(state, ended)]


def _strand(state: State, tick: e.Tick) -> list[e.Event]:
    """Give up the runs of which a node has been down for long. What they held elsewhere is free again."""
    return [line for ended in lost(state, tick) for line in [*_end(state, ended), *_convict(state, ended)]]


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
    """Note which windows have begun and which are over, and ask the runs to stop over which one has begun. They are tried again,
    elsewhere or afterwards.
    """
    decisions: list[e.Event] = []
    for window in list(state.t.windows.values()):
        if now_ns < window.from_ns:
            continue
        where = {"window": window.id, "centre": window.centre, "node": window.node}
        if now_ns >= window.to_ns:
            decisions.append(_made(state, e.MaintenanceOver(at_ns=now_ns, by="forebay", **where)))
            continue
        if not window.began:
            decisions.append(_made(state, e.MaintenanceBegan(at_ns=now_ns, by="forebay", **where)))
        for run in list(state.runs_at(window.centre, window.node)):
            if run.stop:
                continue
            reason = f"maintenance of {window.place} began" + (f": {window.reason}" if window.reason else "")
            grace_s = state.t.jobs[run.job].job.grace_s
            stop = e.StopAsked(at_ns=now_ns, by="forebay", run=run.id, reason=reason, grace_s=grace_s, requeue=True)
            decisions.append(_made(state, stop))
    return decisions


def _convict(state: State, ended: e.Ended) -> list[e.Event]:
    """Take the places out of use against which enough speaks now."""
    decisions: list[e.Event] = []
    for found in verdicts(state, state.t.runs[ended.run]):
        decision = e.Quarantined(
            at_ns=ended.at_ns,
            by="forebay",
            centre=found.centre,
            node=found.node,
            card=found.card,
            reason=found.reason,
            runs=found.runs,
        )
        decisions.append(_made(state, decision))
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
