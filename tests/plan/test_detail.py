"""Money, energy and MFU of a choice, by hand."""

from dataclasses import replace

import pytest

from forebay.plan.detail import detailed
from forebay.plan.framework import framework
from forebay.plan.model import Workload
from forebay.plan.plan import Choice, Plan
from forebay.plan.pool import Pool
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset

WORK = Workload(model=preset("llama-3-8b"), sequences=64, tokens=8192)
CARDS = replace(pool("h100-sxm:8").cards[0], price_per_hour=2_500_000, watts=1_000.0)
PLAN = Plan(replicas=1, shards=8, tensor=1, stages=("h100-sxm",), recompute=("full",))
CHOICE = Choice(plan=PLAN, seconds_a_step=9.0, memory_bytes=0)


def test_money_is_of_cards_held_in_whole_micro_units():
    found = detailed(WORK, Pool(cards=(CARDS,), currency="USD"), CHOICE, framework("megatron"))
    assert found.cost_a_step == 8 * 2_500_000 * 9 // 3600 == 50_000
    assert found.cost_a_trillion_tokens == round(50_000 * 10**12 / (64 * 8192))
    assert (found.currency, found.joules_a_step) == ("USD", 8 * 1_000.0 * 9)


def test_mfu_and_rates_are_of_the_workloads_flop_and_tokens():
    found = detailed(WORK, Pool(cards=(CARDS,)), CHOICE, framework("megatron"))
    assert found.tokens_per_s == 64 * 8192 / 9
    assert found.mfu == pytest.approx(WORK.flop / 9 / (8 * 989.4e12), rel=1e-3)
    assert found.memory_bytes == max(one.total for one in found.memory)


def test_without_a_price_or_a_power_figure_there_is_none():
    bare = Pool(cards=(replace(CARDS, price_per_hour=None, watts=None),), currency="USD")
    found = detailed(WORK, bare, CHOICE, framework("megatron"))
    assert (found.cost_a_step, found.cost_a_trillion_tokens, found.joules_a_step, found.currency) == (None, None, None, "")
