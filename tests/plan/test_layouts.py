"""Unequal layers on one kind of chip: against all splits, and in a search."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.abilities import abilities
from forebay.plan.chart import charted
from forebay.plan.cuts import cuts, joined
from forebay.plan.explain import explain
from forebay.plan.export import export
from forebay.plan.export.exported import in_words, layers_in_words
from forebay.plan.export.pieces import pieces, stage_layers
from forebay.plan.framework import framework
from forebay.plan.habits import MEGATRON
from forebay.plan.knowledge import known
from forebay.plan.layouts import _most
from forebay.plan.memory import even, fullest, held, memory
from forebay.plan.model import Experts, Model, Workload
from forebay.plan.plan import RECOMPUTE, Plan
from forebay.plan.pool import Pool
from forebay.plan.pool_read import pool
from forebay.plan.search import search
from forebay.plan.space import space
from forebay.plan.time import step
from forebay.plan.wishes import Wishes

from .exports.megatron_reader import read

# A large vocabulary on few narrow layers, as Gemma's: the loss takes as long as several layers.
WORDY = Model(name="wordy", layers=13, width=2048, heads=8, kv_heads=8, mlp_width=8192, vocabulary=256000)
MIXED = replace(
    WORDY,
    layers=13,
    vocabulary=32000,
    predicted=1,
    experts=Experts(count=8, chosen=2, width=1408, shared_width=1408, dense_layers=2),
)
ASKED = Workload(model=WORDY, sequences=64, tokens=4096)
EIGHT = pool("h100-sxm:8")
AT = known(EIGHT.cards[0], "bf16", framework("megatron")).site
PIPES = Wishes(least={"stages": 4}, most={"tensor": 2, "context": 1, "micro_batch": 2}, schedules=("1f1b",))


def splits(count, stages):
    if stages == 1:
        yield (count,)
        return
    for first in range(count + 1):
        for rest in splits(count - first, stages - 1):
            if stages == 2 or rest[0] >= 1:
                yield (first, *rest)


def of(memory_gb):
    return Pool(cards=(replace(EIGHT.cards[0], memory_bytes=int(memory_gb * 1e9)),))


def brute(work, cards, wishes, room):
    """The shortest step of all plans with all splits and all ways of recomputing."""
    every = space(work, cards, wishes, framework("megatron"), laid=True)
    plans = [
        replace(every.plan(i, "h100-sxm"), layers=layers, ends=False, recompute=(way,))
        for i in range(len(every))
        for layers in splits(work.model.layers, int(every.stages[i]))
        for way in RECOMPUTE
    ]
    many = cuts(plans)
    fits = fullest(work, many) <= room
    return float(step(work, AT, many[fits]).total.min())


@pytest.mark.parametrize("memory_gb", [80, 20, 17])
def test_the_first_choice_is_the_best_of_all_splits(memory_gb):
    """But for what gradients and the optimizer take of the fullest stage, which is no part of the slowest stage's seconds."""
    wishes = replace(PIPES, exactly={"stages": 4, "tensor": 1, "micro_batch": 1}, offload=False)
    first = search(ASKED, of(memory_gb), wishes).choices[0]
    best = brute(ASKED, of(memory_gb).cards[0], wishes, memory_gb * 1e9)
    assert best * (1 - 1e-9) <= first.seconds_a_step <= best * 1.002
    assert first.memory_bytes <= memory_gb * 1e9


@pytest.mark.parametrize("model", [WORDY, MIXED])
@pytest.mark.parametrize("memory_gb, by_stage", [(80, False), (20, True)])
def test_a_menu_with_unequal_layers_is_never_worse(model, memory_gb, by_stage):
    work, wishes = (
        Workload(model=replace(model, layers=12), sequences=64, tokens=4096),
        replace(PIPES, schedules=(), by_stage=by_stage),
    )
    first = search(work, of(memory_gb), wishes).choices[0]
    assert first.seconds_a_step <= search(work, of(memory_gb), replace(wishes, even=True)).choices[0].seconds_a_step
    assert not first.plan.layers or sum(first.plan.layers) == 12


def test_a_large_loss_gives_the_last_stage_fewer_layers():
    menu = search(ASKED, EIGHT, replace(PIPES, exactly={"stages": 4}))
    layers = menu.choices[0].plan.layers
    assert layers[-1] < min(layers[:-1])
    equal = search(ASKED, EIGHT, replace(PIPES, exactly={"stages": 4}, even=True)).choices[0]
    assert menu.choices[0].seconds_a_step < 0.9 * equal.seconds_a_step


def test_a_first_stage_with_fewer_layers_spares_all_stages_the_recomputing():
    work = Workload(model=replace(WORDY, layers=32, vocabulary=32000), sequences=128, tokens=8192)
    wishes = Wishes(exactly={"stages": 4, "tensor": 2, "context": 1, "micro_batch": 1}, schedules=("1f1b",), offload=False)
    ways = {}
    for memory_gb in (20, 18.5, 16):
        laid = search(work, of(memory_gb), wishes).choices[0].plan
        even = search(work, of(memory_gb), replace(wishes, even=True)).choices[0].plan
        ways[memory_gb] = (RECOMPUTE.index(laid.recompute[0]), RECOMPUTE.index(even.recompute[0]), laid.layers)
        assert ways[memory_gb][0] <= ways[memory_gb][1]
    spared = [layers for ours, theirs, layers in ways.values() if ours < theirs]
    assert spared and all(layers[0] < max(layers) for layers in spared)


@pytest.mark.parametrize("name", ["megatron-2025", "deepspeed", "jax"])
def test_software_that_cannot_be_told_gets_equal_stages(name):
    assert not abilities(name).layouts
    even = replace(ASKED, model=replace(WORDY, layers=12))
    menu = search(even, EIGHT, Wishes(framework=name, least={"stages": 2}))
    assert not any(one.plan.layers for one in menu.choices)
    assert "as even layers as can be" in menu.exact


@pytest.mark.parametrize("name", ["megatron", "torchtitan", "flagscale"])
def test_a_laid_out_plan_is_exported_as_it_is(name):
    menu = search(ASKED, EIGHT, replace(PIPES, framework=name))
    plan = menu.choices[0].plan
    assert plan.layers
    told = export(ASKED, plan, name)
    assert told.files
    if name == "megatron":
        assert read(shlex.split(told.files["megatron.args"]), plan.cards).plan.layers == plan.layers


PLAN = Plan(replicas=1, shards=2, tensor=1, stages=("h100-sxm",) * 4)


@st.composite
def layouts(draw, model):
    chunks = draw(st.sampled_from([1, 1, 2]))
    if chunks == 2:
        each = -(-model.layers // 8)
        lacking = 8 * each - model.layers
        ahead = draw(st.integers(max(0, lacking - each), min(lacking, each)))
        layers = (2 * each - ahead, 2 * each, 2 * each, 2 * each - lacking + ahead)
    else:
        marks = sorted(draw(st.lists(st.integers(1, model.layers - 1), min_size=3, max_size=3, unique=True)))
        layers = tuple(np.diff([0, *marks, model.layers]).tolist())
    return replace(PLAN, layers=layers, chunks=chunks, schedule="interleaved" if chunks > 1 else "1f1b")


@given(st.data(), st.sampled_from([WORDY, MIXED]), st.sampled_from(RECOMPUTE))
@settings(max_examples=30)
def test_no_layout_beats_level_stages(data, model, way):
    work = Workload(model=model, sequences=64, tokens=4096)
    one = replace(data.draw(layouts(model)), recompute=(way,))
    level = float(step(work, AT, cuts([replace(one, layers=())]), True).total[0])
    assert level <= float(step(work, AT, cuts([one])).total[0]) * (1 + 1e-9)


@given(st.data(), st.sampled_from([WORDY, MIXED]))
@settings(max_examples=30)
def test_many_laid_out_plans_hold_what_each_alone_does(data, model):
    work = Workload(model=model, sequences=64, tokens=4096)
    some = data.draw(st.lists(layouts(model), min_size=1, max_size=4))
    alone = [max(one.total for one in memory(work, plan)) for plan in some]
    many = joined([cuts(some), cuts([PLAN])])
    assert fullest(work, many)[:-1].tolist() == alone
    assert fullest(work, many)[-1] == max(one.total for one in memory(work, PLAN))
    assert [many.plan(i, "h100-sxm").layers for i in range(len(many))] == [*(one.layers for one in some), ()]


def test_equal_layers_are_priced_alike_whether_said_or_not():
    model = replace(WORDY, layers=12)
    work = Workload(model=model, sequences=64, tokens=4096)
    said = step(work, AT, cuts([replace(PLAN, layers=(3, 3, 3, 3))])).total
    assert said == pytest.approx(step(work, AT, cuts([PLAN])).total, rel=1e-12)


@pytest.mark.parametrize("model", [WORDY, MIXED])
@pytest.mark.parametrize("way", range(len(RECOMPUTE)))
def test_the_layers_that_a_stage_holds_are_those_that_fit(model, way):
    """One layer more doesn't fit."""
    work, room = Workload(model=model, sequences=64, tokens=4096), 9e9
    one = cuts([replace(PLAN, recompute=(RECOMPUTE[way],))])
    lead = model.experts.dense_layers if model.experts else 0
    for stage, most in enumerate(_most(work, one, one.recompute, room)[0]):
        at, before = np.array([stage]), np.array([0 if stage == 0 else lead])

        def bytes_(n, at=at, before=before):
            return held(work, one, MEGATRON, at, np.array([n]), before, one.recompute)[0]

        assert most == 0 or bytes_(most) <= room
        assert most == model.layers or bytes_(most + 1) > room - 64 or most < lead


def test_predicted_layers_count_as_the_last_stages():
    assert even(61, 16, True, 1) == (3, *(4,) * 14, 2)
    deepseek = replace(PLAN, stages=("h100-sxm",) * 16, ends=True)
    assert pieces(deepseek, 61, 1) == stage_layers(deepseek, 61, 1) == (3, *(4,) * 14, 2)


def test_words_name_the_layers_in_runs():
    assert layers_in_words((3, *(4,) * 14, 2)) == "3 layers, 14 of 4, 2"
    assert "stages 4 (2 of 3 layers, 4, 2)" in in_words(replace(PLAN, layers=(3, 3, 4, 2)))


def test_explain_says_what_equal_layers_would_cost():
    wishes = replace(PIPES, exactly={"stages": 4})
    first = search(ASKED, EIGHT, wishes).choices[0]
    equal = explain(ASKED, EIGHT, first.plan, wishes=wishes)[0]
    assert (equal.degree, equal.other, equal.fits) == ("layers", "equal", True)
    assert equal.seconds > first.seconds_a_step and "equal layers instead of" in equal.words


def test_a_picture_has_no_idle_stage_where_layers_were_chosen_by_their_seconds():
    first = search(ASKED, EIGHT, replace(PIPES, exactly={"stages": 4})).choices[0]
    assert first.plan.layers and max(charted(ASKED, first).idle) < 0.25
