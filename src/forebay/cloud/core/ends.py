"""When runs are expected to end, island by island: an index that State keeps, for forecasts."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Sequence

from forebay.cloud.core.job import Job, Run
from forebay.cloud.core.rooms import IslandKey
from forebay.units import NS_PER_S

Where = tuple[str, IslandKey]
"""A chip, and an island of it."""


class Ends:
    """The live runs of which somebody said how long they take, in the order in which they end."""

    def __init__(self) -> None:
        self.by_island: dict[Where, list[tuple[int, str]]] = {}  # (when, run)
        self._known: dict[str, tuple[Where, int]] = {}
        self._checks: list[tuple[int, str]] = []  # (when, run): when to look whether a forecast still holds; a heap
        self._next: dict[str, int] = {}  # run -> its check in the heap that counts

    def on(self, chip: str, island: IslandKey) -> Sequence[tuple[int, str]]:
        return self.by_island.get((chip, island), ())

    def expect(self, run: Run, job: Job, island: IslandKey | None) -> None:
        """Note when a run is expected to end, if anybody knows; in the place of what was expected before."""
        self.forget(run.id)
        forecast_s = run.lasts_s or run.expected_s
        lasts_s = min((s for s in (forecast_s, job.time_limit_s) if s is not None), default=None)
        if lasts_s is None or island is None:
            return
        where = (run.allocation.chip, island)
        began_ns = run.running_at_ns or run.admitted_at_ns or run.launched_at_ns
        end_ns = began_ns + int(lasts_s * NS_PER_S)
        self._known[run.id] = (where, end_ns)
        insort(self.by_island.setdefault(where, []), (end_ns, run.id))

    def checks_due(self, now_ns: int) -> list[str]:
        """The runs of which a forecast is to be looked at. Each is told once; `check_at` for the next time."""
        due = []
        while self._checks and self._checks[0][0] <= now_ns:
            at_ns, run = heapq.heappop(self._checks)
            if self._next.get(run) == at_ns:
                due.append(run)
        return sorted(due)

    def check_at(self, run: str, at_ns: int) -> None:
        """When to look next; in the place of what was to be looked at before."""
        self._next[run] = at_ns
        heapq.heappush(self._checks, (at_ns, run))

    def next_check_ns(self) -> int | None:
        while self._checks and self._next.get(self._checks[0][1]) != self._checks[0][0]:
            heapq.heappop(self._checks)
        return self._checks[0][0] if self._checks else None

    def forget(self, run: str) -> None:
        self._next.pop(run, None)
        known = self._known.pop(run, None)
        if known:
            where, end_ns = known
            self.by_island[where].remove((end_ns, run))
            if not self.by_island[where]:
                del self.by_island[where]
