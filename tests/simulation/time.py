"""Time that passes only when nobody has anything left to do: an asyncio loop that jumps to its next timer.

Asked:  how does a day of a cloud pass in a second, and twice in just the same way?
Answer: where asyncio would sleep until its next timer, this loop's clock is put there. It reads no clock of the machine's, opens
        nothing that it waits for, and has no threads. What is ready runs in the order in which it became ready.
Limits: whoever waits for the world (a thread, a socket) would wait for ever; that is told as an error.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from forebay.units import NS_PER_S

EPOCH_NS = 1_700_000_000 * NS_PER_S


class _Jump(selectors.BaseSelector):
    """Has nothing to select: makes time pass instead."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is going to happen")
        self.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, -1, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, -1, 0, None)

    def get_map(self) -> Any:
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


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
