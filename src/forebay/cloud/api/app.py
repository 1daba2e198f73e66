"""The ASGI application: every part of the API over one desk, and every error as our JSON."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from forebay import __version__
from forebay.cloud.api import (
    agents,
    audit,
    centres,
    data,
    health,
    jobs,
    limits,
    money,
    outputs,
    pool,
    streams,
    submit,
    tenants,
    tunnels,
)
from forebay.cloud.api.desk import Desk, May
from forebay.cloud.api.front import Front, headers_of
from forebay.cloud.api.watch import Watch
from forebay.cloud.limits import Rates
from forebay.cloud.loop import Loop
from forebay.cloud.store import Store
from forebay.errors import BadInput, ForebayError, Unavailable, Unknown

log = logging.getLogger("forebay.cloud")

SWEEP_S = 5.0


def application(loop: Loop, store: Store, rates: Rates | None = None, *, metrics_open: bool = False) -> Watch:
    """The ASGI application over a loop and its files, behind its front. `metrics_open`: to anybody on this machine."""
    rates = rates or Rates()
    desk = Desk(loop, store, rates)
    desk.metrics_open = metrics_open

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(loop.run())
        running.add_done_callback(_end_with_the_loop)
        sweeping = asyncio.create_task(_sweep(desk))
        yield
        running.cancel()
        sweeping.cancel()
        desk.reader.close()

    app = FastAPI(
        title="Forebay",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url="/api/v1/docs",
        redirect_slashes=False,
    )
    app.state.desk = desk
    parts = (health, money, tenants, limits, audit, data, submit, jobs, outputs, pool, centres, agents, streams)
    for router in (*(part.router for part in parts), tunnels.visitors, tunnels.carriers):
        _say_rights(router)
        app.include_router(router)
    app.add_exception_handler(ForebayError, _tell_error)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(OSError, _tell_os_error)
    app.add_exception_handler(Exception, _tell_bug)
    return Watch(Front(app, lambda: desk.state, loop.clock.now_ns, rates), loop.counts)


async def _sweep(desk: Desk) -> None:
    """Now and then remove what nobody needs any more."""
    while True:
        try:
            desk.sealed.sweep(desk.state)
        except OSError as error:
            log.warning("what is not needed any more can't be removed: %s", error)
        await asyncio.sleep(SWEEP_S)


def _say_rights(router: APIRouter) -> None:
    """Have the OpenAPI document say which right each route needs: "anyone", "centre", or one of `access.RIGHTS`."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            route.openapi_extra = {"x-forebay-right": _right_of(route)}


def _right_of(route: APIRoute) -> str:
    asked = [call.right for call in _calls(route.dependant) if isinstance(call, May)]
    assert len(asked) <= 1, f"{route.path} asks for {asked}"
    return asked[0] if asked else "centre" if route.path.startswith(agents.router.prefix) else "anyone"


def _calls(dependant: Dependant) -> list[Any]:
    return [call for each in dependant.dependencies for call in (each.call, *_calls(each))]


def _end_with_the_loop(running: asyncio.Task[None]) -> None:
    """A cloud whose journal can't be read any more must not go on answering: it ends, and whoever watches it starts it again."""
    if not running.cancelled() and running.exception():
        log.critical("the loop ended, and the cloud with it", exc_info=running.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def _tell_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ForebayError)
    return JSONResponse({"error": error.to_json()}, status_code=error.http_status, headers=headers_of(error))


async def _tell_os_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    problem = Unavailable(
        "The cloud's disk can't be used, so this was not done.",
        found=error.strerror or str(error),
        hint="tell the operator; then try again",
    )
    return JSONResponse({"error": problem.to_json()}, status_code=problem.http_status)


async def _tell_bug(_: Request, error: Exception) -> JSONResponse:
    problem = ForebayError(
        "The cloud met an error of its own.", found=type(error).__name__, hint="tell the operator: see cloud.log"
    )
    return JSONResponse({"error": problem.to_json()}, status_code=problem.http_status)


async def _tell_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(
        str(part) for part in first["loc"] if part not in ("body", "query", "path") and first["type"] != "json_invalid"
    )
    problem = BadInput(
        f"{where or 'the request'}: {first['msg'].removeprefix('Value error, ')}",
        asked=_harmless(first),
        hint="the API is described at /api/v1/docs",
    )
    return JSONResponse({"error": problem.to_json()}, status_code=422)


def _harmless(found: Any) -> str:
    """What was asked, as far as it may be repeated: no environment, no command line, and nothing of a body that isn't a plain
    value in its place, since people paste secrets into the wrong ones.
    """
    where, value = found["loc"], found.get("input")
    secret = any(part in ("env", "argv") or str(part).endswith("sha256") for part in where)
    in_its_place = found["type"] not in ("extra_forbidden", "json_invalid") and not secret
    return f"{value!r:.100}" if in_its_place and isinstance(value, str | int | float | bool | None) else ""


async def _tell_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    ours = request.scope.get("state", {}).get("problem")  # of our front, which whoever read the body took for theirs
    if ours:
        return await _tell_error(request, ours)
    problem = (
        Unknown("There is nothing at this address.", hint="the API is described at /api/v1/docs")
        if error.status_code == 404
        else BadInput(str(error.detail))
    )
    return JSONResponse({"error": problem.to_json()}, status_code=error.status_code)
