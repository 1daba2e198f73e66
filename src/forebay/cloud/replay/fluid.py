"""How long each job would have taken in a pool that is shared equally at every moment.

    seconds = equal_share_s(jobs, cards)

Asked:  what is a fair time, against which a policy's can be held?
Answer: processor sharing of a fluid. While N jobs are there, each has 1/N of the cards of each chip, but never more cards than it
        asked for in all; with several chips it takes its share of the fastest for it first. It works on all of them at once, at
        the sum of their speeds. The finish-time ratio of a job is its time under a policy over this one: above 1 it would have
        been better off with its equal share. No policy's own queue is in it, so one job has the same fair time under all of them.
Limits: cards are divided without end, nothing is lost by it, and what one job leaves of its share no other gets (as in Themis and
        Shockwave, whose ratio counts with the average number of jobs instead of each moment's).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forebay.cloud.replay.trace import Traced


@dataclass(slots=True)
class _Kind:
    """Jobs of one size and one set of speeds: all of them get on equally fast."""

    speeds: tuple[tuple[str, float], ...]  # chip -> speed beside the fastest, fastest first
    size: int
    done: float = 0.0  # seconds of work on the fastest chip that a job has got since the beginning of time
    left: list[tuple[float, int]] = field(default_factory=list)  # heap of (`done` at which it is through, job)

    def rate(self, shares: Mapping[str, float]) -> float:
        """Seconds of work a second, for a job that has these cards."""
        wants, got = float(self.size), 0.0
        for chip, speed in self.speeds:
            some = min(wants, shares[chip])
            got += some * speed
            wants -= some
        return got / self.size


def equal_share_s(jobs: Sequence[Traced], cards: Mapping[str, int]) -> dict[str, float]:
    """By job, in seconds. An elastic job counts with the size that its owner asked for."""
    kinds: dict[tuple[int, tuple[tuple[str, float], ...]], _Kind] = {}
    took: dict[str, float] = {}
    waiting = sorted(range(len(jobs)), key=lambda i: jobs[i].arrival_s)
    now, many, next_ = 0.0, 0, 0
    while next_ < len(waiting) or many:
        shares = {chip: count / many for chip, count in cards.items()} if many else {}
        moving = [(kind, kind.rate(shares)) for kind in kinds.values() if kind.left]
        step = min(((kind.left[0][0] - kind.done) / rate for kind, rate in moving if rate), default=None)
        arrival = jobs[waiting[next_]].arrival_s if next_ < len(waiting) else None
        if arrival is not None and (step is None or arrival - now <= step):
            _flow(moving, arrival - now)
            now = arrival
            job = jobs[waiting[next_]]
            key, work_s = _kind_of(job)
            kind = kinds.setdefault(key, _Kind(speeds=key[1], size=key[0]))
            heapq.heappush(kind.left, (kind.done + work_s, waiting[next_]))
            many += 1
            next_ += 1
            continue
        assert step is not None
        _flow(moving, step)
        now += step
        for done in _through(moving):
            took[jobs[done].id] = max(now - jobs[done].arrival_s, 1e-9)
            many -= 1
    return took


def _flow(moving: Sequence[tuple[_Kind, float]], seconds: float) -> None:
    for kind, rate in moving:
        kind.done += rate * seconds


def _through(moving: Sequence[tuple[_Kind, float]]) -> Iterator[int]:
    for kind, _ in moving:
        while kind.left and kind.left[0][0] <= kind.done * (1 + 1e-12) + 1e-9:
            yield heapq.heappop(kind.left)[1]


def _kind_of(job: Traced) -> tuple[tuple[int, tuple[tuple[str, float], ...]], float]:
    size = job.lines[job.asked].cards
    times = {line.chip: line.seconds for line in job.lines if line.cards == size}
    fastest = min(times.values())
    speeds = sorted(((chip, round(fastest / seconds, 9)) for chip, seconds in times.items()), key=lambda one: (-one[1], one[0]))
    return (size, tuple(speeds)), fastest
