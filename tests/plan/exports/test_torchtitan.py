"""torchtitan's TOML and its Python form say the plan, to readers that know only torchtitan's names."""

from dataclasses import replace

import pytest
from hypothesis import given

from forebay.errors import BadInput
from forebay.plan.export import export
from forebay.plan.export.pieces import pieces
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

from .cases import jobs, same
from .torchtitan_reader import read_python, read_toml

MODEL = Model(name="llama3-405b", layers=126, width=16384, heads=128, kv_heads=8, mlp_width=53248, vocabulary=128256)
WORK = Workload(model=MODEL, sequences=2048, tokens=8192)
PLAN = Plan(replicas=1, shards=64, tensor=8, stages=("h100-sxm",) * 16, ends=True, zero=2)
NAMED = {"fp8": "fp8", "mxfp8": "mxfp8", "bf16": "bfloat16", "fp32": "float32"}


def told(work, plan):
    return export(work, plan, "torchtitan", cards_a_host=1)


@given(jobs(schedules=("1f1b", "interleaved", "zb-1p", "zb-v"), zero=(0, 2, 3), kinds=("ring",), offload=("none",),
            formats=("bf16", "fp32", "fp8", "mxfp8")))  # fmt: skip
def test_both_forms_are_read_back_as_the_same_plan(job):
    work, plan = job
    try:
        found = told(work, plan)
    except BadInput as refused:  # neither form has the words
        if plan.zero < 2 and plan.context > 1:
            assert "context" in refused.asked
            return
        assert "torchtitan.toml is left out" in refused.asked and "torchtitan_plan.py is left out" in refused.asked
        return
    want = same(plan, work)
    for name, read in (("torchtitan.toml", read_toml), ("torchtitan_plan.py", read_python)):
        if name not in found.files:
            assert any(note.startswith(f"{name} is left out") for note in found.notes)
            continue
        back = read(found.files[name], plan.cards)
        assert (back.sequences, back.tokens) == (work.sequences, work.tokens)
        inside = plan.expert_tensor if plan.expert > 1 else 1
        assert back.plan == replace(want, layers=want.layers if back.pieces else (), expert_tensor=inside)
        assert back.pieces is None or back.pieces == pieces(plan, work.model.layers, work.model.predicted)
        if back.number_format:
            assert back.number_format == NAMED[work.number_format]


def test_a_model_that_torchtitan_has_is_named_and_a_whole_config_returned():
    found = told(replace(WORK, number_format="fp8"), PLAN)
    assert read_toml(found.files["torchtitan.toml"], PLAN.cards).model == ("llama3", "405B")
    assert read_python(found.files["torchtitan_plan.py"], PLAN.cards).named.model_spec == ("405B", ["Float8LinearConverter"])
    assert [line.split()[-2:] for line in found.lines] == [["--job.config_file", "torchtitan.toml"], ["--config", "planned"]]


def test_a_name_that_is_python_and_toml_at_once_stays_a_name():
    odd = replace(WORK, model=replace(MODEL, name='"""\nimport os # \\ \x7f ’🙂'))
    found = told(odd, PLAN)
    assert (
        read_toml(found.files["torchtitan.toml"], PLAN.cards).plan
        == read_python(found.files["torchtitan_plan.py"], PLAN.cards).plan
    )


@pytest.mark.parametrize(
    "change, who",
    [
        ({"zero": 1}, "megatron"),
        ({"context": 2, "context_kind": "ulysses"}, "megatron"),
        ({"offload": "optimizer", "stages": ("h100-sxm",), "ends": False}, "--to megatron or --to deepspeed or --to flagscale"),
        ({"schedule": "v-half", "chunks": 2}, "zb-v"),
        ({"recompute": ("full", *("none",) * 15)}, "flagscale"),
    ],
)
def test_what_torchtitan_has_no_words_for_is_refused_with_who_has(change, who):
    with pytest.raises(BadInput, match="torchtitan can't say this plan") as caught:
        told(WORK, replace(PLAN, **change))
    assert who in caught.value.hint
