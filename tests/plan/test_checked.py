"""Plans and workloads out of files: what the planner writes passes, what can't be meant is one error with its field."""

from dataclasses import replace

import pytest

from forebay.errors import BadInput
from forebay.plan.checked import checked, checked_work
from forebay.plan.explain import held
from forebay.plan.model import Workload
from forebay.plan.plan import Plan
from forebay.plan.pool_read import pool
from forebay.plan.presets import model
from forebay.plan.search import search
from forebay.plan.wishes import Wishes

WORK = Workload(model=model("deepseek-v2-lite"), sequences=64, tokens=4096, number_format="bf16")
PLAN = Plan(replicas=1, shards=4, tensor=2, stages=("h100-sxm", "h100-sxm"))


@pytest.mark.parametrize("cards", ["h100-sxm:16", "h100-sxm:8,a100-sxm-80gb:8"])
def test_what_the_planner_writes_passes(cards):
    menu = search(WORK, pool(cards), Wishes())
    assert menu.workload is not None and checked_work(menu.workload) == WORK
    for one in (*menu.choices, *menu.dropped):
        assert checked(one.plan) == one.plan


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tensor", 0),
        ("shards", -1),
        ("micro_batch", 10**12),
        ("stages", ()),
        ("stages", ("h100-sxm", "")),
        ("schedule", "gpipe"),
        ("zero", 4),
        ("offload", "all"),
        ("inner", "tensor"),
        ("context_kind", "tree"),
        ("recompute", ()),
        ("recompute", ("none", "none", "none")),
        ("recompute", ("some",)),
        ("layers", (3,)),
        ("layers", (-1, 5)),
        ("shares", (1, 2)),
        ("data_chips", ("h100-sxm",)),
    ],
)
def test_what_no_plan_can_have_is_refused_by_its_field(field, value):
    with pytest.raises(BadInput, match=field) as caught:
        checked(replace(PLAN, **{field: value}))
    assert caught.value.found.strip("(),") in repr(value) and caught.value.hint


@pytest.mark.parametrize(("field", "value"), [("sequences", 0), ("tokens", -4), ("layers", 0), ("heads", 10**20)])
def test_a_workload_of_no_size_is_refused(field, value):
    work = (
        replace(WORK, **{field: value})
        if field in ("sequences", "tokens")
        else replace(WORK, model=replace(WORK.model, **{field: value}))
    )
    with pytest.raises(BadInput, match=field):
        checked_work(work)


def test_a_plan_over_two_kinds_is_on_no_cards_of_one_kind():
    two = replace(PLAN, stages=("h100-sxm", "a100-sxm-80gb"))
    with pytest.raises(BadInput, match="several kinds") as caught:
        held(pool("h100-sxm:64,a100-sxm-80gb:64"), two)
    assert caught.value.asked == "8 x h100-sxm, 8 x a100-sxm-80gb"
