"""Jobs: list, show, cancel, and their stories. `submit.py` submits them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from forebay.cloud.access import Who
from forebay.cloud.api.desk import At, Desk, OnceKey, ReadsJobs, WritesJobs, write
from forebay.cloud.audit import seen_job, shown
from forebay.cloud.core import events as e
from forebay.cloud.core.idle import idle_words
from forebay.cloud.core.job import Phase, Run, Standing
from forebay.cloud.core.queue import lane_of
from forebay.cloud.core.state import State
from forebay.cloud.core.why import Why, why
from forebay.cloud.loop import Body
from forebay.cloud.story import tell
from forebay.codec import encode

MOST_FORECASTS = 50  # of one page
FORECASTS_S = 0.1  # of the loop's time

router = APIRouter(prefix="/api/v1")


@router.get("/jobs", tags=["jobs"])
async def jobs(
    desk: At,
    by: ReadsJobs,
    organisation: str = "",
    project: str = "",
    phase: str = "",
    before: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    most: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Body:
    """Jobs, newest first; the next page starts `before` the `place` of the last. Those that wait for cards say `why`, and when
    they are likely to start where few of a page wait.
    """
    mine = by.organisation(organisation)
    rows = await asyncio.to_thread(
        desk.loop.journal.jobs, organisation=mine, project=project, phase=phase, before=before, most=most
    )
    found = whys(desk.state, [row["id"] for row in rows], desk.loop.clock.now_ns())
    return {"jobs": [row | {"why": found.get(row["id"])} for row in rows]}


@router.get("/jobs/{job_id}", tags=["jobs"])
async def job(job_id: str, desk: At, by: ReadsJobs) -> Body:
    """A job, its runs and what it left; and, while it waits for cards, why, and when it is likely to start."""
    return shown_job(desk, by, by.job(desk.state, job_id))


@router.post("/jobs/{job_id}/cancel", tags=["jobs"])
async def cancel(job_id: str, desk: At, by: WritesJobs, once: OnceKey = None) -> Body:
    """Cancel a job. Asking twice, or for one that is over, changes nothing."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        standing = by.job(state, job_id)
        live = state.live_run(standing.job.id)
        asked_before = live is not None and bool(live.stop) and not live.requeue
        idle = standing.phase.over or (asked_before and live is not None and not _given_up(state, live))
        fact = None if idle else e.Cancelled(at_ns=now_ns, by=by.key.id, job=standing.job.id)
        return fact, {"id": standing.job.id, "was": standing.phase.value}

    return await write(desk, by, once, "cancel", job_id, make)


@router.get("/jobs/{job_id}/story", tags=["jobs"])
def story(job_id: str, desk: At, by: ReadsJobs) -> Body:
    """A job's whole life, or one run's of it: each event, who caused it, and the numbers."""
    standing = by.job(desk.state, job_id)
    run = job_id if job_id in desk.state.t.runs else ""
    lines = [shown_event(desk.state, by, seq, event) for seq, event in desk.loop.journal.story(standing.job.id)]
    return {"job": standing.job.id, "events": [line for line in lines if not run or line["body"].get("run") in (run, None)]}


def _given_up(state: State, run: Run) -> bool:
    """Whether nobody will ever tell of a run: cancelling its job is how an operator gives it up."""
    return state.t.centres[run.allocation.centre].revoked


def whys(state: State, jobs: Sequence[str], now_ns: int) -> dict[str, Body]:
    """Why each of these jobs waits, if it does. Starts are foretold for a few jobs only, and while that is quick: the loop stands
    still meanwhile. Of many jobs that are alike the reason is looked for once.
    """
    waiting = [known for job in jobs if (known := state.t.jobs.get(job)) and known.phase is Phase.WAITING]
    until_s = time.monotonic() + (FORECASTS_S if len(waiting) <= MOST_FORECASTS else 0.0)
    alike: dict[object, Why | None] = {}
    found: dict[str, Body] = {}
    for standing in waiting:
        if time.monotonic() < until_s:
            told = why(state, standing, now_ns)
        elif standing.not_before_ns > now_ns or standing.job.id in state.t.reservations or standing.job.budget_micro is not None:
            told = why(state, standing, now_ns, forecast=False)
        else:
            lane = lane_of(standing.job)
            if lane not in alike:
                alike[lane] = why(state, standing, now_ns, forecast=False)
            told = alike[lane]
        if told:
            found[standing.job.id] = encode(told)
    return found


def shown_job(desk: Desk, by: Who, standing: Standing) -> Body:
    """A job as its owner sees it. Of the environment only the names: values may be secrets."""
    state = desk.state
    body: Body = encode(standing.job)
    if body["script"]:
        body["script"]["env"] = sorted(body["script"]["env"])
    runs = [{**encode(state.t.runs[run]), **_used(state, run), **_made_way(state, by, run)} for run in standing.runs]
    told = why(state, standing, desk.loop.clock.now_ns())
    last = standing.runs[-1] if standing.runs else ""
    progress = desk.store.progress.get(last)
    return {
        **body,
        "phase": standing.phase.value,
        "reason": standing.reason,
        "why": encode(told) if told else None,
        "submitted_at_ns": standing.submitted_at_ns,
        "submitted_by": standing.submitted_by,
        "ended_at_ns": standing.ended_at_ns,
        "runs": runs,
        "progress": encode(progress) if progress else None,
        "artefacts": encode(desk.store.artefacts(last)) if last else [],
    }


def _made_way(state: State, by: Who, run: str) -> Body:
    """For which job it made way, as far as its reader may know."""
    return {"stop_for": seen_job(state.t.runs[run].stop_for, state, by.sees)}


def _used(state: State, run: str) -> Body:
    """How busy its cards were, as far as anybody measured it; why a warning stands; what was credited."""
    used, credit = state.t.uses.get(run), state.t.credits.get(run)
    live = not state.t.runs[run].outcome
    return {
        "use": encode(used) if used and used.told_at_ns else None,
        "idle": idle_words(state, run) if live else "",
        "credit": encode(credit) if credit else None,
    }


def shown_event(state: State, by: Who, seq: int, event: e.Event) -> Body:
    return {
        "seq": seq,
        "at_ns": event.at_ns,
        "by": event.by,
        "kind": type(event).__name__,
        "text": tell(event, state),
        "body": shown(event, state, by.sees),
    }
