"""The noun Wishes: what a person wants of a plan, and what they rule out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OBJECTIVES = ("time", "cost", "energy", "cards")
DEGREES = (
    "tensor",
    "stages",
    "context",
    "expert",
    "expert_tensor",
    "chunks",
    "micro_batch",
    "zero",
    "data",
    "replicas",
    "shards",
    "cards",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """An objective and constraints. The search drops what they forbid, and says which wish dropped it.

    Degrees are those of DEGREES: {"tensor": 8} in `most` is "tensor at most 8".
    """

    objective: str = "time"  # one of OBJECTIVES
    deadline_s: float | None = None  # of a step; with "cards", the fewest cards that keep it
    most: Mapping[str, int] = field(default_factory=dict)
    least: Mapping[str, int] = field(default_factory=dict)
    exactly: Mapping[str, int] = field(default_factory=dict)
    schedules: tuple[str, ...] = ()  # allowed ones; (): all
    recompute: tuple[str, ...] = ()  # allowed ones; (): all
    by_stage: bool = False  # stages may recompute differently, even where the framework's arguments have no words for it
    even: bool = False  # stages have as even layers as can be, even where the framework could be told others
    offload: bool = True  # may the optimizer live in the host's memory?
    use_all: bool = True  # plans use every card of the pool; False: they may leave some idle
    framework: str = "megatron"  # which software will run the plan: a name of `plan/framework.py`
    imbalance: float = 1.0  # tokens on the busiest expert card over the mean: 1.0 is forced balance, real routers show 1.1 to 1.2
    spare: float = 0.0  # share of a card's memory that must stay free
