"""Who decides in a replay: the core that runs live, or one of the baselines beside it.

Asked:  what does a policy have to offer, so that a trace can be run through it?
Answer: `tell` it a fact and it returns its decisions; `due_ns` says when time alone may make it decide something next. Between
        facts nothing happens before that, so a month of a quiet pool costs nothing.
"""

from __future__ import annotations

from typing import Protocol

from forebay.cloud.core import decide as core
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State


class Decider(Protocol):
    """A policy under trial."""

    def tell(self, fact: e.Event) -> list[e.Event]:
        """Fold a fact; return the decisions that follow, folded too."""

    def due_ns(self) -> int | None:
        """When a Tick may decide something next; None: only a fact can."""


class Foretelling(Protocol):
    """A policy that can say when a waiting job will start."""

    def forecast_ns(self, job: str, now_ns: int) -> tuple[int, int, int] | None:
        """At the soonest, likely, at the latest. None: nobody knows."""


class Core:
    """The very core that runs live: the same `decide` on the same kind of State."""

    def __init__(self) -> None:
        self.state = State()

    def tell(self, fact: e.Event) -> list[e.Event]:
        return core.decide(self.state, fact)

    def due_ns(self) -> int | None:
        return core.due_ns(self.state)

    def forecast_ns(self, job: str, now_ns: int) -> tuple[int, int, int] | None:
        return core.forecast_ns(self.state, job, now_ns)
