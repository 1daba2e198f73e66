"""Megatron-LM's arguments say the plan, to a reader that knows only Megatron-LM's parser."""

import shlex
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given

from forebay.errors import BadInput
from forebay.plan.export import export
from forebay.plan.export.pieces import pieces
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

from .cases import jobs, same, uncut
from .megatron_reader import layout, read

MODEL = Model(name="m", layers=126, width=16384, heads=128, kv_heads=8, mlp_width=53248, vocabulary=128256)
WORK = Workload(model=MODEL, sequences=2048, tokens=8192)
PLAN = Plan(replicas=1, shards=64, tensor=8, stages=("h100-sxm",) * 16, ends=True)


def arguments(work, plan):
    return shlex.split(export(work, plan, "megatron", cards_a_host=1).files["megatron.args"])


@given(jobs())
def test_the_arguments_are_read_back_as_the_same_plan(job):
    work, plan = job
    back = read(arguments(work, plan), plan.cards)
    assert uncut(back.plan) == same(plan, work)
    assert back.pieces == pieces(plan, work.model.layers, work.model.predicted) if len(plan.stages) > 1 else True
    assert (back.sequences, back.tokens, back.number_format) == (work.sequences, work.tokens, work.number_format)
    learned = max(work.model.positions, work.tokens) if work.model.positions else 0
    assert back.model == replace(work.model, name="", positions=learned)


def test_the_file_is_what_xargs_makes_arguments_of():
    uneven = replace(PLAN, ends=False, layers=(7, *(8,) * 14, 7))
    file = export(WORK, uneven, "megatron").files["megatron.args"]
    said = subprocess.run(["xargs", "printf", "%s\\n"], input=file, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == shlex.split(file)


def test_llama_3_counts_its_embedding_and_loss_as_layers():
    said = arguments(WORK, PLAN)
    assert "--account-for-embedding-in-pipeline-split" in said and "--account-for-loss-in-pipeline-split" in said
    assert "--pipeline-model-parallel-layout" not in said


def test_stages_that_are_not_even_are_a_layout():
    said = arguments(WORK, replace(PLAN, stages=("a", "a"), layers=(60, 66)))
    text = said[said.index("--pipeline-model-parallel-layout") + 1]
    assert text == "Et*60|t*66L"
    assert [one.count("t") for one in layout(text)] == [60, 66]


def test_what_megatron_has_no_words_for_is_refused_with_who_has():
    for plan, who in (
        (replace(PLAN, schedule="zb-v", chunks=2, zero=2), "--to torchtitan"),
        (replace(PLAN, recompute=("full", *("none",) * 15)), "flagscale"),
        (replace(PLAN, shares=(16, 48) * 32), "Forebay"),
        (replace(PLAN, schedule="v-min", chunks=2), "1f1b"),
    ):
        with pytest.raises(BadInput, match="Megatron-LM can't say this plan") as caught:
            export(WORK, plan, "megatron")
        assert who in caught.value.hint


def test_a_number_format_without_a_flag_is_refused():
    with pytest.raises(BadInput) as caught:
        export(replace(WORK, number_format="int8"), PLAN, "megatron")
    assert "int8" in caught.value.asked and "fp8" in caught.value.hint


def test_what_its_seconds_suppose_is_told():
    told = " ".join(export(WORK, PLAN, "megatron").notes)
    assert all(word in told for word in ("--overlap-grad-reduce", "--tp-comm-overlap", "--grad-reduce-in-bf16"))
