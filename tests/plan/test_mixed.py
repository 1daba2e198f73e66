"""Cards of several kinds: who gets more, what adds up, and equal kinds as a check."""

from dataclasses import replace

import pytest

from forebay.errors import DoesNotFit
from forebay.plan.framework import framework
from forebay.plan.knowledge import known, shipped
from forebay.plan.memory import memory
from forebay.plan.mixed import _best, _Staged
from forebay.plan.model import Model, Workload
from forebay.plan.pool import Pool
from forebay.plan.pool_read import pool
from forebay.plan.search import search
from forebay.plan.wishes import Wishes

SMALL = Model(name="small", layers=24, width=4096, heads=32, kv_heads=32, mlp_width=16384, vocabulary=32000)
WORK = Workload(model=SMALL, sequences=64, tokens=2048)
BOTH = pool("h100-sxm:8,a100-sxm-80gb:8")


@pytest.fixture(scope="module")
def menu():
    return search(WORK, BOTH, Wishes())


@pytest.fixture(scope="module")
def staged():
    """Only ways in which each kind holds stages; the menu has them where they are faster than shares of the batch."""
    kinds = [known(one, "bf16", framework("megatron")) for one in BOTH.cards]
    return _best(_Staged(WORK, BOTH, Wishes(exactly={"chunks": 1}), framework("megatron"), kinds), None)[0]


def test_every_card_of_every_kind_is_used(menu):
    assert all(one.plan.need() == {"h100-sxm": 8, "a100-sxm-80gb": 8} for one in menu.choices)


def test_the_faster_kind_gets_more_layers_and_all_layers_are_given(staged):
    found = [one.plan for one in staged if len(set(one.plan.stages)) == 2]
    assert found
    for plan in found:
        got = {chip: [n for n, c in zip(plan.layers, plan.stages, strict=True) if c == chip] for chip in set(plan.stages)}
        assert sum(plan.layers) == 24
        assert sum(got["h100-sxm"]) > sum(got["a100-sxm-80gb"])


def test_the_faster_kind_gets_more_micro_batches_and_all_are_given(menu):
    found = [one.plan for one in menu.choices if one.plan.data_chips]
    assert found
    for plan in found:
        got = {chip: [n for n, c in zip(plan.shares, plan.data_chips, strict=True) if c == chip] for chip in set(plan.data_chips)}
        assert sum(plan.shares) * plan.micro_batch == 64
        assert min(got["h100-sxm"]) > max(got["a100-sxm-80gb"])


def test_two_kinds_together_are_faster_than_the_better_one_alone(menu):
    alone = search(WORK, pool("h100-sxm:8"), Wishes()).choices[0]
    assert menu.choices[0].seconds_a_step < alone.seconds_a_step


def test_kinds_that_are_equal_get_the_answer_of_one_kind():
    """An A800 is an A100 by another name, here with the same links: within 5 % of sixteen A100."""
    one = pool("a100-sxm-80gb:16")
    half = replace(one.cards[0], count=8)
    two = Pool(cards=(half, replace(half, chip="a800")))
    as_well = tuple(replace(known_, subject="a800") for known_ in shipped() if known_.subject == "a100-sxm-80gb")
    same, other = (search(WORK, where, Wishes(), calibrations=as_well).choices[0].seconds_a_step for where in (one, two))
    assert other == pytest.approx(same, rel=0.05)


def test_two_centres_with_one_chip_are_two_kinds_with_prices_of_their_own():
    east = replace(BOTH.cards[0], label="east", price_per_hour=2_000_000, out_bytes_per_s=10e9)
    west = replace(BOTH.cards[0], label="west", price_per_hour=4_000_000)
    centres = Pool(cards=(east, west), currency="USD")
    both = search(WORK, centres, Wishes(exactly={"context": 1})).choices[0]
    assert both.plan.need() == {"h100-sxm (east)": 8, "h100-sxm (west)": 8}
    assert both.cost_a_step == pytest.approx(8 * (2_000_000 + 4_000_000) * both.seconds_a_step / 3600, abs=1)
    cheapest = search(WORK, centres, Wishes(objective="cost", use_all=False)).choices[0]
    assert set(cheapest.plan.need()) == {"h100-sxm (east)"}


@pytest.mark.parametrize("memory_gb", [40, 24])
def test_each_stage_fits_its_own_cards(memory_gb):
    small = Pool(cards=(BOTH.cards[0], replace(BOTH.cards[1], memory_bytes=memory_gb * 10**9)))
    rooms = {"h100-sxm": 80e9, "a100-sxm-80gb": memory_gb * 1e9}
    for one in search(WORK, small, Wishes(least={"stages": 2})).choices:
        chips = one.plan.stages if not one.plan.data_chips else ("a100-sxm-80gb",) * len(one.plan.stages)
        assert all(held.total <= rooms[chip] for held, chip in zip(memory(WORK, one.plan), chips, strict=True))


def test_what_fits_neither_kind_is_an_error():
    tiny = Pool(cards=tuple(replace(one, memory_bytes=3 * 10**9) for one in BOTH.cards))
    with pytest.raises(DoesNotFit):
        search(WORK, tiny, Wishes())
