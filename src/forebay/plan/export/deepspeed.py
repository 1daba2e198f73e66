"""A plan as DeepSpeed's JSON.

Asked:  which DeepSpeed configuration cuts the work as the plan does?
Answer: ZeRO's stage over the data degree, copies of it as MiCS groups, AutoTP for tensors, Ulysses for the context, AutoEP for
        experts, and the pipeline section; train_batch_size = micro-batch x accumulation x data ranks, as DeepSpeed checks
        (deepspeed/runtime/config.py, module_inject/auto_ep_folding.py and docs/_tutorials of deepspeedai/DeepSpeed, August 2026).
Limits: pipelines are even, 1f1b, with ZeRO 0 or 1, and live in the program (PipelineModule); ring attention and pieces aren't
        there. AutoTP cuts no activations between its products: the notes say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from forebay.plan.export.exported import Exported, cannot, mixed, no_shares
from forebay.plan.export.pieces import pieces
from forebay.plan.export.torchrun import launch
from forebay.plan.model import Workload
from forebay.plan.plan import Plan

FILE = "deepspeed.json"
FORMATS = {"bf16": ("bf16",), "fp16": ("fp16",), "fp32": (), "tf32": ()}


def export(work: Workload, plan: Plan, *, hosts: Mapping[str, int], script: str = "") -> Exported:
    _refuse(work, plan)
    piped = len(plan.stages) > 1
    zero: dict[str, object] = {"stage": plan.zero}
    if plan.zero == 3 and plan.replicas > 1 and plan.shards > 1:
        zero["mics_shard_size"] = plan.shards
    if plan.offload == "optimizer":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    told: dict[str, object] = {
        "train_batch_size": work.sequences,
        "train_micro_batch_size_per_gpu": plan.micro_batch,
        "gradient_accumulation_steps": plan.micro_batches(work.sequences),
        "zero_optimization": zero,
    }
    told |= {word: {"enabled": True} for word in FORMATS[work.number_format]}
    if plan.tensor > 1:
        told["tensor_parallel"] = {"autotp_size": plan.tensor}
    if plan.context > 1:
        told["sequence_parallel_size"] = plan.context
    if plan.expert > 1:
        told["expert_parallel"] = {"enabled": True, "autoep_size": plan.expert, "expert_tensor_parallel_size": 1}
    full = plan.recompute[0] == "full"
    if piped:
        told["pipeline"] = {
            "stages": len(plan.stages),
            "partition": "uniform" if plan.ends else "type:layer",
            "activation_checkpoint_interval": int(full),
        }
    elif full:
        told["activation_checkpointing"] = {"number_checkpoints": work.model.layers}
    lines, where = launch(plan, hosts, script or f"train.py --deepspeed_config {FILE}")
    return Exported(
        target="deepspeed",
        files={FILE: json.dumps(told, indent=2) + "\n"},
        lines=lines,
        notes=(*_notes(work, plan), *where, "Left to you: the model, its tokenizer and data, optimizer and learning rate."),
    )


def _refuse(work: Workload, plan: Plan) -> None:
    stages = len(plan.stages)
    no_shares("deepspeed", plan)
    if plan.inner == "stages" and len(plan.stages) > 1:
        cannot("deepspeed", "stages inside data", "inner=data")
    if work.number_format not in FORMATS:
        cannot("deepspeed", f"number format {work.number_format}")
    if set(plan.recompute) - {"none", "full"} or len(set(plan.recompute)) > 1:
        cannot("deepspeed", f"recompute {', '.join(dict.fromkeys(plan.recompute))}", "--recompute none, full")
    if stages > 1:
        _refuse_stages(work, plan)
    if plan.context > 1 and plan.context_kind == "ring":
        cannot("deepspeed", f"context {plan.context} as a ring", "Ulysses")
    if plan.tensor > 1 and plan.zero == 3:
        cannot("deepspeed", f"tensor {plan.tensor} with zero=3", "zero at most 2")
    for other, n in (("stages", stages), ("context", plan.context)):
        if plan.tensor > 1 and n > 1:
            cannot("deepspeed", f"tensor {plan.tensor} with {other} {n}")
    if stages > 1 and plan.context > 1:
        cannot("deepspeed", f"context {plan.context} with stages {stages}")
    if plan.replicas > 1 and (plan.zero in (1, 2) or (plan.zero == 3 and plan.context > 1)):
        cannot("deepspeed", f"zero={plan.zero} over {plan.shards} of {plan.data} data ranks", "replicas=1")
    if plan.offload == "optimizer" and plan.zero == 0:
        cannot("deepspeed", "an optimizer in the host's memory with zero=0", "zero=1")
    if plan.expert > 1 and plan.expert_tensor > 1:
        cannot("deepspeed", f"expert_tensor {plan.expert_tensor}", "expert_tensor=1")
    if plan.expert > 1 and plan.tensor > 1 and plan.offload == "optimizer":
        cannot("deepspeed", "experts, tensors and an offloaded optimizer together", "--no-offload")
    if work.model.experts and plan.expert == 1 and plan.tensor > 1:
        cannot("deepspeed", f"tensor {plan.tensor} for a mixture whose experts aren't spread", "expert at least 2")


def _refuse_stages(work: Workload, plan: Plan) -> None:
    if plan.schedule != "1f1b":
        cannot("deepspeed", f"schedule {plan.schedule}", "--schedule 1f1b")
    if plan.zero > 1:
        cannot("deepspeed", f"zero={plan.zero} with stages {len(plan.stages)}", "zero at most 1")
    cut = pieces(plan, work.model.layers, work.model.predicted)
    inner = {cut[0] + plan.ends, cut[-1] + plan.ends + (0 if plan.layers else work.model.predicted), *cut[1:-1]}
    if len(inner) > 1:
        cannot("deepspeed", f"unequal stages: {', '.join(str(n) for n in cut)} layers")


def _notes(work: Workload, plan: Plan) -> tuple[str, ...]:
    found = []
    if len(plan.stages) > 1:
        part = "uniform" if plan.ends else "type:layer"
        found.append(
            f'Build the model as deepspeed.pipe.PipelineModule(num_stages={len(plan.stages)}, partition_method="{part}") with '
            + ("the embedding and the loss as layers of the list." if plan.ends else "classes whose names end in Layer.")
        )
    if plan.tensor > 1 and plan.sequence_parallel:
        found.append("AutoTP doesn't cut the norms' activations over the tensor degree: they take more memory than planned.")
    if plan.context > 1:
        found.append(
            "Ulysses is set up by the program: UlyssesSPAttentionHF.register_with_transformers, as DeepSpeed's tutorial."
        )
    if plan.zero == 3 and plan.replicas > 1 and plan.shards > 1:
        found.append("MiCS groups want the model built under deepspeed.zero.MiCS_Init.")
    if plan.recompute[0] == "full" and len(plan.stages) == 1:
        found.append("Switch recomputing on in the program: model.gradient_checkpointing_enable().")
    if plan.expert > 1:
        found.append(
            "AutoEP finds the experts of models that it knows by name; others want expert_parallel.preset_model or patterns."
        )
    if work.number_format in ("fp32", "tf32"):
        found.append("Without bf16 or fp16 DeepSpeed trains in fp32.")
    if mixed(plan):
        found.append("DeepSpeed's JSON names no chip: which rank is on which is said by the order of hosts only.")
    return tuple(found)
