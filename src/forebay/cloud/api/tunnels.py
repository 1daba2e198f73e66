"""Tunnels over HTTP: plain requests and answers, so that a proxy or a broken link does no harm.

`visitors` is for tenants: they open a tunnel to a job of their own organisation. `carriers` is for the centre's agent, which
finds the open tunnels in `wanted`. An answer to a read carries bytes; once the tunnel is closed and everything was read, its
header `Forebay-Closed` says why.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from forebay.cloud.api.agents import Centre
from forebay.cloud.api.desk import At, Desk, EntersJobs, body_of
from forebay.cloud.core.job import Phase
from forebay.cloud.loop import Body
from forebay.cloud.tunnels import Stream, Tunnel
from forebay.errors import Conflict, Unavailable
from forebay.units import MIB

visitors = APIRouter(prefix="/api/v1", tags=["tunnels"])
carriers = APIRouter(prefix="/api/v1/agent/tunnels", tags=["centres"])

Wait = Annotated[float, Query(ge=0, le=60)]
Offset = Annotated[int, Query(ge=0, lt=2**63)]


@visitors.post("/jobs/{job_id}/tunnels", status_code=201)
async def open_tunnel(job_id: str, desk: At, by: EntersJobs) -> Body:
    """Open a tunnel to the door of a job that runs. Only members of its own organisation may."""
    standing = by.job(desk.state, job_id)
    run = desk.state.live_run(standing.job.id)
    if run is None or run.stop:
        over = standing.phase.over or (run is not None and run.stop)
        kind: type[Conflict] | type[Unavailable] = Conflict if over else Unavailable
        raise kind("The job doesn't run now.", asked=job_id, found=f"it is {standing.phase.value}", hint=f"forebay show {job_id}")
    if standing.phase is not Phase.RUNNING:
        raise Unavailable("The job hasn't started yet.", asked=job_id, found=f"it is {standing.phase.value}", hint="wait for it")
    opened = desk.tunnels.open("t" + secrets.token_hex(12), run=run.id, centre=run.allocation.centre, key=by.key.id)
    return {"id": opened.id, "run": run.id}


@visitors.post("/tunnels/{tunnel_id}/up")
async def visitor_sends(tunnel_id: str, request: Request, desk: At, by: EntersJobs, offset: Offset, wait_s: Wait = 0.0) -> Body:
    tunnel = desk.tunnels.of_visitor(tunnel_id, by.key.id)
    return await _write(desk, tunnel, tunnel.up, offset, request, wait_s)


@visitors.get("/tunnels/{tunnel_id}/down")
async def visitor_reads(tunnel_id: str, desk: At, by: EntersJobs, offset: Offset, wait_s: Wait = 0.0) -> Response:
    tunnel = desk.tunnels.of_visitor(tunnel_id, by.key.id)
    return await _read(desk, tunnel, tunnel.down, offset, wait_s)


@visitors.delete("/tunnels/{tunnel_id}")
async def visitor_closes(tunnel_id: str, desk: At, by: EntersJobs) -> Body:
    desk.tunnels.close(desk.tunnels.of_visitor(tunnel_id, by.key.id), "its visitor left")
    return {}


@carriers.get("/{tunnel_id}/up")
async def carrier_reads(tunnel_id: str, desk: At, centre: Centre, by: str, offset: Offset, wait_s: Wait = 0.0) -> Response:
    """`by` names one life of the agent."""
    tunnel = desk.tunnels.of_centre(tunnel_id, centre, by)
    return await _read(desk, tunnel, tunnel.up, offset, wait_s)


@carriers.post("/{tunnel_id}/down")
async def carrier_sends(
    tunnel_id: str, request: Request, desk: At, centre: Centre, by: str, offset: Offset, wait_s: Wait = 0.0
) -> Body:
    tunnel = desk.tunnels.of_centre(tunnel_id, centre, by)
    return await _write(desk, tunnel, tunnel.down, offset, request, wait_s)


@carriers.delete("/{tunnel_id}")
async def carrier_closes(tunnel_id: str, desk: At, centre: Centre, by: str, why: Annotated[str, Query(max_length=300)]) -> Body:
    desk.tunnels.close(desk.tunnels.of_centre(tunnel_id, centre, by), why)
    return {}


async def _read(desk: Desk, tunnel: Tunnel, stream: Stream, offset: int, wait_s: float) -> Response:
    body = await desk.tunnels.read(tunnel, stream, offset, wait_s, desk.is_live)
    closed = tunnel.closed and offset + len(body) == stream.end
    headers = {"Forebay-Closed": quote(tunnel.closed)} if closed else {}
    return Response(body, media_type="application/octet-stream", headers=headers)


async def _write(desk: Desk, tunnel: Tunnel, stream: Stream, offset: int, request: Request, wait_s: float) -> dict[str, Any]:
    body = await body_of(request, MIB, "one request to a tunnel")
    return {"end": await desk.tunnels.write(tunnel, stream, offset, body, wait_s), "closed": tunnel.closed}
