"""For who watches the cloud: is the process there, can it do its work, and the figures.

`/healthz` answers as long as the process lives. `/readyz` answers 200 when the journal can be written and the loop turns, else
503 with the reason. `/metrics` wants an operator's key, or, where the cloud was started so, a caller on this machine.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from forebay.cloud import access
from forebay.cloud.api.desk import At, Desk
from forebay.cloud.metrics import CONTENT_TYPE, exposition
from forebay.errors import BadKey
from forebay.units import show_seconds

router = APIRouter(tags=["cloud"], include_in_schema=False)

STUCK_S = 15.0  # the tick turns the loop every second


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    return {"alive": True}


@router.get("/readyz")
async def readyz(desk: At) -> Response:
    why = await why_not_ready(desk)
    return JSONResponse({"ready": not why, "reason": why}, status_code=503 if why else 200)


@router.get("/metrics")
async def metrics(request: Request, desk: At, authorization: Annotated[str | None, Header()] = None) -> Response:
    if not (desk.metrics_open and _is_here(request)):
        who = access.who(desk.state, authorization, desk.loop.clock.now_ns())
        if not who.is_operator:
            raise BadKey("The cloud's figures are its operators'.", found=f"a {who.key.role.value}'s key")
    silent = {name: s for name in desk.state.t.centres if (s := desk.loop.heard_s_ago(name)) is not None}
    text = exposition(desk.state, desk.loop.counts, desk.loop.clock.now_ns(), silent, desk.loop.inbox_size)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


async def why_not_ready(desk: Desk) -> str:
    """Why the cloud can't do its work now; empty: it can."""
    counts = desk.loop.counts
    stuck_s = time.monotonic() - counts.turned_s
    if counts.unwritable:
        return f"the journal can't be written: {counts.unwritable}"
    if stuck_s > STUCK_S:
        return f"the loop hasn't turned for {show_seconds(stuck_s)}"
    return await desk.probe.why_not()


def _is_here(request: Request) -> bool:
    """Whether a request comes from this machine, and not through something that forwards others' requests."""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via"))
    return not forwarded and request.client is not None and request.client.host in ("127.0.0.1", "::1")
