"""What centres ask of the cloud, and tell it. Agents dial out to here; the cloud never dials in.

An agent says which nodes it has, waits for what should run at its centre, fetches code and data by content hash, and reports what
it sees. All of it may be said twice: what the cloud knows already changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import FileResponse, Response

from forebay import __version__
from forebay.centre.spec import Outcome, Progress, Seen
from forebay.centre.spec import Phase as Where
from forebay.chips.node import Node
from forebay.cloud import access
from forebay.cloud.api.desk import At
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body, Loop
from forebay.cloud.specs import spec_of
from forebay.codec import decode, encode
from forebay.data.manifest import Manifest
from forebay.data.store import ChunkStore, pack_chunks
from forebay.errors import Unknown
from forebay.units import MIB

router = APIRouter(prefix="/api/v1/agent", tags=["centres"])

MESSAGE_BYTES = 8 * MIB  # of chunks in one answer, about


async def _centre(desk: At, authorization: Annotated[str | None, Header()] = None) -> str:
    name = access.centre(desk.state, authorization)
    desk.heard[name] = time.monotonic()
    return name


Centre = Annotated[str, Depends(_centre)]


@router.post("/hello")
async def hello(body: dict[str, Any], desk: At, centre: Centre) -> Body:
    """An agent has started, or its nodes have changed."""
    nodes = tuple(decode(Node, node, at="node") for node in body.get("nodes", []))

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        same = state.t.centres[centre].nodes == nodes
        return (None if same else e.NodesSeen(at_ns=now_ns, by=f"centre {centre}", centre=centre, nodes=nodes)), {}

    await desk.loop.tell(make)
    return {"centre": centre, "forebay": __version__}


@router.get("/wanted")
async def wanted(
    desk: At,
    centre: Centre,
    after: int = -1,
    wait_s: Annotated[float, Query(ge=0, le=60)] = 0.0,
    tunnels_after: int | None = None,
) -> Body:
    """What should run at this centre, whole, and the tunnels to what runs there. Waits up to `wait_s` while nothing has changed
    since version `after`, and version `tunnels_after` of the tunnels.
    """
    loop: Loop = desk.loop
    until = time.monotonic() + wait_s
    while (loop.wanted_version, desk.tunnels.version) == (after, tunnels_after or desk.tunnels.version) and (
        left := until - time.monotonic()
    ) > 0:
        await loop.changed(left)
    runs = [
        {"spec": encode(spec_of(run, loop.state.t.jobs[run.job].job)), "stop": run.stop, "grace_s": run.grace_s}
        for run in loop.wanted.values()
        if run.allocation.centre == centre
    ]
    tunnels = desk.tunnels.listing(centre, desk.is_live)
    return {"version": loop.wanted_version, "runs": runs, "tunnels": tunnels, "tunnels_version": desk.tunnels.version}


@router.post("/report")
async def report(body: dict[str, Any], desk: At, centre: Centre) -> Body:
    """What an agent sees of its runs.

    Answers which of them the cloud doesn't want any more, and since which version of `wanted` it knows all this: an older
    answer to `wanted` may still name runs that have ended.
    """
    gone, news = [], []
    for item in body.get("seen", []):
        seen = decode(Seen, item, at="seen", strict=False)
        known = _is_ours(desk.loop.state, centre, seen.name)
        if seen.phase is not Where.ENDED and (not known or desk.loop.state.t.runs[seen.name].outcome):
            gone.append(seen.name)
        if not known:
            continue
        if seen.artefacts:
            desk.store.keep_artefacts(seen.name, seen.artefacts)
        for stage in _stages(seen):
            if _facts(desk.loop.state, 0, centre, stage)[0] is not None:
                news.append(desk.loop.tell(partial(_told, centre, stage)))
    await asyncio.gather(*news)
    for run, progress in body.get("progress", {}).items():
        if _is_ours(desk.loop.state, centre, run):
            desk.store.progress[run] = decode(Progress, progress, at="progress", strict=False)
    if body.get("progress"):
        desk.loop.wake()
    return {"gone": gone, "version": desk.loop.wanted_version}


@router.post("/runs/{run}/log")
async def add_log(run: str, request: Request, desk: At, centre: Centre, offset: Annotated[int, Query(ge=0)]) -> Body:
    """More of what a run printed, from a byte offset on. 409, with the true size as `found`, when the offset isn't the log's
    end.
    """
    if not _is_ours(desk.loop.state, centre, run):
        raise Unknown("There is no such run at this centre.", asked=run)
    size = desk.store.add_log(run, offset, await request.body())
    desk.loop.wake()
    return {"size": size}


@router.get("/bundles/{run}")
async def bundle(run: str, desk: At, centre: Centre) -> FileResponse:
    """The packed code of a run."""
    job = _job(desk.loop.state, centre, run)
    return FileResponse(desk.store.bundles(job.organisation).path(job.script.bundle))


@router.get("/manifests/{run}/{version}")
async def manifest(run: str, version: str, desk: At, centre: Centre) -> Any:
    """The manifest of a data set's version that a run mounts."""
    return desk.store.manifest(_mounted(desk.loop.state, centre, run, version), version)


@router.post("/chunks/{run}/{version}")
async def chunks(run: str, version: str, wanted: list[str], desk: At, centre: Centre) -> Response:
    """Chunks of a version that a run mounts, by hash: as many of the wanted ones, in order, as make one message."""
    organisation = _mounted(desk.loop.state, centre, run, version)
    listed = decode(Manifest, desk.store.manifest(organisation, version)).chunks()
    unknown = [sha256 for sha256 in wanted if sha256 not in listed]
    if unknown:
        raise Unknown("This version has no such chunk.", asked=unknown[0])
    message = await asyncio.to_thread(_message, desk.store.chunks(organisation), wanted)
    return Response(message, media_type="application/octet-stream")


def _message(store: ChunkStore, wanted: list[str]) -> bytes:
    message: dict[str, bytes] = {}
    size = 0
    for sha256 in wanted:
        with store.open(sha256) as chunk:
            message[sha256] = chunk.read()
        size += len(message[sha256])
        if size >= MESSAGE_BYTES:
            break
    return pack_chunks(message)


def _is_ours(state: State, centre: str, run_id: str) -> bool:
    run = state.t.runs.get(run_id)
    return run is not None and run.allocation.centre == centre


def _job(state: State, centre: str, run_id: str) -> Any:
    if not _is_ours(state, centre, run_id):
        raise Unknown("There is no such run at this centre.", asked=run_id)
    return state.t.jobs[state.t.runs[run_id].job].job


def _mounted(state: State, centre: str, run_id: str, version: str) -> str:
    """The organisation whose version a run mounts. A centre gets no data that none of its runs may read."""
    job = _job(state, centre, run_id)
    if f"data:{version}" not in job.script.mounts.values():
        raise Unknown("This run doesn't mount that version.", asked=version)
    organisation: str = job.organisation
    return organisation


def _stages(seen: Seen) -> tuple[Seen, ...]:
    """What is seen, preceded by the start that it tells of too: a quick run's end may be the first that we hear of it."""
    started = seen.phase is Where.ENDED and seen.running_at_ns
    return (replace(seen, phase=Where.RUNNING), seen) if started else (seen,)


def _facts(state: State, now_ns: int, centre: str, seen: Seen) -> tuple[e.Event | None, Body]:
    """What is new to the cloud in what an agent saw. Pure."""
    run = state.t.runs[seen.name]
    by = f"centre {centre}"
    if run.outcome:
        return None, {}
    if seen.phase is Where.ENDED:
        outcome = seen.outcome or Outcome.LOST
        return e.Ended(
            at_ns=now_ns,
            by=by,
            run=run.id,
            outcome=outcome.value,
            held_ns=seen.held_ns,
            lost_ns=_lost_ns(seen, outcome),
            exit_code=seen.exit_code,
            reason="; ".join(line.strip() for line in seen.reason.splitlines()),
            checkpointed=seen.checkpoint_at_ns > seen.started_at_ns,
            artefacts=len(seen.artefacts),
        ), {}
    if seen.phase is Where.RUNNING and not run.running_at_ns:
        return e.Started(at_ns=now_ns, by=by, run=run.id, carrier=seen.carrier), {}
    return None, {}


def _told(centre: str, seen: Seen, state: State, now_ns: int) -> tuple[e.Event | None, Body]:
    return _facts(state, now_ns, centre, seen)


def _lost_ns(seen: Seen, outcome: Outcome) -> int:
    """The end of a run whose work was not kept: after its newest checkpoint, or all of it when it made none.

    Nothing of a success is lost.
    """
    if outcome in (Outcome.SUCCEEDED, Outcome.UNPREPARED):  # the latter has done no work
        return 0
    since = max(seen.checkpoint_at_ns, seen.started_at_ns)
    return min(max(0, seen.ended_at_ns - since), seen.held_ns)
