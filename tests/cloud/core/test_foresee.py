"""A job that says how long it takes goes where it ends first."""

from __future__ import annotations

from dataclasses import replace

from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.decide import due_ns
from forebay.cloud.core.foresee import Outlook, best, comes_free_in_s, outlook
from forebay.cloud.core.job import Job
from forebay.cloud.core.state import State

FAST, SLOW = "h100-sxm", "cpu"


def timed(name: str, *menu: tuple[str, int, float | None], time_limit_s: float | None = None) -> Job:
    plain = job(name, *((chip, cards) for chip, cards, _ in menu), time_limit_s=time_limit_s)
    options = zip(plain.menu, menu, strict=True)
    return replace(plain, menu=tuple(replace(option, expected_s=expected) for option, (_, _, expected) in options))


def two_chips() -> State:
    return pool(node("n", SLOW, 1), node("g", FAST, 1))


def chips(decisions: list[e.Event]) -> list[str]:
    return [d.allocation.chip for d in decisions if isinstance(d, e.Launched)]


def test_of_two_free_options_the_faster_is_taken_whatever_comes_first_in_the_menu():
    (launched,) = replay(two_chips(), submitted(0, timed("a", (SLOW, 1, 600), (FAST, 1, 240))))
    assert launched.allocation.chip == FAST and launched.expected_s == 240
    assert launched.outlooks == (
        Outlook(chip=SLOW, cards=1, starts_in_s=0, ends_in_s=600),
        Outlook(chip=FAST, cards=1, starts_in_s=0, ends_in_s=240),
    )


def test_the_faster_chip_is_waited_for_when_that_ends_first():
    state = two_chips()
    replay(state, submitted(0, timed("a", (FAST, 1, 100))))
    assert replay(state, submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240)))) == []  # 90 + 240 < 600
    assert chips(replay(state, ended(100, "a-1"))) == [FAST]


def test_the_slower_chip_is_taken_when_waiting_would_take_longer():
    state = two_chips()
    replay(state, submitted(0, timed("a", (FAST, 1, 500))))
    assert chips(replay(state, submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240))))) == [SLOW]  # 490 + 240 > 600


def test_a_time_limit_says_when_cards_come_free_at_the_latest():
    state = two_chips()
    replay(state, submitted(0, job("a", (FAST, 1), time_limit_s=100)))
    assert replay(state, submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240)))) == []


def test_nobody_waits_for_a_run_of_which_nothing_is_known_or_that_is_past_its_time():
    state = two_chips()
    replay(state, submitted(0, job("a", (FAST, 1))))  # at first it is taken to last an hour
    assert chips(replay(state, submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240))))) == [SLOW]
    state = two_chips()
    replay(state, submitted(0, timed("a", (FAST, 1, 100))), submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240))))
    assert chips(replay(state, e.Tick(at_ns=99 * S, by="forebay"))) == []
    assert chips(replay(state, e.Tick(at_ns=100 * S, by="forebay"))) == [SLOW]  # it should be over, and isn't


def test_a_job_that_waits_for_the_fast_chip_holds_nobody_back_on_the_slow_one():
    state = two_chips()
    replay(state, submitted(0, timed("a", (FAST, 1, 100))), submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240))))
    assert launches(replay(state, submitted(11, job("c", (SLOW, 1), organisation="other")))) == ["c-1"]
    assert launches(replay(state, submitted(12, job("d", (FAST, 1), organisation="other")))) == []
    assert launches(replay(state, ended(50, "a-1"))) == ["b-1"]


def test_without_a_word_on_time_the_menu_decides_as_before():
    assert chips(replay(two_chips(), submitted(0, job("a", (SLOW, 1), (FAST, 1))))) == [SLOW]


def test_a_free_option_of_unknown_length_is_rather_taken_than_a_busy_one_waited_for():
    state = two_chips()
    replay(state, submitted(0, timed("a", (FAST, 1, 100))))
    assert chips(replay(state, submitted(10, timed("b", (SLOW, 1, None), (FAST, 1, 1))))) == [SLOW]


def test_the_clock_of_a_run_starts_again_when_its_ranks_do():
    state = two_chips()
    replay(state, submitted(0, timed("a", (FAST, 1, 100))), e.Started(at_ns=1000 * S, by="x", run="a-1"))
    ((_, ends),) = state.ends.by_island.items()
    assert ends == [(1100 * S, "a-1")]
    replay(state, ended(1050, "a-1"))
    assert state.ends.by_island == {}


def test_outlooks_compare_by_their_end_then_by_their_start_then_by_the_menu():
    free, soon = outlook("a", 1, 100, 0.0), outlook("b", 1, 50, 50.0)
    assert best([soon, free]) == 1
    assert best([free, free]) == 0
    assert best([outlook("a", 1, 100, None), outlook("b", 1, 500, 10.0)]) == 1
    assert best([outlook("a", 1, 100, None)]) is None


def test_cards_come_free_when_enough_runs_have_ended():
    assert comes_free_in_s(1, 4, [(10.0, 2), (20.0, 1), (30.0, 8)]) == 20.0
    assert comes_free_in_s(1, 40, [(10.0, 2)]) is None


def test_when_a_wait_is_over_by_time_alone_is_not_forgotten_over_what_happens_on_other_chips():
    state = pool(node("n", SLOW, 1), node("g", FAST, 1), node("x", "mi300x", 1))
    replay(state, submitted(0, timed("a", (FAST, 1, 100))), submitted(1, job("c", ("mi300x", 1), organisation="third")))
    replay(state, submitted(2, job("d", ("mi300x", 1), organisation="third")))
    assert replay(state, submitted(10, timed("b", (SLOW, 1, 600), (FAST, 1, 240)))) == []
    assert replay(state, e.Tick(at_ns=30 * S, by="forebay")) == []  # looked at, in case it would be late by then
    assert launches(replay(state, ended(50, "c-1"))) == ["d-1"]
    assert due_ns(state) == 100 * S  # nothing on that chip has to be looked at before
    assert chips(replay(state, e.Tick(at_ns=100 * S, by="forebay"))) == [SLOW]
