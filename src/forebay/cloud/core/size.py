"""How large a job is: the card-seconds, in effective compute, that it takes from its first line to its last. Pure.

Asked:  what counts for the order in which jobs are served, when nobody, somebody or everybody said how long they take?
Answer: with times in its menu, the option that takes the fewest effective card-seconds. Without, what jobs of its kind took that
        had run as long as it has (`history.py`).
Limits: what was said is believed. Whoever says too little is served early and, once past it, as late as the rest of a kind.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from forebay.cloud.core.job import Job, Option, Run, Standing
from forebay.units import NS_PER_S

if TYPE_CHECKING:
    from forebay.cloud.core.state import State


def kinds(job: Job) -> tuple[str, ...]:
    """The kinds of job that this one is, the narrowest first."""
    cards = job.menu[0].cards if job.menu else 0
    own = f"{job.organisation}/{job.project}/{job.name}"
    return f"{own}/{cards}", own, f"{job.organisation}//{cards}", job.organisation


def card_seconds(state: State, run: Run) -> float:
    """What a run held, in effective compute."""
    return run.allocation.cards * state.compute(run.allocation.chip) * run.held_ns / NS_PER_S


def lasted_s(state: State, standing: Standing) -> float:
    """How long a job has run so far, had it always had the cards of its first option."""
    return standing.served_ns / NS_PER_S / _width(state, standing.job.menu[0])


def size_of(state: State, standing: Standing, more_s: float = 0.0) -> float:
    """The size of a job of which a run has been going on for `more_s`, and had as many cards as its first option says."""
    job = standing.job
    known = [option.expected_s * _width(state, option) for option in job.menu if option.expected_s is not None]
    if known:
        return min(known)
    width = _width(state, job.menu[0])
    lasts_s = state.history.lasts_s(kinds(job), lasted_s(state, standing) + more_s)
    return width * (min(lasts_s, job.time_limit_s) if job.time_limit_s is not None else lasts_s)


OUTGROWN = 1.2  # times its size: then a job is reckoned anew


def outgrown_s(state: State, standing: Standing, more_s: float) -> float:
    """How long the run of a job has gone on when the job may turn out larger than it was taken for; inf: never."""
    job = standing.job
    width = _width(state, job.menu[0])
    beyond_s = OUTGROWN * state.t.sizes[job.id] / max(width, 1e-9)
    if any(option.expected_s is not None for option in job.menu) or (job.time_limit_s or math.inf) <= beyond_s:
        return math.inf
    before_s = lasted_s(state, standing)
    return state.history.outgrown_s(kinds(job), before_s + more_s, beyond_s) - before_s


def lasts_s(state: State, standing: Standing, option: Option) -> float:
    """How long a run with an option lasts that starts now, as far as can be said."""
    job = standing.job
    if option.expected_s is not None:
        left = option.expected_s * (1.0 - standing.done)
    else:
        so_far_s = lasted_s(state, standing) if job.resumable else 0.0
        left = max(1.0, state.history.lasts_s(kinds(job), so_far_s) - so_far_s)
    return min(left, job.time_limit_s) if job.time_limit_s is not None else left


def left_s(state: State, run: Run, now_ns: int) -> float:
    """How long a run with a known time still goes on."""
    whole_s = run.expected_s or 0.0
    ran_s = (now_ns - (run.running_at_ns or run.launched_at_ns)) / NS_PER_S
    return max(0.0, whole_s * (1.0 - state.t.jobs[run.job].done) - ran_s)


def _width(state: State, option: Option) -> float:
    return option.cards * state.compute(option.chip)
