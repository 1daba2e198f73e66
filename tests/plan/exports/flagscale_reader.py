"""FlagScale's YAML, read as FlagScale reads it.

Written from flagscale/runner/runner_train.py and utils.py (sections are merged and flattened to Megatron-LM's arguments; the
hostfile's form) and flagscale/train/arguments.py (the hetero arguments and their checks), November 2025.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import yaml

from .megatron_reader import parser, read

HETERO = {
    "hetero-process-meshes": int, "hetero-pipeline-layer-split": int, "hetero-device-types": str,
    "expert-tensor-parallel-size-per-process-mesh": int, "recompute-granularity-per-stage-micro-batch": str,
    "recompute-method-per-stage-micro-batch": str, "recompute-num-layers-per-stage-micro-batch": str,
}  # fmt: skip
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ELSEWHERE = ("lr", "data-path", "tokenizer-type", "make-vocab-size-divisible-by")


def flatten(config: dict[str, Any]) -> list[str]:
    args = []
    for key, value in config.items():
        flag = "--" + key.replace("_", "-")
        if isinstance(value, dict):
            args += flatten(value)
        elif isinstance(value, list):
            args += [flag, *(str(one) for one in value)]
        elif isinstance(value, bool):
            args += [flag] if value else []
        else:
            args += [flag, str(value)]
    return args


def hosts(text: str) -> list[tuple[str, int, str]]:
    found = [re.match(r"^(\S+)\s+slots=(\d+)(?:\s+type=(\S+))?", line) for line in text.splitlines()]
    return [(one[1], int(one[2]), one[3]) for one in found]


def read_files(files: dict[str, str]) -> SimpleNamespace:
    config = yaml.load(files["conf/config.yaml"], LOADER)
    assert config["defaults"][0]["train"] == "plan" and config["experiment"]["task"]["backend"] == "megatron"
    train = yaml.load(files["conf/train/plan.yaml"], LOADER)
    assert set(train) == {"system", "model", "data"}
    machines = hosts(files["hostfile"])
    assert config["experiment"]["runner"]["nnodes"] == len(machines)
    return SimpleNamespace(train=train, config=config, machines=machines, world=sum(slots for _, slots, _ in machines))


def read_plan(files: dict[str, str]) -> SimpleNamespace:
    found = read_files(files)
    merged = {**found.train["system"], **found.train["model"], **found.train["data"]}
    mine = parser()
    for name, kind in HETERO.items():
        mine.add_argument(f"--{name}", nargs="*", type=kind)
    for name in ("enable-hetero", "standalone-embedding-stage"):
        mine.add_argument(f"--{name}", action="store_true")
    mine.add_argument("--hetero-current-device-type")
    for name in ELSEWHERE:
        mine.add_argument(f"--{name}")
    argv = flatten(merged)
    args, more = mine.parse_known_args(argv)
    assert more == [], more
    plain = [*_only(parser(), argv)]
    if not args.enable_hetero:
        back = read(plain, found.world)
        back.plan = replace(back.plan, stages=(found.machines[0][2],) * len(back.plan.stages))
    else:
        back = _hetero(args, plain, found)
    if args.recompute_granularity_per_stage_micro_batch:
        assert args.recompute_granularity == "full" and args.recompute_method == "uniform"
        n = back.sequences // (back.plan.micro_batch * back.plan.data)
        ways = []
        for item in map(ast.literal_eval, args.recompute_granularity_per_stage_micro_batch):
            stages, micro, switch = item
            assert micro == n and switch in (0, 1)
            ways += [("none", "full")[switch]] * stages
        assert len(ways) == len(back.plan.stages)
        back.plan = replace(back.plan, recompute=tuple(ways))
    return back


def _only(known: Any, argv: list[str]) -> list[str]:
    """The arguments that plain Megatron-LM knows."""
    kept, keep = [], False
    for one in argv:
        if one.startswith("--"):
            keep = one in known._option_string_actions
        if keep:
            kept.append(one)
    return kept


def _hetero(args: Any, plain: list[str], found: SimpleNamespace) -> SimpleNamespace:
    """pre_validate_args: meshes of five, their stages and layers add up, one context degree, no virtual stages."""
    meshes = args.hetero_process_meshes
    assert len(meshes) % 5 == 0
    rows = [meshes[i : i + 5] for i in range(0, len(meshes), 5)]
    assert args.pipeline_model_parallel_size == sum(row[4] for row in rows)
    assert sum(args.hetero_pipeline_layer_split) == args.num_layers
    assert len(args.hetero_pipeline_layer_split) == args.pipeline_model_parallel_size
    assert len(rows) == len(args.hetero_device_types) and args.hetero_current_device_type in args.hetero_device_types
    assert not args.standalone_embedding_stage
    assert args.num_layers_per_virtual_pipeline_stage is None and args.num_virtual_stages_per_pipeline_rank is None
    assert len({row[1] for row in rows}) == 1
    assert all((rows[0][3] * args.micro_batch_size) % row[3] == 0 for row in rows)
    if args.expert_tensor_parallel_size_per_process_mesh:
        assert len(args.expert_tensor_parallel_size_per_process_mesh) == len(rows)
    assert found.config["experiment"]["runner"]["rdzv_backend"] == "static"
    cards: list[str] = []
    for _, slots, kind in found.machines:
        cards += [kind] * slots
    first, stages = 0, []
    for kind, (t, c, _, d, p) in zip(args.hetero_device_types, rows, strict=True):
        assert cards[first : first + t * c * d * p] == [kind] * (t * c * d * p)
        first += t * c * d * p
        stages += [kind] * p
    assert first == found.world
    count = args.num_layers
    args.pipeline_model_parallel_layout = None
    safe = list(plain)
    i = safe.index("--num-layers")
    safe[i + 1] = str(args.pipeline_model_parallel_size)  # the split says it; the plain reader would divide
    if "--moe-layer-freq" in safe:
        del safe[safe.index("--moe-layer-freq") : safe.index("--moe-layer-freq") + 2]
    back = read(safe, found.world)
    t, c, e, d, _ = rows[0]
    assert (t, c, e, d) == (back.plan.tensor, back.plan.context, back.plan.expert, back.plan.data)
    assert count == sum(args.hetero_pipeline_layer_split)
    back.pieces = tuple(args.hetero_pipeline_layer_split)
    back.plan = replace(back.plan, layers=back.pieces, stages=tuple(stages))
    return back
