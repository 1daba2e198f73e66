"""What this process has counted since it started: for `/metrics` and `/readyz`. Not in the journal, and gone with the process.

Asked:  how long do decisions and writes take, how large are batches, how long did jobs wait, who asks how much?
Answer: counters and histograms in memory, as Prometheus knows them. A histogram's buckets are fixed, so that counting costs the
        same always.
Limits: one process, one event loop; the journal's writes are timed from there too.
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S

QUICK = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAITS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 24 * 3600.0, 72 * 3600.0)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # the last: more than any bound
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counts:
    """One of these is the loop's, and the API's watch counts in it too."""

    def __init__(self) -> None:
        self.decisions = Histogram(QUICK)
        self.appends = Histogram(QUICK)
        self.batches = Histogram(BATCHES)
        self.failed_appends = 0
        self.events: dict[str, int] = {}
        self.finished: dict[str, int] = {}  # phase -> jobs
        self.waits: dict[str, Histogram] = {}  # chip -> from submission to the first launch
        self.requests: dict[tuple[str, str, int], int] = {}  # method, route, status
        self.request_s: dict[str, Histogram] = {}  # route
        self.unwritable = ""  # why the last write failed; empty: it didn't
        self.began_s = time.monotonic()
        self.turned_s = self.began_s  # when the loop was last through with a batch

    @contextlib.contextmanager
    def deciding(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.decisions.observe(time.perf_counter() - began)

    @contextlib.contextmanager
    def writing(self, lines: int) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.failed_appends += 1
            self.unwritable = str(error).replace("\n", " ") or type(error).__name__
            raise
        self.unwritable = ""
        self.appends.observe(time.perf_counter() - began)
        if lines:
            self.batches.observe(lines)

    def turned(self) -> None:
        self.turned_s = time.monotonic()

    def journaled(self, events: Sequence[e.Event], state: State) -> None:
        """These are safe now."""
        for event in events:
            kind = type(event).__name__
            self.events[kind] = self.events.get(kind, 0) + 1
            match event:
                case e.Launched(attempt=1):
                    waited_ns = event.at_ns - state.t.jobs[event.job].submitted_at_ns
                    self.waits.setdefault(event.allocation.chip, Histogram(WAITS)).observe(waited_ns / NS_PER_S)
                case e.Finished(phase=phase):
                    self.finished[phase] = self.finished.get(phase, 0) + 1

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        key = (method, route, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        self.request_s.setdefault(route, Histogram(REQUESTS)).observe(took_s)
