"""The nouns of serving: what is asked (ServingTarget), how it is cut (ServingPlan), what is expected of it (ServingChoice)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forebay.plan.model import Model

ENGINES = ("vllm", "sglang", "trtllm")
FORMATS = ("bf16", "fp8", "fp8_block", "nvfp4", "mxfp4", "int4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Number formats of a served model.

    Four-bit checkpoints of mixtures (NVFP4, MXFP4, INT4) hold their attention in bf16: `formats` knows.
    """

    dense: str = "bf16"  # of attention's and plain MLPs' weights
    experts: str = "bf16"  # of routed experts' weights
    cache: str = "bf16"  # of keys and values


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTarget:
    """Requests of one length, and how long a person may wait.

    A target without times asks for the most tokens a second a card.
    """

    model: Model
    formats: Formats
    input_tokens: int
    output_tokens: int
    first_s: float | None = None  # time to first token, at most
    token_s: float | None = None  # time per output token, at most
    requests_per_s: float | None = None  # of the whole pool, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """How an engine is cut over cards, and how many sequences it serves at once.

    An engine has tensor x stages x data cards. With data > 1 each rank does all attention of its own sequences ("attention-DP"),
    and expert x expert_tensor = tensor x data.
    """

    tensor: int
    batch: int  # sequences that an engine holds, over all its data ranks
    data: int = 1
    stages: int = 1
    expert: int = 1
    expert_tensor: int = 1
    workers: int = 1  # engines of this kind

    @property
    def cards(self) -> int:
        """Of all workers."""
        return self.tensor * self.data * self.stages * self.workers


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingChoice:
    """One or two kinds of engines with what the planner expects of them."""

    chip: str
    decode: ServingPlan  # the engines that make tokens; without `prefill` they also read the prompts
    prefill: ServingPlan | None = None  # engines that only read prompts (disaggregated)
    first_s: float  # time to first token, mean
    token_s: float  # time per output token after the first, mean
    first_low_s: float = 0.0  # 80 % interval
    first_high_s: float = 0.0
    token_low_s: float = 0.0
    token_high_s: float = 0.0
    requests_per_s: float = 0.0
    tokens_per_s_card: float = 0.0  # output tokens
    memory_bytes: int = 0  # of the fullest card: weights, cache of the whole batch, working space
    cards: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)  # where token_s goes; they add up to it
    tier: str = "data sheet"
    prefill_chip: str = ""  # where prompts are read on cards of another kind
    moved_s: float = 0.0  # of first_s: a prompt's cache on its way from one engine to the other


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMenu:
    """At most five choices, best first: met targets first, then by tokens a second a card."""

    choices: tuple[ServingChoice, ...]
    target: ServingTarget
    met: bool  # False: no plan keeps the target; the choices are the nearest
    searched: int = 0
    why: str = ""  # in words, where the target isn't met


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMix:
    """What the kinds of a pool do side by side: groups of engines, each with its share of the requests.

    A group's engines are of one kind, or of two where one reads prompts for the other. Requests a second add up; times are those
    of the slowest group, which a target is held against.
    """

    groups: tuple[ServingChoice, ...]
    first_s: float
    token_s: float
    requests_per_s: float
    cards: Mapping[str, int]  # at work, by kind
    idle: Mapping[str, int] = field(default_factory=dict)
    cost_per_million: int | None = None  # of 10^6 output tokens, in micro-units; None: a kind at work has no price
    cost_by_kind: Mapping[str, int] = field(default_factory=dict)  # they add up to it, but for rounding
    currency: str = ""
    says: tuple[str, ...] = ()  # what each kind does and why, a line a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class MixMenu:
    """At most five ways to use the kinds of a pool, best first; no two let their kinds do the same."""

    choices: tuple[ServingMix, ...]
    target: ServingTarget
    met: bool
    searched: int = 0
    why: str = ""  # in words: why the first is best, or what the target asks too much
    alone: Mapping[str, float] = field(default_factory=dict)  # requests a second that a kind carries within the target by itself
    left_out: Mapping[str, str] = field(default_factory=dict)  # kinds that can't serve this, and why


def formats(number_format: str, model: Model, cache: str = "") -> Formats:
    """What a checkpoint in this format holds: bf16, fp8, fp8_block, nvfp4, mxfp4 or int4."""
    narrow = number_format in ("nvfp4", "mxfp4", "int4")
    dense = "bf16" if narrow and model.experts is not None else number_format
    return Formats(dense=dense, experts=number_format, cache=cache or ("fp8" if number_format in ("fp8", "nvfp4") else "bf16"))
