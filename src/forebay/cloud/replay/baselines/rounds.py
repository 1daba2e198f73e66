"""The policies that decide anew in rounds, with stops: least attained service, max-min fairness, max throughput.

Asked:  every few minutes, who should hold the cards now?
Answer: all jobs stand in one order, by a key that each policy has of its own. Cards are given in this order until none is left;
        who holds some and isn't among them is stopped, who is moved to another chip too. Between two rounds, cards that come
        free are given in the same order, and nobody is stopped. A job that can't resume is never stopped.
Limits: what a move costs isn't weighed against what it brings, as in the papers.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Option
from forebay.cloud.replay.baselines.plain import Known, Plain, Shape
from forebay.units import NS_PER_S

Key = tuple[float, int]


class Rounds(Plain):
    """Jobs in one order, dealt with in rounds."""

    round_s = 300.0

    def __init__(self) -> None:
        super().__init__()
        self._order: list[tuple[Key, str]] = []  # all jobs, running or not
        self._keys: dict[str, Key] = {}
        self._waiting: Counter[Shape] = Counter()
        self._leaving: set[str] = set()  # runs that were asked to stop
        self._planned: list[tuple[Known, Option]] = []
        self._last_ns = 0

    def key(self, known: Known) -> float:
        """Less comes first."""
        raise NotImplementedError

    def options(self, known: Known) -> tuple[Option, ...]:
        """A job's options, best first."""
        return known.job.menu

    def due_ns(self) -> int | None:
        """The next round, as long as somebody waits or would be better off elsewhere."""
        if not self._waiting and not self._would_move():
            return None
        round_ns = int(self.round_s * NS_PER_S)
        return self._last_ns // round_ns * round_ns + round_ns

    def _would_move(self) -> bool:
        return len(self.floor.total) > 1 and any(known.option != self.options(known)[0] for known in self.running.values())

    def arrive(self, known: Known) -> None:
        self._waiting[known.shape] += 1
        self._file(known)

    def leave(self, known: Known) -> None:
        self._unfile(known)

    def schedule(self, now_ns: int, ticked: bool) -> list[e.Event]:
        self._last_ns = now_ns
        if ticked:
            return self._round(now_ns)
        self._leaving &= self.running.keys()
        if self._leaving:
            return []
        decisions: list[e.Event] = []
        for known, option in self._planned:
            if known.job.id in self.jobs and not known.run:
                self._launched(self.launch(known, option, now_ns), known, decisions)
        self._planned = []
        self._fill(now_ns, decisions)
        return decisions

    def _round(self, now_ns: int) -> list[e.Event]:
        for known in self.running.values():
            self.count(known, now_ns)
            self._file(known)
        free = dict(self.floor.total)
        kept: set[str] = set()
        for run, known in self.running.items():
            if not known.job.resumable:
                assert known.option is not None
                free[known.option.chip] -= known.option.cards
                kept.add(run)
        stops: list[Known] = []
        failed: set[Shape] = set()
        self._planned = []
        left = sum(free.values())
        for _, job_id in self._order:
            if not left:
                break
            known = self.jobs[job_id]
            if known.shape in failed or known.run in kept:
                continue
            for option in self.options(known):
                if free[option.chip] >= option.cards:
                    free[option.chip] -= option.cards
                    left -= option.cards
                    if known.option == option:
                        kept.add(known.run)
                    else:
                        self._planned.append((known, option))
                    break
            else:
                failed.add(known.shape)
        stops = [known for run, known in self.running.items() if run not in kept]
        if not stops:
            return self.schedule(now_ns, False)
        self._leaving = {known.run for known in stops}
        return [
            e.StopAsked(at_ns=now_ns, by="forebay", run=known.run, reason="others are next", grace_s=0.0, requeue=True)
            for known in stops
        ]

    def _fill(self, now_ns: int, decisions: list[e.Event]) -> None:
        """Give what is free to those who wait, in order."""
        if not self._waiting or not any(self.floor.free.values()):
            return
        failed: set[Shape] = set()
        for _, job_id in list(self._order):
            known = self.jobs[job_id]
            if known.run or known.shape in failed:
                continue
            for option in self.options(known):
                if self._launched(self.launch(known, option, now_ns), known, decisions):
                    break
            else:
                failed.add(known.shape)
            if len(failed) >= len(self._waiting) or not any(self.floor.free.values()):
                return

    def _launched(self, launched: e.Launched | None, known: Known, decisions: list[e.Event]) -> bool:
        if launched is None:
            return False
        decisions.append(launched)
        self._waiting[known.shape] -= 1
        if not self._waiting[known.shape]:
            del self._waiting[known.shape]
        return True

    def _file(self, known: Known) -> None:
        key = (self.key(known), known.order)
        if self._keys.get(known.job.id) == key:
            return
        self._unfile(known)
        self._keys[known.job.id] = key
        insort(self._order, (key, known.job.id))

    def _unfile(self, known: Known) -> None:
        old = self._keys.pop(known.job.id, None)
        if old is not None:
            del self._order[bisect_left(self._order, (old, known.job.id))]


class LeastAttained(Rounds):
    """Least attained service in two dimensions, cards times time, in queues that end at 1 and 10 card-hours (Tiresias, 2019)."""

    name = "least-attained"
    ends_h = (1.0, 10.0)

    def key(self, known: Known) -> float:
        return sum(known.served >= end_h * 3600 for end_h in self.ends_h)


class MaxMin(Rounds):
    """Max-min fairness of what jobs got, counted in the speed of the chip for each of them (after Gavel, Narayanan 2020).

    The one that got least stands first, so that over the rounds all get the same. Gavel finds shares by a linear program and
    then keeps to them in rounds; this is the same water filled by hand, and it needs no solver.
    """

    name = "max-min"
    round_s = 360.0

    def worth(self, known: Known, option: Option) -> float:
        return option.cards * relative_speed(known, option)

    def key(self, known: Known) -> float:
        return known.served


class MaxThroughput(Rounds):
    """The most work in each round: who loses most by not being on the chip that is fastest for it stands first."""

    name = "max-throughput"
    round_s = 360.0

    def key(self, known: Known) -> float:
        speeds = sorted((relative_speed(known, option) for option in known.job.menu), reverse=True)
        return -(speeds[0] - speeds[1]) if len(speeds) > 1 else 0.0


def relative_speed(known: Known, option: Option) -> float:
    """Of an option, beside the job's fastest; 1 where nobody knows."""
    times = [o.expected_s for o in known.job.menu if o.expected_s]
    return min(times) / option.expected_s if times and option.expected_s else 1.0
