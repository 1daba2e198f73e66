"""A plan as torchtitan's configuration: TOML, as it was read up to 0.2.2, and Python, which it has been since February 2026.

Asked:  which degrees, schedule and modules does torchtitan want?
Answer: `parallelism`, `training` and `activation_checkpoint` of torchtitan/config/job_config.py (v0.2.2) in TOML, and of
        torchtitan/config/configs.py (August 2026) in a module of two functions: `cut(config)` sets the plan in any
        Trainer.Config, `planned()` returns a whole one where torchtitan has the model by name. Stages are named module by module.
Limits: FSDP is all that it has: ZeRO 2 (weights stay gathered) or 3. No ZeRO 1, no Ulysses, no optimizer alone in the host's
        memory, one way of recomputing for all, and what "selective" saves is its own choice. A form that has no words for a plan
        is left out, and a note says why; a plan that neither has is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from forebay.plan.export.exported import Exported, cannot, mixed, no_shares
from forebay.plan.export.pieces import pieces
from forebay.plan.export.torchrun import launch
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

TOML, PYTHON, MODULE = "torchtitan.toml", "torchtitan_plan.py", "torchtitan_plan"
SCHEDULE = {
    "1f1b": "1F1B",
    "interleaved": "Interleaved1F1B",
    "zb-1p": "InterleavedZeroBubble",
    "zb-v": "ZBVZeroBubble",
}
# (layers, width) -> model and flavour, as torchtitan/models/*/__init__.py name them in 0.2.2
KNOWN = {
    (32, 4096, False): ("llama3", "8B"),
    (80, 8192, False): ("llama3", "70B"),
    (126, 16384, False): ("llama3", "405B"),
    (27, 2048, True): ("deepseek_v3", "16B"),
    (60, 5120, True): ("deepseek_v3", "236B"),
    (61, 7168, True): ("deepseek_v3", "671B"),
}
REGISTRY = ("llama3_8b", "llama3_70b", "llama3_405b", "deepseek_v3_16b", "deepseek_v3_671b")  # the config_registry's functions


def export(work: Workload, plan: Plan, *, hosts: Mapping[str, int], script: str = "") -> Exported:
    _refuse(work, plan)
    named = known(work.model)
    files: dict[str, str] = {}
    left: list[str] = []
    lines: list[str] = []
    where: tuple[str, ...] = launch(plan, hosts, "")[1]
    for name, reason, text in (
        (TOML, _not_in_toml(work, plan), _toml),
        (PYTHON, _not_in_python(work, plan), _python),
    ):
        if reason:
            left.append(f"{name} is left out: it can't say {reason}.")
        else:
            files[name] = text(work, plan, named)
    if not files:
        cannot("torchtitan", "; ".join(left))
    for name, start in (
        (TOML, f"-m torchtitan.train --job.config_file {TOML}"),
        (PYTHON, f"-m torchtitan.train --module {MODULE} --config planned"),
    ):
        if name in files and (name == TOML or _function(named)):
            begun, _ = launch(plan, hosts, script or start)
            lines += [line for line in begun if line not in lines]
    return Exported(target="torchtitan", files=files, lines=tuple(lines), notes=(*left, *_notes(work, plan, named), *where))


def known(m: Model) -> tuple[str, str] | None:
    """The model's name and flavour in torchtitan. None: it has none of this shape."""
    return KNOWN.get((m.layers, m.width, m.latent is not None))


def _refuse(work: Workload, plan: Plan) -> None:
    no_shares("torchtitan", plan)
    if plan.inner == "stages" and len(plan.stages) > 1:
        cannot("torchtitan", "stages inside data", "inner=data")
    if plan.zero == 1 and plan.shards > 1:
        cannot(
            "torchtitan",
            "zero=1 over several shards (its FSDP cuts gradients with the optimizer)",
            "zero=2 or 3",
        )
    if plan.zero < 2 and plan.context > 1:
        cannot("torchtitan", f"zero={plan.zero} with context {plan.context} (its FSDP cuts over the context degree, too)",
               "zero=3")  # fmt: skip
    if len(plan.stages) > 1 and plan.schedule not in SCHEDULE:
        cannot("torchtitan", f"schedule {plan.schedule}", "--schedule " + ", ".join(SCHEDULE))
    if plan.context > 1 and plan.context_kind == "ulysses":
        cannot("torchtitan", f"context {plan.context} by Ulysses", "a ring")
    if plan.offload == "optimizer":
        cannot("torchtitan", "the optimizer alone in the host's memory", "--no-offload")
    if len(set(plan.recompute)) > 1:
        cannot("torchtitan", "stages that recompute differently", "one way of recomputing for all stages")
    if work.number_format not in ("bf16", "fp32", "tf32", "fp8", "mxfp8"):
        cannot("torchtitan", f"number format {work.number_format}")


def _not_in_toml(work: Workload, plan: Plan) -> str:
    if plan.tensor > 1 and not plan.sequence_parallel:
        return "tensor without sequence parallel"
    if plan.expert > 1 and plan.expert_tensor not in (1, plan.tensor):
        return f"expert_tensor {plan.expert_tensor} beside tensor {plan.tensor}"
    copies = plan.data if plan.zero < 2 else plan.replicas
    if copies > 1 and copies == plan.data and plan.context == 1 and plan.cards > copies:
        return "plain copies of a model that is cut otherwise (DDP with other degrees)"
    return ""


def _not_in_python(work: Workload, plan: Plan) -> str:
    if plan.expert > 1 and plan.expert_tensor > 1:
        return f"expert_tensor {plan.expert_tensor}"
    if work.number_format in ("fp8", "mxfp8") and not _function(known(work.model)):
        return f"{work.number_format} of a model that torchtitan has no Trainer.Config of"
    return ""


def _degrees(work: Workload, plan: Plan) -> dict[str, object]:
    """What both forms call alike."""
    told: dict[str, object] = {
        "data_parallel_replicate_degree": plan.data if plan.zero < 2 else plan.replicas,
        "data_parallel_shard_degree": 1 if plan.zero < 2 else plan.shards,
        "fsdp_reshard_after_forward": "never" if plan.zero == 2 else "always",
        "tensor_parallel_degree": plan.tensor,
        "context_parallel_degree": plan.context,
        "pipeline_parallel_degree": len(plan.stages),
        "expert_parallel_degree": plan.expert,
    }
    if len(plan.stages) > 1:
        told["pipeline_parallel_schedule"] = SCHEDULE[plan.schedule]
    return told


def modules(work: Workload, plan: Plan, head: str) -> list[list[str]]:
    """The modules of each piece by name; the last module is `output` up to 0.2.2 and `lm_head` since."""
    found, first = [], 0
    for n in pieces(plan, work.model.layers, work.model.predicted):
        found.append([f"layers.{i}" for i in range(first, first + n)])
        first += n
    found[0].insert(0, "tok_embeddings")
    found[-1] += ["norm", head]
    return found


def _toml(work: Workload, plan: Plan, named: tuple[str, str] | None) -> str:
    piped, n = len(plan.stages) > 1, plan.micro_batches(work.sequences)
    parallelism = _degrees(work, plan)
    if plan.expert > 1:
        parallelism["expert_tensor_parallel_degree"] = plan.expert_tensor
    if piped:
        parallelism["pipeline_parallel_microbatch_size"] = plan.micro_batch
        parallelism["module_fqns_per_model_part"] = modules(work, plan, "output")
    model: dict[str, object] = {"name": named[0], "flavor": named[1]} if named else {}
    quantize: dict[str, dict[str, object]] = {}
    if work.number_format in ("fp8", "mxfp8"):
        kind = "float8" if work.number_format == "fp8" else "mx"
        model["converters"] = [f"quantize.linear.{kind}"] + ([f"quantize.grouped_mm.{kind}"] if work.model.experts else [])
        quantize[f"quantize.linear.{kind}"] = {"filter_fqns": ["output", "router.gate"]}
        if work.model.experts:
            quantize[f"quantize.grouped_mm.{kind}"] = {"fqns": ["experts"]}
    training: dict[str, object] = {
        "local_batch_size": plan.micro_batch * (n if piped else 1),
        "global_batch_size": work.sequences,
        "seq_len": work.tokens,
        "mixed_precision_param": _param(work),
    }
    recompute: dict[str, object] = {"mode": plan.recompute[0]}
    if plan.recompute[0] == "selective":
        recompute["selective_ac_option"] = "op"
    name = work.model.name.encode(errors="replace").decode()
    tables: dict[str, Mapping[str, object]] = {
        "job": {"description": name},
        "model": model,
        "training": training,
        "parallelism": parallelism,
    }
    tables |= {"activation_checkpoint": recompute, **quantize}
    return "\n".join(_table(name, pairs) for name, pairs in tables.items() if pairs)


def _table(name: str, pairs: Mapping[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_toml_value(value)}\n" for key, value in pairs.items())


def _toml_value(value: object) -> str:
    """Whole numbers, texts and lists of them: TOML writes these as JSON does, but for DEL, which it wants escaped."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + "".join(f"    {_toml_value(row)},\n" for row in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _python(work: Workload, plan: Plan, named: tuple[str, str] | None) -> str:
    piped = len(plan.stages) > 1
    told = _degrees(work, plan) | {"enable_sequence_parallel": plan.sequence_parallel}
    if piped:
        told["num_pp_microbatches"] = plan.micro_batches(work.sequences)
        told["module_fqns_per_model_part"] = modules(work, plan, "lm_head")
    training = {
        "num_tokens_per_microbatch_per_dp_rank": plan.micro_batch * work.tokens,
        "num_tokens_per_train_step": work.tokens_a_step,
        "max_context_length": work.tokens,
        "mixed_precision_param": _param(work),
    }
    policy = {"none": "None", "selective": "SelectiveAC.Config()", "full": "FullAC.Config()"}[plan.recompute[0]]
    lines = [f'"""{_comment(work.model.name)}: a plan by forebay."""', "", "from torchtitan.config import ParallelismConfig"]
    if plan.recompute[0] != "none":
        lines.append(f"from torchtitan.distributed.activation_checkpoint import {policy.split('.')[0]}")
    lines += [
        "",
        "",
        "def cut(config):",
        '    """Cut the work of this Trainer.Config as planned."""',
        "    config.parallelism = ParallelismConfig(",
    ]
    lines += [f"        {key}={_python_value(value)}," for key, value in told.items()]
    lines += ["    )", f"    config.activation_checkpoint = {policy}"]
    lines += [f"    config.training.{key} = {_python_value(value)}" for key, value in training.items()]
    lines.append("    return config")
    return "\n".join([*lines, *_planned(work, named)]) + "\n"


def _python_value(value: object) -> str:
    if isinstance(value, list):
        return "[\n" + "".join(f"            {json.dumps(row)},\n" for row in value) + "        ]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _function(named: tuple[str, str] | None) -> str:
    """The function of torchtitan's that returns the model's Trainer.Config; "" where there is none."""
    function = f"{named[0]}_{named[1].lower()}" if named else ""
    return function if function in REGISTRY else ""


def _planned(work: Workload, named: tuple[str, str] | None) -> list[str]:
    function = _function(named)
    if named is None or not function:
        return []
    lines = ["", "", "def planned():", f"    from torchtitan.models.{named[0]}.config_registry import {function}, model_registry"]
    lines += ["", f"    config = cut({function}())"]
    experts = work.model.experts is not None
    if work.number_format in ("fp8", "mxfp8"):
        kind = "Float8" if work.number_format == "fp8" else "MXFP8"
        classes = [f"{kind}LinearConverter"] + ([f"{kind}GroupedExpertsConverter"] if experts else [])
        lines.insert(4, f"    from torchtitan.components.quantization import {', '.join(classes)}")
        lines += ['    compiled = config.compile.enable and "model" in config.compile.components']
        made = ", ".join(f"{one}.Config(model_compile_enabled=compiled)" for one in classes)
        lines += [f'    config.model_spec = model_registry("{named[1]}", converters=[{made}])']
    else:
        lines += [f'    config.model_spec = model_registry("{named[1]}")']
    return [*lines, "    return config"]


def _comment(name: str) -> str:
    return json.dumps(name)[1:-1].replace('\\"', "'")


def _param(work: Workload) -> str:
    return "float32" if work.number_format in ("fp32", "tf32") else "bfloat16"


def _notes(work: Workload, plan: Plan, named: tuple[str, str] | None) -> tuple[str, ...]:
    found = [f"{TOML} is for torchtitan up to 0.2.2, {PYTHON} for its main branch since February 2026."]
    if not _function(named):
        found.append(
            f"torchtitan has no Trainer.Config of {work.model.layers} layers of width {work.model.width}: name yours in [model], "
            f"or call {MODULE}.cut(config) on it."
        )
    if plan.recompute[0] == "selective":
        found.append("torchtitan's selective recomputing chooses by operator; it may keep more or less than planned.")
    if mixed(plan):
        found.append("torchtitan's configuration names no chip: which rank is on which is said by the order of hosts only.")
    return (*found, "Left to you: tokenizer and data, learning rate, checkpoints, compile.")
