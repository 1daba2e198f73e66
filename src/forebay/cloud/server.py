"""HTTP connections that can't be held open by saying little: uvicorn's protocol with time limits.

Asked:  somebody opens connections and sends a header a minute. When are they let go?
Answer: a request's head has HEAD_S to arrive and at most HEAD_BYTES; what follows an answer that was given early has LINGER_S.
        Bodies have limits of their own (`api/front.py`), idle connections uvicorn's.
Limits: how many connections an address may open is for the system, or a proxy, to bound.
"""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from forebay.errors import ForebayError, TooLarge, TooSlow
from forebay.units import KIB

HEAD_S = 15.0
HEAD_BYTES = 64 * KIB
LINGER_S = 30.0


class Connection(HttpToolsProtocol):
    """One connection. A timer runs while the other side owes something."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _in_body = False
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._allow(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        began_before = self._in_head
        super().data_received(data)
        if began_before and self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._let_go(TooLarge("The head of the request is too large.", hint=f"at most {HEAD_BYTES // KIB} KiB"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._in_body, self._head = True, True, 0
        self._allow(HEAD_S)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._relax()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._relax()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            self._allow(LINGER_S)

    def _allow(self, seconds: float) -> None:
        self._relax()
        self._timer = self.loop.call_later(seconds, self._late)

    def _relax(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        self._let_go(TooSlow("The request doesn't go on.", found="its head isn't complete") if self._in_head else None)

    def _let_go(self, error: ForebayError | None) -> None:
        if self.transport.is_closing():
            return
        if error is not None and (self.cycle is None or self.cycle.response_complete):
            body = json.dumps({"error": error.to_json()}).encode()
            head = f"HTTP/1.1 {error.http_status} Refused\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
