"""The nouns Plan, Choice and Menu: how a workload is cut, and the short list to choose from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay.plan.model import Workload
from forebay.plan.pool import Pool
from forebay.plan.wishes import Wishes

SCHEDULES = ("1f1b", "interleaved", "zb-1p", "zb-2p", "zb-v", "v-half", "v-min")
RECOMPUTE = ("none", "selective", "full")
OFFLOAD = ("none", "optimizer")
INNER = ("data", "stages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one workload is cut over chips.

    It says what, never where: no host, no rank, no torch. Ranks count tensor fastest, then context, then data, then stages, as
    Megatron-LM does, or with `inner` stages before data; experts lie inside tensor x context x data of one stage.
    """

    replicas: int  # copies of the (sharded) model: the outer data degree of HSDP
    shards: int  # data degree over which ZeRO cuts the states; data degree in all = replicas x shards
    tensor: int
    stages: tuple[str, ...]  # the chip under each pipeline stage; stages may differ. Where a pool has a chip twice: Pool.kinds
    context: int = 1
    expert: int = 1
    expert_tensor: int = 1  # tensor degree inside an expert
    layers: tuple[int, ...] = ()  # layers of each stage, embedding and loss not counted; (): as even as can be
    ends: bool = False  # the embedding and the loss take a layer's place when stages are cut (Llama 3, arXiv 2407.21783, 3.3.2)
    chunks: int = 1  # model pieces a stage holds (virtual stages, Megatron's vpp)
    schedule: str = "1f1b"  # one of SCHEDULES
    micro_batch: int = 1  # sequences that go through together, on one data rank
    zero: int = 1  # 0: nothing, 1: optimizer, 2: gradients too, 3: weights too are cut over `shards`
    sequence_parallel: bool = True  # the norms' activations are cut over the tensor degree
    context_kind: str = "ring"  # or "ulysses"
    recompute: tuple[str, ...] = ("none",)  # of each stage, or one for all; each one of RECOMPUTE
    offload: str = "none"  # one of OFFLOAD: what lives in the host's memory
    inner: str = "data"  # one of INNER: whose ranks are nearer to each other
    shares: tuple[int, ...] = ()  # micro-batches of each data rank where they differ; (): even
    data_chips: tuple[str, ...] = ()  # the chip under each data rank, where data ranks have different ones and `stages` don't

    @property
    def data(self) -> int:
        return self.replicas * self.shards

    @property
    def cards(self) -> int:
        return self.data * self.context * self.tensor * len(self.stages)

    def micro_batches(self, sequences: int) -> int:
        """Micro-batches that a data rank runs in a step of so many sequences (the most, where shares differ)."""
        return max(self.shares) if self.shares else sequences // (self.data * self.micro_batch)

    def recomputed(self, stage: int) -> str:
        return self.recompute[stage] if len(self.recompute) > 1 else self.recompute[0]

    def need(self) -> dict[str, int]:
        """Cards to ask of the queue, by chip: {"h100-sxm": 16, "mi300x": 8}."""
        if self.data_chips:
            a_rank = self.context * self.tensor * len(self.stages)
            return {chip: n * a_rank for chip, n in Counter(self.data_chips).items()}
        a_stage = self.data * self.context * self.tensor
        return {chip: n * a_stage for chip, n in Counter(self.stages).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one card of a stage holds, at the worst moment, in bytes."""

    weights: int
    gradients: int
    optimizer: int
    activations: int  # in flight, by the schedule
    buffers: int  # gathered weights, communication, the loss's working space
    reserve: int  # what the driver, the libraries and fragmentation take

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers + self.reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A plan with what the planner expects of it."""

    plan: Plan
    seconds_a_step: float
    memory_bytes: int  # on the fullest card
    low_s: float = 0.0  # the 80 % interval of a step's seconds; 0.0 and 0.0: none was made
    high_s: float = 0.0
    tokens_per_s: float = 0.0
    mfu: float = 0.0  # of the chips' dense peaks in the workload's format; attention counted in full, nothing recomputed
    parts: Mapping[str, float] = field(default_factory=dict)  # where the seconds go; they add up to seconds_a_step
    memory: tuple[Memory, ...] = ()  # of each stage
    cost_a_step: int | None = None  # micro-units of the currency; None: a chip of the plan has no price
    cost_a_trillion_tokens: int | None = None
    currency: str = ""
    joules_a_step: float | None = None  # None: a chip of the plan has no power figure
    tier: str = "data sheet"  # what the figures rest on: "data sheet", "kernel tables", "a measured run", "a layer benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A plan that isn't on the menu, and why."""

    plan: Plan
    why: str  # in words, with the figure: "needs 96 GB a card, an h100-sxm has 80"
    seconds_a_step: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """What would change the best plan's step: "twice the network": 0.92 means 8 % shorter."""

    change: str
    seconds_a_step: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """At most five choices, best first, and the question that they answer. The scheduler takes one; it never asks for another."""

    choices: tuple[Choice, ...]
    workload: Workload | None = None
    objective: str = "time"  # or "cost", "energy", "cards"
    searched: int = 0  # plans that were priced
    dropped: tuple[Dropped, ...] = ()  # the next ten
    helps: tuple[Help, ...] = ()
    exact: str = ""  # what of the search is exact, and what was left out
    pool: Pool | None = None  # the cards that were asked for; None: written by a Forebay that didn't keep it
    wishes: Wishes | None = None  # what was wished, the framework among it; None: as `pool`
