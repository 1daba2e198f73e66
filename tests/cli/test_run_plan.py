"""`forebay run --plan`: the choice's cards are asked for, and the plan comes with the job."""

import json

import pytest

from forebay.cli.run_plan import asked_by
from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.plan.plan import Choice, Menu, Plan
from forebay.plan.pool import Cards, Pool

FIRST = Plan(replicas=1, shards=4, tensor=8, stages=("h100-sxm",) * 2)
SECOND = Plan(replicas=1, shards=2, tensor=4, stages=("h100-sxm", "a100-sxm-80gb"))


@pytest.fixture
def menu(tmp_path):
    file = tmp_path / "menu.json"
    choices = tuple(Choice(plan=plan, seconds_a_step=1.0, memory_bytes=1) for plan in (FIRST, SECOND))
    file.write_text(json.dumps(encode(Menu(choices=choices))))
    return str(file)


def test_the_first_choice_says_chip_and_cards_and_the_script_is_told(menu):
    cards, chip, told = asked_by(menu, "1", "")
    assert (cards, chip) == ("64", "h100-sxm")
    assert decode(Plan, json.loads(told["FOREBAY_PLAN"])) == FIRST


def test_of_a_kind_that_a_pool_has_twice_the_job_asks_for_the_chip(tmp_path):
    kinds = tuple(
        Cards(chip="h100-sxm", count=8, island=8, up_bytes_per_s=450e9, out_bytes_per_s=50e9, label=one) for one in "ab"
    )
    plan = Plan(replicas=1, shards=1, tensor=8, stages=("h100-sxm (b)",))
    file = tmp_path / "menu.json"
    choice = Choice(plan=plan, seconds_a_step=1.0, memory_bytes=1)
    file.write_text(json.dumps(encode(Menu(choices=(choice,), pool=Pool(cards=kinds)))))
    cards, chip, told = asked_by(str(file), "1", "")
    assert (cards, chip) == ("8", "h100-sxm")
    assert decode(Plan, json.loads(told["FOREBAY_PLAN"])).stages == ("h100-sxm",)


def test_what_is_said_twice_may_agree(menu):
    assert asked_by(menu, "64", "h100-sxm") == asked_by(menu, "1", "")


@pytest.mark.parametrize(("cards", "chip", "word"), [("8", "", "--cards 64"), ("1", "h200", "--chip h100-sxm")])
def test_other_cards_than_the_plans_are_refused_with_both(menu, cards, chip, word):
    with pytest.raises(BadInput, match="different cards") as caught:
        asked_by(menu, cards, chip)
    assert word in caught.value.found


def test_a_plan_over_two_kinds_is_refused_with_its_need(menu):
    with pytest.raises(BadInput, match="one kind") as caught:
        asked_by(menu + ":2", "1", "")
    assert "8 h100-sxm, 8 a100-sxm-80gb" in caught.value.found
