"""Why a plan and not its neighbour: the neighbours are plans of the same cards, and the words are the figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.plan.cuts import cuts
from forebay.plan.explain import Why, explain
from forebay.plan.memory import fullest
from forebay.plan.model import Workload
from forebay.plan.plan import Plan
from forebay.plan.pool_read import pool
from forebay.plan.presets import describe
from forebay.plan.wishes import Wishes

WORK = Workload(model=describe("llama-3-70b").model, sequences=1024, tokens=8192)
POOL = pool("h100-sxm:64")
PLAN = Plan(
    replicas=1,
    shards=2,
    tensor=8,
    stages=("h100-sxm",) * 4,
    chunks=5,
    schedule="interleaved",
    micro_batch=1,
)


def test_every_neighbour_holds_the_same_cards_and_its_differences_add_up():
    told = explain(WORK, POOL, PLAN)
    assert {"tensor", "stages", "context", "micro_batch", "chunks", "recompute", "zero", "schedule"} <= {
        one.degree for one in told
    }
    own = explain(WORK, POOL, PLAN, "offload")[0]
    here = own.seconds - sum(own.parts.values())
    for one in told:
        assert one.plan is not None and one.seconds is not None
        assert one.plan.cards == PLAN.cards
        assert one.seconds - sum(one.parts.values()) == pytest.approx(here)
        assert one.memory_bytes == int(fullest(WORK, cuts([one.plan]))[0])
        assert decode(Why, encode(one)) == one


def test_half_the_tensor_degree_hands_its_cards_to_the_data_degree():
    (why,) = explain(WORK, POOL, PLAN, "tensor", other="4")
    assert why.plan is not None
    assert (why.plan.tensor, why.plan.data, len(why.plan.stages)) == (4, 4, 4)
    assert why.words.startswith("tensor 4 instead of 8: ") and "data 4" in why.words


def test_what_does_not_fit_says_what_it_needs_and_what_there_is():
    (why,) = explain(WORK, POOL, replace(PLAN, recompute=("full",)), "tensor", other="1")
    assert not why.fits
    assert why.words.startswith("tensor 1 instead of 8: needs ") and "h100-sxm has 80 GB" in why.words


def test_a_value_that_cannot_be_names_the_nearest_that_can():
    with pytest.raises(BadInput) as bad:
        explain(WORK, POOL, PLAN, "tensor", other="7")
    assert bad.value.asked == "tensor=7" and "4" in bad.value.hint
    with pytest.raises(BadInput):
        explain(WORK, POOL, PLAN, "tensors")
    with pytest.raises(BadInput):
        explain(WORK, pool("h100-sxm:32"), PLAN)


def test_a_plan_whose_stages_recompute_differently_is_explained_from_its_own_price():
    uneven = replace(PLAN, chunks=1, schedule="1f1b", recompute=("full", "full", "none", "none"))
    (most,) = explain(WORK, POOL, uneven, "recompute", other="none")
    (tensor,) = explain(WORK, POOL, uneven, "tensor", other="4")
    assert most.here == "full and none" and most.seconds - sum(most.parts.values()) == pytest.approx(
        tensor.seconds - sum(tensor.parts.values())
    )
    assert sum(most.parts.values()) < 0


def test_neighbours_are_plans_that_the_framework_runs():
    titan = replace(PLAN, zero=2, chunks=1, schedule="1f1b", context=2, shards=1)
    told = explain(WORK, POOL, titan, wishes=Wishes(framework="torchtitan"))
    assert {one.plan.zero for one in told if one.degree != "zero"} <= {0, 2, 3}
    assert "torchtitan doesn't run it" in next(one.words for one in told if (one.degree, one.other) == ("zero", "1"))
    speed = replace(PLAN, tensor=1, shards=16, chunks=1, schedule="1f1b", sequence_parallel=False)
    said = {(one.degree, one.other): one.words for one in explain(WORK, POOL, speed, wishes=Wishes(framework="deepspeed"))}
    assert "deepspeed doesn't run it" in said["tensor", "2"] and "doesn't run it" in said["recompute", "selective"]
    assert "doesn't run it" not in said["offload", "optimizer"]
    assert "the wishes rule it out" in explain(WORK, POOL, PLAN, "tensor", other="4", wishes=Wishes(least={"tensor": 8}))[0].words


def test_a_plan_on_two_kinds_of_cards_is_told_stage_by_stage_and_not_priced():
    both = replace(PLAN, stages=("h100-sxm",) * 2 + ("a100-sxm-80gb",) * 2, layers=(26, 26, 14, 14), chunks=1, schedule="1f1b")
    told = explain(WORK, pool("h100-sxm:32,a100-sxm-80gb:32"), both)
    assert [one.here for one in told] == ["26", "26", "14", "14"]
    assert all(one.seconds is None and "aren't priced" in one.words for one in told)
