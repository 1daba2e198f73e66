"""Who goes first: backfill that delays nobody, jobs that would be late, and which line of its menu a job takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.choose import Block, Blocks
from forebay.cloud.core.foresee import CHEAPEST, FASTEST, best, outlook
from forebay.cloud.core.job import Job, Option
from forebay.cloud.core.state import State


def timed(name: str, cards: int, expected_s: float, *, organisation: str = "acme", **more: object) -> Job:
    asked = job(name, ("cpu", cards), organisation=organisation)
    menu = tuple(replace(option, expected_s=expected_s) for option in asked.menu)
    return replace(asked, menu=menu, **more)  # type: ignore[arg-type]


def started(at_s: float, run: str) -> e.Started:
    return e.Started(at_ns=int(at_s * S), by="centre here", run=run)


def chips_of(state: State) -> list[str]:
    return [state.t.runs[run].allocation.chip for run in state.live]


# Backfill.


def waiting_wide() -> State:
    """Two of four cards are busy until 1000 s; a job that wants all four waits and is overdue."""
    state = pool(node("n", "cpu", 4))
    replay(state, submitted(0, timed("busy", 2, 1000.0)), started(0, "busy-1"))
    replay(state, submitted(1, timed("wide", 4, 100.0)))
    return state


def test_a_job_that_is_through_before_the_wide_one_could_start_passes_it():
    assert launches(replay(waiting_wide(), submitted(500, timed("short", 2, 400.0)))) == ["short-1"]


def test_a_job_that_would_delay_the_wide_one_does_not_pass_it():
    assert launches(replay(waiting_wide(), submitted(500, timed("long", 2, 600.0)))) == []


def test_a_job_on_cards_that_the_wide_one_leaves_over_passes_it_however_long_it_takes():
    state = pool(node("n", "cpu", 8))
    replay(state, submitted(0, timed("busy", 6, 1000.0)), started(0, "busy-1"), submitted(1, timed("wide", 7, 100.0)))
    assert launches(replay(state, submitted(900, timed("long", 1, 9000.0)))) == ["long-1"]


def test_a_block_stands_where_the_cards_come_free_first():
    state = waiting_wide()
    blocks = Blocks(state, 10 * S)
    assert blocks.on("cpu") is None and not blocks.waits("cpu")
    blocks.add(Option(chip="cpu", cards=3))
    assert blocks.on("cpu") == Block(from_ns=1000 * S, spare=1) and blocks.waits("cpu")


def test_nobody_passes_a_job_of_which_nobody_knows_when_it_could_start():
    state = pool(node("n", "cpu", 4))
    replay(state, submitted(0, timed("busy", 2, 1000.0)), started(0, "busy-1"), submitted(1, timed("wide", 4, 100.0)))
    assert launches(replay(state, submitted(5000, timed("short", 1, 10.0)))) == []  # `busy` is long past its time


@pytest.mark.parametrize("others", [1, 3])
def test_a_wide_job_starts_although_small_ones_never_stop_coming(others):
    state = pool(node("n", "cpu", 4))
    replay(state, *(submitted(0, timed(f"s{i}", 1, 100.0)) for i in range(4)), *(started(0, f"s{i}-1") for i in range(4)))
    replay(state, submitted(1, timed("wide", 4, 100.0, organisation="other")))
    count, ends = 4, {f"s{i}-1": 100 for i in range(4)}
    for at_s in range(2, 5000):
        if at_s % 25 == 0:
            for _ in range(others):
                replay(state, submitted(at_s, timed(f"s{count}", 1, 100.0)))
                count += 1
        for run in [run for run, end in ends.items() if end <= at_s]:
            del ends[run]
            replay(state, ended(at_s, run, held_s=100))
        for run in list(state.live):
            if not state.t.runs[run].running_at_ns:
                replay(state, started(at_s, run))
                ends[run] = at_s + 100
        if "wide-1" in state.t.runs:
            break
    assert "wide-1" in state.t.runs and at_s < 1500


# Late jobs first.


def test_a_job_that_would_be_late_goes_before_one_that_would_not_though_that_is_due_earlier():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, timed("now", 1, 1000.0)), started(0, "now-1"))
    replay(state, submitted(0, timed("early", 1, 10.0, organisation="other")), submitted(0, timed("late", 1, 5000.0)))
    assert launches(replay(state, ended(20_000, "now-1")))[0] in ("late-1", "early-1")
    first = launches(replay(state, ended(20_010, next(iter(state.live)))))
    assert len(first) == 1


def test_the_latest_of_those_that_would_be_late_comes_first():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, timed("now", 1, 100_000.0)), started(0, "now-1"))
    replay(state, submitted(0, timed("b", 1, 100.0)), submitted(50_000, timed("c", 1, 100.0)))
    assert launches(replay(state, ended(100_000, "now-1"))) == ["b-1"]


# Which line of the menu.


def menu(state: State, prefer: str, *, deadline_s: float = 0.0) -> list[str]:
    """A job that takes 100 s on a dear chip and 300 s on a cheap one."""
    for chip, micro in (("h100-sxm", 1000), ("cpu", 100)):
        replay(state, e.PriceSet(at_ns=0, by="op", chip=chip, micro_per_card_s=micro))
    options = (Option(chip="h100-sxm", cards=1, expected_s=100.0), Option(chip="cpu", cards=1, expected_s=300.0))
    asked = replace(job("a", ("cpu", 1)), menu=options, prefer=prefer, deadline_ns=int(deadline_s * S))
    replay(state, submitted(0, asked))
    return chips_of(state)


@pytest.mark.parametrize(
    ("prefer", "chip"), [("fastest", "h100-sxm"), ("cheapest", "cpu"), ("balanced", "cpu")], ids=lambda value: str(value)
)
def test_a_job_takes_the_option_that_it_prefers(prefer, chip):
    assert menu(pool(node("n", "cpu", 1), node("g", "h100-sxm", 1)), prefer) == [chip]


def test_a_deadline_comes_before_what_is_cheap():
    assert menu(pool(node("n", "cpu", 1), node("g", "h100-sxm", 1)), "cheapest", deadline_s=200.0) == ["h100-sxm"]


def test_a_deadline_that_all_options_meet_changes_nothing():
    assert menu(pool(node("n", "cpu", 1), node("g", "h100-sxm", 1)), "cheapest", deadline_s=400.0) == ["cpu"]


def test_a_deadline_that_none_can_meet_changes_nothing():
    looks = [outlook("h100-sxm", 1, 100.0, 0.0), outlook("cpu", 1, 300.0, 0.0)]
    assert best(looks, [90_000, 30_000], CHEAPEST, by_s=50.0) == 1
    assert best(looks, [90_000, 30_000], FASTEST, by_s=50.0) == 0


def test_what_a_job_may_still_spend_limits_its_options():
    state = pool(node("n", "cpu", 1), node("g", "h100-sxm", 1))
    for chip, micro in (("h100-sxm", 1000), ("cpu", 100)):
        replay(state, e.PriceSet(at_ns=0, by="op", chip=chip, micro_per_card_s=micro))
    options = (Option(chip="h100-sxm", cards=1, expected_s=100.0), Option(chip="cpu", cards=1, expected_s=300.0))
    asked = replace(job("a", ("cpu", 1)), menu=options, prefer="fastest", budget_micro=50_000)
    replay(state, submitted(0, asked))
    assert chips_of(state) == ["cpu"]


def test_an_option_for_which_there_are_never_enough_cards_in_use_holds_nobody_back():
    state = pool(node("n", "cpu", 1), node("g", "h100-sxm", 2), replace(node("h", "h100-sxm", 2), island="other"))
    replay(state, submitted(0, job("busy", ("cpu", 1))))
    replay(state, submitted(1, job("wide", ("h100-sxm", 3), ("cpu", 1))))  # no island has three
    assert launches(replay(state, submitted(20_000, job("small", ("h100-sxm", 1))))) == ["small-1"]
    replay(state, ended(20_001, "busy-1"), ended(20_002, "small-1"), ended(20_003, "wide-1"))
    bad = e.Drained(at_ns=20_004 * S, by="op", centre="here", node="h")
    replay(state, bad, submitted(20_005, job("pair", ("h100-sxm", 2))), submitted(20_006, job("two", ("h100-sxm", 2))))
    replay(state, e.Drained(at_ns=20_007 * S, by="op", centre="here", node="g", card=1), ended(20_008, "pair-1"))
    assert launches(replay(state, submitted(40_000, job("one", ("h100-sxm", 1))))) == ["one-1"]
