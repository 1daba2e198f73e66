"""A centre's engine as far as the cloud can see it: runs that begin, work, checkpoint, obey or don't, and end in every way.

Asked:  what would a real engine have said, had its nodes, queues and tenants behaved so?
Answer: the same protocol as `centre/spec.py`: a name launched twice is one run; a run goes on while its agent is dead; a stop is
        obeyed within its grace or forced after it. What really happened is told to the world, which knows better than the cloud.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forebay.centre.spec import Artefact, Check, Outcome, Phase, Seen, Spec
from forebay.chips.node import Condition, Node, NodeState

from .time import EPOCH_NS

if TYPE_CHECKING:
    from .world import World

NS = 10**9


@dataclass(slots=True)
class Work:
    """What is true of a run."""

    spec: Spec
    fate: Outcome
    seen: Seen
    runs_s: float  # from its first line to its end, if nothing ends it before
    at_s: float  # when its cards were taken
    began_s: float = math.inf
    stopping: bool = False
    over: bool = False
    exit_code: int = 0
    fails_after_s: float = math.inf
    turn: int = 0  # counts what was planned for it; an older plan is void
    checks: list[Check] = field(default_factory=list)


class Engine:
    def __init__(self, world: World, centre: str, nodes: tuple[Node, ...], has_queue: bool) -> None:
        self.world, self.centre, self.nodes, self.has_queue = world, centre, nodes, has_queue
        self.dice = world.dice(f"engine {centre}")
        self.works: dict[str, Work] = {}
        self.down: dict[str, NodeState] = {}
        self.changed: Callable[[], None] = lambda: None

    def states(self) -> tuple[NodeState, ...]:
        return tuple(self.down.values())

    def handles(self) -> list[str]:
        return list(self.works)

    def look(self, name: str) -> Seen:
        return self.works[name].seen

    def forget(self, name: str) -> None:
        if name in self.works and self.works[name].over:
            del self.works[name]

    def launch(self, spec: Spec) -> None:
        if spec.name in self.works:
            return
        now = self.world.now_s
        truth = self.world.began(self.centre, spec)
        fate = self._fate()
        runs_s = truth.runs_s(spec)
        work = Work(spec, fate, Seen(name=spec.name, phase=Phase.PREPARING, started_at_ns=_ns(now)), runs_s, now)
        self.works[spec.name] = work
        if fate is not Outcome.SUCCEEDED:
            work.fails_after_s = runs_s * self.dice.random()
            work.exit_code = self.dice.choice((1, -9, -11, 137))
        if self.has_queue and self.dice.random() < 0.5:
            work.seen = Seen(name=spec.name, phase=Phase.QUEUED, reason="Priority")
            work.at_s = math.inf
            self._later(work, self.dice.expovariate(10 / self.world.plan.mean_job_s), self._admitted)
        else:
            self._prepare(work)
        self.changed()

    def _fate(self) -> Outcome:
        if self.world.calm or self.dice.random() >= self.world.plan.fault:
            return Outcome.SUCCEEDED
        return self.dice.choices(
            [Outcome.FAILED, Outcome.LOST, Outcome.PREEMPTED, Outcome.UNFIT, Outcome.UNPREPARED, Outcome.REVOKED],
            [6, 3, 3, 1, 1, 1],
        )[0]

    def _admitted(self, work: Work) -> None:
        work.at_s = self.world.now_s
        work.seen = Seen(name=work.spec.name, phase=Phase.PREPARING, started_at_ns=_ns(work.at_s))
        self._prepare(work)
        self.changed()

    def _prepare(self, work: Work) -> None:
        self._later(work, self.dice.random() * min(5.0, self.world.plan.mean_job_s / 20), self._run)

    def _run(self, work: Work) -> None:
        if work.fate is Outcome.UNPREPARED:
            return self._end(work, Outcome.UNPREPARED, reason="no such package")
        share = work.spec.shares[0]
        if work.fate is Outcome.UNFIT or self.dice.random() < 0.1:
            bad = {str(share.cards[0]): "bits flip"} if work.fate is Outcome.UNFIT else {}
            work.checks.append(Check(node=share.node, cards=share.cards, when="before", took_s=1.0, bad=bad))
            if bad:
                return self._end(work, Outcome.UNFIT, reason="a card is bad")
        work.began_s = self.world.now_s
        self._show(work, Phase.RUNNING)
        if work.fate is Outcome.SUCCEEDED:
            self._later(work, work.runs_s, self._done)
        else:
            self._later(work, work.fails_after_s, self._breaks)
        self.changed()
        return None

    def _done(self, work: Work) -> None:
        self._end(work, Outcome.SUCCEEDED)

    def _breaks(self, work: Work) -> None:
        self._end(work, work.fate, exit_code=work.exit_code if work.fate is Outcome.FAILED else None, reason="it broke")

    def stop(self, name: str, grace_s: float) -> None:
        work = self.works.get(name)
        if work is None or work.over:
            return
        if work.stopping and grace_s > 0:
            return
        work.stopping = True
        stubborn = self.dice.random() < self.world.plan.stubborn
        after_s = grace_s if stubborn else min(grace_s, self.dice.random() * grace_s)
        self._later(work, after_s + 0.01, self._stopped)

    def _stopped(self, work: Work) -> None:
        if work.began_s < math.inf and self.dice.random() < 0.05:
            return self._end(work, Outcome.FAILED, exit_code=self.dice.choice((1, -15, 143)), reason="it ended badly when asked")
        return self._end(work, Outcome.STOPPED)

    def lose_node(self, name: str, condition: Condition) -> None:
        """A node dies, or the centre's operator takes it out. Runs on a dead one are lost."""
        self.down[name] = NodeState(name=name, condition=condition, reason="in the simulation")
        if condition is Condition.DOWN:
            for work in list(self.works.values()):
                if not work.over and any(share.node == name for share in work.spec.shares):
                    self._end(work, Outcome.LOST, reason="its node died")
        self.changed()

    def get_node(self, name: str) -> None:
        self.down.pop(name, None)
        self.changed()

    def kill(self, name: str) -> None:
        if name in self.works and not self.works[name].over:
            self._end(self.works[name], Outcome.FAILED, exit_code=-9, reason="killed")

    def _end(self, work: Work, outcome: Outcome, *, exit_code: int | None = None, reason: str = "") -> None:
        now = self.world.now_s
        if work.began_s < math.inf and outcome in (Outcome.FAILED, Outcome.STOPPED) and self.dice.random() < 0.1:
            share = work.spec.shares[-1]
            bad = {str(share.cards[-1]): "ecc"} if self.dice.random() < 0.1 and not self.world.calm else {}
            work.checks.append(Check(node=share.node, cards=share.cards, when="after", took_s=1.0, bad=bad))
        ran_s = now - work.began_s if work.began_s < math.inf else 0.0
        checkpoint_ns = self.world.ended(self.centre, work.spec, outcome, ran_s, stopped=work.stopping)
        held_ns = _ns(now) - _ns(work.at_s) if work.at_s < math.inf else 0
        work.over = True
        work.turn += 1
        artefacts = (
            (Artefact(path="out", size_bytes=10, modified_ns=_ns(now)),) if ran_s > 0 and self.dice.random() < 0.05 else ()
        )
        work.seen = Seen(
            name=work.spec.name,
            phase=Phase.ENDED,
            started_at_ns=_ns(work.at_s) if work.at_s < math.inf else _ns(now),
            running_at_ns=_ns(work.began_s) if work.began_s < math.inf else 0,
            ended_at_ns=_ns(now),
            held_ns=held_ns,
            outcome=outcome,
            exit_code=exit_code,
            reason=reason,
            checkpoint_at_ns=checkpoint_ns,
            checks=tuple(work.checks),
            artefacts=artefacts,
        )
        self.world.held_truly[work.spec.name] = held_ns
        self.changed()

    def _show(self, work: Work, phase: Phase) -> None:
        work.seen = Seen(
            name=work.spec.name,
            phase=phase,
            started_at_ns=_ns(work.at_s),
            running_at_ns=_ns(work.began_s),
            carrier="native",
            checks=tuple(work.checks),
        )

    def _later(self, work: Work, in_s: float, what: Callable[[Work], None]) -> None:
        work.turn += 1
        self.world.loop.call_later(in_s, self._if_still, work, work.turn, what)

    def _if_still(self, work: Work, turn: int, what: Callable[[Work], None]) -> None:
        if not work.over and work.turn == turn:
            what(work)


def _ns(at_s: float) -> int:
    return EPOCH_NS + int(at_s * NS)
