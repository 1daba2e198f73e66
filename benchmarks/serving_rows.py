"""Rows of measured inference runs as serving plans, for plan_serving_accuracy.py.

A row names an engine, its degrees and a batch; three habits of the source are undone here:
- runs that were published twice are taken once;
- rows whose degrees were multiplied (tensor x expert of a run that has as many cards as each of them) are divided again: the
  expert columns show k by k, and k cards ran;
- ids with "epnone" are the source's own runs: with lengths of 1,024 and its kin all requests have one length ("one length"), with
  lengths of 1,000 and its kin another load generator was used ("thousands"). The others are public sweeps that drew lengths from
  0.8 to 1 of the nominal ("drawn").
What can't have run (degrees that don't divide heads or experts), and models without a preset, are left out and counted.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import ForebayError
from forebay.plan.kernels.known import device
from forebay.plan.model import Model
from forebay.plan.pool import Cards
from forebay.plan.presets import find
from forebay.plan.serving import Formats, ServingPlan, formats

GBIT = 1e9 / 8
NAMES = {  # systems by their column, where the catalogue names them otherwise
    "a100_sxm": "a100-sxm-80gb",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
}
SUFFIX = re.compile(r"[-_](fp8|nvfp4|fp4|bf16|int4|awq|mxfp4|instruct|it|chat|base|preview|exp|v[\d.]+|\d{4})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured run."""

    name: str
    model: Model
    chip: str
    engine: str
    release: str
    precision: str
    mode: str  # "agg" or "disagg"
    formats: Formats
    inputs: float
    outputs: float
    at_work: int  # requests at work, over all workers
    plan: ServingPlan  # the engine that makes tokens
    prefill: ServingPlan | None
    harness: str  # how requests were made: "drawn", "one length", "thousands"
    first_s: float
    token_s: float
    described: bool  # False: how many workers there were isn't published

    @property
    def kind(self) -> tuple[str, str, str, str, str]:
        """The class within which one scalar may be fitted."""
        return self.chip, self.precision, self.engine, self.mode, self.release


def read(path: Path) -> tuple[list[Row], Counter[str]]:
    """The rows that can be predicted, and why others are left out."""
    seen: set[tuple[str, ...]] = set()
    rows: list[Row] = []
    left: Counter[str] = Counter()
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            model = shape(line["model_path"])
            if model is None:
                left[f"unknown model: {line['model_path']}"] += 1
                continue
            key = (model.name, *(value for name, value in line.items() if name not in ("id", "model_path")))
            if key in seen:
                left["published twice"] += 1
                continue
            seen.add(key)
            row = _row(line, model)
            if isinstance(row, str):
                left[row] += 1
            else:
                rows.append(row)
    return rows, left


def shape(path: str) -> Model | None:
    """The preset of a Hugging Face path; endings that name a format or a tuning are dropped one by one."""
    name = path.rpartition("/")[2].removeprefix("Meta-")
    while True:
        try:
            return find(name).model
        except ForebayError:
            shorter = SUFFIX.sub("", name)
            if shorter == name:
                return None
            name = shorter


def cards(name: str) -> Cards:
    """As the systems of the rows are built: eight cards and eight NICs of 400 Gbit/s a node, or a rack of 72."""
    rack = name.startswith("gb")
    up = 450e9 if name.startswith("h") else 300e9 if name.startswith("a") else 900e9
    return Cards(chip=name, count=72, island=72 if rack else 8, up_bytes_per_s=up, out_bytes_per_s=400 * GBIT)


def _row(line: dict[str, str], model: Model) -> Row | str:
    name = NAMES.get(line["system"], line["system"].replace("_", "-"))
    try:
        device(name)
    except ForebayError:
        return f"unknown chip: {line['system']}"
    found = re.search(r"_c(\d+)_", line["id"])
    at_work = int(found[1]) if found else 0
    harness = "drawn" if "epnone" not in line["id"] else "thousands" if int(line["isl"]) % 1000 == 0 else "one length"
    mean = 0.9 if harness == "drawn" else 1.0
    prefill = None
    described = True
    if line["mode"] == "agg":
        at_work = at_work or _int(line["batch_size"], 0)
        plan = _engine(line, "", model, max(at_work, 1), 1)
    else:
        plan = _engine(line, "decode_", model, 1, _int(line["decode_num_workers"], 1))
        prefill = _engine(line, "prefill_", model, 1, _int(line["prefill_num_workers"], 1))
        described = bool(line["decode_batch_size"] and line["decode_num_workers"])
        if isinstance(plan, ServingPlan) and isinstance(prefill, ServingPlan):
            if described:
                batch = int(line["decode_batch_size"]) * plan.data
                at_work = at_work or batch * plan.workers
            else:  # recipes for few users have several small engines, those for many one large: four, or one
                workers = 4 if plan.data == 1 and at_work >= 4 else 1
                batch = max(round(at_work / workers), 1)
                plan = _with(plan, 1, workers)
            plan = _with(plan, batch, plan.workers)
    if isinstance(plan, str) or isinstance(prefill, str):
        return plan if isinstance(plan, str) else str(prefill)
    if at_work < 1:
        return "no batch"
    return Row(
        name=line["id"],
        model=model,
        chip=name,
        engine=line["backend"],
        release=line["backend_version"],
        precision=line["precision"] or "bf16",
        mode=line["mode"],
        formats=_formats(line, model),
        inputs=int(line["isl"]) * mean,
        outputs=int(line["osl"]) * mean,
        at_work=at_work,
        plan=plan,
        prefill=prefill,
        harness=harness,
        first_s=float(line["silicon_ttft_ms"]) / 1e3,
        token_s=float(line["silicon_tpot_ms"]) / 1e3,
        described=described,
    )


def _engine(line: dict[str, str], start: str, model: Model, batch: int, workers: int) -> ServingPlan | str:
    tensor, data, cut, expert = (
        _int(line[f"{start}{name}"], 1) for name in ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    )
    stages = _int(line[f"{start}pp_size"], 1)
    if model.experts is None:
        cut = expert = 1
    elif not start and cut == expert > 1:  # k by k: k cards ran
        tensor, data, cut, expert = (1, cut, 1, expert) if data > 1 else (cut, 1, 1, expert)
    elif not start and tensor == data > 1:
        data, cut, expert = 1, 1, tensor
    elif not line[f"{start}attention_dp_size"] and cut * expert > tensor:
        data = cut * expert // tensor
    elif start and tensor > 16:  # heads can't be cut so far: attention was replicated
        tensor, data, cut, expert = 1, tensor, 1, tensor
    if model.experts is not None and cut * expert != tensor * data:
        cut, expert = (1, tensor * data) if expert > 1 else (tensor * data, 1)
    if model.heads % tensor or (
        model.experts is not None and (model.experts.width % cut or (model.experts.count % expert and expert <= 8))
    ):
        return "degrees that don't divide the model"
    return ServingPlan(tensor=tensor, data=data, stages=stages, expert=expert, expert_tensor=cut, batch=batch, workers=workers)


def _with(plan: ServingPlan, batch: int, workers: int) -> ServingPlan:
    return ServingPlan(
        tensor=plan.tensor, data=plan.data, stages=plan.stages, expert=plan.expert, expert_tensor=plan.expert_tensor,
        batch=batch, workers=workers,
    )  # fmt: skip


def _formats(line: dict[str, str], model: Model) -> Formats:
    dense, routed = line["gemm_quant_mode"] or "bf16", line["moe_quant_mode"] or "bf16"
    whole = "mxfp4" if model.name.startswith("gpt-oss") else (routed if model.experts is not None else dense).removesuffix("_wo")
    narrow = line["precision"] == "fp4" and not model.name.startswith("gpt-oss")
    cache = "fp8" if narrow or (line["backend"] == "trtllm" and line["precision"] in ("fp8", "fp4")) else "bf16"
    if model.latent is not None:  # DeepSeek-V3 and its kin are published with a scale for each block of 128 x 128
        dense, routed = ("fp8_block" if one == "fp8" else one for one in (dense, routed))
    plain = formats(whole, model, cache)
    return plain if plain.dense == "bf16" else Formats(dense=dense, experts=routed, cache=cache)


def _int(text: str, otherwise: int) -> int:
    return int(float(text)) if text not in ("", "0") else otherwise
