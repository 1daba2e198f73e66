"""Refuse at once what can never run.

    admit(state, job)      # returns nothing, or raises

A job that could run later is let in and waits. One that no card, quota or centre will ever satisfy gets an error that says so.
What is down, drained, quarantined, being maintained or away can come back, and counts; a centre whose key was revoked doesn't.
"""

from __future__ import annotations

from forebay.cloud.core.job import Job, Option
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE
from forebay.errors import DoesNotFit


def admit(state: State, job: Job) -> None:
    """Raise DoesNotFit unless at least one option of the job's menu could be placed on an empty pool within the quota."""
    whys = [_never(state, job, option) for option in job.menu]
    if job.menu and not all(whys):
        return
    asked = ", or ".join(f"{o.cards} x {o.chip}" for o in job.menu) or "nothing"
    have = ", ".join(f"{n} x {chip}" for chip, n in sorted(state.total.items())) or "no cards at all"
    raise DoesNotFit(
        "No centre can ever run this job." if job.menu else "The job has an empty menu.",
        asked=asked,
        found="; ".join(dict.fromkeys(whys)) + f" (the pool has {have})",
        hint="fewer cards, another --chip, or ask the operator for quota; `forebay pool` shows what there is",
    )


def _never(state: State, job: Job, option: Option) -> str:
    largest = state.rooms.largest(option.chip)
    if not state.total.get(option.chip):
        return f"no centre has {option.chip}"
    if option.cards > largest:
        return f"no island has more than {largest} {option.chip}"
    quota = state.t.quotas.get(f"{job.organisation}/{option.chip}")
    if quota and quota.borrow is not None and option.cards > quota.cards + quota.borrow:
        return f"{job.organisation} may hold {quota.cards + quota.borrow} {option.chip}"
    compute = state.t.quotas.get(f"{job.organisation}/{COMPUTE}")
    if compute and compute.borrow is not None and option.cards * state.compute(option.chip) > compute.cards + compute.borrow:
        return f"{job.organisation} may hold {compute.cards + compute.borrow} cards' worth of compute"
    return ""
