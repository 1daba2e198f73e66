"""A plan as arguments of Megatron-LM.

Asked:  which arguments make Megatron-LM cut the model as the plan does?
Answer: `settings` names them as Megatron-LM's argument parser does (megatron/training/arguments.py, model_parallel_config.py and
        transformer_config.py of NVIDIA/Megatron-LM, August 2026); `export` writes them as a file for xargs, one a line. FlagScale
        takes the same names. Stages that aren't even are said as a layout (pipeline_parallel_layer_layout.py).
Limits: no zero-bubble schedule, one way of recomputing for all stages, equal data shares. Shapes are told; norms, the rotary
        base, dropout, the tokenizer, data and learning rates are left to the person.
"""

from __future__ import annotations

from collections.abc import Mapping

from forebay.plan.export.exported import Exported, cannot, mixed, no_shares, word
from forebay.plan.export.pieces import pieces
from forebay.plan.export.torchrun import launch
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

Value = bool | int | str
FILE = "megatron.args"
SCRIPT = "pretrain_gpt.py"
PRECISION: Mapping[str, Mapping[str, Value]] = {
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
    "fp32": {},
    "tf32": {},
    "fp8": {"bf16": True, "fp8_format": "hybrid"},
    "mxfp8": {"bf16": True, "fp8_format": "e4m3", "fp8_recipe": "mxfp8"},
    "fp4": {"bf16": True, "fp4_format": "e2m1"},
}
LEFT = "Left to you: tokenizer, data, learning rate, norms, rotary base, dropout, checkpoints."

PRICED = (
    "Seconds are of what NVIDIA's recipes also set, and these arguments don't: --overlap-grad-reduce --overlap-param-gather "
    "--tp-comm-overlap --grad-reduce-in-bf16 (which rounds gradients), and --overlap-moe-expert-parallel-comm for experts."
)


def export(work: Workload, plan: Plan, *, hosts: Mapping[str, int], script: str = "") -> Exported:
    told = settings(work, plan, "megatron")
    file = "".join(_line(name, value) for name, value in told.items())
    lines, where = launch(plan, hosts, script or SCRIPT)
    lines = tuple(f"xargs {line} < {FILE}" for line in lines)
    if mixed(plan):
        where += ("Megatron-LM's arguments name no chip: which rank is on which is said by the order of hosts only.",)
    return Exported(target="megatron", files={FILE: file}, lines=lines, notes=(*notes(plan), *where, PRICED, LEFT))


def _line(name: str, value: Value) -> str:
    flag = "--" + name.replace("_", "-")
    if value is True:
        return flag + "\n"
    values = str(value).split(" ") if name == "cp_comm_type" else [str(value)]
    return " ".join([flag, *(word(one) for one in values)]) + "\n"


def settings(work: Workload, plan: Plan, target: str) -> dict[str, Value]:
    """The arguments, by their names in Megatron-LM's namespace."""
    no_shares(target, plan)
    if work.number_format not in PRECISION:
        cannot(target, f"number format {work.number_format}", ", ".join(PRECISION))
    told: dict[str, Value] = {
        "tensor_model_parallel_size": plan.tensor,
        "pipeline_model_parallel_size": len(plan.stages),
        "context_parallel_size": plan.context,
        "micro_batch_size": plan.micro_batch,
        "global_batch_size": work.sequences,
        "seq_length": work.tokens,
        "max_position_embeddings": max(work.tokens, work.model.positions),
    }
    if plan.sequence_parallel and plan.tensor > 1:
        told["sequence_parallel"] = True
    if plan.context > 1:
        told["cp_comm_type"] = "a2a" if plan.context_kind == "ulysses" else "p2p"
    if work.model.experts:
        told |= {"expert_model_parallel_size": plan.expert, "expert_tensor_parallel_size": plan.expert_tensor}
    if plan.inner == "stages" and len(plan.stages) > 1:
        if work.model.experts or mixed(plan):
            cannot(target, "stages inside data with experts or several chips", "inner=data")
        told["use_tp_pp_dp_mapping"] = True
    told |= _stages(work.model, plan, target) | _data(plan) | _recompute(plan, target)
    if plan.offload == "optimizer":
        told |= {"optimizer_cpu_offload": True, "use_precision_aware_optimizer": True}
    return told | _shape(work.model) | dict(PRECISION[work.number_format])


def _stages(m: Model, plan: Plan, target: str) -> dict[str, Value]:
    if len(plan.stages) == 1:
        return {}
    if plan.schedule not in ("1f1b", "interleaved"):
        cannot(target, f"schedule {plan.schedule}", "--schedule 1f1b, interleaved")
    cut = pieces(plan, m.layers, m.predicted)
    if len(set(cut)) == 1:
        return {"num_virtual_stages_per_pipeline_rank": plan.chunks} if plan.chunks > 1 else {}
    inner = set(cut[1:-1]) | {cut[0] + 1, cut[-1] + 1}
    if plan.ends and len(inner) == 1:
        told: dict[str, Value] = {"account_for_embedding_in_pipeline_split": True, "account_for_loss_in_pipeline_split": True}
        return told | ({"num_virtual_stages_per_pipeline_rank": plan.chunks} if plan.chunks > 1 else {})
    words = [f"t*{n}" if n > 1 else "t" * n for n in cut]
    words[0] = "E" + words[0]
    words[-1] += "m" * m.predicted + "L"
    return {"pipeline_model_parallel_layout": "|".join(words)}


def _data(plan: Plan) -> dict[str, Value]:
    """ZeRO over `shards`; copies of it are "instances" of the distributed optimizer."""
    if plan.zero == 0:
        return {}
    told: dict[str, Value] = {"use_distributed_optimizer": True}
    if plan.replicas > 1:
        told["num_distributed_optimizer_instances"] = plan.replicas
    if plan.zero > 1:
        told["use_megatron_fsdp"] = True
        told["data_parallel_sharding_strategy"] = "optim_grads" if plan.zero == 2 else "optim_grads_params"
        told["ckpt_format"] = "fsdp_dtensor"
    return told


def _recompute(plan: Plan, target: str) -> dict[str, Value]:
    ways = set(plan.recompute)
    if len(ways) > 1:
        cannot(target, "stages that recompute differently", "one way of recomputing for all stages")
    if ways == {"full"}:
        return FULL
    return {"recompute_granularity": "selective"} if ways == {"selective"} else {}


FULL: dict[str, Value] = {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}


def _shape(m: Model) -> dict[str, Value]:
    told: dict[str, Value] = {
        "num_layers": m.layers,
        "hidden_size": m.width,
        "num_attention_heads": m.heads,
        "ffn_hidden_size": m.mlp_width or (m.experts.width if m.experts else 4 * m.width),
        "vocab_size": m.vocabulary,
        "position_embedding_type": "learned_absolute" if m.positions else "rope",
    }
    if m.gated_mlp:
        told["swiglu"] = True
    if not m.tied_embeddings:
        told["untie_embeddings_and_output_weights"] = True
    if m.head_width and not m.latent:
        told["kv_channels"] = m.head_width
    if m.kv_heads != m.heads and not m.latent:
        told |= {"group_query_attention": True, "num_query_groups": m.kv_heads}
    if (a := m.latent) is not None:
        told["multi_latent_attention"] = True
        told |= {"q_lora_rank": a.query_rank} if a.query_rank else {}
        told |= {"kv_lora_rank": a.kv_rank, "qk_head_dim": a.plain, "qk_pos_emb_head_dim": a.rotary, "v_head_dim": a.value}
    if (e := m.experts) is not None:
        told |= {"num_experts": e.count, "moe_router_topk": e.chosen, "moe_ffn_hidden_size": e.width, "moe_grouped_gemm": True}
        told["moe_token_dispatcher_type"] = "alltoall"
        if e.shared_width:
            told["moe_shared_expert_intermediate_size"] = e.shared_width
        if e.dense_layers:
            told["moe_layer_freq"] = f"[0]*{e.dense_layers}+[1]*{m.layers - e.dense_layers}"
    if (w := m.window) is not None:
        told["window_size"] = f"{w.tokens - 1},0"  # how many before a token, how many after it
        if w.full_every:
            told["window_attn_skip_freq"] = w.full_every
    if m.predicted:
        told["mtp_num_layers"] = m.predicted
    return told


def notes(plan: Plan) -> tuple[str, ...]:
    found = []
    if plan.zero > 1:
        found.append(
            "Megatron-FSDP wants CUDA_DEVICE_MAX_CONNECTIONS unset or above 1, and its own checkpoint format (set here)."
        )
    if plan.zero > 1 and len(plan.stages) > 1:
        found.append("Megatron-FSDP under pipeline stages is young: try it on a few cards first.")
    return tuple(found)
