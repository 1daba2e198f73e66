"""Who decides in a replay: the core that runs live, or one of the baselines beside it.

Asked:  what does a policy have to offer, so that a trace can be run through it?
Answer: `tell` it a fact and it returns its decisions; `due_ns` says when time alone may make it decide something next. Between
        facts nothing happens before that, so a month of a quiet pool costs nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Protocol

from forebay.cloud.core import decide as core
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S


class Decider(Protocol):
    """A policy under trial."""

    def tell(self, fact: e.Event) -> list[e.Event]:
        """Fold a fact; return the decisions that follow, folded too."""

    def due_ns(self) -> int | None:
        """When a Tick may decide something next; None: only a fact can."""


class Foretelling(Protocol):
    """A policy that can say when a waiting job will start."""

    def forecast_ns(self, job: str, now_ns: int) -> int | None:
        """None: nobody knows."""


class Core:
    """The very core that runs live: the same `decide` on the same kind of State."""

    def __init__(self) -> None:
        self.state = State()
        self._due: Callable[[State], int | None] | None = getattr(core, "due_ns", None)
        self._later: list[int] = []  # until the core says itself when it is due: ends of back-offs and of time limits

    def tell(self, fact: e.Event) -> list[e.Event]:
        decisions = core.decide(self.state, fact)
        if self._due is None:
            for event in (fact, *decisions):
                self._note(event)
        return decisions

    def due_ns(self) -> int | None:
        if self._due is not None:
            return self._due(self.state)
        while self._later and self._later[0] <= self.state.t.last_at_ns:
            heapq.heappop(self._later)
        return self._later[0] if self._later else None

    def forecast_ns(self, job: str, now_ns: int) -> int | None:
        """What the core foretells, once it does: `decide.forecast_ns(state, job, now_ns)`."""
        foretell: Callable[[State, str, int], int | None] | None = getattr(core, "forecast_ns", None)
        return foretell(self.state, job, now_ns) if foretell else None

    def _note(self, event: e.Event) -> None:
        match event:
            case e.Requeued(not_before_ns=at_ns) if at_ns > event.at_ns:
                heapq.heappush(self._later, at_ns)
            case e.Started(run=run):
                limit_s = self.state.t.jobs[self.state.t.runs[run].job].job.time_limit_s
                if limit_s is not None:
                    heapq.heappush(self._later, event.at_ns + int(limit_s * NS_PER_S) + 1)
            case _:
                pass
