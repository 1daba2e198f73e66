"""The noun Abilities: which plans a training software can run at all.

Asked:  a search prices every plan. Which of them would the software that was named refuse?
Answer: stages of ZeRO without and with a pipeline, degrees and ways that it lacks, degrees that exclude each other, and which
        ways of recomputing may differ from stage to stage; `ABILITIES` by the names of `plan/framework.py`. A plan of the space
        is one that its export can say (a test).
Limits: what is documented or in the arguments, not what a patch could add. Schedules are with `plan/framework.py`.

Sources: Megatron-LM (August 2026): the distributed optimizer is ZeRO 1; Megatron-FSDP has ZeRO 2 and 3 and goes with tensor,
context and expert degrees (Megatron-Core's guide, Megatron FSDP), which says nothing of stages. torchtitan: FSDP2 cuts gradients
always; under torch.distributed.pipelining gradients are summed whole and scattered after the last backward, and weights stay
gathered from a backward on (torch 2.13, distributed/pipelining/stage.py: backward_maybe_with_nosync, perform_reduce_grad).
DeepSpeed: its pipeline engine takes ZeRO 0 and 1 (deepspeed/runtime/pipe/engine.py); AutoTP goes with neither stages nor context.
Megatron-LM's --use-tp-pp-dp-mapping counts stages before data; meshes of torchtitan and DeepSpeed have stages outermost.
FlagScale: Megatron-LM, and lists that say for each stage whether it recomputes.
Layers: Megatron-Core has --pipeline-model-parallel-layout, which names the layers of each piece, since 0.13 (its CHANGELOG.md;
since 0.9 the first and the last stage can differ from the others, which are alike); torchtitan names the modules of each piece;
DeepSpeed cuts by a rule of its own (PipelineModule's partition_method), MaxText evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forebay.plan.plan import RECOMPUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a software can run. It says nothing of how fast."""

    zero: tuple[int, ...] = (0, 1)  # stages of ZeRO without a pipeline
    piped: tuple[int, ...] = (0, 1)  # and with one
    lacks: frozenset[str] = frozenset()  # degrees, "ring", "ulysses", "offload", "uneven", "hybrid", "inner", ways of recomputing
    # What excludes each other, as `space.runs` names it: degrees above 1, "zero 3", "hybrid" (ZeRO 3 within copies), "copies" (of
    # all states), "expert_tensor", "experts at home" (each card has all of them).
    apart: tuple[frozenset[str], ...] = ()
    by_stage: tuple[str, ...] = ()  # ways of recomputing that may differ from stage to stage
    by_stage_chunks: bool = True  # also where a stage has several chunks
    layouts: bool = False  # each chunk of each stage may be told its layers


def _pairs(words: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(pair.split(", ")) for pair in words.split("; "))


EVERYTHING = Abilities(zero=(0, 1, 2, 3), piped=(0, 1, 2, 3), by_stage=RECOMPUTE, layouts=True)
MEGATRON = Abilities(zero=(0, 1, 2, 3), layouts=True)
OLD = Abilities(lacks=frozenset({"hybrid"}))
ABILITIES: Mapping[str, Abilities] = {
    "megatron": MEGATRON,
    "megatron-graphs": MEGATRON,
    "megatron-fused": MEGATRON,
    "megatron-2025": Abilities(zero=(0, 1, 2, 3)),
    "megatron-lm": MEGATRON,
    "megatron-2024": OLD,
    "megatron-2021": OLD,
    "megatron-deepspeed": OLD,
    # MaxText: FSDP, its optimizer over the data degree, and both under its pipeline.
    "jax": Abilities(zero=(0, 1, 3), piped=(0, 1, 3)),
    "torchtitan": Abilities(
        zero=(0, 2, 3),
        piped=(0, 2, 3),
        lacks=frozenset({"ulysses", "offload", "inner"}),
        apart=_pairs("copies, expert_tensor"),
        layouts=True,
    ),
    # Plain FSDP as in llm-foundry: NO_SHARD, SHARD_GRAD_OP, FULL_SHARD, HYBRID_SHARD.
    "fsdp": Abilities(zero=(0, 2, 3), lacks=frozenset({"tensor", "stages", "context", "expert", "offload"})),
    "deepspeed": Abilities(
        zero=(0, 1, 2, 3),
        lacks=frozenset({"ring", "uneven", "selective", "expert_tensor", "inner"}),
        apart=_pairs(
            "tensor, stages; tensor, context; stages, context; tensor, zero 3; hybrid, context; tensor, experts at home"
        ),
    ),
    "flagscale": Abilities(zero=(0, 1, 2, 3), by_stage=("none", "full"), by_stage_chunks=False, layouts=True),
}


def abilities(name: str) -> Abilities:
    return ABILITIES.get(name, EVERYTHING)
