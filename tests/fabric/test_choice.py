"""The chooser's answer is that of timing everything; steps come out as their parts say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.fabric.books import load
from forebay.fabric.build import build, propose
from forebay.fabric.choose import Question, choose
from forebay.fabric.design import ScaleUp
from forebay.fabric.physics import DEFAULT
from forebay.fabric.presets import PRESETS, preset
from forebay.fabric.step import hosts_shuffled, rails_unaligned, ranks_of, step
from forebay.fabric.timing import place
from forebay.fabric.traffic import Exchange, Traffic, checked
from forebay.fabric.verify import verify

UP = ScaleUp(cards=8, bytes_per_s=450e9)
CHIP = catalogue.find("h100-sxm")


@pytest.fixture(scope="module")
def asked():
    kinds = (
        "clos-2",
        "rail-optimised",
        "rail-only",
        "mpft",
        "multi-plane",
        "hpn",
        "dragonfly-plus",
        "slim-fly",
        "hyperx",
        "torus",
    )
    return Question(cards=512, scale_up=UP, kinds=kinds, within=0.03), [preset("dense-70b", 512, CHIP)]


def test_the_choice_at_512_cards_is_that_of_brute_force(asked):
    question, traffics = asked
    quick = choose(question, traffics, load("default"), DEFAULT)
    whole = choose(question, traffics, load("default"), DEFAULT, all_of_them=True)
    assert [s.candidate.name for s in quick.front] == [s.candidate.name for s in whole.front]
    assert quick.winner and whole.winner and quick.winner.candidate.name == whole.winner.candidate.name
    assert quick.searched == whole.searched == len(whole.scored)
    assert len(quick.scored) + quick.beaten == quick.searched
    # Nothing within the target is cheaper.
    assert all(s.slower > 1.0304 or s.candidate.cost_micro >= quick.winner.candidate.cost_micro for s in whole.scored)
    assert quick.verified[0].worst < 1e-6 and quick.verified[0].flows > 1000


def test_each_family_says_why_it_lost(asked):
    question, traffics = asked
    found = choose(question, traffics, load("default"), DEFAULT)
    assert {family.kind for family in found.families} == set(question.kinds)
    assert all(family.why for family in found.families)
    assert [family.why for family in found.families].count("the winner") == 1


@pytest.mark.parametrize(
    "change, says",
    [
        ({"cards": 500}, "whole hosts"),
        ({"within": -0.1}, "share of the ideal"),
        ({"kinds": ("mesh",)}, "No family"),
        ({"cards": 64}, "more ranks"),
    ],
)
def test_a_question_that_cannot_be_is_refused(asked, change, says):
    question, traffics = asked
    with pytest.raises(BadInput, match=says):
        choose(replace(question, **change), traffics, load("default"))


def test_a_book_without_the_switch_says_what_has_no_price(asked):
    question, traffics = asked
    with pytest.raises(BadInput, match="No candidate can be priced"):
        choose(replace(question, boxes=((32, 25e9),)), traffics, load("default"))


def test_a_step_is_computing_and_what_is_exposed():
    wiring = build(propose("rail-only", 64, scale_up=UP))
    found = step(place(wiring), preset("dense-70b", wiring.cards, CHIP))
    assert found.seconds == pytest.approx(found.compute_s + sum(found.exposed.values()))
    alone = {took.name: took.seconds for took in found.took}
    assert found.exposed["tensor gather"] == alone["tensor gather"]
    behind = max(alone["pipeline"], 0)
    assert found.exposed["computing"] == pytest.approx(max(0.0, behind - found.compute_s))


def test_what_shares_a_window_shares_the_links():
    wiring = build(propose("clos-2", 16))
    ring = {"collective": "ring_all_reduce", "nbytes": 1e9, "along": ("rank",), "window": "backward"}

    def took(*names):
        exchanges = tuple(Exchange(name=name, **ring) for name in names)
        return step(
            place(wiring), Traffic(name="t", grid={"rank": 128}, compute_s=0.0, exchanges=exchanges, windows={"backward": 0.0})
        )

    assert took("one", "two").seconds == pytest.approx(2 * took("one").seconds)


def test_placements_keep_every_rank_on_a_card_of_its_own():
    wiring = build(propose("clos-2", 16))
    for seat in (hosts_shuffled(wiring, 100), rails_unaligned(wiring, 128)):
        assert len(np.unique(seat)) == len(seat)
    turned = rails_unaligned(wiring, 128)
    assert (wiring.rail_of[turned[:8]] != wiring.rail_of[turned[8:16]]).all()


def test_groups_run_along_the_sides_of_the_grid():
    ring = Exchange(name="e", collective="ring_all_reduce", nbytes=1.0, along=("b",))
    t = Traffic(name="t", grid={"a": 2, "b": 3, "c": 2}, compute_s=0.0, exchanges=(ring,), windows={})
    assert ranks_of(t, ring).tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    both = replace(ring, along=("a", "c"))
    assert ranks_of(t, both).tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


BASE = Exchange(name="e", collective="all_reduce", nbytes=1.0, along=("rank",))


@pytest.mark.parametrize(
    "exchange, says",
    [
        (replace(BASE, along=(), groups=((0, 1), (1, 2))), "share no rank"),
        (replace(BASE, along=(), groups=((0, 9),)), "isn't there"),
        (replace(BASE, nbytes=-1.0), "zero or more"),
        (replace(BASE, nbytes=float("inf")), "zero or more"),
        (replace(BASE, along=("data",)), "no such side"),
        (replace(BASE, along=("rank", "rank")), "along a side once"),
        (replace(BASE, window="backward"), "no such window"),
        (replace(BASE, along=()), "or among groups"),
        (replace(BASE, along=(), groups=((0, 1), (2, 3, 4))), "equally large"),
    ],
)
def test_traffic_that_cannot_be_is_refused(exchange, says):
    with pytest.raises(BadInput, match=says):
        checked(Traffic(name="t", grid={"rank": 8}, compute_s=1.0, exchanges=(exchange,), windows={}))


def test_more_ranks_than_cards_says_what_fits():
    wiring = build(propose("clos-2", 16))
    with pytest.raises(BadInput, match="more ranks") as error:
        step(place(wiring), preset("dense-70b", 256, CHIP))
    assert error.value.hint == "data = 4 instead of 8"


def test_presets_send_what_their_shapes_say():
    """Recomputed by hand from the reports: 405B on 128 x 80 cards."""
    t = preset("dense-405b", 10_240, CHIP)
    by_name = {e.name: e for e in t.exchanges}
    assert t.grid == {"tensor": 8, "context": 1, "pipeline": 16, "data": 80}
    assert by_name["tensor gather"].nbytes == 8192 * 16384 * 2
    assert by_name["gradients"].nbytes == pytest.approx(405e9 / 128 * 4)
    batches = round(2048 / 80)
    assert by_name["tensor gather"].times == round(4 * 126 / 16 * batches)
    flop = (6 * 405e9 + 6 * 126 * 16384 * 8192) * batches * 80 * 8192
    assert t.compute_s == pytest.approx(flop / 10_240 / (CHIP.flop_per_s["bf16"] / 2) * (1 + 15 / (batches * 8)))
    moe = {e.name: e for e in preset("moe-671b", 10_240, CHIP).exchanges}
    assert moe["experts there"].nbytes == 4096 * 7168 * 4
    assert moe["experts back"].nbytes == 2 * moe["experts there"].nbytes


@pytest.mark.parametrize("name", [n for n in PRESETS if n != "dense-405b-long"])
def test_every_preset_is_timed_and_verified_flow_by_flow(name):
    wiring = build(propose("rail-optimised", 256, scale_up=UP))
    at, traffic = place(wiring), preset(name, wiring.cards, CHIP)
    assert step(at, traffic).cut == 0
    assert verify(at, traffic).worst < 1e-6


def test_sabotage_is_noticed(monkeypatch):
    """With rates, or the busiest link, replaced by a constant, the checks above fail."""
    from forebay.fabric import loads, rates
    from forebay.fabric import verify as verifying

    wiring = build(propose("rail-optimised", 32, scale_up=UP))
    at, traffic = place(wiring), preset("dense-70b", wiring.cards, CHIP)
    good = step(at, traffic)
    real = rates.rates
    monkeypatch.setattr(verifying, "rates", lambda o, *rest: replace(real(o, *rest), bytes_per_s=np.full(len(o) - 1, 1e9)))
    assert verify(at, traffic).worst > 0.01
    monkeypatch.setattr(verifying, "rates", real)
    monkeypatch.setattr(loads.Loads, "seconds", lambda self, capacity: 1e-12)
    assert step(place(wiring), traffic).seconds != pytest.approx(good.seconds, rel=1e-3)
