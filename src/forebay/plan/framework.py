"""The noun Framework: what a training software does beside the mathematics.

Asked:  the same plan on the same cards takes 10 % more with one software than with another. What must the planner know of it?
Answer: which transfers it hides behind computing, which kernels it fuses, what it keeps in which precision. FRAMEWORKS has
        those that the planner knows by name; each says where its facts come from.
Limits: facts of a software's usual settings. What is left over is the release's one scalar (`calibration`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from forebay.errors import Unknown, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A training software with its usual settings."""

    name: str
    schedules: tuple[str, ...] = ("1f1b", "interleaved")  # of pipelines, that it can run
    flash: bool = True  # attention without a matrix of scores in memory
    dropout: bool = False  # attention and residuals
    hides_tensor: float = 0.0  # share of the tensor collectives that run while products do
    hides_data: bool = True  # gradients and weights travel while layers compute
    disturbs: float = 0.3  # of the seconds of hidden gathers and scatters, what they cost the layers that compute meanwhile
    attention: float = 1.0  # times the seconds of the best attention kernel that is known for the chip
    traffic: float = 1.0  # times the bytes that fused kernels move through memory
    ampere: bool = False  # its attention is written for Ampere's units; on newer chips 1.5 to 2 times slower (arXiv 2407.08608)
    deduplicated: bool = True  # a token goes to each card once, however many of its experts are there (DeepEP)
    hides_expert: float = 0.0  # share of the experts' exchange that runs while others compute; interleaved stages only
    hides_sends: bool = True  # sends between stages overlap where the schedule is interleaved
    gradient_bytes: int = 4  # of an element, as it travels
    # Through memory for each weight and micro-batch, where gradients are added up: the sum is read and written. On B200 weight
    # gradients into 4-byte sums take longer than their products by about that (SimuMax, configs/system/b200_bf16_ceperm.json).
    summed_bytes: float = 8.0
    host_s: float = 0.2e-3  # what the host takes to launch a pass through a layer: forward, input gradients, weight gradients
    expert_host_s: float = 1.33e-3  # the same for a layer of experts
    between_s: float = 0.0  # of a micro-batch, the card idle: the next one is fetched, embedding and loss are launched
    meeting_s: float = 0.0  # of a tensor collective beside its own time: streams hand over, and ranks don't arrive together
    pads: bool = True  # the vocabulary to whole vectors of the matrix units, whatever the tensor degree
    fixed_s: float = 0.0  # of a step: data loading, logging, the host's own work
    loss_bytes: float = 22.0  # memory traffic of the loss, forward and backward, for each logit
    folded: bool = True  # experts take neighbouring cards, whatever the tensor and context degrees of attention are
    grouped: bool = False  # experts' products are one kernel, not one after the other
    passes: float = 6.0  # times that a routed token's vector goes through memory forward, read or written
    rotary: float = 3.0  # times that latent attention's heads go through memory to be rotated and put together
    regathers: bool = False  # ZeRO 2 lets gathered weights go after a backward (FSDP2 with reshard_after_forward="never")


# Megatron-Core with Transformer Engine as NVIDIA's recipes set it: userbuffers overlap, distributed optimizer with overlapped
# reduce and gather, gradients summed and sent in bf16 (grad_reduce_in_fp32 is False there).
_NVIDIA = Framework(name="megatron-2025", hides_tensor=0.75, gradient_bytes=2, summed_bytes=4.0)
# Megatron-LM of 2021 and Megatron-DeepSpeed of 2022: scores in memory, dropout, 16-bit gradients that are added up by kernels of
# their own and summed after the last micro-batch (deepspeed/runtime/engine.py, buffered_allreduce_fallback). Times of the host:
# of vTrain's layers on one node (VIA-Research/vTrain, data/ground_truth_single.csv), the same for all its models.
_OLD = Framework(
    name="megatron-2021",
    flash=False,
    dropout=True,
    hides_data=False,
    gradient_bytes=2,
    summed_bytes=6.0,
    host_s=0.85e-3,
    between_s=2e-3,
    meeting_s=0.2e-3,
)

FRAMEWORKS: Mapping[str, Framework] = {
    one.name: one
    for one in (
        # Today's, as Megatron-Bridge's recipes for x86 hosts set it (v0.2.0 to v0.6.0, scripts/performance/configs): experts'
        # exchange hidden, latent attention's rotary fused, no CUDA graphs. What a layer of experts costs the host is from runs
        # of Qwen3 235B on B200 with one sequence a micro-batch and with two.
        replace(_NVIDIA, name="megatron", hides_expert=0.75, expert_host_s=2.8e-3, rotary=0.7),
        # The same with CUDA graphs over attention and router, as its recipes for GB200 and GB300 have them; there experts are
        # exchanged inside a rack, unhidden.
        replace(_NVIDIA, name="megatron-graphs", expert_host_s=0.67e-3, rotary=0.7),
        # Its MXFP8 recipes from v0.5.0 on (B200, B300: v0.5.1): one graph of the iteration, the exchange hidden, experts one kernel.
        replace(
            _NVIDIA,
            name="megatron-fused",
            hides_expert=0.75,
            expert_host_s=0.0,
            grouped=True,
            passes=4.0,
            rotary=0.7,
        ),
        # NeMo of 2025, Megatron-Core to 0.12: experts folded, their exchange not hidden yet.
        _NVIDIA,
        # NeMo of 2024, Megatron-Core to 0.9: experts inside the tensor degree, tokens permuted by separate kernels.
        replace(_NVIDIA, name="megatron-2024", folded=False, passes=16.0, deduplicated=False),
        # Megatron-LM with its default arguments: no overlap of tensor collectives.
        Framework(name="megatron-lm"),
        # Paxml and MaxText: XLA, FSDP over all cards, layers recomputed.
        Framework(name="jax", hides_tensor=0.5, summed_bytes=0.0, pads=False),
        _OLD,
        replace(_OLD, name="megatron-deepspeed", pads=False),  # as vTrain ran it on one node
        Framework(
            name="torchtitan",
            schedules=("1f1b", "interleaved", "zb-1p", "zb-v"),
            summed_bytes=0.0,
            pads=False,
            regathers=True,
        ),
        Framework(
            name="fsdp",
            gradient_bytes=2,
            summed_bytes=0.0,
            pads=False,
            ampere=True,
            traffic=1.5,
            attention=1.7,
            fixed_s=0.02,
            regathers=True,
        ),
        # Megatron-LM underneath, with lists for each stage.
        Framework(name="flagscale", hides_tensor=0.75),
        # Its own ZeRO and pipeline engine (1F1B: runtime/pipe/schedule.py, TrainSchedule); gradients travel in 16 bits.
        Framework(name="deepspeed", schedules=("1f1b",), gradient_bytes=2),
    )
}


GRAPHED = ("gb200", "gb300")  # Megatron's recipes for racks of Grace hosts use CUDA graphs whatever the number format
FUSED = (*GRAPHED, "b200", "b300")  # and those for 8 bits on all Blackwell fuse, from v0.5.1 on


def usual(software: Framework, chip: str, number_format: str) -> Framework:
    """The same software as its vendor's newest recipes set it on this chip."""
    if software.name != "megatron":
        return software
    if number_format in ("bf16", "fp16"):
        return FRAMEWORKS["megatron-graphs"] if chip in GRAPHED else software
    return FRAMEWORKS["megatron-fused"] if chip in FUSED else software


def framework(name: str) -> Framework:
    """The framework of that name. Raises Unknown with the nearest names."""
    found = FRAMEWORKS.get(name)
    if found is None:
        hint = ", ".join(nearest(name, list(FRAMEWORKS))) or ", ".join(FRAMEWORKS)
        raise Unknown("The planner doesn't know that framework.", asked=name, hint=hint)
    return found
