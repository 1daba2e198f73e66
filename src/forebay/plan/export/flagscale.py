"""A plan as FlagScale's YAML.

Asked:  how is the plan said to FlagScale, which trains over several kinds of chips at once?
Answer: conf/config.yaml says how it is launched, conf/train/plan.yaml holds Megatron-LM's arguments in the sections system,
        model and data, which FlagScale flattens. Where stages are on several chips, the section `hetero` holds a mesh
        (tensor, context, expert, data, stages) a run of stages, and their layers (flagscale/train/arguments.py and
        examples/deepseek_v3/conf/train/hetero.yaml of flagos-ai/FlagScale, November 2025).
Limits: over several chips no pieces (virtual stages). Per-stage recomputing is full or none. Its Megatron-LM is older than
        NVIDIA's: its zero-bubble schedules, if any, aren't used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from forebay.plan.export.exported import Exported, cannot, kinds, word
from forebay.plan.export.megatron import FULL, LEFT, notes, settings
from forebay.plan.export.pieces import stage_layers
from forebay.plan.export.torchrun import host_runs
from forebay.plan.export.yaml import dump
from forebay.plan.model import Workload
from forebay.plan.plan import Plan

SCRIPT = "./flagscale/train/train_gpt.py"
MISSING = "???"  # OmegaConf, which FlagScale reads with, refuses to start until it is set
OF_THE_MODEL = (
    "seq_length", "micro_batch_size", "global_batch_size", "max_position_embeddings", "num_layers", "hidden_size",
    "num_attention_heads", "ffn_hidden_size", "position_embedding_type", "swiglu", "untie_embeddings_and_output_weights",
    "kv_channels", "group_query_attention", "num_query_groups", "multi_latent_attention", "q_lora_rank", "kv_lora_rank",
    "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim", "num_experts", "moe_router_topk", "moe_ffn_hidden_size",
    "moe_grouped_gemm", "moe_token_dispatcher_type", "moe_shared_expert_intermediate_size", "moe_layer_freq", "window_size",
    "window_attn_skip_freq", "mtp_num_layers",
)  # fmt: skip
SPLIT = (  # what hetero_pipeline_layer_split says instead
    "pipeline_model_parallel_layout",
    "account_for_embedding_in_pipeline_split",
    "account_for_loss_in_pipeline_split",
)
PRECISION = ("bf16", "fp16", "fp8_format", "fp8_recipe", "fp4_format")


def export(work: Workload, plan: Plan, *, hosts: Mapping[str, int], script: str = "") -> Exported:
    if plan.data_chips and len(set(plan.data_chips)) > 1:
        cannot("flagscale", "data ranks on different chips")
    mixed, uneven = len(kinds(plan)) > 1, len(set(plan.recompute)) > 1
    told: dict[str, object] = dict(settings(work, _plain(plan), "flagscale"))
    elsewhere = (*OF_THE_MODEL, *PRECISION, "vocab_size", *(SPLIT if mixed else ()))
    system = {name: value for name, value in told.items() if name not in elsewhere}
    if uneven:
        system["recompute"] = _recompute(work, plan)
    system["precision"] = {name: told[name] for name in PRECISION if name in told}
    if mixed:
        system["hetero"] = _hetero(work, plan)
    tokenizer = {"tokenizer_type": MISSING, "vocab_size": work.model.vocabulary, "make_vocab_size_divisible_by": 64}
    train = {
        "system": system,
        "model": {name: told[name] for name in OF_THE_MODEL if name in told} | {"optimizer": {"lr": MISSING}},
        "data": {"data_path": MISSING, "tokenizer": tokenizer},
    }
    runs = host_runs(plan, hosts)
    files = {"conf/config.yaml": dump(_launch(work, plan, runs, script)), "conf/train/plan.yaml": dump(train)}
    files["hostfile"] = _hostfile(runs)
    line = "python run.py --config-path conf --config-name config action=run"
    told_notes = [*notes(plan), "hostfile: put your hosts' names for HOST_0, HOST_1, ... in this order; ranks follow it."]
    told_notes.append("The line is run in FlagScale's folder; ??? in plan.yaml is yours to set. " + LEFT)
    if mixed:
        told_notes.append("hetero_current_device_type is each host's own: FlagScale's device_type_specific sets it by kind.")
    return Exported(target="flagscale", files=files, lines=(line,), notes=tuple(told_notes))


def _plain(plan: Plan) -> Plan:
    """The plan without the ways of recomputing that lists of each stage say; refused where FlagScale has no list for it."""
    mixed, uneven = len(kinds(plan)) > 1, len(set(plan.recompute)) > 1
    if mixed and plan.chunks > 1:
        cannot("flagscale", f"{plan.chunks} pieces a stage over several chips", "chunks=1")
    if mixed and plan.zero > 1:
        cannot("flagscale", f"zero={plan.zero} over several chips", "zero=1")
    if uneven and not set(plan.recompute) <= {"full", "none"}:
        cannot("flagscale", "stages of which some recompute selectively", "--recompute full, none")
    if uneven and plan.chunks > 1:
        cannot("flagscale", f"stages of {plan.chunks} pieces that recompute differently", "chunks=1, or one way for all")
    return replace(plan, recompute=("none",)) if uneven else plan


def _hetero(work: Workload, plan: Plan) -> dict[str, object]:
    runs = kinds(plan)
    told: dict[str, object] = {
        "enable_hetero": True,
        "hetero_pipeline_layer_split": list(stage_layers(plan, work.model.layers, work.model.predicted)),
        "hetero_process_meshes": [n for _, s in runs for n in (plan.tensor, plan.context, plan.expert, plan.data, s)],
        "hetero_device_types": [chip for chip, _ in runs],
        "hetero_current_device_type": runs[0][0],
        "standalone_embedding_stage": False,
    }
    if work.model.experts:
        told["expert_tensor_parallel_size_per_process_mesh"] = [plan.expert_tensor] * len(runs)
    return told


def _recompute(work: Workload, plan: Plan) -> dict[str, object]:
    """Full for all, and then each stage's switch: [stages, micro-batches, 1 or 0]."""
    n = plan.micro_batches(work.sequences)
    switches = [[1, n, int(way == "full")] for way in plan.recompute]
    layers = [[1, n, 1] for _ in plan.recompute]
    return {
        **FULL,
        "recompute_granularity_per_stage_micro_batch": switches,
        "recompute_method_per_stage_micro_batch": [[1, n, 0] for _ in plan.recompute],
        "recompute_num_layers_per_stage_micro_batch": layers,
    }


def _launch(work: Workload, plan: Plan, runs: Sequence[tuple[str, int, int]], script: str) -> dict[str, object]:
    runner: dict[str, object] = {"backend": "torchrun", "nnodes": sum(n for _, n, _ in runs), "hostfile": "hostfile"}
    if len({each for _, _, each in runs}) == 1:
        runner["nproc_per_node"] = runs[0][2]
    if len(kinds(plan)) > 1:
        runner["rdzv_backend"] = "static"  # the only one that FlagScale's hetero takes
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", work.model.name) or "model"
    return {
        "defaults": [{"train": "plan"}, "_self_"],
        "experiment": {
            "exp_name": name,
            "exp_dir": f"./outputs/{name}",
            "task": {"type": "train", "backend": "megatron", "entrypoint": script or SCRIPT},
            "runner": runner,
            "envs": {"CUDA_DEVICE_MAX_CONNECTIONS": 1} if plan.zero < 2 else {},
        },
        "action": "run",
        "hydra": {"run": {"dir": "${experiment.exp_dir}/hydra"}},
    }


def _hostfile(runs: Sequence[tuple[str, int, int]]) -> str:
    hosts = [(chip, each) for chip, n, each in runs for _ in range(n)]
    return "".join(f"HOST_{i} slots={each} type={word(chip)}\n" for i, (chip, each) in enumerate(hosts))
