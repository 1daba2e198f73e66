"""The equally shared pool, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.cloud.replay.fluid import equal_share_s
from forebay.cloud.replay.trace import Line, Traced

from .jobs import job


def test_alone_a_job_has_what_it_asked_for():
    assert equal_share_s([job("a", 5, 2, 100)], {"h": 4}) == {"a": pytest.approx(100)}


def test_two_jobs_that_want_all_cards_have_half_each():
    fair = equal_share_s([job("a", 0, 4, 100), job("b", 0, 4, 50)], {"h": 4})
    assert fair == {"a": pytest.approx(150), "b": pytest.approx(100)}


def test_a_share_that_is_left_over_is_given_to_nobody():
    # small has its 1 card; wide has its half of 4, not 3.
    fair = equal_share_s([job("wide", 0, 4, 100), job("small", 0, 1, 1000)], {"h": 4})
    assert fair == {"wide": pytest.approx(200), "small": pytest.approx(1000)}


def test_of_several_chips_each_gets_its_share_of_each_and_the_fastest_first():
    lines = (Line(chip="f", cards=2, seconds=100), Line(chip="s", cards=2, seconds=200))
    jobs = [Traced(id=name, arrival_s=0, lines=lines) for name in "ab"]
    # Of 2 fast and 2 slow cards each has one of both: 1 + 1/2 cards' worth of 2.
    fair = equal_share_s(jobs, {"f": 2, "s": 2})
    assert fair == {"a": pytest.approx(100 / 0.75), "b": pytest.approx(100 / 0.75)}


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 6), st.integers(1, 50)), min_size=1, max_size=20))
def test_nobody_is_faster_than_alone_nor_slower_than_with_all_others_at_once(shapes):
    jobs = [job(f"j{i}", at, cards, seconds) for i, (at, cards, seconds) in enumerate(shapes)]
    fair = equal_share_s(jobs, {"h": 6})
    for one in jobs:
        assert fair[one.id] >= one.alone_s * (1 - 1e-6)
        assert fair[one.id] <= one.alone_s * max(1.0, one.lines[0].cards * len(jobs) / 6) * (1 + 1e-6)
