"""Holders of cards that do nothing: warned, and stopped where the operator says so.

Asked:  which runs hold cards that have been idle for too long?
Answer: those of which a monitor measured, without a break, that their cards were active for less than a share of the time. The
        time is what was measured (`Used.idle_ns`), so a silent centre's runs don't grow idler, and a run that nobody can
        measure is neither warned nor stopped. A busy minute begins it anew.
Limits: a monitor's word: a card that waits in a collective counts as active.
"""

from __future__ import annotations

from collections.abc import Iterator

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S, show_seconds


def idlers(state: State, now_ns: int) -> Iterator[e.IdleWarned | e.StopAsked]:
    """What is due: a warning, then at the operator's wish a stop that isn't tried again."""
    limits = state.t.idle_limits
    for run_id in list(state.idle):
        run, used = state.t.runs[run_id], state.t.uses[run_id]
        idle_s = used.idle_ns / NS_PER_S
        if run.stop or idle_s < limits.warn_s:
            continue
        if not used.warned:
            yield e.IdleWarned(at_ns=now_ns, by="forebay", run=run_id, idle_s=round(idle_s, 1))
        elif limits.reclaim_s is not None and idle_s >= limits.reclaim_s:
            grace_s = state.t.jobs[run.job].job.grace_s
            reason = f"its cards were idle for {show_seconds(idle_s)}, and the pool takes them back after "
            reason += show_seconds(limits.reclaim_s)
            yield e.StopAsked(at_ns=now_ns, by="forebay", run=run_id, reason=reason, grace_s=grace_s)


def idle_words(state: State, run: str) -> str:
    """What to say of a run whose holder was warned; empty: nothing."""
    used = state.t.uses.get(run)
    return f"its cards have been idle for {show_seconds(used.idle_ns / NS_PER_S)}" if used and used.warned else ""
