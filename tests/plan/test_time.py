"""A step: its pipeline against the closed form and the schedule room, its parts, laws, and one public row."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.cuts import cuts
from forebay.plan.framework import framework
from forebay.plan.knowledge import known
from forebay.plan.model import Model, Workload
from forebay.plan.once import held
from forebay.plan.plan import SCHEDULES, Plan
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset
from forebay.plan.schedule import seconds
from forebay.plan.time import Step, pieces, rhythm, step, whole

CARDS = pool("h100-sxm:1024").cards[0]
KNOWN = known(CARDS, "bf16", framework("megatron"))
SITE = KNOWN.site
SMALL = Model(name="small", layers=24, width=2048, heads=16, kv_heads=16, mlp_width=8192, vocabulary=32000)
GPT3 = preset("gpt-3-175b")


def plan(stages=1, **more):
    return Plan(**{"replicas": 1, "shards": 1, "tensor": 1, "stages": ("h100-sxm",) * stages, **more})


plans = st.builds(
    lambda tensor, stages, shards, chunks, recompute, zero: plan(
        tensor=tensor,
        stages=stages,
        shards=shards,
        chunks=chunks if stages > 1 else 1,
        schedule="interleaved" if chunks > 1 and stages > 1 else "1f1b",
        recompute=(recompute,),
        zero=zero,
    ),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["none", "selective", "full"]),
    st.sampled_from([0, 1, 2, 3]),
)
WORK = Workload(model=SMALL, sequences=64, tokens=2048)


@pytest.mark.parametrize("stages, chunks", [(2, 1), (4, 1), (8, 1), (4, 3), (8, 3)])
def test_the_bubble_of_equal_stages_is_the_closed_form(stages, chunks):
    """Nearly no vocabulary, so all stages are alike: (p - 1) / v of a micro-batch (arXiv 2104.04473, section 2.2)."""
    work = replace(WORK, model=replace(SMALL, vocabulary=1))
    cut = cuts([plan(stages, chunks=chunks, schedule="interleaved" if chunks > 1 else "1f1b")])
    found = rhythm(work, SITE, cut, np.array([64.0]))
    assert float(found.bubble[0]) == pytest.approx((stages - 1) / chunks * float(found.slowest.total[0]), rel=0.02)


@pytest.mark.parametrize("stages, chunks", [(2, 1), (4, 1), (8, 1), (4, 2), (4, 3)])
def test_a_pipeline_with_ends_takes_what_the_schedule_room_says(stages, chunks):
    cut = cuts([plan(stages, chunks=chunks, schedule="interleaved" if chunks > 1 else "1f1b")])
    found, parts = rhythm(WORK, SITE, cut, np.array([64.0])), pieces(WORK, SITE, cut)
    took = float(found.bubble[0]) + 64 * float(found.slowest.total[0])
    per = 24 / stages
    passes = [float(getattr(parts.plain, name).total[0]) * per for name in ("forward", "inputs", "weights")]
    extras = [float(whole(one).total[0]) for one in (parts.opening, parts.closing)]
    theirs = float(seconds(1 if chunks > 1 else 0, stages, chunks, 64, *passes, *extras))
    assert took == pytest.approx(theirs, rel=0.03)


def test_ends_that_count_as_layers_leave_the_first_and_last_stage_one_less():
    """126 layers of Llama 3 405B on 16 stages: 7, 8, ... 8, 7 and so shorter than 8 with both ends on top."""
    work = Workload(model=preset("llama-3-405b"), sequences=64, tokens=8192)
    found = [step(work, SITE, cuts([plan(16, tensor=8, ends=ends)])).total[0] for ends in (True, False)]
    assert found[0] < found[1]


def test_schedules_that_split_the_backward_wait_less():
    named = {
        name: cuts([plan(8, schedule=name, chunks=2 if name in ("zb-v", "v-half", "v-min") else 1)]) for name in SCHEDULES[2:5]
    }
    plain = float(step(WORK, SITE, cuts([plan(8)])).bubble[0])
    for name, cut in named.items():
        assert float(step(WORK, SITE, cut).bubble[0]) < plain, name


@given(plans)
def test_the_parts_are_no_less_than_nothing_and_add_up(one):
    found = step(WORK, SITE, cuts([one]))
    parts = [float(np.squeeze(getattr(found, field.name))) for field in fields(Step)]
    assert min(parts) >= 0
    assert float(np.squeeze(found.total)) == pytest.approx(sum(parts))


@given(plans, st.sampled_from(["up_bytes_per_s", "out_bytes_per_s"]), st.floats(1, 8))
def test_more_bandwidth_is_never_slower(one, field, more):
    """Three per cent are allowed: where layers get shorter, gradients have less to hide behind."""
    better = replace(SITE, links=replace(SITE.links, **{field: getattr(SITE.links, field) * more}))
    assert step(WORK, better, cuts([one])).total[0] <= step(WORK, SITE, cuts([one])).total[0] * 1.03


@given(plans)
def test_a_step_of_twice_the_batch_is_longer_and_at_most_twice_as_long(one):
    """3 % is allowed: ZeRO 3's gradients travel unhidden for all micro-batches but the last."""
    once, twice = (float(step(replace(WORK, sequences=n), SITE, cuts([one])).total[0]) for n in (64, 128))
    assert once < twice <= 2 * once * 1.03


@settings(max_examples=30)
@given(st.lists(plans, min_size=2, max_size=12))
def test_a_plan_costs_the_same_alone_and_among_others(many):
    together = step(WORK, SITE, cuts(many)).total
    assert np.allclose(together, [float(step(WORK, SITE, cuts([one])).total[0]) for one in many], rtol=1e-12)


@pytest.mark.parametrize("cards, shards, measured", [(128, 4, 8.91)])
def test_gpt_3_on_128_cards_is_near_what_was_measured(cards, shards, measured):
    """NVIDIA/dgxc-benchmarking, nemo_megatron/README_175b.md at 35a9aec (24.11.1): TP 4, PP 8, VP 12, batch 256, BF16, 8.91 s."""
    at = replace(SITE, framework=framework("megatron-2024"))
    cut = cuts([plan(8, tensor=4, shards=shards, chunks=12, schedule="interleaved")])
    found = step(Workload(model=GPT3, sequences=256, tokens=2048), at, cut)
    assert int(cut.cards[0]) == cards
    assert float(found.total[0]) == pytest.approx(measured, rel=0.15)


def seconds_of(at, *found, work=WORK):
    return step(work, at, cuts(list(found))).total


SLOW = replace(SITE, links=replace(SITE.links, out_bytes_per_s=SITE.links.out_bytes_per_s / 20))
TITAN = known(CARDS, "bf16", framework("torchtitan")).site


def test_copies_inside_islands_keep_zero_3s_gathers_off_the_slow_network():
    """HSDP: 8 copies of 8 shards against 64 shards; on a fast network the optimizer and the latency decide instead."""
    whole, hybrid = (plan(zero=3, replicas=64 // shards, shards=shards) for shards in (64, 8))
    few = replace(WORK, sequences=256)
    assert seconds_of(SLOW, hybrid, work=few)[0] < seconds_of(SLOW, whole, work=few)[0]
    copies = plan(zero=0, replicas=64, shards=1)
    assert seconds_of(SITE, copies, work=few)[0] == pytest.approx(
        seconds_of(SITE, plan(zero=0, shards=64), work=few)[0], rel=0.02
    )


def test_what_more_is_cut_travels_more_for_each_micro_batch():
    first, second, third = seconds_of(SLOW, *(plan(shards=16, zero=zero, micro_batch=1) for zero in (1, 2, 3)))
    assert first < second < third
    alone = seconds_of(SLOW, *(plan(shards=64, zero=zero, micro_batch=1) for zero in (1, 2)))
    assert alone[1] <= alone[0]  # with a single micro-batch ZeRO 2 travels as ZeRO 1 and sweeps fewer gradients


def test_in_a_pipeline_fsdp_scatters_once_and_late():
    """ZeRO 2 waits for all of its gradients' scatter; ZeRO 3 gathers once a micro-batch more."""
    cut = cuts([plan(4, shards=8, zero=zero) for zero in (1, 2, 3)])
    one, two, three = step(WORK, TITAN, cut).data
    assert one < two < three
    assert two - one < 0.05 * step(WORK, TITAN, cut).total[0]


@settings(max_examples=60, deadline=None)
@given(plans, st.sampled_from([1, 20, 400]), st.sampled_from(["megatron", "torchtitan"]))
def test_recomputing_never_shortens_a_step(one, slower, name):
    at = known(CARDS, "bf16", framework(name)).site
    at = replace(at, links=replace(at.links, out_bytes_per_s=at.links.out_bytes_per_s / slower))
    none, selective, full = seconds_of(at, *(replace(one, recompute=(way,)) for way in ("none", "selective", "full")))
    assert none <= selective * (1 + 1e-9) and selective <= full * (1 + 1e-9)


def test_stages_inside_data_win_where_islands_are_far_apart():
    """Megatron's two orders: sends between stages stay in islands, gradients leave them one by one."""
    work = Workload(model=preset("llama-3-70b"), sequences=512, tokens=8192)
    both = [plan(2, tensor=4, shards=16, micro_batch=1, inner=inner) for inner in ("data", "stages")]
    far = replace(SITE, links=replace(SITE.links, out_bytes_per_s=3e9))
    data, stages = step(work, far, cuts(both)).sends
    assert stages < data / 10
    data, stages = step(work, far, cuts(both)).data
    assert stages >= data
    wide = [replace(one, tensor=8) for one in both]  # a tensor degree that fills an island: both orders are the same
    assert seconds_of(far, wide[0], work=work) == seconds_of(far, wide[1], work=work)


def test_a_mixture_cut_into_chunks_costs_the_same_alone_and_among_others():
    """What is shared between plans in pricing mustn't hang on what differs between them."""
    work = Workload(model=preset("mixtral-8x22b"), sequences=256, tokens=4096)
    both = [plan(4, expert=8, shards=8, chunks=chunks, schedule=name) for chunks, name in ((1, "1f1b"), (2, "interleaved"))]
    together = seconds_of(SITE, *both, work=work)
    assert together == pytest.approx([seconds_of(SITE, one, work=work)[0] for one in both], rel=1e-12)


def test_gradients_are_added_up_in_each_micro_batch():
    """Bytes for each of the card's weights but the embedding, at the memory's rate; none of it waits for the host here."""
    fast = replace(SITE, framework=replace(SITE.framework, host_s=0.0))
    adds = replace(fast, framework=replace(fast.framework, summed_bytes=fast.framework.summed_bytes + 6.0))
    for count in (1, 4):
        work, cut = replace(WORK, sequences=count), cuts([plan()])
        more = float(step(work, adds, cut).traffic[0] - step(work, fast, cut).traffic[0])
        weights = float(np.squeeze(held(work, cut)[0])) - WORK.model.vocabulary * WORK.model.width
        felt = fast.slower**0.5
        assert more == pytest.approx(weights * 6.0 * count * felt / (0.8 * SITE.device.memory_bytes_per_s), rel=1e-3)


def test_what_is_hidden_behind_computing_still_costs_its_share():
    """A long batch hides all of the gradients' and weights' travel; collectives take their part of the card meanwhile."""
    work, cut = replace(WORK, sequences=64 * 64), cuts([plan(shards=64)])
    free = replace(SITE, framework=replace(SITE.framework, disturbs=0.0))
    assert 0 < float(step(work, free, cut).data[0]) < float(step(work, SITE, cut).data[0])
