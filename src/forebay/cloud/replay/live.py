"""Jobs of a trace through the live cloud: the real loop over a real journal, in real time, with simulated runs.

    told = await Live(loop, jobs, nodes).run()

Asked:  does the whole keep up, with every fact and decision safe on disk before anybody is answered?
Answer: jobs are submitted when the trace says, as many as are due at once. An engine of a few lines watches what the cloud wants
        at its centre, as an agent does, lets each run last as long as the trace says, and tells of its start and end.
Limits: no HTTP and no processes: the loop's own door is asked. A run that is stopped ends at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from forebay.chips.node import Node
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Run
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body, Loop
from forebay.cloud.replay.opening import CENTRE, opening
from forebay.cloud.replay.trace import Settings, Tenant, Traced, can_resume, job_of
from forebay.units import NS_PER_S

AT_ONCE = 512  # submissions that are under way


@dataclass(slots=True)
class Told:
    """What came of it."""

    begun_ns: int = 0
    over_ns: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    card_ns: int = 0  # held by runs
    stops: int = 0
    admitted_s: dict[str, list[float]] = field(default_factory=dict)  # by the jobs' name: from submission to the first launch


class Live:
    """One go. `run` may be called once; the loop must be running, over an empty journal."""

    def __init__(
        self,
        loop: Loop,
        jobs: Sequence[Traced],
        nodes: Sequence[Node],
        *,
        tenants: Sequence[Tenant] = (),
        settings: Settings | None = None,
        known: bool = False,
    ) -> None:
        self._loop = loop
        self._jobs = sorted(jobs, key=lambda job: job.arrival_s)
        self._nodes = nodes
        self._tenants = tenants
        self._settings = settings or Settings()
        self._known = known
        self._of = {job.id: job for job in self._jobs}
        self._done = {job.id: 0.0 for job in self._jobs}  # seconds of work that are kept
        self._runs: dict[str, asyncio.TimerHandle | None] = {}  # None: it is ending
        self._began: dict[str, float] = {}
        self._telling: set[asyncio.Task[Body]] = set()
        self._broken: list[asyncio.Task[Body]] = []
        self._over = 0
        self._told = Told()

    async def run(self) -> Told:
        told, began, cpu = self._told, time.monotonic(), time.process_time()
        for fact in opening(self._jobs, self._nodes, self._tenants, self._settings):
            await self._loop.tell(partial(_now, fact))
        told.begun_ns = self._loop.clock.now_ns()
        engine = asyncio.create_task(self._engine())
        submitting = asyncio.create_task(self._submit(told.begun_ns))
        while self._over < len(self._jobs):
            await asyncio.sleep(0.05)
            for task in (engine, submitting, *self._broken):
                if task.done():
                    task.result()  # raises what broke it
        told.over_ns = self._loop.clock.now_ns()
        engine.cancel()
        await asyncio.gather(*self._telling)
        told.wall_s, told.cpu_s = time.monotonic() - began, time.process_time() - cpu
        for standing in self._loop.state.t.jobs.values():
            first = self._loop.state.t.runs[standing.runs[0]]
            waited_s = (first.launched_at_ns - standing.submitted_at_ns) / NS_PER_S
            told.admitted_s.setdefault(standing.job.name, []).append(waited_s)
        return told

    async def _submit(self, begun_ns: int) -> None:
        """Each when it is due; those that are due already, together."""
        begun = time.monotonic()
        under_way = asyncio.Semaphore(AT_ONCE)
        for traced in self._jobs:
            early_s = traced.arrival_s - (time.monotonic() - begun)
            if early_s > 0:
                await asyncio.sleep(early_s)
            await under_way.acquire()
            job = job_of(traced, self._settings, self._known, begun_ns)
            task = self._tell(e.Submitted(at_ns=0, by="replay", job=job))
            task.add_done_callback(lambda _: under_way.release())

    async def _engine(self) -> None:
        """What an agent does: start what is wanted and not there, stop what is to stop."""
        seen = -1
        while True:
            self._loop.hear(CENTRE)
            version = self._loop.version(CENTRE)
            if version == seen:
                await self._loop.changed(0.5)
                continue
            seen = version
            for run in self._loop.wanted(CENTRE):
                if run.id not in self._runs:
                    self._start(run)
                elif run.stop and (timer := self._runs[run.id]):
                    timer.cancel()
                    self._end(run, "preempted" if run.requeue else "stopped")

    def _start(self, run: Run) -> None:
        traced = self._of[run.job]
        line = next(one for one in traced.lines if (one.chip, one.cards) == (run.allocation.chip, run.allocation.cards))
        restart_s = self._settings.restart_s if run.attempt > 1 else 0.0
        lasts_s = restart_s + max(0.0, line.seconds - self._done[run.job])
        self._began[run.id] = time.monotonic() + restart_s
        self._tell(e.Started(at_ns=0, by=f"centre {CENTRE}", run=run.id))
        self._runs[run.id] = asyncio.get_running_loop().call_later(lasts_s, self._end, run, "succeeded")

    def _end(self, run: Run, outcome: str) -> None:
        self._runs[run.id] = None
        held_s = time.monotonic() - self._began.pop(run.id)
        held_ns = max(0, int(held_s * NS_PER_S))
        resumes = can_resume(self._of[run.job], self._settings)
        self._told.card_ns += held_ns * run.allocation.cards
        if outcome != "succeeded":
            self._told.stops += 1
            self._done[run.job] = self._done[run.job] + max(0.0, held_s) if resumes else 0.0
        ended = e.Ended(
            at_ns=0,
            by=f"centre {CENTRE}",
            run=run.id,
            outcome=outcome,
            held_ns=held_ns,
            lost_ns=0 if resumes or outcome == "succeeded" else held_ns,
            exit_code=0 if outcome == "succeeded" else None,
            checkpointed=resumes and outcome != "succeeded",
        )
        task = self._tell(ended)
        if outcome != "preempted":
            task.add_done_callback(lambda _: self._count())

    def _count(self) -> None:
        self._over += 1

    def _tell(self, fact: e.Event) -> asyncio.Task[Body]:
        task = asyncio.create_task(self._loop.tell(partial(_now, fact)))
        self._telling.add(task)
        task.add_done_callback(self._answered)
        return task

    def _answered(self, task: asyncio.Task[Body]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and task.exception():
            self._broken.append(task)


def _now(fact: e.Event, state: State, now_ns: int) -> tuple[e.Event | None, Body]:
    """The fact, with the cloud's own time; none where its run is over already."""
    if isinstance(fact, (e.Started, e.Ended)) and state.t.runs[fact.run].outcome:
        return None, {}
    return replace(fact, at_ns=now_ns), {}
