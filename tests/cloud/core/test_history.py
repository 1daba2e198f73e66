"""Forecasts: from what jobs of a kind lasted, given how long one has lasted already."""

from __future__ import annotations

import pytest
from world import S, ended, job, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.history import BINS, EDGES, ENOUGH, MOST, UNKNOWN_S, History, bin_of
from forebay.cloud.core.size import kinds

KIND, WIDER = "a/p/train/4", "a"


def known(*lasted_s: float, kind: str = KIND) -> History:
    history = History({})
    for s in lasted_s:
        history.note((kind,), s)
    return history


def test_a_job_of_which_nothing_is_known_lasts_an_hour_and_then_as_long_again():
    history = known()
    assert history.lasts_s((KIND,)) == UNKNOWN_S
    assert history.lasts_s((KIND,), 10_000.0) == 20_000.0


def test_nine_of_ten_jobs_of_a_kind_last_no_longer_than_is_forecast():
    history = known(*[10.0] * 90, *[1000.0] * 10)
    assert 10.0 <= history.lasts_s((KIND,)) < 16.0


def test_a_job_that_has_outlasted_most_of_its_kind_is_forecast_to_last_as_the_rest_did():
    history = known(*[10.0] * 90, *[1000.0] * 10)
    assert 1000.0 <= history.lasts_s((KIND,), so_far_s=60.0) < 1600.0


def test_a_forecast_is_never_before_what_has_passed():
    history = known(*[10.0] * 100)
    for so_far_s in (0.5, 5.0, 9.0, 11.0, 50.0, 5000.0):
        assert history.lasts_s((KIND,), so_far_s) >= so_far_s


def test_too_few_of_a_kind_are_no_ground_and_the_next_wider_kind_is_asked():
    history = known(*[10.0] * (ENOUGH - 1))
    for _ in range(ENOUGH):
        history.note((WIDER,), 100.0)
    assert 100.0 <= history.lasts_s((KIND, WIDER)) < 160.0
    history.note((KIND,), 10.0)
    assert history.lasts_s((KIND, WIDER)) < 16.0


def test_counts_are_halved_when_they_become_many_so_that_what_is_new_weighs_more():
    counts: dict[str, tuple[int, ...]] = {}
    history = History(counts)
    for _ in range(MOST):
        history.note((KIND,), 10.0)
    assert max(counts[KIND]) == MOST // 2


def test_bins_hold_what_lasts_no_longer_than_their_edge():
    for which, edge in enumerate(EDGES):
        assert bin_of(edge) == which
    assert bin_of(0.0) == 0 and bin_of(1e12) == BINS - 1


def test_it_is_said_when_a_job_will_be_expected_to_last_longer():
    history = History({})
    for lasted_s in (10.0,) * 50 + (1000.0,) * 20 + (50000.0,) * 8:
        history.note((KIND,), lasted_s)
    for beyond_s in (5.0, 1200.0, 20000.0, 60000.0, 1e6):
        at_s = history.outgrown_s((KIND,), 1.0, beyond_s)
        before_s = [edge for edge in EDGES if 1.0 < edge < at_s]
        assert history.lasts_s((KIND,), at_s) > beyond_s and all(history.lasts_s((KIND,), s) <= beyond_s for s in before_s)
    assert history.outgrown_s((KIND,), 1.0, 1e12) == EDGES[-1]


def test_only_jobs_that_succeeded_are_counted():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1), retries=0)), ended(5, "a-1", "failed", exit_code=1, held_s=5))
    assert not state.t.history
    replay(state, submitted(6, job("b", ("cpu", 1))), ended(16, "b-1", held_s=10))
    assert sum(state.t.history["acme/p/b/1"]) == 1
    assert all(kind in state.t.history for kind in kinds(job("b", ("cpu", 1))))


def test_a_job_that_was_cancelled_tells_nothing_of_how_long_its_kind_lasts():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), e.Cancelled(at_ns=S, by="k1", job="a"), ended(2, "a-1", "stopped"))
    assert not state.t.history


def test_jobs_of_a_known_kind_get_its_size_when_they_come():
    state = pool(node("n", "cpu", 1))
    for number in range(ENOUGH):
        replay(state, submitted(number * 20, job(f"x{number}", ("cpu", 1))), ended(number * 20 + 10, f"x{number}-1", held_s=10))
    replay(state, submitted(1000, job("y", ("cpu", 1))))
    assert state.t.sizes["y"] == pytest.approx(EDGES[bin_of(10.0)])
