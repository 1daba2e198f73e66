"""DeepSpeed's JSON, read by DeepSpeed's rules.

Written from deepspeed/runtime/config.py (train_batch = micro-batch x accumulation x data ranks), zero/config.py,
tensor_parallel/config.py, pipe/engine.py, module_inject/auto_ep_folding.py and the tutorials (August 2026).
"""

from __future__ import annotations

import json
from types import SimpleNamespace

from forebay.plan.plan import Plan

KNOWN = {
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "zero_optimization", "bf16", "fp16",
    "tensor_parallel", "sequence_parallel_size", "expert_parallel", "pipeline", "activation_checkpointing",
}  # fmt: skip


def read(text: str, world: int, layers: int) -> SimpleNamespace:
    data = json.loads(text)
    assert set(data) <= KNOWN
    zero = data["zero_optimization"]
    assert set(zero) <= {"stage", "mics_shard_size", "offload_optimizer"}
    tensor = data.get("tensor_parallel", {}).get("autotp_size", 0) or 1
    sequence = data.get("sequence_parallel_size", 1)
    experts = data.get("expert_parallel", {})
    pipe = data.get("pipeline", {})
    stages = pipe.get("stages", 1)
    ranks = world // (tensor * sequence * stages)
    assert ranks * tensor * sequence * stages == world
    micro, steps = data["train_micro_batch_size_per_gpu"], data["gradient_accumulation_steps"]
    assert data["train_batch_size"] == micro * steps * ranks
    if stages > 1:
        assert zero["stage"] < 2, "ZeRO-2 and ZeRO-3 are incompatible with pipeline parallelism"
        assert tensor == 1
    if tensor > 1:
        assert zero["stage"] < 3 and sequence == 1
    if experts:
        assert experts["enabled"] and experts["expert_tensor_parallel_size"] == 1
        assert (world // stages) % experts["autoep_size"] == 0
    shards = zero.get("mics_shard_size", ranks)
    cut = ()
    if stages > 1:
        ends = {"uniform": 1, "type:layer": 0}[pipe["partition"]]
        assert (layers + 2 * ends) % stages == 0
        each = (layers + 2 * ends) // stages
        cut = tuple(each - ends * ((i == 0) + (i == stages - 1)) for i in range(stages))
    full = (
        pipe.get("activation_checkpoint_interval") == 1
        or data.get("activation_checkpointing", {}).get("number_checkpoints") == layers
    )
    plan = Plan(
        replicas=ranks // shards if zero["stage"] else ranks,
        shards=shards if zero["stage"] else 1,
        tensor=tensor,
        stages=("any",) * stages,
        context=sequence,
        context_kind="ulysses" if sequence > 1 else "ring",
        expert=experts.get("autoep_size", 1),
        layers=cut,
        micro_batch=micro,
        zero=zero["stage"],
        recompute=("full" if full else "none",),
        offload="optimizer" if zero.get("offload_optimizer", {}).get("device") == "cpu" else "none",
    )
    number = "bf16" if data.get("bf16", {}).get("enabled") else "fp16" if data.get("fp16", {}).get("enabled") else "fp32"
    return SimpleNamespace(plan=plan, sequences=data["train_batch_size"], number_format=number)
