"""Say where the newest output of a job lies, and what a centre must fetch to go on with it.

Asked:  a job ran here and there. Which run's output is the job's, and who has it?
Answer: that of the last run whose ranks were started. At its own centre it lies in the job's folder; elsewhere it is what that
        centre sends, or what the cloud keeps of it. Where neither can be had, because the centre is silent and never sent it, the
        run before counts.
Limits: a run that was lost with its node may have left more than its engine can say.
"""

from __future__ import annotations

from forebay.cloud.core.job import Run, Standing
from forebay.cloud.core.state import State


def newest(state: State, standing: Standing, *, before: str = "") -> Run | None:
    """The run whose output is the job's, as far as it can be had; None: it has left nothing. `before`: only runs before that."""
    runs = standing.runs[: standing.runs.index(before)] if before else standing.runs
    for run_id in reversed(runs):
        run = state.t.runs[run_id]
        if not run.running_at_ns:
            continue  # it changed nothing
        if run.kept or (state.reachable(run.allocation.centre) and (run.artefacts or not run.outcome)):
            return run
        if run.outcome not in ("lost", "") and not run.artefacts:
            return None  # it looked at its folder at the end, and nothing was there
    return None


def last_started(state: State, standing: Standing, *, before: str = "") -> Run | None:
    """The last run whose ranks were started. `before`: of the runs before that."""
    runs = standing.runs[: standing.runs.index(before)] if before else standing.runs
    return next((run for name in reversed(runs) if (run := state.t.runs[name]).running_at_ns), None)


def to_bring(state: State, standing: Standing, centre: str, *, before: str = "") -> str:
    """The run whose output a centre has to fetch before it has what the job left; empty: none."""
    ran = last_started(state, standing, before=before)
    if ran is None or ran.allocation.centre == centre:
        return ""
    run = newest(state, standing, before=before)
    return run.id if run and run.allocation.centre != centre else ""


def home(state: State, standing: Standing) -> str:
    """The centre where the job's output lies and can be had; empty: nowhere."""
    run = newest(state, standing)
    return run.allocation.centre if run and state.reachable(run.allocation.centre) else ""


def mounted(standing: Standing) -> list[str]:
    """The jobs whose output this one mounts."""
    mounts = standing.job.script.mounts.values() if standing.job.script else ()
    return [source.partition(":")[2] for source in mounts if source.startswith("output:")]


def brings(state: State, run: Run) -> tuple[str, ...]:
    """The runs whose output must be at a run's centre before it starts, and comes from elsewhere."""
    standing = state.t.jobs[run.job]
    found = [to_bring(state, standing, run.allocation.centre, before=run.id)]
    found += [to_bring(state, state.t.jobs[job], run.allocation.centre) for job in mounted(standing) if job in state.t.jobs]
    return tuple(dict.fromkeys(name for name in found if name))
