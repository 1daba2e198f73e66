"""Traffic of known models, until the plan room makes it: a dense transformer and a mixture of experts, cut as their reports tell.

Asked:  what does a step of a 405B dense model, or a 671B mixture of experts, send over ten thousand cards?
Answer: bytes and times by formula from the model's shape and a fixed cut:
        tensor with sequence parallel   four all-gathers and four reduce-scatters of the activations a layer, forward and backward
                                        (Korthikanti et al., MLSys 2023, section 4.2.2)
        pipeline                        an activation and its gradient a micro-batch and boundary
        data                            gradients reduce-scattered in 32 bits, weights gathered in 16 (ZeRO 1, Rajbhandari et
                                        al., SC 2020), behind the last micro-batch's backward and the first one's forward
        expert                          a token is sent once to each host that has one of its experts, at most four of them, in 8
                                        bits there and in 16 back (DeepSeek-V3 report, arXiv 2412.19437, sections 2.1.2, 3.2)
        context                         keys and values gathered around the ring, a layer and micro-batch (Llama 3 report,
                                        arXiv 2407.21783, section 3.3.2)
Units:  bytes, seconds.
Limits: computing is flop over peak times `efficiency`, an assumption and said so in `source`; the pipeline's bubble is in it.
        Experts are evenly used. Backward is taken as two thirds of the computing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from forebay.chips.chip import Chip
from forebay.errors import BadInput, nearest
from forebay.fabric.traffic import Exchange, Traffic

EFFICIENCY = 0.5  # of the peak, while a card computes and nothing is waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model and the way it is cut, as far as traffic must know. A preset's inside, no noun: the plan room's Model is one."""

    title: str
    source: str
    parameters: float
    active: float  # parameters that a token meets
    layers: int
    width: int
    kv_width: int  # of keys or values of a token
    tokens: int  # in a sequence
    sequences: int  # in the batch that its makers used
    grid: tuple[tuple[str, int], ...]  # all sides but "data", neighbours first
    interleave: int = 1  # chunks of layers a stage: divides the bubble (Narayanan et al., SC 2021, section 2.2.2)
    expert_parameters: float = 0.0
    hosts_of_a_token: int = 0  # that a token's experts are on, at most


PRESETS = {
    "dense-405b": Shape(
        title="Llama 3 405B",
        source="arXiv 2407.21783, tables 3 and 4",
        parameters=405e9,
        active=405e9,
        layers=126,
        width=16384,
        kv_width=8 * 128,
        tokens=8192,
        sequences=2048,
        grid=(("tensor", 8), ("context", 1), ("pipeline", 16)),
        interleave=8,
    ),
    "dense-405b-long": Shape(
        title="Llama 3 405B, sequences of 131,072 tokens",
        source="arXiv 2407.21783, tables 3 and 4",
        parameters=405e9,
        active=405e9,
        layers=126,
        width=16384,
        kv_width=8 * 128,
        tokens=131072,
        sequences=128,
        grid=(("tensor", 8), ("context", 16), ("pipeline", 16)),
        interleave=8,
    ),
    "dense-70b": Shape(
        title="Llama 3 70B",
        source="arXiv 2407.21783, table 3; the cut is ours",
        parameters=70.6e9,
        active=70.6e9,
        layers=80,
        width=8192,
        kv_width=8 * 128,
        tokens=8192,
        sequences=1024,
        grid=(("tensor", 8), ("context", 1), ("pipeline", 4)),
        interleave=5,
    ),
    "dense-8b": Shape(
        title="Llama 3 8B",
        source="arXiv 2407.21783, table 3; the cut is ours",
        parameters=8.03e9,
        active=8.03e9,
        layers=32,
        width=4096,
        kv_width=8 * 128,
        tokens=8192,
        sequences=512,
        grid=(("tensor", 1), ("context", 1), ("pipeline", 1)),
    ),
    "moe-671b": Shape(
        title="DeepSeek-V3 671B",
        source="arXiv 2412.19437, sections 3.2 and 4.2; batch of 15,360 sequences of 4,096 tokens",
        parameters=671e9,
        active=37e9,
        layers=61,
        width=7168,
        kv_width=512 + 64,
        tokens=4096,
        sequences=15360,
        grid=(("expert", 64), ("pipeline", 16)),
        interleave=2,
        expert_parameters=58 * 256 * 3 * 7168 * 2048,
        hosts_of_a_token=4,
    ),
}


def preset(name: str, cards: int, chip: Chip, efficiency: float = EFFICIENCY) -> Traffic:
    """The traffic of a preset on at most so many cards: whole replicas of the model, the batch shared among them evenly.

    Raises BadInput for another name, too few cards for one replica, or a chip without a 16-bit peak.
    """
    if name not in PRESETS:
        raise BadInput("There is no such preset.", asked=name, hint=", ".join(nearest(name, list(PRESETS)) or PRESETS))
    s = PRESETS[name]
    one = 1
    for _, size in s.grid:
        one *= size
    if cards < one:
        raise BadInput("One replica needs more cards.", asked=f"{name} on {cards} cards", hint=f"{one} cards or more")
    peak = chip.flop_per_s.get("bf16") or chip.flop_per_s.get("fp16")
    if not peak:
        known = ", ".join(sorted(chip.flop_per_s)) or "nothing"
        raise BadInput("The chip's 16-bit peak isn't known.", asked=chip.name, found=known, hint="h100-sxm")
    if not 0 < efficiency <= 1:
        raise BadInput("An efficiency is a share of the peak.", asked=f"{efficiency}", hint="0.5")
    return _traffic(
        name, s, cards // one, peak * efficiency, f"{s.title} ({s.source}); {efficiency:.0%} of {chip.name}'s peak assumed"
    )


def _traffic(name: str, s: Shape, replicas: int, flop_per_s: float, source: str) -> Traffic:
    grid = dict(s.grid) | {"data": replicas}
    tensor, context, stages, experts = (grid.get(side, 1) for side in ("tensor", "context", "pipeline", "expert"))
    seats = replicas * experts  # that take sequences of their own
    batches = max(1, round(s.sequences / seats))  # micro-batches of one sequence each
    layers = s.layers / stages
    tokens = s.tokens / context
    ranks = tensor * context * stages * seats
    seen = batches * seats * s.tokens
    # 6 flop a parameter and token (Kaplan et al., arXiv 2001.08361), and 6 x layers x width x tokens of causal attention.
    flop = 6 * s.active * seen + 6 * s.layers * s.width * s.tokens * seen
    bubble = (stages - 1) / (batches * s.interleave)
    compute = flop / ranks / flop_per_s * (1 + bubble)
    activation = tokens * s.width * 2.0
    mine = (s.parameters - s.expert_parameters) / (tensor * stages)
    wide = ("context", "data") if context > 1 else ("expert", "data") if experts > 1 else ("data",)
    exchanges = [
        Exchange(
            name="tensor gather", collective="all_gather", nbytes=activation, times=round(4 * layers * batches), along=("tensor",)
        ),
        Exchange(
            name="tensor scatter",
            collective="reduce_scatter",
            nbytes=activation,
            times=round(4 * layers * batches),
            along=("tensor",),
        ),
        Exchange(
            name="context keys and values",
            collective="ring_all_gather",
            nbytes=2 * s.tokens * s.kv_width / tensor * 2.0,
            times=round(2 * layers * batches),
            along=("context",),
            window="computing",
        ),
        Exchange(
            name="pipeline",
            collective="send_recv",
            nbytes=activation / tensor,
            times=2 * batches * s.interleave,
            along=("pipeline",),
            window="computing",
        ),
        Exchange(name="gradients", collective="reduce_scatter", nbytes=mine * 4, along=wide, window="last backward"),
        Exchange(name="weights", collective="all_gather", nbytes=mine * 2, along=wide, window="first forward"),
    ]
    if experts > 1:
        once = tokens * s.width * min(s.hosts_of_a_token, experts // 8)
        own = s.expert_parameters / (experts * stages)
        exchanges += [
            Exchange(name=f"experts {way}", collective="all_to_all", nbytes=once * size, times=round(2 * layers * batches),
                     along=("expert",), window="computing")
            for way, size in (("there", 1.0), ("back", 2.0))
        ]  # fmt: skip
        exchanges += [
            Exchange(
                name="experts' gradients", collective="reduce_scatter", nbytes=own * 4, along=("data",), window="last backward"
            ),
            Exchange(name="experts' weights", collective="all_gather", nbytes=own * 2, along=("data",), window="first forward"),
        ]
    return Traffic(
        name=f"{name} on {ranks} cards",
        grid=grid,
        compute_s=compute,
        exchanges=tuple(e for e in exchanges if _size(grid, e.along) > 1),
        windows={"computing": compute, "last backward": compute / batches * 2 / 3, "first forward": compute / batches / 3},
        source=source,
    )


def _size(grid: dict[str, int], along: tuple[str, ...]) -> int:
    size = 1
    for side in along:
        size *= grid.get(side, 1)
    return size


Maker = Callable[[int], Traffic]  # traffic for so many cards
