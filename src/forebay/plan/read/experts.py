"""The experts of a config.json.

Asked:  how many experts has a layer, how wide, how many does a token meet, and which layers are dense?
Answer: `experts(fields, …)`, by the names that Mixtral, Qwen, DeepSeek, GLM, gpt-oss, Llama 4, DBRX, ERNIE, Hunyuan and
        Pangu use.
Limits: a Model knows dense layers that come first. Where they lie between expert layers their number is right and
        their place isn't; a note says so.
"""

from __future__ import annotations

from forebay.plan.families import FAMILIES, Family
from forebay.plan.model import Experts
from forebay.plan.read.fields import Fields

COUNT = ("num_local_experts", "n_routed_experts", "num_experts", "num_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_k", "moe_top_k", "top_k_experts")
WIDTH = ("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size", "ffn_hidden_size")
SHARED = ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts")
SHARED_WIDTH = ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size")


def experts(f: Fields, kind: str, layers: int, notes: list[str]) -> tuple[Experts | None, int]:
    """The experts, or None for a dense model; and the width of dense layers' MLP where its name is the family's own, else 0."""
    inner = f.table("ffn_config") if kind == "dbrx" else None
    if inner is not None:
        count, chosen = inner.count("moe_num_experts"), inner.count("moe_top_k")
        return Experts(count=count, chosen=_fits(inner, "moe_top_k", chosen, count), width=inner.count("ffn_hidden_size")), 0
    name = f.first(*COUNT)
    count = f.count(name, least=0) if name else 0
    if not name or count < 2:
        return None, 0
    chosen = f.count(*CHOSEN)
    width = f.count(*WIDTH)
    shared = f.count(*SHARED_WIDTH, default=0, least=0)
    if not shared and (many := f.count(*SHARED, default=0, least=0)):
        shared = many * width
    plain = 0
    if kind == "llama4_text":
        shared, plain = width, f.count("intermediate_size_mlp", default=width)
    sparse = _sparse(f, layers)
    dense = sparse.count(False)
    if dense == layers:
        return None, plain
    if True in sparse[:dense]:
        notes.append(
            f"{dense} of {layers} layers are dense and lie between the expert layers; they are planned as if they came first"
        )
    _fits(f, f.first(*CHOSEN) or CHOSEN[0], chosen, count)
    known = FAMILIES.get(kind, Family())
    return Experts(
        count=count,
        chosen=chosen,
        width=width,
        shared_width=shared,
        dense_layers=dense,
        biased=known.biased,
        clamped=known.clamped,
    ), plain


def _fits(f: Fields, name: str, chosen: int, count: int) -> int:
    if chosen > count:
        raise f.wrong(name, f"a token can't choose {chosen} of {count} experts.")
    return chosen


def _sparse(f: Fields, layers: int) -> list[bool]:
    """Layer by layer: has it experts?"""
    every = f.count("interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_interval", default=1)
    sparse = [(i + 1) % every == 0 for i in range(layers)]
    first = f.count("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", default=0, least=0)
    last = f.count("moe_layer_end_index", default=layers - 1, least=0) if f.data.get("moe_layer_end_index") != -1 else layers - 1
    sparse = [here and first <= i <= last for i, here in enumerate(sparse)]
    frequency = f.data.get("moe_layer_freq")
    if isinstance(frequency, (list, tuple)):
        told = f.listed("moe_layer_freq", int) or []
        if len(told) != layers:
            raise f.wrong("moe_layer_freq", f"{len(told)} entries for {layers} layers.")
        sparse = [bool(here) for here in told]
    elif frequency is not None:
        step = f.count("moe_layer_freq")
        sparse = [here and i % step == 0 for i, here in enumerate(sparse)]
    if dense := f.listed("mlp_only_layers", int):
        sparse = [here and i not in dense for i, here in enumerate(sparse)]
    if (kinds := f.listed("mlp_layer_types", str)) is not None:
        if len(kinds) != layers:
            raise f.wrong("mlp_layer_types", f"{len(kinds)} entries for {layers} layers.")
        sparse = [word != "dense" for word in kinds]
    if "moe_layers" in f:
        told = f.listed("moe_layers", int) or []
        sparse = [i in told for i in range(layers)]
    return sparse
