"""Time that passes only when nobody has anything left to do: an asyncio loop that jumps to its next timer.

Asked:  how does a day of a cloud pass in a second, and twice in just the same way?
Answer: where asyncio would sleep until its next timer, this loop's clock is put there. It reads no clock of the machine's, opens
        nothing that it waits for, and has no threads. What is ready runs in the order in which it became ready; timers that are
        due at the same time, in the order in which they were set.
Limits: whoever waits for the world (a thread, a socket) would wait for ever; that is told as an error. Of asyncio's own loop the
        turn and its handles are written anew, since a life spends a good part of its time in them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from forebay.units import NS_PER_S

EPOCH_NS = 1_700_000_000 * NS_PER_S


class Planned:
    """A call that is going to be made, unless it is cancelled before: what asyncio calls a handle."""

    __slots__ = ("_at_s", "args", "call", "context")

    def __init__(
        self, call: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context | None, at_s: float = 0.0
    ) -> None:
        self.call: Callable[..., Any] | None = call
        self.args, self._at_s = args, at_s
        self.context = contextvars.copy_context() if context is None else context

    def cancel(self) -> None:
        self.call, self.args = None, ()

    def cancelled(self) -> bool:
        return self.call is None

    def when(self) -> float:
        return self._at_s


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop in simulated time."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._timers: list[tuple[float, int, Planned]] = []
        self._set = 0  # timers, so far

    def time(self) -> float:
        return self._now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Planned:
        planned = Planned(callback, args, context)
        self._ready.append(planned)  # type: ignore[attr-defined]
        return planned

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Planned:
        planned = Planned(callback, args, context, when)
        self._set += 1
        heappush(self._timers, (when, self._set, planned))
        return planned

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Planned:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def _run_once(self) -> None:
        """One turn: whatever is ready now; if nothing is, what is due next."""
        ready = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._jump()
        for _ in range(len(ready)):
            planned = ready.popleft()
            if planned.call is None:
                continue
            try:
                planned.context.run(planned.call, *planned.args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": "a call failed", "exception": error})

    def _jump(self) -> None:
        timers, ready = self._timers, self._ready  # type: ignore[attr-defined]
        while timers and not ready:
            at_s, _, planned = heappop(timers)
            if planned.call is None:
                continue
            self._now_s = max(self._now_s, at_s)
            ready.append(planned)
            while timers and timers[0][0] <= at_s:
                ready.append(heappop(timers)[2])
        if not ready:
            raise RuntimeError("everybody waits, and nothing is going to happen")

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else is there to wake us."""


class VirtualClock:
    """What `cloud.clock.Clock` is, by a simulated wall clock that may have been set back while the cloud was down."""

    def __init__(self, loop: VirtualLoop, skew_ns: int, not_before_ns: int) -> None:
        self._loop = loop
        wall = EPOCH_NS + int(loop.time() * NS_PER_S) + skew_ns
        self.behind_ns = 0
        self._start = max(wall, not_before_ns)
        self._began_s = loop.time()

    def now_ns(self) -> int:
        return self._start + int((self._loop.time() - self._began_s) * NS_PER_S)

    def monotonic_s(self) -> float:
        return self._loop.time()

    def complaint(self) -> str:
        return ""
