"""Who waits and who could make way, in order: two indexes that State keeps.

Asked:  of ten thousand jobs that wait, which are worth a look; of the runs that could be stopped, which should go first?
Answer: jobs of one account that want the same (chips and counts, priority) stand in one lane, by their tags: where its first
        gets no cards, the others of the lane don't either. Runs stand by chip and account, those with the latest tags last.
Limits: a lane is one sorted list: right for hundreds of thousands of jobs.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from forebay.cloud.core.job import Job

Needs = tuple[tuple[str, int], ...]
"""The chips and counts of a menu."""
Lane = tuple[str, str, int, bool, Needs]
"""Organisation, project, priority, whether its jobs can be stopped and go on later, and what they need."""


@dataclass(slots=True)
class Waiting:
    """The lanes."""

    lanes: dict[Lane, list[tuple[float, int, str]]] = field(default_factory=dict)  # (tag, order, job)
    by_chip: dict[str, dict[Lane, None]] = field(default_factory=dict)
    by_organisation: dict[str, dict[Lane, None]] = field(default_factory=dict)
    later: list[tuple[int, str]] = field(default_factory=list)  # (when, job): those that wait out a pause, sorted
    count: int = 0

    def add(self, job: Job, tag: float, order: int) -> None:
        lane = lane_of(job)
        queue = self.lanes.get(lane)
        if queue is None:
            queue = self.lanes[lane] = []
            for chip, _ in lane[4]:
                self.by_chip.setdefault(chip, {})[lane] = None
            self.by_organisation.setdefault(job.organisation, {})[lane] = None
        insort(queue, (tag, order, job.id))
        self.count += 1

    def remove(self, job: Job, tag: float, order: int) -> None:
        lane = lane_of(job)
        queue = self.lanes[lane]
        del queue[bisect_left(queue, (tag, order, job.id))]
        if not queue:
            del self.lanes[lane]
            for chip in {chip for chip, _ in lane[4]}:
                del self.by_chip[chip][lane]
            del self.by_organisation[job.organisation][lane]
        self.count -= 1

    def jobs(self) -> Iterator[str]:
        """All of them, those too that wait out a pause."""
        for queue in self.lanes.values():
            yield from (job for *_, job in queue)
        yield from (job for _, job in self.later)

    def of(self, organisation: str) -> Iterable[Lane]:
        return self.by_organisation.get(organisation, ())

    def on(self, chips: set[str] | None) -> Iterator[Lane]:
        """The lanes that want one of these chips; None: all."""
        if chips is None:
            yield from self.lanes
        elif len(chips) == 1:
            yield from self.by_chip.get(next(iter(chips)), ())
        else:
            yield from dict.fromkeys(lane for chip in chips for lane in self.by_chip.get(chip, ()))


Standby = tuple[str, str, str]
"""Chip, organisation, project."""


@dataclass(slots=True)
class Running:
    """The runs that could be stopped: of each chip and account, in order, the one to go first last."""

    lists: dict[str, dict[Standby, list[tuple[int, float, str]]]] = field(
        default_factory=dict
    )  # chip -> ... (-priority, tag, run)
    ranks: dict[int, int] = field(default_factory=dict)  # priority -> runs that have it
    _known: dict[str, tuple[Standby, tuple[int, float, str]]] = field(default_factory=dict)

    def add(self, run: str, chip: str, job: Job, tag: float) -> None:
        key, line = (chip, job.organisation, job.project), (-job.priority, tag, run)
        insort(self.lists.setdefault(chip, {}).setdefault(key, []), line)
        self._known[run] = (key, line)
        self.ranks[job.priority] = self.ranks.get(job.priority, 0) + 1

    def remove(self, run: str) -> None:
        known = self._known.pop(run, None)
        if known is None:
            return
        key, line = known
        if self.ranks[-line[0]] == 1:
            del self.ranks[-line[0]]
        else:
            self.ranks[-line[0]] -= 1
        lines = self.lists[key[0]][key]
        del lines[bisect_left(lines, line)]
        if not lines:
            del self.lists[key[0]][key]

    def __contains__(self, run: str) -> bool:
        return run in self._known

    def on(self, chip: str) -> Mapping[Standby, list[tuple[int, float, str]]]:
        return self.lists.get(chip, {})


def lane_of(job: Job) -> Lane:
    return job.organisation, job.project, job.priority, job.resumable, tuple((o.chip, o.cards) for o in job.menu)
