"""The nouns Plan and Menu: how a workload is cut, and the short list to choose from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one workload is cut over chips.

    It says what, never where: no host, no rank, no torch.
    """

    replicas: int
    shards: int
    tensor: int
    stages: tuple[str, ...]  # the chip under each pipeline stage; stages may differ

    def need(self) -> dict[str, int]:
        """Cards to ask of the queue, by chip: {"h100-sxm": 16, "mi300x": 8}."""
        a_stage = self.replicas * self.shards * self.tensor
        return {chip: n * a_stage for chip, n in Counter(self.stages).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A plan with what the planner expects of it."""

    plan: Plan
    seconds_a_step: float
    memory_bytes: int  # on the fullest card


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """At most five choices, best first. The scheduler takes one; it never asks for another."""

    choices: tuple[Choice, ...]
