"""First come first served, and backfill: the two that run most of the world's clusters."""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Option
from forebay.cloud.replay.baselines.plain import Known, Plain, Shape
from forebay.units import NS_PER_S

DEEPEST = 500  # waiting jobs that are tried behind a reservation, as Slurm's bf_max_job_test


class FirstCome(Plain):
    """Strictly in the order of arrival: who finds no room holds back all others."""

    name = "first-come"

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[Known] = deque()

    def arrive(self, known: Known) -> None:
        self._queue.append(known)

    def schedule(self, now_ns: int, ticked: bool) -> list[e.Event]:
        decisions: list[e.Event] = []
        while self._queue:
            launched = self.launch_first(self._queue[0], now_ns)
            if not launched:
                break
            self._queue.popleft()
            decisions.append(launched)
        return decisions


class Backfill(Plain):
    """Who finds no room is passed by those who do.

    Where times are known, as EASY does it (Lifka 1995): the first who finds no room has a reservation, and only those pass who
    end before it or need none of its cards. Where they aren't, anybody may pass, and a wide job waits until it happens to fit.
    """

    name = "backfill"

    def __init__(self) -> None:
        super().__init__()
        self._by_shape: dict[Shape, deque[Known]] = {}
        self._timed: list[tuple[int, Known]] = []
        self._is_timed = False

    def arrive(self, known: Known) -> None:
        if all(option.expected_s is not None for option in known.job.menu):
            self._is_timed = True
            self._timed.append((known.order, known))
        else:
            self._by_shape.setdefault(known.shape, deque()).append(known)

    def schedule(self, now_ns: int, ticked: bool) -> list[e.Event]:
        decisions = self._greedy(now_ns)
        return [*decisions, *self._easy(now_ns)] if self._is_timed else decisions

    def _greedy(self, now_ns: int) -> list[e.Event]:
        decisions: list[e.Event] = []
        heads = [(queue[0].order, shape) for shape, queue in self._by_shape.items()]
        heapq.heapify(heads)
        while heads:
            _, shape = heapq.heappop(heads)
            queue = self._by_shape[shape]
            launched = self.launch_first(queue[0], now_ns)
            if not launched:
                continue
            decisions.append(launched)
            queue.popleft()
            if queue:
                heapq.heappush(heads, (queue[0].order, shape))
            else:
                del self._by_shape[shape]
        return decisions

    def _easy(self, now_ns: int) -> list[e.Event]:
        decisions: list[e.Event] = []
        while self._timed:
            launched = self.launch_first(self._timed[0][1], now_ns)
            if not launched:
                break
            decisions.append(launched)
            del self._timed[0]
        if len(self._timed) < 2 or not any(self.floor.free.values()):
            return decisions
        chip, from_ns, spare = self._reserve(self._timed[0][1], now_ns)
        gone = []
        for place, (_, known) in enumerate(self._timed[1 : DEEPEST + 1], 1):
            for option in known.job.menu:
                assert option.expected_s is not None
                within = now_ns + option.expected_s * NS_PER_S <= from_ns
                if option.chip == chip and not within and option.cards > spare:
                    continue
                launched = self.launch(known, option, now_ns)
                if launched:
                    decisions.append(launched)
                    gone.append(place)
                    if option.chip == chip and not within:
                        spare -= option.cards
                    break
        for place in reversed(gone):
            del self._timed[place]
        return decisions

    def _reserve(self, known: Known, now_ns: int) -> tuple[str, int, int]:
        """Where and from when the first job will run, and how many cards of that chip it will leave over then."""
        ends: dict[str, list[tuple[int, int]]] = {}
        for run in self.running.values():
            assert run.option is not None
            expected_s = run.option.expected_s or 0.0
            insort(ends.setdefault(run.option.chip, []), (run.began_ns + int(expected_s * NS_PER_S), run.option.cards))
        best: tuple[float, str, int, int] | None = None
        for option in known.job.menu:
            at_ns, left = self._shadow(option, ends.get(option.chip, []), now_ns)
            done_ns = at_ns + (option.expected_s or 0.0) * NS_PER_S
            if best is None or done_ns < best[0]:
                best = (done_ns, option.chip, at_ns, left)
        assert best is not None
        return best[1:]

    def _shadow(self, option: Option, ends: list[tuple[int, int]], now_ns: int) -> tuple[int, int]:
        free = self.floor.free.get(option.chip, 0)
        at_ns = now_ns
        for end_ns, cards in ends:
            if free >= option.cards:
                break
            free += cards
            at_ns = max(end_ns, now_ns)
        return at_ns, free - option.cards
