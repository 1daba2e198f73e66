"""Credit notes: what goes back to a tenant when a run ended through the pool's fault.

Asked:  a run has ended. Is money given back, how much, and why?
Answer: what was lost is: the time after the newest checkpoint, as its end tells it, at the price of its launch. The pool is at
        fault when the run was lost (its supervisor or machine vanished), when its centre preempted it, and when the pool itself
        asked it to stop so that it is tried again; of a run whose card failed the check before it started, all is given back.
Limits: work that went on from a checkpoint isn't lost, and isn't given back: so a job that makes none is credited all that it
        held. Where ranks run as the supervisor's own user a tenant could kill it and be credited: there the organisations trust
        each other, and the operator, already. A run that a centre's own people ended there (`revoked`) was theirs to end.
"""

from __future__ import annotations

from forebay.cloud.core import events as e
from forebay.cloud.core import money
from forebay.cloud.core.job import Run


def credit(run: Run, ended: e.Ended) -> e.Credited | None:
    """The credit note that an end leads to, if it does. `run` is as it stands after its end."""
    why = _why(run, ended)
    lost_ns = min(run.held_ns, run.held_ns if ended.outcome == "unfit" else run.lost_ns)
    if not why or lost_ns <= 0:
        return None
    return e.Credited(
        at_ns=ended.at_ns,
        by="forebay",
        run=run.id,
        card_ns=run.allocation.cards * lost_ns,
        micro=money.price_of(run, lost_ns),
        reason=why,
    )


def _why(run: Run, ended: e.Ended) -> str:
    if ended.outcome == "lost":
        return "the run was lost with its machine or supervisor"
    if ended.outcome == "unfit":
        return "a card failed its check before the run started"
    if ended.outcome == "preempted":
        return "its centre took the cards back"
    if run.requeue and ended.outcome != "succeeded":
        return f"the pool asked it to stop: {run.stop}"
    return ""
