"""torchtitan's configuration, read as torchtitan reads it.

Written from the names, types and defaults of torchtitan/config/job_config.py (v0.2.2) for TOML and of
torchtitan/config/configs.py (August 2026) for Python, and the rules of parallel_dims.py and pipeline_parallel.py; nothing of
Forebay's writer. A name that torchtitan doesn't have is an error here, too.
"""

from __future__ import annotations

import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

from torch.distributed.pipelining.schedules import PipelineScheduleMulti, ScheduleZBVZeroBubble, get_schedule_class

from forebay.plan.plan import Plan

WORDS = {
    "Schedule1F1B": "1f1b",
    "ScheduleInterleaved1F1B": "interleaved",
    "ScheduleInterleavedZeroBubble": "zb-1p",
    "ScheduleZBVZeroBubble": "zb-v",
}


@dataclass
class Job:
    description: str = "default job"


@dataclass
class Model:
    name: str = "llama3"
    flavor: str = "debugmodel"
    converters: list[str] = field(default_factory=list)


@dataclass
class Training:
    local_batch_size: int = 8
    global_batch_size: int = -1
    seq_len: int = 2048
    mixed_precision_param: str = "bfloat16"
    enable_cpu_offload: bool = False


@dataclass
class Parallelism:
    data_parallel_replicate_degree: int = 1
    data_parallel_shard_degree: int = -1
    fsdp_reshard_after_forward: str = "default"
    tensor_parallel_degree: int = 1
    pipeline_parallel_degree: int = 1
    module_fqns_per_model_part: list[list[str]] | None = None
    pipeline_parallel_schedule: str = "1F1B"
    pipeline_parallel_microbatch_size: int = 1
    context_parallel_degree: int = 1
    context_parallel_rotate_method: str = "allgather"
    expert_parallel_degree: int = 1
    expert_tensor_parallel_degree: int = 1


@dataclass
class ActivationCheckpoint:
    mode: str = "selective"
    selective_ac_option: str = "2"


@dataclass
class ParallelismConfig:
    """The Python form's."""

    data_parallel_replicate_degree: int = 1
    data_parallel_shard_degree: int = -1
    fsdp_reshard_after_forward: str = "default"
    tensor_parallel_degree: int = 1
    enable_sequence_parallel: bool = True
    pipeline_parallel_degree: int = 1
    module_fqns_per_model_part: list[list[str]] | None = None
    pipeline_parallel_schedule: str = "1F1B"
    num_pp_microbatches: int = 1
    context_parallel_degree: int = 1
    expert_parallel_degree: int = 1


@dataclass(slots=True)
class TrainingConfig:
    num_tokens_per_microbatch_per_dp_rank: int = 16384
    num_tokens_per_train_step: int = -1
    max_context_length: int = 2048
    mixed_precision_param: str = "bfloat16"


def read_toml(text: str, world: int) -> SimpleNamespace:
    data: dict[str, Any] = tomllib.loads(text)
    quantize = data.pop("quantize", {})
    Job(**data.pop("job", {}))
    model = Model(**data.pop("model", {}))
    training, cut = Training(**data.pop("training")), Parallelism(**data.pop("parallelism"))
    recompute = ActivationCheckpoint(**data.pop("activation_checkpoint"))
    assert data == {}
    assert [f"quantize.{a}.{b}" for a in quantize for b in quantize[a]] == model.converters
    piped = cut.pipeline_parallel_degree > 1
    assert training.local_batch_size % cut.pipeline_parallel_microbatch_size == 0
    micro = cut.pipeline_parallel_microbatch_size if piped else training.local_batch_size
    back = _plan(cut, world, recompute.mode, micro, cut.expert_tensor_parallel_degree, sequence_parallel=True)
    degree = cut.data_parallel_replicate_degree * cut.data_parallel_shard_degree
    assert training.global_batch_size % (training.local_batch_size * degree) == 0
    if piped:  # all in one pass of the pipeline, nothing accumulated around it
        assert training.global_batch_size == training.local_batch_size * degree
    if cut.expert_parallel_degree > 1:
        assert cut.expert_tensor_parallel_degree in (1, cut.tensor_parallel_degree)
    if cut.data_parallel_replicate_degree > 1 and cut.data_parallel_shard_degree == 1 and cut.context_parallel_degree == 1:
        assert world == cut.data_parallel_replicate_degree, "DDP has not supported > 1D parallelism"
    float8 = "quantize.linear.float8" in model.converters
    back.number_format = "fp8" if float8 else "mxfp8" if model.converters else training.mixed_precision_param
    back.sequences, back.tokens, back.model = training.global_batch_size, training.seq_len, (model.name, model.flavor)
    return back


def read_python(text: str, world: int) -> SimpleNamespace:
    """What `cut` makes of a bare Trainer.Config, and what `planned` returns, if there is one."""
    with stand_ins() as made:
        space: dict[str, Any] = {"__name__": "torchtitan_plan"}
        exec(compile(text, "torchtitan_plan.py", "exec"), space)
        config = space["cut"](made())
        named = space["planned"]() if "planned" in space else None
    cut, training = config.parallelism, config.training
    tokens = training.max_context_length
    assert training.num_tokens_per_microbatch_per_dp_rank % tokens == 0
    micro = training.num_tokens_per_microbatch_per_dp_rank // tokens
    recompute = "none" if config.activation_checkpoint is None else config.activation_checkpoint
    back = _plan(cut, world, recompute, micro, 1, sequence_parallel=cut.enable_sequence_parallel)
    a_pass = training.num_tokens_per_microbatch_per_dp_rank * (cut.num_pp_microbatches if cut.pipeline_parallel_degree > 1 else 1)
    a_pass *= cut.data_parallel_replicate_degree * cut.data_parallel_shard_degree
    assert training.num_tokens_per_train_step % a_pass == 0
    if cut.pipeline_parallel_degree > 1:
        assert training.num_tokens_per_train_step == a_pass
    back.sequences, back.tokens, back.number_format = training.num_tokens_per_train_step // tokens, tokens, None
    back.named = named
    if named is not None:
        assert (named.parallelism, named.training) == (cut, training)
    return back


def _plan(cut: Any, world: int, recompute: str, micro: int, expert_tensor: int, *, sequence_parallel: bool) -> SimpleNamespace:
    copies, shards = cut.data_parallel_replicate_degree, cut.data_parallel_shard_degree
    stages = cut.pipeline_parallel_degree
    assert copies * shards * cut.context_parallel_degree * cut.tensor_parallel_degree * stages == world
    schedule = get_schedule_class(cut.pipeline_parallel_schedule)  # PyTorch's own table of names
    pieces = None
    if stages > 1:
        parts = cut.module_fqns_per_model_part
        assert len(parts) % stages == 0
        assert parts[0][0] == "tok_embeddings" and parts[-1][-2] == "norm" and parts[-1][-1] in ("output", "lm_head")
        names = [one for part in parts for one in part if one.startswith("layers.")]
        assert names == [f"layers.{i}" for i in range(len(names))]
        pieces = tuple(sum(one.startswith("layers.") for one in part) for part in parts)
        if not issubclass(schedule, PipelineScheduleMulti):
            assert len(parts) == stages
    plan = Plan(
        replicas=copies,
        shards=shards,
        tensor=cut.tensor_parallel_degree,
        stages=("any",) * stages,
        context=cut.context_parallel_degree,
        expert=cut.expert_parallel_degree,
        expert_tensor=expert_tensor,
        layers=_of_stages(pieces, stages, in_a_v=schedule is ScheduleZBVZeroBubble) if pieces else (),
        chunks=len(pieces) // stages if pieces else 1,
        schedule=WORDS[schedule.__name__] if stages > 1 else "1f1b",
        micro_batch=micro,
        zero={"never": 2, "always": 3}[cut.fsdp_reshard_after_forward] if shards * cut.context_parallel_degree > 1 else 0,
        sequence_parallel=sequence_parallel or cut.tensor_parallel_degree == 1,
        recompute=(recompute,),
    )
    return SimpleNamespace(plan=plan, pieces=pieces)


def _of_stages(pieces: tuple[int, ...], stages: int, *, in_a_v: bool) -> tuple[int, ...]:
    """_pipeline_module_split: rank r has pieces r, r + p, ...; in a V it has r and 2 p - 1 - r."""
    if in_a_v:
        assert len(pieces) == 2 * stages
        return tuple(pieces[r] + pieces[2 * stages - 1 - r] for r in range(stages))
    return tuple(sum(pieces[r::stages]) for r in range(stages))


@contextmanager
def stand_ins():
    """torchtitan's modules as far as a plan imports them; yields what makes a bare Trainer.Config."""

    def trainer() -> SimpleNamespace:
        compiled = SimpleNamespace(enable=False, components=[])
        return SimpleNamespace(parallelism=None, activation_checkpoint="?", training=TrainingConfig(), compile=compiled)

    def policy(word: str) -> SimpleNamespace:
        return SimpleNamespace(Config=lambda: word)

    def converter(name: str) -> SimpleNamespace:
        return SimpleNamespace(Config=lambda model_compile_enabled: name)

    def registry(flavour: str, converters: list[str] | None = None) -> tuple[str, list[str]]:
        return flavour, converters or []

    names = [f"{kind}{what}Converter" for kind in ("Float8", "MXFP8") for what in ("Linear", "GroupedExperts")]
    modules = {
        "torchtitan": {},
        "torchtitan.config": {"ParallelismConfig": ParallelismConfig},
        "torchtitan.components": {},
        "torchtitan.components.quantization": {name: converter(name) for name in names},
        "torchtitan.distributed": {},
        "torchtitan.distributed.activation_checkpoint": {"FullAC": policy("full"), "SelectiveAC": policy("selective")},
        "torchtitan.models": {},
        "torchtitan.models.llama3": {},
        "torchtitan.models.llama3.config_registry": {
            "model_registry": registry, "llama3_8b": trainer, "llama3_70b": trainer, "llama3_405b": trainer,
        },
        "torchtitan.models.deepseek_v3": {},
        "torchtitan.models.deepseek_v3.config_registry": {
            "model_registry": registry, "deepseek_v3_16b": trainer, "deepseek_v3_671b": trainer,
        },
    }  # fmt: skip
    before = {name: sys.modules.get(name) for name in modules}
    for name, inside in modules.items():
        module = ModuleType(name)
        module.__dict__.update(inside)
        module.__path__ = []  # type: ignore[attr-defined]
        sys.modules[name] = module
    try:
        yield trainer
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
