"""A plan as traffic: bytes by hand, the step on a drawn fabric beside the planner's own, and what can't be sent."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba")

from forebay.errors import BadInput
from forebay.fabric.build import build, fill
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.physics import DEFAULTS
from forebay.fabric.step import ranks_of
from forebay.fabric.step import step as sent
from forebay.fabric.timing import place
from forebay.plan.cuts import cuts
from forebay.plan.framework import framework
from forebay.plan.knowledge import known
from forebay.plan.model import Experts, Model, Workload
from forebay.plan.plan import Plan
from forebay.plan.pool_read import pool
from forebay.plan.time import step
from forebay.plan.traffic import traffic

SMALL = Model(name="small", layers=24, width=4096, heads=32, kv_heads=8, mlp_width=16384, vocabulary=32000)
MIXED = replace(SMALL, name="mixed", mlp_width=0, experts=Experts(count=16, chosen=2, width=4096))
CARDS = pool("h100-sxm:64").cards[0]
BARE = replace(framework("megatron-lm"), hides_data=False, disturbs=0.0, deduplicated=False)  # hides nothing
SITE = known(CARDS, "bf16", BARE).site
FULL = known(CARDS, "bf16", framework("megatron")).site


def plan(stages=1, **more):
    return Plan(**{"replicas": 1, "shards": 1, "tensor": 1, "stages": ("h100-sxm",) * stages, **more})


def work(model=SMALL, sequences=64, tokens=4096):
    return Workload(model=model, sequences=sequences, tokens=tokens)


def by_name(found):
    return {one.name: one for one in found.exchanges}


def test_bytes_and_times_by_hand():
    """Two stages of 12 layers, eight micro-batches, tensor 4, data 8."""
    found = traffic(work(), plan(2, tensor=4, shards=8), SITE)
    assert dict(found.grid) == {"tensor": 4, "context": 1, "data": 8, "stages": 2}
    has = by_name(found)
    vector = 4096 * 4096 * 2
    layer = 2 * 4096 * 4096 + 2 * 4096 * 8 * 128 + 3 * 4096 * 16384
    held = 24 * layer / (4 * 2) + 32000 * 4096 / 4
    assert {name: (one.collective, one.nbytes, one.times) for name, one in has.items()} == {
        "tensor gather": ("all_gather", vector, 4 * 12 * 8),
        "tensor scatter": ("reduce_scatter", vector, 4 * 12 * 8),
        "loss": ("all_gather", vector, 2 * 8),
        "pipeline": ("send_recv", vector / 4, 2 * 8 + 2),
        "gradients": ("reduce_scatter", held * 4, 1),
        "weights": ("all_gather", held * 2, 1),
    }


def test_of_unequal_stages_all_send_what_the_fullest_does():
    """Ten layers and fourteen: as two stages of fourteen would."""
    even, uneven = (by_name(traffic(work(), plan(2, tensor=4, shards=8, **more), SITE)) for more in ({}, {"layers": (10, 14)}))
    assert uneven["tensor gather"].times * 12 == even["tensor gather"].times * 14
    assert uneven["gradients"].nbytes == pytest.approx(even["gradients"].nbytes * 14 / 12)
    assert uneven["pipeline"].times == even["pipeline"].times


def test_recomputing_sends_half_as_much_again_and_one_share_of_it_is_hidden():
    has = by_name(traffic(work(), plan(tensor=8, shards=8, recompute=("full",)), FULL))
    assert (has["tensor gather"].times, has["tensor gather, hidden"].times) == (6 * 24 * 8 // 4, 6 * 24 * 8 * 3 // 4)
    assert has["gradients, hidden"].nbytes == pytest.approx(23 * has["gradients"].nbytes)


def test_keys_and_values_go_round_the_context_ring_behind_attention():
    found = traffic(work(tokens=32768), plan(tensor=4, context=2, shards=8), SITE)
    ring = by_name(found)["context keys and values"]
    assert (ring.nbytes, ring.times, ring.window) == (2 * 2 * 128 * 32768 * 2, 3 * 24 * 8, "attention")
    ulysses = traffic(work(tokens=32768), plan(tensor=4, context=2, shards=8, context_kind="ulysses"), SITE)
    swap = by_name(ulysses)["context exchange"]
    assert (swap.collective, swap.nbytes, swap.times) == ("all_to_all", 8 * 128 * 16384 * 2, 8 * 24 * 8)


@pytest.mark.parametrize("folded", [True, False])
def test_experts_lie_inside_a_stage_and_each_rank_is_in_one_group(folded):
    at = replace(SITE, framework=replace(BARE, folded=folded))
    found = traffic(work(MIXED), plan(2, tensor=2, shards=8, expert=4, expert_tensor=2), at)
    has = by_name(found)
    assert has["experts there"].nbytes == 4096 / 2 * 2 * 4096 * 2
    assert has["experts there"].times == 2 * 12 * 8
    for name, size in (("experts there", 4), ("experts' tensor gather", 2), ("experts' gradients", 2)):
        groups = ranks_of(found, has[name])
        assert groups.shape == (32 // size, size)
        assert sorted(groups.reshape(-1).tolist()) == list(range(32))
        assert (groups // 16 == groups[:, :1] // 16).all()
    assert has["experts there"].groups[0] == (0, 2, 4, 6)


def drawn(cards):
    hosts = max(cards // 8, 2)
    up = ScaleUp(cards=8, bytes_per_s=CARDS.up_bytes_per_s * DEFAULTS["nvlink"].efficiency / DEFAULTS["infiniband"].efficiency)
    made = fill(Design(kind="clos-2", hosts=hosts, port_bytes_per_s=CARDS.out_bytes_per_s, switch_ports=32, scale_up=up))
    return place(build(made), physics=DEFAULTS["infiniband"])


@pytest.mark.parametrize(
    "model, more",
    [
        (SMALL, {"tensor": 8, "shards": 4}),
        (SMALL, {"stages": 2, "tensor": 4, "shards": 8}),
        (SMALL, {"tensor": 2, "shards": 32}),
        (SMALL, {"stages": 2, "tensor": 8, "context": 2, "shards": 2, "context_kind": "ulysses"}),
        (SMALL, {"replicas": 4, "shards": 8}),
        (SMALL, {"stages": 2, "tensor": 4, "shards": 8, "layers": (13, 11)}),
        (MIXED, {"stages": 2, "tensor": 1, "shards": 16, "expert": 8, "layers": (9, 15)}),
        (SMALL, {"stages": 2, "tensor": 8, "shards": 4, "zero": 3}),
        (MIXED, {"tensor": 1, "shards": 16, "expert": 8}),
        (MIXED, {"tensor": 1, "shards": 16, "expert": 16}),
    ],
)
def test_where_nothing_overlaps_a_drawn_fabric_and_the_closed_forms_agree(model, more):
    """Transfers of a step within 30 %, on a fabric that carries whatever cards send; computing is the same."""
    one = plan(**more)
    told = step(work(model), SITE, cuts([one]))
    took = sent(drawn(one.cards), traffic(work(model), one, SITE))
    own = float(np.squeeze(told.tensor + told.context + told.expert + told.sends + told.data))
    assert took.exposed_s == pytest.approx(own, rel=0.3)
    assert took.compute_s == pytest.approx(float(np.squeeze(told.total)) - own)


def test_copies_sum_their_share_of_the_gradients_and_gather_inside_themselves():
    found = by_name(traffic(work(), plan(tensor=2, replicas=4, shards=4, zero=3), SITE))
    assert set(found) >= {"gradients of copies", "weights of each pass", "gradients"} and "weights" not in found
    copies, share = found["gradients of copies"], found["weights of each pass"]
    assert share.groups[0] == (0, 2, 4, 6) and copies.groups[0] == (0, 8, 16, 24)
    assert copies.nbytes == pytest.approx(share.nbytes * 24 * 2 / 4, rel=0.01)  # in four bytes, a quarter; a layer is unhidden
    with pytest.raises(BadInput, match="Copies of a mixture"):
        traffic(work(MIXED), plan(replicas=4, shards=4), SITE)


def test_groups_that_fill_hosts_take_what_drawn_rings_take():
    """`network` takes the slower of an island and its NICs; so do drawn rings over all rails."""
    one = plan(shards=16)
    told = float(np.squeeze(step(work(), SITE, cuts([one])).data))
    took = sent(drawn(16), traffic(work(), one, SITE))
    assert {each.collective for each in took.took} == {"rails_reduce_scatter", "rails_all_gather"}
    assert took.exposed_s == pytest.approx(told, rel=0.05)


def test_what_hides_in_the_plan_hides_on_the_fabric():
    """The overlap of Megatron: the step on the fabric is the planner's within a tenth, and shorter than without overlap."""
    one = plan(2, tensor=4, shards=8)
    told = float(np.squeeze(step(work(), FULL, cuts([one])).total))
    took = sent(drawn(64), traffic(work(), one, FULL)).seconds
    assert took == pytest.approx(told, rel=0.1)
    assert took < sent(drawn(64), traffic(work(), one, SITE)).seconds


@pytest.mark.parametrize(
    "other",
    [
        plan(2, recompute=("none", "full")),
        replace(plan(2), stages=("h100-sxm", "a100-80gb-sxm")),
        plan(shards=2, data_chips=("h100-sxm", "a100-80gb-sxm")),
    ],
    ids=["recomputing", "stages", "data ranks"],
)
def test_a_plan_of_several_kinds_is_refused(other):
    with pytest.raises(BadInput, match="Only a plan of one kind"):
        traffic(work(), other, SITE)
