"""Time a call on any device, and grow a piece of work until it gets no faster. Torch and the standard library only.

Asked:  how long does this call take on the device, and at which size is the device fastest?
Answer: the device's own events where it has them and they work, else the host's clock around a synchronize. Small calls are
        repeated inside one timing, so that a timing lasts at least LEAST_S. Sizes grow until two in a row are less than 3 %
        faster than the best, or the next would not fit into what is left of the budget.
Limits: Python 3.9 and torch 2.4 run it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

Call = Callable[[], Any]
Work = tuple[str, float, Call]  # the size in words, flop or bytes, and what does it
RUNS, FEWEST, LEAST_S, GAIN, TRIES = 9, 3, 0.02, 1.03, 2


class Clock:
    """Seconds of a call on one device."""

    def __init__(self, device: str) -> None:
        kind = torch.device(device).type
        self.module: Any = None if kind == "cpu" else getattr(torch, kind, None)
        self.events = self.module is not None and hasattr(self.module, "Event") and self._events_work()

    def seconds(self, call: Call, times: int) -> float:
        """Of one call, out of so many."""
        return (self._by_events(call, times) if self.events else self._by_host(call, times)) / times

    def _events_work(self) -> bool:
        try:
            return self._by_events(lambda: None, 1) >= 0
        except Exception:  # a plug-in's events may raise anything
            return False

    def _by_events(self, call: Call, times: int) -> float:
        begin, end = self.module.Event(enable_timing=True), self.module.Event(enable_timing=True)
        self.module.synchronize()
        begin.record()
        for _ in range(times):
            call()
        end.record()
        self.module.synchronize()
        return float(begin.elapsed_time(end)) / 1e3

    def _by_host(self, call: Call, times: int) -> float:
        if self.module is not None:
            self.module.synchronize()
        begin = time.perf_counter()
        for _ in range(times):
            call()
        if self.module is not None:
            self.module.synchronize()
        return time.perf_counter() - begin


def grow(kind: str, name: str, unit: str, works: Iterable[Work], clock: Clock, budget_s: float) -> dict[str, Any]:
    """The best of growing sizes, as the fields of a Ceiling. A call that raises ends the growth."""
    until = time.monotonic() + budget_s
    best: dict[str, Any] = {}
    reason = "its first size didn't fit into the memory"
    rate, misses = 0.0, 0
    try:
        for size, work, call in works:
            if rate and (FEWEST + 2) * work / rate > until - time.monotonic():
                break
            seconds, spread, runs = measure(call, clock, until)
            rate = work / seconds
            misses = misses + 1 if best and rate < best["value"] * GAIN else 0
            if not best or rate > best["value"]:
                best = {"value": float(f"{rate:.5g}"), "spread": round(spread, 4), "runs": runs, "size": size}
            if misses == TRIES:
                break
    except Exception as error:  # what a chip raises for what it lacks is its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return {"kind": kind, "name": name, "unit": unit, **(best or {"reason": reason})}


def measure(call: Call, clock: Clock, until: float) -> tuple[float, float, int]:
    """(median seconds of a call, spread, runs), after a warm-up."""
    call()
    times = max(1, int(LEAST_S / max(clock.seconds(call, 1), 1e-9)))
    found: list[float] = []
    while len(found) < FEWEST or (len(found) < RUNS and time.monotonic() < until):
        found.append(clock.seconds(call, times))
    return (*summary(found), len(found))


def summary(seconds: list[float]) -> tuple[float, float]:
    """(median, half the distance between the quartiles as a share of it)."""
    quartiles = statistics.quantiles(seconds, n=4)
    middle = statistics.median(seconds)
    return middle, (quartiles[2] - quartiles[0]) / 2 / middle


def absent(kind: str, name: str, unit: str, reason: str) -> dict[str, Any]:
    return {"kind": kind, "name": name, "unit": unit, "reason": reason}
