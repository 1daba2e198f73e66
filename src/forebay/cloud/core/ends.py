"""When runs are expected to end, island by island: an index that State keeps, for forecasts."""

from __future__ import annotations

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

    def on(self, chip: str, island: IslandKey) -> Sequence[tuple[int, str]]:
        return self.by_island.get((chip, island), ())

    def expect(self, run: Run, job: Job, island: IslandKey | None) -> None:
        """Note when a run is expected to end, if anybody knows; in the place of what was expected before."""
        self.forget(run.id)
        lasts_s = min((s for s in (run.expected_s, job.time_limit_s) if s is not None), default=None)
        if lasts_s is None or island is None:
            return
        where = (run.allocation.chip, island)
        end_ns = (run.running_at_ns or run.admitted_at_ns or run.launched_at_ns) + int(lasts_s * NS_PER_S)
        self._known[run.id] = (where, end_ns)
        insort(self.by_island.setdefault(where, []), (end_ns, run.id))

    def forget(self, run: str) -> None:
        known = self._known.pop(run, None)
        if known:
            where, end_ns = known
            self.by_island[where].remove((end_ns, run))
            if not self.by_island[where]:
                del self.by_island[where]
