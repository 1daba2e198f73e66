"""Published training runs, as workloads and plans.

Asked:  a table says how a run was cut and how long its step was. Which Workload, Plan and Pool was that?
Answer: `read` turns a file in the format of measured_runs.json into Runs. A row without a degree, a shape or a time is left out
        and says why.
Units:  seconds, sequences. Rows with tokens a second only are turned into seconds.
Limits: what a source doesn't publish takes the framework's default (`FAMILIES`), never a value that fits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.plan.framework import FRAMEWORKS, framework, usual
from forebay.plan.kernels.known import device
from forebay.plan.model import Experts, Latent, Model, Window, Workload
from forebay.plan.plan import Plan
from forebay.plan.pool import Cards
from forebay.plan.pool_read import pool
from forebay.units import GB, parse_bytes_per_s

CHIPS = {
    "H100": "h100-sxm",
    "H200": "h200",
    "A100-80": "a100-sxm-80gb",
    "A100-40": "a100-sxm-40gb",
    "B200": "b200",
    "B300": "b300",
    "GB200": "gb200",
    "GB300": "gb300",
    "GH-96": "gh200",
    "H100-HBM2e-500W": "h100-sxm",
    "TPU-trillium": "tpu-v6e",
}
VENDORS = re.compile(r"\(r\)|\b(nvidia|amd|instinct|intel|habana|huawei|google|ai accelerator)\b")
# The release from which Megatron-Bridge's 8-bit recipes for a chip are one graph with fused experts; before, as its others.
RECIPES_FUSED = {
    "GB200": "megatron-bridge-26.06",
    "GB300": "megatron-bridge-26.06",
    "B200": "megatron-bridge-26.06.01",
    "B300": "megatron-bridge-26.06.01",
}
# Software of each collection: its framework and how it recomputes where the table doesn't say.
FAMILIES: Mapping[str, str] = {
    "vtrain-single": "megatron-deepspeed",
    "vtrain-multi": "megatron-2021",
    "korthikanti": "megatron-2021",
    "simumax-b200": "megatron-lm",
    "llm-foundry": "fsdp",
    "torchtitan": "torchtitan",
    "sailor-gh200": "megatron-2021",
    "sailor-hetero": "megatron-2021",
}
FORMATS = {"fp8": "fp8", "mxfp8": "fp8", "nvfp4": "nvfp4", "bf16": "bf16", "fp16": "fp16"}


# What a card sends between machines, where the collection says something else than the usual build.
NETWORKS: Mapping[str, float] = {
    "vtrain-multi": parse_bytes_per_s("100 Gbit/s"),  # 800 Gbit/s a node of eight (its configuration file)
    "vtrain-single": parse_bytes_per_s("100 Gbit/s"),
}


# vTrain's rows on one node. Their field "recompute" comes from its simulator's configuration, which doesn't recompute on the last
# stage (src/predictor.py). The times say that no stage did: of width 2,048, 1,024 more tokens take a layer 1.9 ms longer (from 4
# to 8 sequences); 0.7 ms of that moves memory, and the 446 GFLOP of four passes in the rest would be 1.2 times the A100's peak.
NOT_RECOMPUTED = frozenset({"vtrain-single"})
# Its code's own (src/config.py), split over the tensor degree without padding; the table's is the collector's guess.
VOCABULARIES: Mapping[str, int] = {"vtrain-single": 50257}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One published measurement: what was run, on what, and how long a step was."""

    family: str
    release: str
    model_name: str
    chip: str
    framework: str
    workload: Workload
    plan: Plan
    seconds: float
    memory_bytes: float | None
    recalled: bool
    row: Mapping[str, Any]

    @property
    def cards(self) -> Cards:
        """The cards as the collection's page describes its machines."""
        out = NETWORKS.get(self.family) or _build(self.chip).out_bytes_per_s
        return replace(_build(self.chip), count=self.plan.cards, out_bytes_per_s=out)

    @property
    def calibrated_as(self) -> tuple[str, str, str]:
        """The class within which one scalar may hold: chip, precision, release."""
        return (self.row["chip_class"], self.workload.number_format, self.release)


def read(path: Path) -> tuple[tuple[Run, ...], dict[str, int]]:
    """The runs of a file, and how many rows were left out for which reason."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput("The file of measured runs can't be read.", asked=str(path), found=str(error)) from error
    runs: list[Run] = []
    left: dict[str, int] = {}
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput("A file of measured runs is a list of them.", asked=str(path), hint="docs/plan-why.md says the fields")
    for row in rows:
        found = run(row)
        if isinstance(found, str):
            left[found] = left.get(found, 0) + 1
        else:
            runs.append(found)
    return tuple(runs), left


def run(row: Mapping[str, Any]) -> Run | str:
    """The row as a Run, or in words what it lacks."""
    m = row.get("model")
    if not isinstance(m, dict) or not _counts(m, "layers", "hidden", "heads", "seq", "vocab"):
        return "no shape"
    if not _maybe(m, "kv_heads", "ffn", "moe_ffn", "experts", "topk", "shared_experts", "dense_layers"):
        return "no shape"
    if m.get("experts") and not (_counts(m, "experts", "topk") and (m.get("moe_ffn") or m.get("ffn"))):
        return "no shape"
    if not _counts(row, "tp", "pp", "dp", "micro_batch", "global_batch", "n_chips"):
        return "no parallel degrees"
    if not _maybe(row, "cp", "ep", "etp", "vpp"):
        return "no parallel degrees"
    if not (chip := chip_named(str(row.get("chip_class")))) and not row.get("heterogeneous"):
        return "a chip without a data sheet here"
    if not (row.get("release") or row.get("family")):
        return "no release"
    form = precision(row.get("precision"))
    if form is None:
        return "no number format"
    if "lora" in str(row.get("task", "")).lower():
        return "LoRA"
    seconds = step_seconds(row)
    if seconds is None:
        return "no step time"
    memory = row["measured"].get("memory_gb")
    return Run(
        family=_family(row),
        release=row.get("release") or _family(row),
        model_name=_name(m),
        chip=chip,
        framework=software(row),
        workload=Workload(model=model(m, _family(row)), sequences=row["global_batch"], tokens=m["seq"], number_format=form),
        plan=plan(row),
        seconds=seconds,
        memory_bytes=memory * GB if isinstance(memory, (int, float)) else None,
        recalled=bool(row.get("recalled")),
        row=row,
    )


def _counts(table: Mapping[str, Any], *keys: str) -> bool:
    """Are these all whole numbers above zero?"""
    return all(isinstance(table.get(key), int) and table[key] > 0 for key in keys)


def _maybe(table: Mapping[str, Any], *keys: str) -> bool:
    """Is each of these not said, or a whole number?"""
    return all(table.get(key) is None or (isinstance(table[key], int) and table[key] >= 0) for key in keys)


def _family(row: Mapping[str, Any]) -> str:
    """The collection that a row is from; "" of one's own runs."""
    return str(row.get("family") or "")


def _name(m: Mapping[str, Any]) -> str:
    return str(m.get("name") or f"{m['layers']} layers of {m['hidden']}")


@cache
def chip_named(text: str) -> str:
    """The catalogue's chip that a table calls so: "H100", "AMD Instinct MI300X", "ascend-910b". "": none to plan with."""
    plain = {name.replace("-", ""): name for name in catalogue.load()}
    word = re.sub(r"[\s_-]", "", VENDORS.sub("", text.lower()))
    name = CHIPS.get(text, plain.get(word, ""))
    try:
        return device(name).name if name else ""
    except BadInput:
        return ""


def software(row: Mapping[str, Any]) -> str:
    """The framework of a row: one that it names as we do, else its collection's; of NVIDIA's tables by the release's year."""
    if row.get("framework") in FRAMEWORKS:
        return usual(framework(row["framework"]), chip_named(row["chip_class"]), precision(row.get("precision")) or "").name
    if row.get("framework") in ("Paxml", "MaxText"):
        return "jax"
    release = str(row.get("release"))
    if _family(row) == "nemo-2024" or release.startswith(("dgxc-24", "dgxc-25.02")):
        return "megatron-2024"
    if _family(row) == "megatron-bridge" and release < RECIPES_FUSED.get(row["chip_class"], ""):
        return "megatron-graphs" if row["chip_class"] in ("GB200", "GB300") else "megatron"
    name = FAMILIES.get(_family(row), "megatron-2025" if release.startswith("dgxc-25") else "megatron")
    return usual(framework(name), chip_named(row["chip_class"]), precision(row.get("precision")) or "").name


@cache
def _build(chip: str) -> Cards:
    """Cards of this kind, built into machines as usual."""
    return pool(f"{chip}:1152").cards[0]  # a whole number of islands of any build


def precision(text: Any) -> str | None:
    """ "FP8-CS (FP8-MX)" is fp8."""
    words = str(text or "").lower()
    if words.startswith("see source"):
        return None
    return next((FORMATS[name] for name in FORMATS if name in words), None)


def step_seconds(row: Mapping[str, Any]) -> float | None:
    """What a step took, or what its tokens a second say; None where neither is a number above zero."""
    found = row.get("measured")
    seconds, rate = (found.get(key) if isinstance(found, dict) else None for key in ("step_time_s", "tokens_per_s_per_gpu"))
    if isinstance(seconds, (int, float)) and seconds > 0:
        return float(seconds)
    if isinstance(rate, (int, float)) and rate > 0:
        return float(row["global_batch"] * row["model"]["seq"] / rate / row["n_chips"])
    return None


def model(m: Mapping[str, Any], family: str = "") -> Model:
    name, experts = _name(m).lower(), None
    if m.get("experts"):
        width = m.get("moe_ffn") or m["ffn"]
        experts = Experts(
            count=m["experts"],
            chosen=m["topk"],
            width=width,
            shared_width=(m.get("shared_experts") or 0) * width,
            dense_layers=m.get("dense_layers") or 0,
            biased="gpt-oss" in name,
            clamped="gpt-oss" in name,
        )
    latent = None
    if m.get("mla"):
        latent = Latent(query_rank=1536, kv_rank=512, plain=128, rotary=64, value=128)
    gpt = any(word in name for word in ("gpt h", "gpt-3", "opt", "megatron", "gpt 1", "gpt 2", "gpt 6"))
    return Model(
        name=_name(m),
        layers=m["layers"],
        width=m["hidden"],
        heads=m["heads"],
        kv_heads=m.get("kv_heads") or m["heads"],
        mlp_width=m.get("ffn") or 0,
        vocabulary=VOCABULARIES.get(family, m["vocab"]),
        gated_mlp=bool(m.get("gated")),
        tied_embeddings=gpt or "mpt" in name,
        head_width=128 if "qwen3" in name else (64 if "gpt-oss" in name else 0),
        positions=m["seq"] if gpt else 0,
        latent=latent,
        experts=experts,
        window=Window(tokens=128, full_every=2) if "gpt-oss" in name else None,
    )


def plan(row: Mapping[str, Any]) -> Plan:
    tensor, stages, data, context = row["tp"], row["pp"], row["dp"], row.get("cp") or 1
    zero = row.get("zero")
    said = str(row.get("recompute") or "none")
    if software(row) == "jax":
        said = "full"
    recompute = "full" if said.startswith("full") else "selective" if said.startswith("selective") else "none"
    if _family(row) in NOT_RECOMPUTED:
        recompute = "none"
    chip = chip_named(row["chip_class"])
    chunks = row.get("vpp") or 1
    layers, parts = row["model"]["layers"], stages * chunks
    return Plan(
        replicas=1,
        shards=data,
        tensor=tensor,
        stages=(chip,) * stages,
        context=context,
        expert=row.get("ep") or 1,
        expert_tensor=row.get("etp") or (tensor if software(row) == "megatron-2024" and row.get("ep") else 1),
        ends=bool(row.get("embedding_in_pipeline_split")) or (layers % parts != 0 and (layers + 2) % parts == 0),
        chunks=chunks if stages > 1 else 1,
        schedule="interleaved" if chunks > 1 and stages > 1 else "1f1b",
        micro_batch=row["micro_batch"],
        zero=zero if isinstance(zero, int) else 3 if zero == "fsdp" else 1,
        sequence_parallel=tensor > 1 and _family(row) not in ("vtrain-single", "vtrain-multi"),
        recompute=(recompute,),
    )
