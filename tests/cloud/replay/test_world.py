"""Simulated time, held against arithmetic done by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.cloud.core import events as e
from forebay.cloud.replay import site
from forebay.cloud.replay.decider import Core
from forebay.cloud.replay.metrics import figures, quantile
from forebay.cloud.replay.run import POLICIES
from forebay.cloud.replay.trace import Line, Settings, Traced
from forebay.cloud.replay.world import World

from .jobs import Scripted, go, jct_s, job


@pytest.mark.parametrize("policy", POLICIES)
def test_jobs_wait_for_cards_and_take_as_long_as_they_take(policy):
    history = go(policy, [job("a", 0, 4, 100), job("b", 10, 4, 50)], resumable=0.0)
    assert jct_s(history) == {"a": 100, "b": 140}


def test_the_figures_of_three_jobs_by_hand():
    # a: 0 to 100 on 4 of 4 cards; b: 100 to 150 on 2; c: 100 to 200 on 2.
    history = go("first-come", [job("a", 0, 4, 100), job("b", 0, 2, 50), job("c", 20, 2, 100)])
    ours = figures(history, policy="first-come", cpu_s=0.5)
    assert jct_s(history) == {"a": 100, "b": 150, "c": 180}
    assert ours.jct_mean_s == pytest.approx(430 / 3)
    assert (ours.jct_p50_s, ours.jct_p99_s, ours.makespan_s) == (150, 180, 200)
    assert ours.wait_mean_s == pytest.approx((0 + 100 + 80) / 3)
    assert ours.utilisation == pytest.approx((400 + 100 + 200) / 800)
    assert ours.utilisation_busy == 1.0  # somebody waited from 0 to 100 only, and all cards were held
    assert ours.jobs_per_cpu_s == 6


def test_what_was_done_before_a_stop_counts_and_going_on_costs():
    world = World([job("a", 0, 2, 100)], site.parse("1x4:h"), Scripted([(0, "launch", "a", 0), (40, "stop", "a", 0),
                  (50, "launch", "a", 0)]), Settings(restart_s=7))  # fmt: skip
    (life,) = world.run().lives
    assert life.jct_ns == (50 + 7 + 60) * 10**9
    assert (life.stops, life.launches, life.held_card_ns) == (1, 2, 2 * (40 + 67) * 10**9)
    assert life.lost_card_ns == 2 * 7 * 10**9


def test_a_job_that_cannot_resume_begins_anew():
    world = World([job("a", 0, 1, 100)], site.parse("1x4:h"), Scripted([(0, "launch", "a", 0), (40, "stop", "a", 0),
                  (50, "launch", "a", 0)]), Settings(restart_s=7, resumable=0.0))  # fmt: skip
    (life,) = world.run().lives
    assert life.jct_ns == (50 + 7 + 100) * 10**9
    assert life.lost_card_ns == (40 + 7) * 10**9


def test_a_stop_while_it_goes_on_from_its_checkpoint_brings_nothing():
    script = [(0, "launch", "a", 0), (40, "stop", "a", 0), (50, "launch", "a", 0), (55, "stop", "a", 0), (60, "launch", "a", 0)]
    (life,) = World([job("a", 0, 1, 100)], site.parse("1x4:h"), Scripted(script), Settings(restart_s=7)).run().lives
    assert life.jct_ns == (60 + 7 + 60) * 10**9


def test_an_elastic_job_does_a_share_of_its_work_on_each_option():
    lines = (Line(chip="h", cards=1, seconds=100), Line(chip="h", cards=4, seconds=40))
    elastic = Traced(id="a", arrival_s=0, lines=lines, elastic=True)
    script = [(0, "launch", "a", 0), (50, "stop", "a", 0), (50.5, "launch", "a", 1)]
    (life,) = World([elastic], site.parse("1x4:h"), Scripted(script), Settings(restart_s=10)).run().lives
    assert life.jct_ns == int((50.5 + 10 + 20) * 1e9)  # half of it is done, and the rest takes half of 40 s
    assert life.moves == 1


@pytest.mark.parametrize("spread, seconds", [(True, 150), (False, 100)])
def test_cards_on_more_nodes_than_needed_are_slower_where_asked_for(spread, seconds):
    wide = Traced(id="wide", arrival_s=6, lines=(Line(chip="h", cards=2, seconds=100, spread_s=150),))
    around = [job("a", 0, 1, 5), job("b", 1, 1, 50), job("c", 2, 1, 50)]  # then one card of each node is free
    lives = World([*around, wide], site.parse("2x2:h"), POLICIES["first-come"](), Settings(), spread=spread).run().lives
    assert lives[-1].jct_ns == seconds * 10**9


def test_the_same_trace_gives_the_same_history_to_the_nanosecond():
    jobs = [job(f"j{i}", i * 3.7 % 101, 1 + i % 4, 13 + i * 7 % 211) for i in range(60)]

    def lines(policy):
        heard: list[e.Event] = []
        World(jobs, site.parse("2x4:h"), POLICIES[policy](), Settings(), heard=heard.append).run()
        return heard

    for policy in POLICIES:
        assert lines(policy) == lines(policy), policy


def test_a_card_given_twice_is_noticed():
    class Twice(Scripted):
        def tell(self, fact):
            decisions = super().tell(fact)
            return decisions * 2 if any(isinstance(one, e.Launched) for one in decisions) else decisions

    with pytest.raises(AssertionError, match="held already"):
        World([job("a", 0, 1, 10)], site.parse("1x4:h"), Twice([(0, "launch", "a", 0)]), Settings()).run()


def test_a_policy_that_is_due_for_ever_is_noticed():
    class Restless(Core):
        def due_ns(self):
            return 10**9

    with pytest.raises(AssertionError, match="again and again"):
        World([job("a", 5, 1, 10)], site.parse("1x4:h"), Restless(), Settings()).run()


def test_the_core_stops_a_run_at_its_time_limit_in_simulated_time_too():
    history = go("forebay", [job("a", 0, 1, 500, time_limit_s=100.0)])
    assert history.lives[0].phase == "failed"
    assert 100 <= history.lives[0].jct_ns / 1e9 < 102


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 8), st.integers(1, 40)), min_size=1, max_size=25), st.booleans())
def test_all_jobs_end_and_card_time_is_conserved_under_every_policy(shapes, resumable):
    jobs = [job(f"j{i}", at, cards, seconds) for i, (at, cards, seconds) in enumerate(shapes)]
    for policy in POLICIES:
        history = go(policy, jobs, "2x4:h", resumable=float(resumable), restart_s=3)
        assert [life.phase for life in history.lives] == ["succeeded"] * len(jobs)
        spans = zip(history.times, history.times[1:], history.held, strict=False)
        assert sum((to - at) * held for at, to, held in spans) == sum(life.held_card_ns for life in history.lives)
        for life in history.lives:
            useful = life.held_card_ns - life.lost_card_ns
            assert useful == life.traced.lines[0].cards * life.traced.lines[0].seconds * 10**9


def test_a_start_that_was_foretold_wrongly_is_told_by_how_much():
    class Prophet(POLICIES["first-come"]):
        def forecast_ns(self, job, now_ns):
            return now_ns + 300 * 10**9, now_ns + 900 * 10**9, now_ns + 1200 * 10**9

    jobs = [job("a", 0, 4, 1200), job("b", 0, 4, 10), job("c", 1000, 4, 10)]  # b waits 1,200 s and c 210 s
    history = World(jobs, site.parse("1x4:h"), Prophet(), Settings(forecasts=True)).run()
    ours = figures(history, policy="prophet", cpu_s=1.0)
    assert ours.foretold == 2 and ours.foretold_within == 0.5
    assert ours.foretold_error_p50 == pytest.approx(300 / 1200)
    assert ours.foretold_error_p90 == pytest.approx(690 / 600)
    assert ours.foretold_error_all_p50 == pytest.approx(300 / 1200)


def test_a_quantile_is_a_value_that_was_there():
    assert quantile([1, 2, 3, 4], 0.5) == 2
    assert quantile([1, 2, 3, 4], 0.99) == 4
    assert quantile([7], 0.01) == 7
    assert quantile([], 0.5) == 0
