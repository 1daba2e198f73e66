"""A Hugging Face config.json becomes a Model.

Asked:  which shape has the model that this file, this folder or this table describes?
Answer: `read(source)`: the Model, with notes on what was assumed or left out. Fields are found by the names that the families
        use; what a family leaves unsaid stands in `families`. A family that isn't known is read as Llama's, and a note says so.
Limits: decoder-only transformers with one shape of layer (and one of expert layer). Of a multimodal model the text part alone.
        Dense layers between expert layers are counted as if they came first; sparse attention is read as full. Notes say both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.errors import BadInput
from forebay.plan.families import FAMILIES, REFUSED, Family
from forebay.plan.model import Latent, Model
from forebay.plan.read.experts import experts
from forebay.plan.read.fields import Fields, parse
from forebay.plan.read.window import window

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTH = ("hidden_size", "n_embd", "d_model", "n_embed", "model_dim")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "num_query_groups")
HEAD = ("head_dim", "kv_channels", "attention_head_dim")
MLP = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "inner_hidden_size")
VOCABULARY = ("padded_vocab_size", "vocab_size")
TEXT = ("text_config", "llm_config", "language_config", "thinker_config")
PREDICTED = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_layers")
OTHER_LAYERS = ("mamba_", "ssm_", "conv_kernel", "state_size", "linear_num_", "rwkv", "lru_width", "layers_block_type", "d_kv")
DEEPEST = 10_000  # layers; more is a slip
LARGEST = 2**24  # characters of a file that can be a config.json


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A Model with the notes that belong to it.

    Where it came from and what was assumed, never what it costs.
    """

    model: Model
    source: str
    notes: tuple[str, ...] = ()


def read(source: str | Path | Mapping[str, Any]) -> Described:
    """The model that a config.json, a folder with one, or the table in it describes."""
    if isinstance(source, Mapping):
        return described(Fields(data=source, file="config"))
    path = Path(source)
    path = path / "config.json" if os.path.isdir(path) else path
    return described(parse(text_of(path), str(path)), name=path.parent.name if path.name == "config.json" else path.stem)


def text_of(path: Path) -> str:
    """What stands in a file that somebody named."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput("There is no such file.", asked=str(path), hint="a config.json, its folder, or a preset's name") from None
    except (OSError, ValueError) as bad:
        raise BadInput("That file can't be read as text.", asked=str(path), found=str(bad)) from None
    if len(text) > LARGEST:
        raise BadInput("That is no config.json: it is too large.", asked=str(path), found=f"{len(text):,} characters")
    return text


def described(f: Fields, name: str = "") -> Described:
    """The model of a table's fields."""
    notes: list[str] = []
    top = f
    inner = next((key for key in TEXT if isinstance(f.data.get(key), Mapping) and f.first(*WIDTH) is None), None)
    while inner is not None:
        f = f.table(inner) or f
        notes.append(f"only the text part is planned ({'.'.join(f.path)}); what sees or hears is left out")
        inner = next((key for key in TEXT if isinstance(f.data.get(key), Mapping) and f.first(*WIDTH) is None), None)
    if f is top and ("vision_config" in f or "audio_config" in f):
        notes.append("only the text part is planned; what sees or hears is left out")
    kind = f.word("model_type") or top.word("model_type")
    family = _family(f, kind, notes)
    if family.unsaid and f is not top and (left := [key for key in family.unsaid if key not in f]):
        notes.append(f"not in the file, so as {kind} has it: {', '.join(f'{key} {family.unsaid[key]:,}' for key in left)}")
        f = Fields(data={**family.unsaid, **f.data}, file=f.file, text=f.text, path=f.path)
    model = _model(f, top, kind, family, name or _name(top, kind), notes)
    return Described(model=model, source=f.file, notes=tuple(dict.fromkeys(notes)))


def _name(f: Fields, kind: str) -> str:
    told = f.data.get("_name_or_path")
    return (told.rstrip("/").rpartition("/")[2] if isinstance(told, str) else "") or kind or "model"


def _family(f: Fields, kind: str, notes: list[str]) -> Family:
    """The family, or Llama's for one that isn't known; refused where layers are of kinds that a Model doesn't have."""
    if kind in REFUSED:
        raise BadInput(
            f"{f.where('model_type')}: a {kind} can't be described: {REFUSED[kind]}.",
            hint="plan knows decoder-only transformers; write a Model's JSON if one comes close (docs/plan-models.md)",
        )
    if "is_encoder_decoder" in f and f.flag("is_encoder_decoder", False):
        raise f.wrong("is_encoder_decoder", "plan knows decoder-only transformers.")
    odd = next((key for key, value in f.data.items() if value and str(key).startswith(OTHER_LAYERS)), None)
    if odd is not None:
        raise f.wrong(str(odd), "tells of layers that aren't attention and MLP, which plan can't describe.")
    known = FAMILIES.get(kind) or FAMILIES.get(f"{kind}_text")
    if known is None:
        said = f"the family {kind!r} isn't known" if kind else "there is no model_type"
        notes.append(f"{said}: read as Llama's, so with a gated MLP, untied embeddings unless said, rotary positions")
    return known or Family()


def _model(f: Fields, top: Fields, kind: str, family: Family, name: str, notes: list[str]) -> Model:
    layers, width, heads = f.count(*LAYERS, most=DEEPEST), f.count(*WIDTH), f.count(*HEADS)
    latent = _latent(f)
    kv_heads = heads if latent else _kv_heads(f, kind, heads)
    head = 0 if latent else f.count(*HEAD, default=0, least=0)
    if heads % kv_heads:
        raise f.wrong(f.first(*KV_HEADS) or HEADS[0], f"{heads} query heads can't share {kv_heads} heads of keys evenly.")
    if not latent and not head and width % heads:
        raise f.wrong(
            f.first(*HEADS) or HEADS[0], f"a width of {width} isn't a multiple of {heads} heads, and there is no head_dim."
        )
    mixture, mlp = experts(f, kind, layers, notes)
    mlp = mlp or _mlp(f, kind, family, width) if mixture is None or mixture.dense_layers else 0
    tied = "tie_word_embeddings"
    if f.count("word_embed_proj_dim", default=width) != width:
        notes.append("its embeddings are narrower than its layers; they are counted as wide")
    if "index_topk" in f:
        notes.append("its attention chooses tokens (index_topk); it is read as full attention")
    return Model(
        name=name,
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        mlp_width=mlp,
        vocabulary=f.count(*VOCABULARY),
        gated_mlp=family.gated,
        tied_embeddings=f.flag(tied, top.flag(tied, family.tied)),
        head_width=0 if head * heads == width else head,
        positions=_positions(f, kind),
        latent=latent,
        experts=mixture,
        window=window(f, kind, family, layers, notes),
        predicted=f.count(*PREDICTED, default=0, least=0),
    )


def _latent(f: Fields) -> Latent | None:
    """DeepSeek's names, or openPangu's for the same."""
    rank = ("kv_lora_rank", "attention_kv_lora_dim")
    if f.first(*rank) is None:
        return None
    return Latent(
        query_rank=f.count("q_lora_rank", "attention_q_lora_dim", default=0, least=0),
        kv_rank=f.count(*rank),
        plain=f.count("qk_nope_head_dim", "attention_qk_dim"),
        rotary=f.count("qk_rope_head_dim", "attention_qk_rope_dim"),
        value=f.count("v_head_dim", "attention_v_dim"),
    )


def _kv_heads(f: Fields, kind: str, heads: int) -> int:
    """Heads of keys and values: said, one for all (multi-query), or as many as queries have."""
    if kind in ("falcon", "RefinedWeb", "RefinedWebModel"):
        if f.flag("new_decoder_architecture", False):
            return f.count("num_kv_heads", "n_head_kv", default=heads)
        return 1 if f.flag("multi_query", True) else heads
    if kind == "gpt_bigcode":
        return 1 if f.flag("multi_query", True) else heads
    if "multi_query_attention" in f and not f.flag("multi_query_attention", True):  # ChatGLM
        return heads
    attention = f.table("attn_config")
    if attention is not None and "kv_n_heads" in attention:
        return attention.count("kv_n_heads")
    return f.count(*KV_HEADS, default=heads)


def _mlp(f: Fields, kind: str, family: Family, width: int) -> int:
    if kind == "mpt":
        return round(width * f.number("expansion_ratio", 4))
    if kind == "qwen":  # the first Qwen counts gate and up together
        return f.count(*MLP) // 2
    return f.count(*MLP, default=family.wide * width or None)


def _positions(f: Fields, kind: str) -> int:
    """Rows of the table of learned positions."""
    if kind in ("gpt2", "gpt_bigcode"):
        return f.count("n_positions", "max_position_embeddings", "n_ctx", default=1024)
    if kind == "gpt_neo":
        return f.count("max_position_embeddings", default=2048)
    if kind == "opt":
        return f.count("max_position_embeddings", default=2048) + 2  # two rows are kept for padding
    if kind == "mpt" and f.flag("learned_pos_emb", True):
        attention = f.table("attn_config")
        alibi = attention.flag("alibi", True) if attention else f.flag("alibi", False)
        return 0 if alibi else f.count("max_seq_len", default=2048)
    return 0
