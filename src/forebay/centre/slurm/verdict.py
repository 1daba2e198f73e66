"""What is true of a run, given what its shares' supervisors and Slurm say of it. Pure.

Asked:  two tell of a run, and each may be late, wrong or silent: is it waiting, going on, over, and how did it end?
Answer: as long as no supervisor has spoken, Slurm's job says it. A run whose shares have all ended by themselves has ended as
        they say, whatever Slurm makes of it. Where processes were killed, or vanished, Slurm knows who did it: nothing is
        called ended before Slurm says that the job is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from forebay.centre import gang
from forebay.centre.slurm import facts
from forebay.centre.slurm.facts import Job
from forebay.centre.slurm.step import TIMED_OUT
from forebay.centre.spec import Outcome, Phase, Seen
from forebay.units import NS_PER_S

_KILLED = frozenset({-15, -9, 143, 137, -10})  # exit codes that Slurm's own signals cause
_OVER_LIMIT = frozenset({"TIMEOUT", "DEADLINE"})
_MACHINE = frozenset({"NODE_FAIL", "BOOT_FAIL"})
_FORCED = frozenset({"CANCELLED", "PREEMPTED", "OUT_OF_MEMORY", *_OVER_LIMIT, *_MACHINE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What else is known of a run."""

    stop_asked: bool = False
    requeued: bool = False  # Slurm started its job, or was about to start it, a second time
    limit: bool = False  # the site's time limit ended it
    gone: bool = False  # slurmctld answers, and doesn't know the job any more
    problem: str = ""  # why it isn't submitted yet
    down: tuple[str, ...] = ()  # its nodes that Slurm calls down
    now_ns: int = 0


def judge(name: str, shares: Sequence[Seen | None], last: Sequence[Seen | None], job: Job | None, marks: Marks) -> Seen:
    """`last`: for a share that hasn't ended, what would be said of it if its supervisor were dead."""
    known = [share for share in shares if share is not None]
    over = marks.gone or (job is not None and facts.is_over(job))
    if not known and not over:
        return _before(name, job, marks)
    if len(known) == len(shares) and all(share.phase is Phase.ENDED for share in known):
        seen = gang.combine(name, known)
        if over or (marks.limit and not marks.stop_asked):
            return _explained(seen, job, marks, vanished=False)
        if not _doubtful(seen):
            return seen
    elif over:
        ended = [_dead(share, lost, marks) for share, lost in zip(shares, last, strict=True)]
        return _explained(gang.combine(name, [one for one in ended if one is not None]), job, marks, vanished=True, name=name)
    seen = gang.combine(name, shares)
    if seen.phase is Phase.ENDED:  # as far as its shares can tell
        seen = replace(seen, phase=Phase.RUNNING, outcome=None, reason="its processes have ended; Slurm is asked why")
    elif job is not None and job.state in ("SUSPENDED", "STOPPED"):
        seen = replace(seen, reason="suspended by Slurm")
    return seen


def _before(name: str, job: Job | None, marks: Marks) -> Seen:
    """No supervisor has spoken."""
    if job is None:
        return Seen(name=name, phase=Phase.QUEUED, reason=marks.problem or "it is being handed to Slurm")
    if facts.only_waits(job):
        return Seen(name=name, phase=Phase.QUEUED, reason=f"waiting in the centre: {job.reason or job.state.capitalize()}")
    return Seen(name=name, phase=Phase.PREPARING, started_at_ns=int((job.started_at_s or 0) * NS_PER_S))


def _doubtful(seen: Seen) -> bool:
    """Whether it may have ended this way because Slurm killed its processes."""
    return (
        seen.outcome in (Outcome.PREEMPTED, Outcome.LOST, Outcome.UNPREPARED)
        or seen.exit_code in _KILLED
        or (seen.outcome is Outcome.FAILED and "process that" in seen.reason)
    )


def _dead(share: Seen | None, lost: Seen | None, marks: Marks) -> Seen | None:
    if share is not None and share.phase is Phase.ENDED:
        return share
    return None if lost is None else replace(lost, phase=Phase.ENDED, outcome=Outcome.LOST, ended_at_ns=marks.now_ns)


def _explained(seen: Seen, job: Job | None, marks: Marks, *, vanished: bool, name: str = "") -> Seen:
    """An end, with its cause. `vanished`: a supervisor was killed before it could say how its share ended."""
    state = job.state if job is not None else ""
    if seen.phase is not Phase.ENDED:  # none of its supervisors ever spoke
        seen = Seen(name=name or seen.name, phase=Phase.ENDED, outcome=Outcome.LOST, ended_at_ns=marks.now_ns)
    if seen.outcome is Outcome.SUCCEEDED and not vanished:
        return seen
    if marks.requeued:
        return _ending(seen, Outcome.LOST, "Slurm requeued it; it isn't started a second time there.")
    if marks.stop_asked and (vanished or seen.outcome in (Outcome.PREEMPTED, Outcome.STOPPED)):
        return (
            seen if seen.outcome is Outcome.STOPPED and not vanished else _ending(seen, Outcome.STOPPED, "It was asked to stop.")
        )
    if marks.limit or state in _OVER_LIMIT:
        return replace(_ending(seen, Outcome.FAILED, "The time that the centre gave it was over."), exit_code=TIMED_OUT)
    if state in _MACHINE:
        where = ", ".join(marks.down) or (job.nodes if job is not None else "")
        return _ending(
            seen, Outcome.LOST, f"Its machine {where} failed, as Slurm says." if where else "One of its machines failed."
        )
    if state == "PREEMPTED":
        return _ending(seen, Outcome.PREEMPTED, "Slurm gave its cards to another job.")
    if state == "OUT_OF_MEMORY":
        return replace(_ending(seen, Outcome.FAILED, "It wanted more memory than its job has at the centre."), exit_code=-9)
    if state == "CANCELLED" and seen.outcome is not Outcome.STOPPED:
        return _ending(seen, Outcome.REVOKED, "Somebody at the centre cancelled its job.")
    if vanished and marks.down:
        return _ending(seen, Outcome.LOST, f"Its machine {', '.join(marks.down)} failed, as Slurm says.")
    if vanished:
        return _ending(seen, Outcome.LOST, "A supervisor of it vanished, and its ranks with it.")
    return seen


def _ending(seen: Seen, outcome: Outcome, reason: str) -> Seen:
    same = seen.outcome is outcome
    return replace(
        seen,
        outcome=outcome,
        reason=reason,
        exit_code=seen.exit_code if same else None,
        failed_rank=seen.failed_rank if same else None,
    )
