"""Follow a job live, as server-sent events: what it prints, and what happens to it.

Every event has an id; a client that was cut off goes on with `Last-Event-ID` and misses nothing. The stream ends with
`event: end`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from forebay.cloud.access import Who
from forebay.cloud.api.desk import At, Desk, ReadsJobs
from forebay.cloud.api.jobs import shown_event
from forebay.codec import encode

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])

HEARTBEAT_S = 15.0


LastId = Annotated[str | None, Header(alias="Last-Event-ID")]


@router.get("/{job_id}/logs")
async def logs(job_id: str, desk: At, by: ReadsJobs, follow: bool = False, last_id: LastId = None) -> StreamingResponse:
    """What a job's ranks print, attempt by attempt; an event a line. A run's id gives that attempt only."""
    standing = by.job(desk.state, job_id)
    only = job_id if job_id in desk.state.t.runs else ""
    return _stream(_logs(desk, standing.job.id, only, follow, last_id))


@router.get("/{job_id}/events")
async def events(job_id: str, desk: At, by: ReadsJobs, follow: bool = False, last_id: LastId = None) -> StreamingResponse:
    """What happens to a job (`event: story`) and how far it is (`event: progress`)."""
    standing = by.job(desk.state, job_id)
    return _stream(_events(desk, by, standing.job.id, follow, last_id))


async def _logs(desk: Desk, job: str, only: str, follow: bool, last_id: str | None) -> AsyncIterator[str]:
    run, _, at = (last_id or "").rpartition(":")
    offset = _number(at) if run else 0
    done = False
    while True:
        standing = desk.state.t.jobs[job]
        done = standing.phase.over  # read before the log: what was printed before the end is there
        runs = [only] if only else list(standing.runs)
        for each in runs[runs.index(run) :] if run in runs else runs:
            if each != run:
                run, offset = each, 0
            while lines := desk.store.read_log(run, offset):
                for line, offset in lines:
                    yield _event("line", {"run": run, **line}, f"{run}:{offset}")
        if done or not follow or (only and desk.state.t.runs[only].outcome):
            yield _event("end", {"phase": standing.phase.value, "reason": standing.reason})
            return
        await desk.loop.changed(HEARTBEAT_S)
        yield ": still here\n\n"


async def _events(desk: Desk, by: Who, job: str, follow: bool, last_id: str | None) -> AsyncIterator[str]:
    seq = _number(last_id or "")
    told: Any = None
    while True:
        standing, news = desk.state.t.jobs[job], desk.loop.next_change
        done = standing.phase.over
        for at, event in await asyncio.to_thread(desk.loop.journal.story, job, seq):
            seq = at
            yield _event("story", shown_event(desk.state, by, seq, event), str(seq))
        progress = desk.store.progress.get(standing.runs[-1]) if standing.runs else None
        if progress and progress != told:
            told = progress
            yield _event("progress", encode(progress))
        if done or not follow:
            yield _event("end", {"phase": standing.phase.value, "reason": standing.reason})
            return
        await desk.loop.changed(HEARTBEAT_S, news)
        yield ": still here\n\n"


def _number(text: str) -> int:
    """What we told as an id; 0 for what we never did."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _event(kind: str, body: Any, event_id: str = "") -> str:
    identity = f"id: {event_id}\n" if event_id else ""
    return f"{identity}event: {kind}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n"


def _stream(lines: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(
        lines, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
