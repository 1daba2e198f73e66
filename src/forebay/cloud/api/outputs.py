"""What jobs left: sent by the centre where it lies, kept by content hash, handed to other centres and to its owner.

A centre sends what `wanted` names under "send". Whoever needs an output that isn't here yet gets `Unavailable`, and by asking has
it sent.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeGuard

from fastapi import APIRouter, Request
from fastapi.responses import Response

from forebay.cloud.api.agents import Centre, message_of, our_run
from forebay.cloud.api.data import CHUNK_LIMIT_BYTES, keep_chunks, manifest_of
from forebay.cloud.api.desk import At, Desk, ReadsJobs, body_of
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Run, Standing
from forebay.cloud.core.outputs import mounted, newest
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body
from forebay.codec import decode
from forebay.data.manifest import Manifest
from forebay.errors import Conflict, Unavailable, Unknown

router = APIRouter(prefix="/api/v1")


# From the centre where it lies.


@router.post("/agent/outputs/{run}/missing", tags=["centres"])
async def missing_chunks(run: str, manifest: dict[str, Any], desk: At, centre: Centre) -> Body:
    """Which chunks of what a run left the cloud doesn't have."""
    ours = our_run(desk.state, centre, run)
    whole = manifest_of(manifest)
    desk.sending.surveyed(ours)
    return {"missing": await asyncio.to_thread(desk.store.chunks(_organisation(desk.state, ours)).missing, whole)}


@router.post("/agent/outputs/{run}/chunks", tags=["centres"], status_code=201)
async def put_chunks(run: str, request: Request, desk: At, centre: Centre) -> Body:
    """Chunks, several in one message. Each is checked against its hash."""
    store = desk.store.chunks(_organisation(desk.state, our_run(desk.state, centre, run)))
    message = await body_of(request, CHUNK_LIMIT_BYTES, "a message of chunks")
    return {"kept": await asyncio.to_thread(keep_chunks, store, message)}


@router.put("/agent/outputs/{run}", tags=["centres"], status_code=201)
async def keep_output(run: str, manifest: dict[str, Any], desk: At, centre: Centre) -> Body:
    """What a run left is complete here. Journaled."""
    ours = our_run(desk.state, centre, run)
    organisation, whole = _organisation(desk.state, ours), manifest_of(manifest)
    absent = await asyncio.to_thread(desk.store.chunks(organisation).missing, whole)
    if absent:
        raise Conflict("The cloud doesn't have all chunks of this output.", found=f"{len(absent)} are missing", hint="send them")
    version, at_the_end = whole.id, desk.sending.is_whole(ours)
    desk.store.keep_manifest(organisation, version, manifest)

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        kept = state.t.runs[run].kept
        same = kept is not None and (kept.version, kept.whole) == (version, at_the_end)
        fact = e.OutputKept(
            at_ns=now_ns,
            by=f"centre {centre}",
            job=ours.job,
            run=run,
            version=version,
            size_bytes=whole.size_bytes,
            files=len(whole.files),
            whole=at_the_end,
        )
        # The same content again is news as long as the run goes on: it says how fresh it is.
        return (None if same and at_the_end else fact), {"version": version}

    answer = await desk.loop.tell(make)
    desk.sending.kept(ours)
    return answer


# To another centre.


@router.get("/agent/outputs/{run}/{of}", tags=["centres"])
async def output(run: str, of: str, desk: At, centre: Centre) -> Any:
    """The manifest of what the run `of` left, for a run of this centre that goes on with it."""
    left = _brought(desk.state, centre, run, of)
    if not _is_here(desk.state, left):
        raise _wished(desk, left)
    assert left.kept is not None
    return desk.store.manifest(_organisation(desk.state, left), left.kept.version)


@router.post("/agent/outputs/{run}/{of}/chunks", tags=["centres"])
async def output_chunks(run: str, of: str, wanted: list[str], desk: At, centre: Centre) -> Response:
    """Chunks of it, by hash: as many of the wanted ones, in order, as make one message."""
    left = _brought(desk.state, centre, run, of)
    if left.kept is None:
        raise _wished(desk, left)
    return await _message(desk, left, wanted)


# To people.


@router.get("/jobs/{job_id}/output", tags=["jobs"])
async def job_output(job_id: str, desk: At, by: ReadsJobs) -> Body:
    """What a job left, or one run of it: the manifest. Unavailable while it is brought from its centre; asking has it brought."""
    left = _left(desk.state, by.job(desk.state, job_id), job_id)
    if not _is_here(desk.state, left):
        raise _wished(desk, left)
    assert left.kept is not None
    manifest = desk.store.manifest(_organisation(desk.state, left), left.kept.version)
    return {"run": left.id, "version": left.kept.version, "whole": left.kept.whole, "manifest": manifest}


@router.post("/jobs/{job_id}/output/chunks", tags=["jobs"])
async def job_output_chunks(job_id: str, wanted: list[str], desk: At, by: ReadsJobs) -> Response:
    """Chunks of what a job left, by hash: as many of the wanted ones, in order, as make one message."""
    left = _left(desk.state, by.job(desk.state, job_id), job_id)
    if left.kept is None:
        raise _wished(desk, left)
    return await _message(desk, left, wanted)


def _left(state: State, standing: Standing, name: str) -> Run:
    """The run whose output is meant: the one that was named, or the job's newest."""
    run = state.t.runs[name] if name in state.t.runs else newest(state, standing) or _out_of_reach(state, standing)
    if run is None or (run.outcome and not run.artefacts and not run.kept):
        going_on = not standing.phase.over
        raise Unknown(
            "That job has left nothing" + (" so far." if going_on else "."),
            asked=name,
            found="no file in its output folder" if standing.runs else "it hasn't been started yet",
            hint=f"`forebay show {name}` shows what a job left",
        )
    return run


def _out_of_reach(state: State, standing: Standing) -> Run | None:
    """The newest run that left something, though its centre can't be asked for it now."""
    left = [run for name in standing.runs if (run := state.t.runs[name]).running_at_ns and (run.artefacts or not run.outcome)]
    return left[-1] if left else None


def _is_here(state: State, left: Run) -> bool:
    """Whether what is kept of a run is all that can be had. Of a run that goes on, any sending is; of one that has ended, the
    last, unless its centre is silent.
    """
    return left.kept is not None and (left.kept.whole or not left.outcome or not state.reachable(left.allocation.centre))


def _wished(desk: Desk, left: Run) -> Unavailable:
    """Have it sent, and say so."""
    centre = left.allocation.centre
    if not desk.state.reachable(centre):
        return Unavailable(
            f"What {left.id} left lies at centre {centre}, which is away.", asked=left.id, hint="try again when it is back"
        )
    if desk.sending.wish(left):
        desk.loop.wake()
    return Unavailable(f"What {left.id} left is being brought from centre {centre}.", asked=left.id, hint="try again in a moment")


def _brought(state: State, centre: str, run_id: str, of: str) -> Run:
    """The run `of`, if a run of this centre may read what it left: an earlier one of its job, or of a job that it mounts."""
    run, left = our_run(state, centre, run_id), state.t.runs.get(of)
    if left is None or left.job not in (run.job, *mounted(state.t.jobs[run.job])):
        raise Unknown("This run has nothing to do with that one.", asked=of)
    return left


async def _message(desk: Desk, left: Run, wanted: list[str]) -> Response:
    assert left.kept is not None
    organisation = _organisation(desk.state, left)
    listed = decode(Manifest, desk.store.manifest(organisation, left.kept.version))
    if not listed.chunks().keys() >= set(wanted):  # whoever began to fetch an older sending may finish it
        told = await asyncio.to_thread(desk.loop.journal.story, left.job)
        older = [event.version for _, event in told if _is_sending(event, left.id)]
        files = [decode(Manifest, desk.store.manifest(organisation, version)).files for version in older]
        listed = Manifest(files=tuple(file for some in files for file in some))
    return await message_of(desk.store.chunks(organisation), listed, wanted)


def _is_sending(event: e.Event, run: str) -> TypeGuard[e.OutputKept]:
    return isinstance(event, e.OutputKept) and event.run == run


def _organisation(state: State, run: Run) -> str:
    return state.t.jobs[run.job].job.organisation
