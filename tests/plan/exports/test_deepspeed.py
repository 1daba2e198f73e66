"""DeepSpeed's JSON says the plan, by DeepSpeed's own rule of batches; what it can't say is refused."""

from dataclasses import replace

import pytest
from hypothesis import given

from forebay.errors import BadInput
from forebay.plan.export import export
from forebay.plan.model import Model, Workload
from forebay.plan.plan import Plan

from .cases import jobs, same, uncut
from .deepspeed_reader import read

MODEL = Model(name="m", layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14336, vocabulary=128256)
WORK = Workload(model=MODEL, sequences=1024, tokens=8192)
PLAN = Plan(replicas=1, shards=64, tensor=1, stages=("h100-sxm",), zero=3)


def as_said(plan, work):
    """The plan but for what DeepSpeed's JSON leaves to the program, and for degrees that have no effect."""
    want = replace(same(plan, work), sequence_parallel=True)
    inside = plan.expert_tensor if plan.expert > 1 else 1
    return replace(want, layers=want.layers if len(plan.stages) > 1 else (), expert_tensor=inside)


@given(jobs(schedules=("1f1b",), kinds=("ulysses",), recompute=("none", "full"), formats=("bf16", "fp16", "fp32"), uneven=False))
def test_the_json_is_read_back_as_the_same_plan_or_refused_with_a_way_out(job):
    work, plan = job
    try:
        found = export(work, plan, "deepspeed", cards_a_host=1)
    except BadInput as refused:
        assert refused.asked and refused.hint
        return
    back = read(found.files["deepspeed.json"], plan.cards, work.model.layers)
    assert uncut(back.plan) == as_said(plan, work)
    assert back.sequences == work.sequences
    assert back.number_format == work.number_format


@pytest.mark.parametrize(
    "change",
    [
        {"tensor": 8, "zero": 2},
        {"zero": 3, "replicas": 4, "shards": 16},
        {"stages": ("h100-sxm",) * 4, "zero": 1},
        {"stages": ("h100-sxm",) * 2, "zero": 1, "ends": True},
        {"context": 8, "context_kind": "ulysses", "recompute": ("full",)},
        {"offload": "optimizer"},
    ],
)
def test_each_of_its_degrees_is_read_back(change):
    plan = replace(PLAN, **change)
    back = read(export(WORK, plan, "deepspeed").files["deepspeed.json"], plan.cards, MODEL.layers).plan
    assert uncut(back) == as_said(plan, WORK)


@pytest.mark.parametrize(
    "change, who",
    [
        ({"tensor": 8}, "zero at most 2"),
        ({"context": 2}, "Ulysses"),
        ({"stages": ("h100-sxm",) * 2, "zero": 0, "schedule": "interleaved", "chunks": 2}, "megatron"),
        ({"stages": ("h100-sxm",) * 2, "zero": 0, "layers": (15, 17)}, "flagscale"),
        ({"stages": ("h100-sxm",) * 2, "tensor": 2, "zero": 0}, "megatron"),
        ({"recompute": ("selective",)}, "full"),
        ({"offload": "optimizer", "zero": 0}, "zero=1"),
        ({"zero": 1, "replicas": 4, "shards": 16}, "replicas=1"),
    ],
)
def test_what_deepspeed_has_no_words_for_is_refused_with_a_way_out(change, who):
    with pytest.raises(BadInput, match="DeepSpeed can't say this plan") as caught:
        export(WORK, replace(PLAN, **change), "deepspeed")
    assert who in caught.value.hint
