"""torchrun's lines, read by torchrun's own parser."""

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from torch.distributed.run import determine_local_world_size, get_args_parser, parse_min_max_nnodes

from forebay.codec import decode
from forebay.errors import BadInput
from forebay.plan.export import TARGETS, export
from forebay.plan.export.torchrun import host_runs, places
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

from .cases import jobs

MODEL = Model(name="m", layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14336, vocabulary=128256)
WORK = Workload(model=MODEL, sequences=1024, tokens=8192)
PLAN = Plan(replicas=1, shards=8, tensor=4, stages=("h100-sxm",) * 2 + ("gb200",))
HOSTS = {"h100-sxm": 8, "gb200": 4}


def parsed(line):
    words = shlex.split(line)
    assert words[0] == "torchrun"
    return get_args_parser().parse_args([one.replace("$NODE_RANK", "0") for one in words[1:]])


@given(jobs())
def test_as_many_processes_start_as_the_plan_has_cards(job):
    work, plan = job
    found = export(work, plan, "torchrun", cards_a_host=1)
    [line] = found.lines  # hosts of one card all start the same, whatever the chip
    args = parsed(line)
    low, high = parse_min_max_nnodes(args.nnodes)
    assert low == high and low * determine_local_world_size(args.nproc_per_node) == plan.cards
    body = json.loads(found.files["plan.json"])
    assert decode(Plan, body["plan"]) == plan and decode(Workload, body["workload"]) == work


def test_two_kinds_of_hosts_have_a_line_each_and_places_in_the_order_of_stages():
    found = export(WORK, PLAN, "torchrun", cards_a_host=HOSTS)
    eight, four = (parsed(line) for line in found.lines)
    assert (eight.nnodes, eight.nproc_per_node) == ("16", "8") and (four.nnodes, four.nproc_per_node) == ("16", "4")
    assert eight.node_rank == 0 and eight.rdzv_backend == "static" and "$NODE_RANK" in found.lines[0]
    assert places(host_runs(PLAN, HOSTS)) == [("h100-sxm", 0, 7, 8), ("gb200", 8, 15, 4)]
    assert any("NODE_RANK 8 to 15 on hosts of 4 gb200" in note for note in found.notes)


def test_data_ranks_on_different_chips_follow_each_other_within_each_stage():
    plan = replace(PLAN, stages=("h100-sxm",) * 2, data_chips=("h100-sxm",) * 6 + ("gb200",) * 2, shards=8)
    assert host_runs(plan, HOSTS) == [("h100-sxm", 3, 8), ("gb200", 2, 4), ("h100-sxm", 3, 8), ("gb200", 2, 4)]
    assert len(export(WORK, plan, "megatron", cards_a_host=HOSTS).lines) == 2
    with pytest.raises(BadInput, match="FlagScale"):
        export(WORK, plan, "flagscale", cards_a_host=HOSTS)


def test_hosts_of_one_kind_find_each_other():
    [line] = export(WORK, replace(PLAN, stages=("h100-sxm",) * 4), "torchrun").lines
    args = parsed(line)
    assert (args.nnodes, args.nproc_per_node, args.rdzv_backend, args.training_script) == ("16", "8", "c10d", "train.py")
    assert args.training_script_args == ["--plan", "plan.json"]


def test_one_host_or_a_part_of_it_needs_no_meeting_place():
    [line] = export(WORK, replace(PLAN, stages=("h100-sxm",), tensor=4, shards=1), "torchrun", script="mine.py --x 1").lines
    args = parsed(line)
    assert (args.standalone, args.nproc_per_node, args.training_script_args) == (True, "4", ["--x", "1"])


@pytest.mark.parametrize("target", TARGETS)
def test_cards_that_fill_no_whole_hosts_are_refused_with_the_nearest_that_do(target):
    odd = replace(PLAN, stages=("h100-sxm",) * 3, shards=6, tensor=1, zero=0)
    with pytest.raises(BadInput, match="whole hosts") as caught:
        export(replace(WORK, model=replace(MODEL, layers=33), sequences=12), odd, target)
    assert "16 or 24" in caught.value.hint


def test_a_target_that_there_is_not_is_told_with_those_that_there_are():
    with pytest.raises(BadInput) as caught:
        export(WORK, PLAN, "megatrom")
    assert "megatron" in caught.value.hint


@pytest.mark.parametrize(
    "change, word",
    [
        ({"shards": 3}, "1023"),
        ({"recompute": ("full", "none")}, "Recomputing"),
        ({"schedule": "dualpipe"}, "zb-v"),
        ({"expert": 2}, "experts"),
        ({"chunks": 2}, "interleaved"),
        ({"layers": (30, 1, 2)}, "add up"),
        ({"tensor": 0}, "at least 1"),
        ({"zero": 4}, "0 to 3"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(change, word):
    with pytest.raises(BadInput) as caught:
        export(WORK, replace(PLAN, **change), "torchrun")
    assert word in str(caught.value)
