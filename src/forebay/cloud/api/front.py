"""What every request passes before a handler sees it: whose key, how often, how large, how fast.

Asked:  a stranger, or a program that went wrong, sends too many requests, too large ones, or ones that never end. What holds
        the cloud up for others?
Answer: nothing of it. Without a good key a request is refused before its body is read. Buckets (`cloud/limits.py`) bound how
        many are answered; a body has a largest size, all bodies together have one, and one that comes too slowly is cut off.
        What the connection itself does slowly, `cloud/server.py` ends.
Limits: a good key may still ask for what is dear. All bodies that are held in memory count, not what handlers make of them.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from forebay.cloud.access import sha256_of
from forebay.cloud.core.state import State
from forebay.cloud.limits import Buckets, Rates
from forebay.errors import BadKey, ForebayError, TooLarge, TooMany, TooSlow
from forebay.units import KIB, MIB

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PLAIN_BYTES = 16 * MIB  # a body of JSON that says what is wanted
LARGE_BYTES = 128 * MIB  # lists of files, and what agents send
CODE_BYTES = 256 * MIB
STRANGER_BYTES = 64 * KIB
ONES_BYTES = 256 * MIB  # all bodies of one key that are held at a time
TOGETHER_BYTES = 1024 * MIB  # everybody's
CODE = "/api/v1/bundles/"
SILENCE_S = 20.0  # after which a body that doesn't go on is given up
SLOWEST_BYTES_PER_S = 2048  # over all of a body, after a start
START_S = 30.0


class Front:
    """An ASGI application around another."""

    def __init__(self, app: App, state: Callable[[], State], now_ns: Callable[[], int], rates: Rates) -> None:
        self._app = app
        self._state = state
        self._now_ns = now_ns
        self._keys = Buckets(rates.key, time.monotonic)
        self._agents = Buckets(rates.agent, time.monotonic)
        self._strangers = Buckets(rates.stranger, time.monotonic)
        self._held = _Held()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            whose, buckets = self._whose(scope)
            must(buckets.take(whose))
            body = _Body(self._held, whose, buckets is self._strangers, scope, receive)
        except ForebayError as error:
            return await _refuse(send, error)
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.forget()

    def _whose(self, scope: MutableMapping[str, Any]) -> tuple[str, Buckets]:
        """Out of whose bucket a request is answered: a good key's, a centre's, or an address's that shows neither."""
        secret = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if secret:
            state, hashed = self._state(), sha256_of(secret.partition(b" ")[2].strip().decode("latin-1"))
            name = state.centres_by_key.get(hashed)
            if name is not None:
                return name, self._agents
            key = state.t.keys.get(state.keys_by_hash.get(hashed, ""))
            if key is not None and key.good_at(self._now_ns()):
                return key.id, self._keys
        return scope["client"][0] if scope.get("client") else "", self._strangers


class _Held:
    """How much of bodies is in memory: of each, and of all."""

    def __init__(self) -> None:
        self._by: dict[str, int] = {}
        self._all = 0

    def add(self, whose: str, size: int) -> None:
        self._all += size
        self._by[whose] = self._by.get(whose, 0) + size
        if size > 0 and (self._all > TOGETHER_BYTES or self._by[whose] > ONES_BYTES):
            raise TooMany("Too much is being sent at a time.", hint="one large request after another")
        if not self._by[whose]:
            del self._by[whose]


class _Body:
    """A request's body on its way to the handler."""

    def __init__(self, held: _Held, whose: str, stranger: bool, scope: MutableMapping[str, Any], receive: Receive) -> None:
        self._held, self._whose, self._stranger = held, whose, stranger
        self._scope, self._receive = scope, receive
        self._limit = STRANGER_BYTES if stranger else _limit(scope["path"])
        self._kept = not scope["path"].startswith(CODE)  # code goes to disk as it comes
        self._whole = False
        self._began = 0.0
        self._size = 0
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if told.isdigit() and int(told) > self._limit:
            raise self._too_large(int(told))

    def forget(self) -> None:
        if self._kept and self._size:
            self._held.add(self._whose, -self._size)

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # from now on it only says that the other side has left
        self._began = self._began or time.monotonic()
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await self._receive()
        except TimeoutError:
            raise self._problem(TooSlow("The request doesn't go on.", found=f"nothing for {SILENCE_S:.0f} s")) from None
        if message["type"] != "http.request":
            return message
        self._whole = not message.get("more_body", False)
        fresh = len(message.get("body", b""))
        self._size += fresh
        try:
            if self._kept and fresh:
                self._held.add(self._whose, fresh)
            if self._size > self._limit:
                raise self._too_large(self._size)
            took_s = time.monotonic() - self._began
            if not self._whole and took_s > START_S + self._size / SLOWEST_BYTES_PER_S:
                raise TooSlow("The request comes too slowly.", found=f"{self._size} bytes in {took_s:.0f} s")
        except ForebayError as error:
            raise self._problem(error) from None
        return message

    def _too_large(self, size: int) -> ForebayError:
        if self._stranger:
            return BadKey("So much is only read with a good key.", found="none in the request, or it is not valid")
        return TooLarge(
            "The request is too large.", asked=f"{size} bytes or more", hint=f"at most {self._limit // MIB} MiB to this address"
        )

    def _problem(self, error: ForebayError) -> ForebayError:
        """Whoever reads the body may make an error of their own out of ours; it is kept for the one who answers."""
        self._scope.setdefault("state", {})["problem"] = error
        return error


def _limit(path: str) -> int:
    if path.startswith(CODE):
        return CODE_BYTES
    return LARGE_BYTES if path.startswith(("/api/v1/data/", "/api/v1/agent/")) else PLAIN_BYTES


def must(wait_s: float, what: str = "requests") -> None:
    """Refuse what a bucket has no tokens for yet."""
    if wait_s:
        raise TooMany(
            f"Too many {what}.",
            found=f"the next are taken in {wait_s:.3g} s",
            hint="wait; the operator sets the limit",
            after_s=wait_s,
        )


def headers_of(error: ForebayError) -> dict[str, str]:
    """What else an answer says of an error, for programs that know HTTP only."""
    if isinstance(error, TooMany):
        return {"Retry-After": str(max(1, math.ceil(error.after_s)))}
    return {"Connection": "close"} if isinstance(error, TooSlow) else {}


async def _refuse(send: Send, error: ForebayError) -> None:
    body = json.dumps({"error": error.to_json()}).encode()
    more = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
