"""Around the whole API: every request gets an id, is counted and timed, and, in JSON logs, has a line.

The id is the caller's own `X-Request-Id`, if it is a plain one, and comes back with the answer.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from forebay.cloud import logs
from forebay.cloud.counts import Counts

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_PLAIN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/api/v1/agent/", "/metrics", "/healthz", "/readyz")  # asked for all the time: told only when it goes wrong


class Watch:
    """An ASGI application around another."""

    def __init__(self, app: App, counts: Counts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        told = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request = told.decode() if _PLAIN.fullmatch(told) else secrets.token_hex(8)
        status = 500  # if it dies before it answers

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request.encode())]
            await send(message)

        began, token = time.perf_counter(), logs.REQUEST.set(request)
        try:
            await self._app(scope, receive, answer)
        finally:
            took_s = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "") or "none"  # never the path: anybody may ask for any
            self._counts.answered(scope["method"] if scope["method"] in _METHODS else "other", route, status, took_s)
            self._tell(scope, route, status, took_s)
            logs.REQUEST.reset(token)
        return None

    def _tell(self, scope: MutableMapping[str, Any], route: str, status: int, took_s: float) -> None:
        if not logs.HTTP.isEnabledFor(logging.INFO) or (status < 400 and scope["path"].startswith(_QUIET)):
            return
        fields = {
            "method": scope["method"],
            "route": route,
            "path": scope["path"][:200],
            "status": status,
            "ms": round(1000 * took_s, 1),
        }
        logs.HTTP.info("%s %s: %d", scope["method"], scope["path"][:200], status, extra={"fields": fields})


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
