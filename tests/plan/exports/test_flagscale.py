"""FlagScale's YAML says the plan, to any YAML reader and FlagScale's own flattening and checks."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput
from forebay.plan.export import export
from forebay.plan.export.pieces import pieces
from forebay.plan.export.yaml import dump
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

from .cases import jobs, same, uncut
from .flagscale_reader import read_files, read_plan

MODEL = Model(name="ours", layers=80, width=8192, heads=64, kv_heads=8, mlp_width=28672, vocabulary=128256)
WORK = Workload(model=MODEL, sequences=1024, tokens=4096)
MIXED = Plan(
    replicas=1, shards=16, tensor=4, stages=("a100",) * 3 + ("mi300x",) * 5, layers=(6, 6, 6, 12, 12, 12, 13, 13), zero=1
)


def read_back(work, plan):
    return read_plan(export(work, plan, "flagscale", cards_a_host=1).files)


@given(jobs(zero=(0, 1)))
def test_the_yaml_is_read_back_as_the_same_plan_chips_and_all(job):
    work, plan = job
    if len(set(plan.stages)) > 1 and plan.chunks > 1:
        with pytest.raises(BadInput, match="FlagScale"):
            export(work, plan, "flagscale")
        return
    back = read_back(work, plan)
    assert uncut(back.plan) == same(plan, work, chips=True)
    assert back.pieces == pieces(plan, work.model.layers, work.model.predicted) or len(plan.stages) == 1
    assert (back.sequences, back.tokens, back.number_format) == (work.sequences, work.tokens, work.number_format)


@given(jobs(zero=(1,), schedules=("1f1b",), recompute=("none", "full"), uneven_recompute=True, stages=st.sampled_from([2, 3, 4])))
def test_stages_that_recompute_differently_are_read_back(job):
    work, plan = job
    assert uncut(read_back(work, plan).plan) == same(plan, work, chips=True)


def test_two_kinds_of_chips_are_two_meshes_and_their_hosts_stand_in_the_order_of_ranks():
    found = read_files(export(WORK, MIXED, "flagscale").files)
    assert found.train["system"]["hetero"]["hetero_process_meshes"] == [4, 1, 1, 16, 3, 4, 1, 1, 16, 5]
    assert found.train["system"]["hetero"]["hetero_device_types"] == ["a100", "mi300x"]
    assert [kind for _, _, kind in found.machines] == ["a100"] * 24 + ["mi300x"] * 40


def test_what_nobody_has_said_stops_the_start():
    found = read_files(export(WORK, MIXED, "flagscale").files)
    assert found.train["data"]["data_path"] == "???" == found.train["model"]["optimizer"]["lr"]


@pytest.mark.parametrize(
    "change, who",
    [
        ({"chunks": 2, "schedule": "interleaved"}, "megatron"),
        ({"zero": 3}, "megatron"),
        ({"recompute": ("selective", *("none",) * 7)}, "--recompute"),
        ({"schedule": "zb-v", "chunks": 2, "stages": ("a100",) * 8, "zero": 3}, "--to torchtitan"),
    ],
)
def test_what_flagscale_has_no_words_for_is_refused_with_who_has(change, who):
    with pytest.raises(BadInput, match="FlagScale can't say this plan") as caught:
        export(WORK, replace(MIXED, **change), "flagscale")
    assert who in caught.value.hint


PLAIN = st.none() | st.booleans() | st.integers() | st.text("ab1: #'\"\\-?é模{}[]*&!|>%@`,\n", max_size=6)
KEYS = st.text("abcdk_", min_size=2, max_size=6)


FLAT = st.dictionaries(KEYS, PLAIN | st.lists(PLAIN, max_size=3), max_size=3)


@given(st.dictionaries(KEYS, FLAT | st.lists(FLAT, max_size=2) | st.lists(st.lists(PLAIN, max_size=3), max_size=2), max_size=3))
def test_what_is_written_as_yaml_is_read_as_the_same_data(data):
    assert yaml.safe_load(dump(data)) == (data or None)
