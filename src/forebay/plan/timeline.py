"""The noun Timeline, and the simulation that makes it: when does each pass of a pipeline run?

Asked:  a schedule, the seconds of each pass on each stage and chunk, of a send to the next stage, and the micro-batches.
Answer: passes start when their stage is free and what they need has arrived, in the schedule's order (`plan/orders.py`).
        Weight gradients that are passes of their own keep the places that they get when all passes take equally long: as soon
        as a gap takes a whole one, when the stage may hold no more activations, and at the end (decisions/0116).
        One visit a pass: 32,768 passes (16 stages x 8 chunks x 128 micro-batches) take 0.1 s.
Units:  seconds; sends are one per border between neighbours, the last one (last stage to first) for interleaved schedules.
Limits: a send delays what waits for it and costs neither side any work; two sends over one border don't delay each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from forebay.errors import BadInput
from forebay.plan.orders import BACKWARD, FORWARD, SPLIT, WEIGHT, Pass, check, limit, order, place

Rows = Sequence[Sequence[float]]  # [stage][chunk]

KINDS = ("forward", "backward", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What each stage of a pipeline does when, in one step. The columns have one entry a pass, stage by stage, in time's order.

    It knows passes only: no gradient reduction, no optimizer.
    """

    schedule: str
    stages: int
    chunks: int
    micro_batches: int
    stage: tuple[int, ...]
    chunk: tuple[int, ...]
    micro_batch: tuple[int, ...]
    kind: tuple[int, ...]  # index into KINDS
    start_s: tuple[float, ...]
    end_s: tuple[float, ...]
    busy_s: tuple[float, ...]  # of each stage
    in_flight: tuple[int, ...]  # the most activations that each stage holds, in chunk-micro-batches
    seconds: float  # from the first start to the last end
    period_s: float  # from one step's start to the next where no stage waits for all (arXiv 2401.10241, section 4)

    @property
    def idle(self) -> tuple[float, ...]:
        """The share of the step in which each stage does nothing."""
        return tuple(1 - busy / self.seconds for busy in self.busy_s) if self.seconds else (0.0,) * self.stages


def timeline(
    schedule: str,
    micro_batches: int,
    forward: Rows,
    backward: Rows,
    weight: Rows,
    send: Sequence[float] = (),
) -> Timeline:
    """Simulate one step. Seconds are [stage][chunk], of one micro-batch; `backward` is for the input's gradient, `weight` for
    the weights'. Raises BadInput where the schedule has no such shape.
    """
    stages, chunks = len(forward), len(forward[0]) if forward else 0
    check(schedule, stages, chunks, micro_batches)
    sends = list(send) or [0.0] * stages
    if len(sends) not in (stages - 1, stages):
        raise BadInput("There is one send a border between stages.", asked=f"{len(sends)} for {stages} stages")
    seconds = (forward, backward, weight)
    if schedule not in SPLIT:
        seconds = (forward, [[x + y for x, y in zip(*one, strict=True)] for one in zip(backward, weight, strict=True)], weight)
    runs = _Runs(schedule, whole_order(schedule, stages, chunks, micro_batches), micro_batches, seconds, [*sends, 0.0][:stages])
    runs.go()
    return runs.told()


@lru_cache(maxsize=64)
def whole_order(schedule: str, stages: int, chunks: int, micro_batches: int) -> tuple[tuple[Pass, ...], ...]:
    """All passes of each stage, first to last, with the weight gradients of schedules that have them apart."""
    orders = tuple(tuple(order(schedule, stages, chunks, micro_batches, i)) for i in range(stages))
    if schedule not in SPLIT:
        return orders
    equal = ((1.0,) * chunks,) * stages
    runs = _Runs(schedule, orders, micro_batches, (equal, equal, equal), [0.0] * stages)
    runs.most = limit(schedule, stages, micro_batches)
    runs.go()
    return tuple(tuple((kind, chunk, j) for _, _, kind, chunk, j in rows) for rows in runs.rows)


class _Runs:
    """Where each stage stands. Lives for one simulation."""

    def __init__(
        self,
        schedule: str,
        orders: Sequence[Sequence[Pass]],
        micro_batches: int,
        seconds: tuple[Rows, Rows, Rows],
        send: list[float],
    ) -> None:
        p, v, m = len(orders), len(seconds[0][0]), micro_batches
        self.schedule, self.orders, self.micro_batches, self.seconds = schedule, orders, m, seconds
        self.stages, self.chunks, self.split = p, v, schedule in SPLIT
        self.most = 0  # activations that a stage may hold; 0: weight gradients stand in the orders
        self.places = [[place(schedule, p, i, c) for c in range(v)] for i in range(p)]
        self.stage_at = {q: i for i, row in enumerate(self.places) for q in row}
        # seconds from place q to place q + 1
        at = self.stage_at
        self.hop = [self._send(send, at[q], at[q + 1]) for q in range(p * v - 1)]
        self.ends = tuple([[-1.0] * m for _ in range(p * v)] for _ in range(2))
        self.next, self.clock, self.busy = [0] * p, [0.0] * p, [0.0] * p
        self.held, self.most_held = [0] * p, [0] * p
        self.waiting: list[list[tuple[int, int]]] = [[] for _ in range(p)]  # weight gradients: chunk, micro-batch
        self.rows: list[list[tuple[float, float, int, int, int]]] = [[] for _ in range(p)]

    def _send(self, send: list[float], a: int, b: int) -> float:
        return 0.0 if a == b else send[max(a, b) if abs(a - b) > 1 else min(a, b)]

    def go(self) -> None:
        todo = list(range(self.stages))
        while todo:
            todo += self.go_on(todo.pop())
        if any(self.next[i] < len(self.orders[i]) for i in range(self.stages)):
            raise BadInput(
                "These passes wait for each other.",
                asked=f"{self.schedule}, {self.stages} stages, {self.chunks} chunks, {self.micro_batches} micro-batches",
                hint=f"micro-batches in multiples of {self.stages}",
            )

    def go_on(self, i: int) -> list[int]:
        """Run the stage as far as it can go; the stages that may go on because of it."""
        todo, places = self.orders[i], self.places[i]
        woken: set[int] = set()
        last = self.stages * self.chunks - 1
        while self.next[i] < len(todo):
            kind, chunk, j = todo[self.next[i]]
            if kind == WEIGHT:
                self._run(i, (kind, chunk, j), 0.0)
                self.next[i] += 1
                continue
            q = places[chunk]
            if kind == FORWARD:
                ready = 0.0 if q == 0 else self.ends[FORWARD][q - 1][j]
                hop = self.hop[q - 1] if q else 0.0
                after = q + 1
            else:
                ready = self.ends[FORWARD][q][j] if q == last else self.ends[BACKWARD][q + 1][j]
                hop = 0.0 if q == last else self.hop[q]
                after = q - 1
            if ready < 0:
                return list(woken)
            if self.most:
                self._weights(i, kind, ready + hop)
            self.ends[kind][q][j] = self._run(i, (kind, chunk, j), ready + hop)
            self.next[i] += 1
            if 0 <= after <= last and self.stage_at[after] != i:
                woken.add(self.stage_at[after])
        while self.waiting[i]:
            self._weight(i)
        return list(woken)

    def _weights(self, i: int, kind: int, ready: float) -> None:
        """Run weight gradients before the next pass: where it finds no room, or must wait longer than one of them takes."""
        queue, took = self.waiting[i], self.seconds[WEIGHT][i]
        while queue and (
            (kind == FORWARD and self.held[i] >= self.most) or ready - self.clock[i] >= took[queue[0][0]] * (1 - 1e-9)
        ):
            self._weight(i)

    def _weight(self, i: int) -> None:
        chunk, j = self.waiting[i].pop(0)
        self._run(i, (WEIGHT, chunk, j), 0.0)

    def _run(self, i: int, one: Pass, ready: float) -> float:
        kind, chunk, j = one
        took = self.seconds[kind][i][chunk]
        start = max(ready, self.clock[i])
        self.clock[i] = end = start + took
        self.busy[i] += took
        self.rows[i].append((start, end, kind, chunk, j))
        if kind == FORWARD:
            self.held[i] += 1
            self.most_held[i] = max(self.most_held[i], self.held[i])
        elif kind == BACKWARD and self.split:
            if self.most:
                self.waiting[i].append((chunk, j))
        else:
            self.held[i] -= 1
        return end

    def told(self) -> Timeline:
        flat = [(i, *row) for i, rows in enumerate(self.rows) for row in rows]
        stage, start, end, kind, chunk, j = zip(*flat, strict=True)
        return Timeline(
            schedule=self.schedule,
            stages=self.stages,
            chunks=self.chunks,
            micro_batches=self.micro_batches,
            stage=stage,
            chunk=chunk,
            micro_batch=j,
            kind=kind,
            start_s=start,
            end_s=end,
            busy_s=tuple(self.busy),
            in_flight=tuple(self.most_held),
            seconds=max(self.clock),
            period_s=max(rows[-1][1] - rows[0][0] for rows in self.rows),
        )
