"""The search: its first choice against brute force, wishes, objectives, errors, and plans that people are known to use."""

import re
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from forebay.errors import BadInput, DoesNotFit
from forebay.plan.cuts import cuts
from forebay.plan.export import export
from forebay.plan.framework import framework
from forebay.plan.knowledge import known
from forebay.plan.memory import fullest
from forebay.plan.model import Model, Workload
from forebay.plan.plan import OFFLOAD, RECOMPUTE
from forebay.plan.pool import Pool
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset
from forebay.plan.search import search
from forebay.plan.space import space
from forebay.plan.time import step
from forebay.plan.wishes import Wishes

SMALL = Model(name="small", layers=24, width=4096, heads=32, kv_heads=32, mlp_width=16384, vocabulary=32000)
WORK = Workload(model=SMALL, sequences=32, tokens=2048)
EIGHT = pool("h100-sxm:8")
PRICED = Pool(cards=(replace(EIGHT.cards[0], price_per_hour=2_000_000, watts=1000.0),), currency="USD")


def brute(work, one, memory_bytes):
    """The shortest step over the whole space, each way of recomputing and each place of the optimizer that fits."""
    at = known(one.cards[0], work.number_format, framework("megatron")).site
    every = space(work, one.cards[0], Wishes(), framework("megatron"))
    best = np.inf
    for again, offload in product(range(len(RECOMPUTE)), range(len(OFFLOAD))):
        cut = replace(every, recompute=np.full(len(every), again), offload=np.full(len(every), offload))
        fits = fullest(work, cut) <= memory_bytes
        if fits.any():
            best = min(best, float(step(work, at, cut[fits]).total.min()))
    return best


@pytest.mark.parametrize("memory_gb", [80, 32, 24, 20])
def test_the_first_choice_is_what_brute_force_finds(memory_gb):
    """With less memory, plans that recompute win."""
    few = Pool(cards=(replace(EIGHT.cards[0], memory_bytes=int(memory_gb * 1e9)),))
    first = search(WORK, few, Wishes()).choices[0]
    assert first.memory_bytes <= memory_gb * 1e9
    assert first.seconds_a_step == pytest.approx(brute(WORK, few, memory_gb * 1e9), rel=1e-9)


@pytest.mark.parametrize(
    "wishes, kept",
    [
        (Wishes(most={"tensor": 2}), lambda p: p.tensor <= 2),
        (Wishes(least={"stages": 2}), lambda p: len(p.stages) >= 2),
        (Wishes(exactly={"tensor": 4, "micro_batch": 2}), lambda p: p.tensor == 4 and p.micro_batch == 2),
        (Wishes(offload=False), lambda p: p.offload == "none"),
        (Wishes(recompute=("full",)), lambda p: p.recompute == ("full",)),
        (Wishes(schedules=("zb-1p",), least={"stages": 2}), lambda p: p.schedule == "zb-1p"),
    ],
)
def test_every_choice_keeps_to_the_wishes(wishes, kept):
    menu = search(WORK, EIGHT, wishes)
    assert all(kept(one.plan) for one in menu.choices)
    assert menu.choices


def test_a_menu_has_at_most_five_choices_best_first_and_ten_that_were_dropped_with_reasons():
    menu = search(WORK, EIGHT, Wishes())
    steps = [one.seconds_a_step for one in menu.choices]
    assert steps == sorted(steps) and 1 < len(steps) <= 5
    assert 0 < len(menu.dropped) <= 10 and all(one.why for one in menu.dropped)
    assert menu.searched > 10 and menu.exact
    assert all(one.low_s < one.seconds_a_step < one.high_s for one in menu.choices)
    assert all(sum(one.parts.values()) == pytest.approx(one.seconds_a_step) for one in menu.choices)


@pytest.mark.parametrize("objective, figure", [("cost", "cost_a_step"), ("energy", "joules_a_step")])
def test_the_first_choice_has_the_least_of_what_was_asked_for(objective, figure):
    menu = search(WORK, PRICED, Wishes(objective=objective, use_all=False))
    assert getattr(menu.choices[0], figure) == min(getattr(one, figure) for one in menu.choices)


def test_the_fewest_cards_that_keep_a_deadline():
    whole = search(WORK, EIGHT, Wishes()).choices[0].seconds_a_step
    first = search(WORK, EIGHT, Wishes(objective="cards", deadline_s=whole * 2.6)).choices[0]
    assert first.seconds_a_step <= whole * 2.6
    assert first.plan.cards < 8


@pytest.mark.parametrize(
    "work, wishes, words",
    [
        (WORK, Wishes(most={"tensor": 2}, least={"tensor": 4}), "tensor at least 4 and tensor at most 2"),
        (WORK, Wishes(exactly={"tensor": 8, "stages": 8}), "64 cards"),
        (WORK, Wishes(objective="cards"), "for cards"),
        (replace(WORK, sequences=0), Wishes(), "0 x 2048"),
        (replace(WORK, sequences=7), Wishes(exactly={"shards": 8}), "7 sequences"),
    ],
)
def test_what_cannot_be_is_one_clear_error(work, wishes, words):
    with pytest.raises(BadInput) as error:
        search(work, EIGHT, wishes)
    assert words in error.value.asked


def test_a_batch_that_nothing_divides_is_told_the_nearest_that_do():
    with pytest.raises(BadInput) as error:
        search(replace(WORK, sequences=7), EIGHT, Wishes(exactly={"tensor": 1, "stages": 1}))
    assert error.value.hint == "a batch of 8, 7 cards, or fewer wishes"


@pytest.mark.parametrize(("cards", "batch"), [(1000, 64), (29, 7), (1023, 4096), (62, 9)])
def test_what_an_error_names_as_nearest_has_a_plan(cards, batch):
    work = replace(WORK, sequences=batch)
    with pytest.raises(BadInput, match="No degrees divide") as error:
        search(work, pool(f"h100-sxm:{cards}"), Wishes())
    said = re.fullmatch(r"a batch of (\d+)(?: or (\d+))?, (\d+) cards, or fewer wishes", error.value.hint)
    assert said
    for near in filter(None, said.groups()[:2]):
        assert search(replace(work, sequences=int(near)), pool(f"h100-sxm:{cards}"), Wishes()).choices
    assert search(work, pool(f"h100-sxm:{said[3]}"), Wishes()).choices


def test_kinds_that_no_degrees_divide_together_are_told_so_and_not_that_they_are_too_small():
    with pytest.raises(BadInput, match="the cards of all kinds") as error:
        search(replace(WORK, sequences=10), pool("h100-sxm:1000,a100-sxm-80gb:13"), Wishes())
    assert "1000 x h100-sxm and 13 x a100-sxm-80gb" in error.value.asked


def spread(cut):
    """Every plan with every assignment of ways to its stages, the optimizer on the card and in the host's memory."""
    plans = [cut.plan(i, "h100-sxm") for i in range(len(cut))]
    ways = {n: list(product(RECOMPUTE, repeat=n)) for n in set(cut.stages.tolist())}
    return cuts([replace(p, recompute=w, offload=o) for p in plans for w in ways[len(p.stages)] for o in OFFLOAD])


@pytest.mark.parametrize("memory_gb", [22.5, 22.0, 21.5])
@pytest.mark.parametrize("offload", [False, True])
def test_recomputing_by_stage_is_the_best_of_all_assignments(memory_gb, offload):
    few = Pool(cards=(replace(EIGHT.cards[0], memory_bytes=int(memory_gb * 1e9)),))
    most = {"stages": 4, "context": 1, "tensor": 2, "micro_batch": 2}
    wishes = Wishes(by_stage=True, even=True, offload=offload, most=most, least={"stages": 2})
    at = known(few.cards[0], "bf16", framework("megatron")).site
    every = spread(space(WORK, few.cards[0], wishes, framework("megatron")))
    fits = every[(fullest(WORK, every) <= memory_gb * 1e9) & ((every.offload == 0) | offload)]
    seconds = step(WORK, at, fits).total
    first = search(WORK, few, wishes).choices[0]
    assert first.seconds_a_step == pytest.approx(float(seconds.min()), rel=1e-9)
    assert len(set(fits.plan(int(seconds.argmin()), "h100-sxm").recompute)) > 1
    assert first.memory_bytes <= memory_gb * 1e9
    assert sum(first.parts.values()) == pytest.approx(first.seconds_a_step)


def test_early_stages_recompute_more_since_they_hold_more():
    work = Workload(model=preset("llama-3-70b"), sequences=256, tokens=8192)
    wishes = Wishes(by_stage=True, offload=False, exactly={"tensor": 4, "stages": 4, "context": 1}, schedules=("1f1b",))
    plans = [one.plan for one in search(work, pool("h100-sxm:32"), wishes).choices]
    levels = [[RECOMPUTE.index(way) for way in one.recompute] for one in plans if len(one.recompute) > 1]
    assert levels and all(one == sorted(one, reverse=True) for one in levels)
    same = search(work, pool("h100-sxm:32"), replace(wishes, by_stage=False)).choices[0]
    assert search(work, pool("h100-sxm:32"), wishes).choices[0].seconds_a_step < same.seconds_a_step


def test_a_plan_whose_stages_recompute_alike_is_priced_the_same_when_each_is_said():
    cut = space(WORK, EIGHT.cards[0], Wishes(least={"stages": 2}), framework("megatron"))
    at = known(EIGHT.cards[0], "bf16", framework("megatron")).site
    for way in range(len(RECOMPUTE)):
        same = replace(cut, recompute=np.full(len(cut), way))
        table = np.where(np.arange(cut.stages.max()) < cut.stages[:, None], way, -1)
        said = replace(same, by_stage=table)
        assert step(WORK, at, said).total == pytest.approx(step(WORK, at, same).total, rel=1e-12)
        assert (fullest(WORK, said) >= fullest(WORK, same)).all()


@pytest.mark.parametrize("name", ["megatron", "flagscale", "torchtitan", "deepspeed"])
def test_a_menu_holds_what_its_framework_can_be_told(name):
    """Tight memory, so that plans recompute, and by stage where the framework can."""
    few = Pool(cards=(replace(EIGHT.cards[0], memory_bytes=int(20e9)),))
    menu = search(WORK, few, Wishes(framework=name))
    assert menu.choices and all(export(WORK, one.plan, name).files for one in menu.choices)


@pytest.mark.parametrize(
    "wishes, words",
    [
        (Wishes(exactly={"zero": 3}, least={"stages": 2}), "with a pipeline"),
        (Wishes(exactly={"zero": 1}, framework="torchtitan"), "no such stage of ZeRO"),
        (Wishes(exactly={"tensor": 2}, framework="fsdp"), "no tensor degree"),
        (Wishes(recompute=("selective",), framework="deepspeed"), "doesn't recompute so"),
    ],
)
def test_a_wish_that_the_framework_lacks_is_told_with_what_it_has(wishes, words):
    with pytest.raises(BadInput, match=words) as error:
        search(WORK, EIGHT, wishes)
    assert error.value.hint


def test_zero_3_runs_with_a_pipeline_where_the_framework_can():
    menu = search(WORK, EIGHT, Wishes(framework="torchtitan", exactly={"zero": 3}, least={"stages": 2}))
    assert menu.choices and all(len(one.plan.stages) > 1 and one.plan.zero == 3 for one in menu.choices)


def test_stages_that_span_islands_are_never_better_inside_data():
    """What the space leaves out of the other order of ranks, priced."""
    work = Workload(model=SMALL, sequences=64, tokens=2048)
    cut = space(work, pool("h100-sxm:64").cards[0], Wishes(), framework("megatron"))
    cut = cut[(cut.tensor * cut.context * cut.stages > 8) & (cut.stages > 1) & (cut.data > 1) & ~cut.stages_inner]
    at = known(pool("h100-sxm:64").cards[0], "bf16", framework("megatron")).site
    for slower in (1, 30):
        here = replace(at, links=replace(at.links, out_bytes_per_s=at.links.out_bytes_per_s / slower))
        other = replace(cut, stages_inner=np.ones(len(cut), dtype=np.bool_))
        assert (step(work, here, other).total >= step(work, here, cut).total * (1 - 1e-12)).all() and len(cut) > 50


def test_money_for_cards_without_a_price_is_an_error():
    with pytest.raises(BadInput, match="price"):
        search(WORK, EIGHT, Wishes(objective="cost"))


def test_a_model_that_fits_nowhere_says_what_the_nearest_plan_needs():
    with pytest.raises(DoesNotFit) as error:
        search(Workload(model=preset("llama-3-405b"), sequences=8, tokens=8192), pool("h100-sxm:8"), Wishes())
    assert "GB a card" in error.value.found
    assert error.value.hint


def test_a_laptop_question_is_answered_with_a_plan_that_fits():
    menu = search(Workload(model=preset("llama-3-8b"), sequences=64, tokens=8192), pool("h100-sxm:8"), Wishes())
    first = menu.choices[0]
    assert first.memory_bytes < 80e9
    assert 0.25 < first.mfu < 0.65


def test_nvidias_own_plan_for_gpt_3_is_within_the_first_five():
    """MLPerf Training 3.1, eos-dfw_n512: 4,096 H100, batch 2,048, fp8, tensor 4 and 8 stages (docs/plan.md)."""
    work = Workload(model=preset("gpt-3-175b"), sequences=2048, tokens=2048, number_format="fp8")
    menu = search(work, pool("h100-sxm:4096"), Wishes())
    assert (4, 8) in [(one.plan.tensor, len(one.plan.stages)) for one in menu.choices]


def test_planning_imports_no_torch():
    code = "import sys, forebay.plan.search; assert not {'torch', 'scipy', 'pandas'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
