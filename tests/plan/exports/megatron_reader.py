"""Megatron-LM's arguments, read as Megatron-LM reads them.

Written from the names, types and defaults of megatron/training/arguments.py, megatron/core/model_parallel_config.py and
transformer_config.py (August 2026), and the rules of validate_args and PipelineParallelLayerLayout; nothing of Forebay's writer.
"""

from __future__ import annotations

import argparse
import re
from types import SimpleNamespace

from forebay.plan.model import Experts, Latent, Model, Window
from forebay.plan.plan import Plan

WHOLE = {
    "tensor-model-parallel-size": 1, "pipeline-model-parallel-size": 1, "context-parallel-size": 1,
    "expert-model-parallel-size": 1, "expert-tensor-parallel-size": None, "num-layers-per-virtual-pipeline-stage": None,
    "num-virtual-stages-per-pipeline-rank": None, "decoder-first-pipeline-num-layers": None,
    "decoder-last-pipeline-num-layers": None, "micro-batch-size": None, "global-batch-size": None, "seq-length": None,
    "max-position-embeddings": None, "num-distributed-optimizer-instances": 1, "num-layers": None, "hidden-size": None,
    "ffn-hidden-size": None, "num-attention-heads": None, "num-query-groups": None, "kv-channels": None, "vocab-size": None,
    "num-experts": None, "moe-router-topk": 2, "moe-ffn-hidden-size": None, "moe-shared-expert-intermediate-size": None,
    "q-lora-rank": None, "kv-lora-rank": 32, "qk-head-dim": 128, "qk-pos-emb-head-dim": 64, "v-head-dim": 128,
    "mtp-num-layers": None, "recompute-num-layers": None, "rotary-base": 10000,
}  # fmt: skip
FLAGS = (
    "sequence-parallel", "use-distributed-optimizer", "use-megatron-fsdp", "use-tp-pp-dp-mapping", "bf16", "fp16", "swiglu",
    "untie-embeddings-and-output-weights", "group-query-attention", "multi-latent-attention", "moe-grouped-gemm",
    "optimizer-cpu-offload", "use-precision-aware-optimizer", "account-for-embedding-in-pipeline-split",
    "account-for-loss-in-pipeline-split",
)  # fmt: skip
CHOICES = {
    "recompute-granularity": ("full", "selective"),
    "recompute-method": ("uniform", "block"),
    "fp8-format": ("e4m3", "hybrid"),
    "fp8-recipe": ("tensorwise", "delayed", "mxfp8", "blockwise", "custom"),
    "fp4-format": ("e2m1",),
    "data-parallel-sharding-strategy": ("no_shard", "optim", "optim_grads", "optim_grads_params"),
    "ckpt-format": ("torch", "torch_dist", "torch_dcp", "fsdp_dtensor"),
    "position-embedding-type": ("learned_absolute", "rope", "mrope", "yarn", "relative", "none"),
    "moe-token-dispatcher-type": ("allgather", "alltoall", "flex"),
}


def pattern(text: str) -> int | list[int]:
    """moe_freq_type: a number, or an expression of lists."""
    if "[" not in text:
        return int(text)
    assert re.fullmatch(r"[\[\]01*+()\d ]+", text)
    return eval(text)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(allow_abbrev=False)
    for name, default in WHOLE.items():
        made.add_argument(f"--{name}", type=int, default=default)
    for name in FLAGS:
        made.add_argument(f"--{name}", action="store_true")
    for name, choices in CHOICES.items():
        made.add_argument(f"--{name}", choices=choices)
    made.add_argument("--cp-comm-type", nargs="+", default=["p2p"])
    made.add_argument("--pipeline-model-parallel-layout")
    made.add_argument("--moe-layer-freq", type=pattern, default=1)
    made.add_argument("--window-size", type=lambda text: tuple(int(one) for one in text.strip("()").split(",")))
    made.add_argument("--window-attn-skip-freq", type=pattern)
    return made


def layout(text: str) -> list[str]:
    """The letters of each piece: "E", "t", "m", "L"."""
    text = text.replace(",", "")
    text = re.sub(r"\(([^)]+)\)\*(\d+)", lambda found: found[1] * int(found[2]), text)
    text = re.sub(r"(.)\*(\d+)", lambda found: found[1] * int(found[2]), text)
    found = text.split("|")
    assert set(text) <= set("EtmL|") and found[0][0] == "E" and found[-1][-1] == "L"
    return found


def pieces_of(args: argparse.Namespace) -> tuple[int, ...]:
    """Decoder layers of each piece in the order of the model (validate_args, and get_num_layers_to_build)."""
    stages = args.pipeline_model_parallel_size
    said = [
        args.num_layers_per_virtual_pipeline_stage,
        args.num_virtual_stages_per_pipeline_rank,
        args.pipeline_model_parallel_layout,
    ]
    assert sum(one is not None for one in said) <= 1
    if args.pipeline_model_parallel_layout is not None:
        found = layout(args.pipeline_model_parallel_layout)
        assert len(found) % stages == 0
        assert sum(one.count("m") for one in found) == (args.mtp_num_layers or 0)
        counts = tuple(one.count("t") for one in found)
        assert sum(counts) == args.num_layers
        return counts
    count = stages * (args.num_virtual_stages_per_pipeline_rank or 1)
    first, last = args.account_for_embedding_in_pipeline_split, args.account_for_loss_in_pipeline_split
    places = args.num_layers + first + last
    assert places % count == 0, "Number of layers should be divisible by the pipeline-model-parallel size"
    cut = [places // count] * count
    cut[0] -= first
    cut[-1] -= last
    return tuple(cut)


def read(argv: list[str], world: int) -> SimpleNamespace:
    """The plan, its pieces and the workload that these arguments make of so many ranks."""
    args, more = parser().parse_known_args(argv)
    assert more == [], more
    tensor, stages, context = args.tensor_model_parallel_size, args.pipeline_model_parallel_size, args.context_parallel_size
    data = world // (tensor * stages * context)
    assert data * tensor * stages * context == world
    assert args.global_batch_size % (data * args.micro_batch_size) == 0
    cut = pieces_of(args)
    if args.optimizer_cpu_offload:
        assert args.use_precision_aware_optimizer
    if args.recompute_granularity == "selective":
        assert args.recompute_method is None
    if args.recompute_granularity == "full":
        assert (args.recompute_method, args.recompute_num_layers) == ("uniform", 1)
    zero = int(args.use_distributed_optimizer)
    if args.use_megatron_fsdp:
        assert args.ckpt_format == "fsdp_dtensor"
        zero = {"optim": 1, "optim_grads": 2, "optim_grads_params": 3, None: 3}[args.data_parallel_sharding_strategy]
    copies = args.num_distributed_optimizer_instances if zero else data
    plan = Plan(
        replicas=copies,
        shards=data // copies,
        tensor=tensor,
        stages=("any",) * stages,
        context=context,
        expert=args.expert_model_parallel_size,
        expert_tensor=(args.expert_tensor_parallel_size or tensor) if args.num_experts else 1,
        layers=tuple(sum(cut[stage::stages]) for stage in range(stages)),
        chunks=len(cut) // stages,
        schedule="interleaved" if len(cut) > stages else "1f1b",
        micro_batch=args.micro_batch_size,
        zero=zero,
        sequence_parallel=args.sequence_parallel or tensor == 1,
        context_kind={"p2p": "ring", "a2a": "ulysses"}[args.cp_comm_type[0]],
        recompute=(args.recompute_granularity or "none",),
        offload="optimizer" if args.optimizer_cpu_offload else "none",
        inner="stages" if args.use_tp_pp_dp_mapping else "data",
    )
    precision = "fp16" if args.fp16 else "bf16" if args.bf16 else "fp32"
    if args.fp8_format or args.fp4_format:
        precision = "fp4" if args.fp4_format else "mxfp8" if args.fp8_recipe == "mxfp8" else "fp8"
    return SimpleNamespace(plan=plan, pieces=cut, args=args, sequences=args.global_batch_size, tokens=args.seq_length,
                           number_format=precision, model=model(args))  # fmt: skip


def model(args: argparse.Namespace) -> Model:
    experts = latent = window = None
    if args.num_experts:
        layers = args.moe_layer_freq
        dense = layers.index(1) if isinstance(layers, list) else 0
        assert not isinstance(layers, list) or layers == [0] * dense + [1] * (args.num_layers - dense)
        experts = Experts(count=args.num_experts, chosen=args.moe_router_topk, width=args.moe_ffn_hidden_size,
                          shared_width=args.moe_shared_expert_intermediate_size or 0, dense_layers=dense)  # fmt: skip
    if args.multi_latent_attention:
        latent = Latent(query_rank=args.q_lora_rank or 0, kv_rank=args.kv_lora_rank, plain=args.qk_head_dim,
                        rotary=args.qk_pos_emb_head_dim, value=args.v_head_dim)  # fmt: skip
    if args.window_size:
        window = Window(tokens=args.window_size[0] + 1, full_every=args.window_attn_skip_freq or 0)
    return Model(
        name="",
        layers=args.num_layers,
        width=args.hidden_size,
        heads=args.num_attention_heads,
        kv_heads=args.num_query_groups if args.group_query_attention else args.num_attention_heads,
        mlp_width=0 if experts and not experts.dense_layers else args.ffn_hidden_size,
        vocabulary=args.vocab_size,
        gated_mlp=args.swiglu,
        tied_embeddings=not args.untie_embeddings_and_output_weights,
        head_width=args.kv_channels or 0,
        positions=args.max_position_embeddings if args.position_embedding_type == "learned_absolute" else 0,
        latent=latent,
        experts=experts,
        window=window,
        predicted=args.mtp_num_layers or 0,
    )
