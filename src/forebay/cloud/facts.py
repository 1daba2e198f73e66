"""What is new to the cloud in what an agent saw of a run. Pure.

Asked:  an agent tells a state, as often as it likes. Which events follow from it?
Answer: those that the cloud's state doesn't hold yet, in the order in which they happened: that it waits in its centre's queue,
        or was let in; checks of its cards; its start; a checkpoint and how busy its cards were, each at most once a minute; its
        end. A quick run's end may be the first that is heard of it, and then tells of its start too. Checks come before the end:
        what they found decides where the job is tried again.
"""

from __future__ import annotations

from forebay.centre.spec import Check, Outcome, Phase, Seen
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Run
from forebay.cloud.core.state import State
from forebay.cloud.core.use import Used
from forebay.units import NS_PER_S

BETWEEN_NS = 60 * NS_PER_S  # two tellings of a run's checkpoints, or of its use
LONGEST_NS = 600 * NS_PER_S  # of its use, while it is busy: a long run needn't fill the journal


def facts(state: State, now_ns: int, centre: str, seen: Seen) -> list[e.Event]:
    """Events that are new, oldest first. Asked again after each was folded, the next comes first."""
    run = state.t.runs[seen.name]
    if run.outcome:
        return []
    by = f"centre {centre}"
    found: list[e.Event] = []
    started = seen.phase is Phase.RUNNING or (seen.phase is Phase.ENDED and seen.running_at_ns > 0)
    if seen.phase is Phase.QUEUED and not run.running_at_ns:
        reason = _line(seen.reason) or "its centre says no reason"
        if run.queue_reason != reason:
            found.append(e.Queued(at_ns=now_ns, by=by, run=run.id, reason=reason))
    if seen.phase is Phase.PREPARING and run.queue_reason:
        found.append(e.Admitted(at_ns=now_ns, by=by, run=run.id))
    found += [check for item in seen.checks if item.when == "before" and (check := _check(run, item, now_ns, centre))]
    if started and not run.running_at_ns:
        found.append(_started(run, seen, now_ns, by))
    used = state.t.uses.get(run.id, Used())
    if seen.phase is Phase.RUNNING and _is_new_checkpoint(run, used, seen, now_ns):
        found.append(e.CheckpointSeen(at_ns=now_ns, by=by, run=run.id, stamp_ns=seen.checkpoint_at_ns))
    if use := _use(run, used, seen, now_ns, by, state.t.idle_limits.share):
        found.append(use)
    found += [check for item in seen.checks if item.when != "before" and (check := _check(run, item, now_ns, centre))]
    if seen.phase is Phase.ENDED:
        found.append(_ended(run, seen, now_ns, by))
    return found


def _started(run: Run, seen: Seen, now_ns: int, by: str) -> e.Started:
    return e.Started(
        at_ns=now_ns,
        by=by,
        run=run.id,
        carrier=seen.carrier,
        bound=dict(seen.bound),
        fetched_bytes=max(0, seen.fetched_bytes),
        fetched_ns=max(0, seen.fetched_ns),
    )


def _is_new_checkpoint(run: Run, used: Used, seen: Seen, now_ns: int) -> bool:
    is_new = seen.checkpoint_at_ns > max(used.stamp_ns, seen.started_at_ns)
    return is_new and now_ns - run.checkpoint_at_ns >= BETWEEN_NS


def _use(run: Run, used: Used, seen: Seen, now_ns: int, by: str, idle_share: float) -> e.UseSeen | None:
    """What its cards did since it was last told, if it is time to tell: at the end, and every minute; of an old run that is busy
    every twentieth of its age. At an end that isn't a success, the steps after the newest checkpoint don't count any more.
    """
    use, cards = seen.use, run.allocation.cards
    if use is None:
        return None
    over = seen.phase is Phase.ENDED
    steps_ns = use.productive_ns if seen.outcome in (None, Outcome.SUCCEEDED) else use.saved_ns
    held_ns = (cards * seen.held_ns if over else use.held_ns) - used.held_ns
    measured_ns, active_ns = use.measured_ns - used.measured_ns, use.active_ns - used.active_ns
    productive_ns = cards * steps_ns - used.productive_ns
    if over:
        is_due = any((held_ns, measured_ns, active_ns, productive_ns))
    else:
        is_idle = measured_ns > 0 and active_ns < idle_share * measured_ns
        seldom_ns = BETWEEN_NS if is_idle or used.idle_ns else min((now_ns - run.launched_at_ns) // 20, LONGEST_NS)
        is_due = held_ns > 0 and now_ns - used.told_at_ns >= max(BETWEEN_NS, seldom_ns)
    if not is_due:
        return None
    return e.UseSeen(
        at_ns=now_ns,
        by=by,
        run=run.id,
        held_ns=held_ns,
        active_ns=active_ns if measured_ns > 0 else -1,
        productive_ns=productive_ns,
        measured_ns=measured_ns,
    )


def _check(run: Run, check: Check, now_ns: int, centre: str) -> e.CheckSeen | None:
    """The event of a check; none when it is journaled, when it couldn't be made and so says nothing, or when it is of a node that
    the run has nothing to do with.
    """
    event = e.CheckSeen(
        at_ns=now_ns,
        by=f"centre {centre}",
        centre=centre,
        run=run.id,
        node=check.node,
        cards=check.cards,
        when=check.when,
        took_s=check.took_s,
        bad={card: _line(wrong) for card, wrong in check.bad.items()},
    )
    ours = check.node in [part.node for part in run.allocation.parts]
    return event if ours and not check.skipped and event.name not in run.checked else None


def _ended(run: Run, seen: Seen, now_ns: int, by: str) -> e.Ended:
    outcome = seen.outcome or Outcome.LOST
    return e.Ended(
        at_ns=now_ns,
        by=by,
        run=run.id,
        outcome=outcome.value,
        held_ns=seen.held_ns,
        lost_ns=_lost_ns(seen, outcome),
        exit_code=seen.exit_code,
        reason=_line(seen.reason),
        checkpointed=seen.checkpoint_at_ns > seen.started_at_ns,
        artefacts=len(seen.artefacts),
        artefact_bytes=sum(artefact.size_bytes for artefact in seen.artefacts),
    )


def _line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines())


def _lost_ns(seen: Seen, outcome: Outcome) -> int:
    """The end of a run whose work was not kept: after its newest checkpoint, or all of it when it made none.

    Nothing of a success is lost.
    """
    if outcome in (Outcome.SUCCEEDED, Outcome.UNPREPARED, Outcome.UNFIT):  # the latter two have done no work
        return 0
    since = max(seen.checkpoint_at_ns, seen.started_at_ns)
    return min(max(0, seen.ended_at_ns - since), seen.held_ns)
