"""The cloud's clock: wall time that never goes back and never jumps while the process lives.

Asked:  what time does the journal write, if somebody sets the machine's clock?
Answer: the wall clock is read once, at the start, and counted on by the monotonic clock. If it stood before the journal's
        last line, time goes on from that line. A difference from the wall clock of more than `TOLERATED_S` is told, once each
        time it grows.
Limits: after a restart the cloud believes the wall clock again, unless it lies before the last line.
"""

from __future__ import annotations

import time

from forebay.units import NS_PER_S, show_seconds

TOLERATED_S = 5.0


class Clock:
    def __init__(self, not_before_ns: int = 0) -> None:
        wall = time.time_ns()
        self.behind_ns = max(0, not_before_ns - wall)
        self._start = max(wall, not_before_ns)
        self._monotonic = time.monotonic_ns()
        self._told_s = TOLERATED_S

    def now_ns(self) -> int:
        return self._start + time.monotonic_ns() - self._monotonic

    def monotonic_s(self) -> float:
        """Seconds since some moment, for spans that no journal line tells of."""
        return time.monotonic()

    def complaint(self) -> str:
        """A sentence when the wall clock has moved away from ours since the last complaint; else empty."""
        apart_s = (time.time_ns() - self.now_ns()) / NS_PER_S
        if abs(apart_s) <= self._told_s:
            return ""
        self._told_s = abs(apart_s) + TOLERATED_S
        direction = "ahead of" if apart_s > 0 else "behind"
        return (
            f"the machine's clock jumped: it is now {show_seconds(abs(apart_s))} {direction} the cloud's, "
            "which goes on evenly until a restart"
        )
