"""The ends of flows, against solving everything again at every end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput
from forebay.fabric import flows
from forebay.fabric.flows import completions
from forebay.fabric.rates import rates


@st.composite
def cases(draw, zero=False):
    links = draw(st.integers(1, 7))
    capacity = draw(st.lists(st.integers(0 if zero else 1, 40).map(float), min_size=links, max_size=links))
    ways = draw(st.lists(st.lists(st.integers(0, links - 1), min_size=1, max_size=4, unique=True), min_size=1, max_size=10))
    nbytes = draw(st.lists(st.integers(0, 50).map(float), min_size=len(ways), max_size=len(ways)))
    return ways, np.array(capacity), np.array(nbytes)


def flat(ways):
    return np.concatenate([[0], np.cumsum([len(way) for way in ways])]), np.array([x for way in ways for x in way], np.int32)


def ends(ways, capacity, nbytes, tolerance=0.0):
    return completions(*flat(ways), capacity, nbytes, tolerance)


def again_and_again(ways, capacity, nbytes):
    """Share all links anew whenever a flow ends."""
    left, end, now = nbytes.astype(float).copy(), np.full(len(ways), np.inf), 0.0
    going = [f for f in range(len(ways)) if left[f] > 0]
    end[left == 0] = 0.0
    while going:
        rate = rates(*flat([ways[f] for f in going]), capacity).bytes_per_s
        with np.errstate(divide="ignore"):
            need = np.where(rate > 0, left[going] / rate, np.inf)
        step = need.min()
        if step == np.inf:
            break
        now += step
        for f, r, t in zip(going, rate, need, strict=True):
            left[f] = left[f] - r * step if t > step * (1 + 1e-12) else 0.0
            end[f] = now if left[f] == 0.0 else np.inf
        going = [f for f in going if left[f] > 0]
    return end


def carried_by(ways, capacity, nbytes):
    return np.bincount(flat(ways)[1], np.repeat(nbytes, [len(way) for way in ways]), minlength=len(capacity))


@given(cases(zero=True))
def test_ends_are_those_of_solving_everything_again_at_every_end(case):
    np.testing.assert_allclose(ends(*case), again_and_again(*case), rtol=1e-7)


@given(cases())
def test_nobody_ends_before_its_bytes_fit_through_its_narrowest_link_and_all_end_by_the_sum_of_all(case):
    ways, capacity, nbytes = case
    found = ends(*case)
    alone = np.array([size / capacity[way].min() for way, size in zip(ways, nbytes, strict=True)])
    assert (found >= alone * (1 - 1e-9)).all()
    assert found.max() >= flows.last_of_equals(carried_by(*case), capacity) * (1 - 1e-9)  # a link works no faster than it can
    assert found.max() <= alone.sum() * (1 + 1e-9)


@given(cases(), st.integers(1, 50))
def test_the_last_of_equal_flows_needs_no_sharing(case, size):
    ways, capacity, _ = case
    equal = np.full(len(ways), float(size))
    assert ends(ways, capacity, equal).max() == pytest.approx(flows.last_of_equals(carried_by(ways, capacity, equal), capacity))


@given(cases(), st.integers(0, 6), st.floats(1.0, 4.0))
def test_more_bandwidth_never_delays_the_last_of_equal_flows(case, link, factor):
    ways, capacity, _ = case
    wider, equal = capacity.copy(), np.ones(len(ways))
    wider[link % len(capacity)] *= factor
    assert ends(ways, wider, equal).max() <= ends(ways, capacity, equal).max() * (1 + 1e-9)


@given(cases(), st.randoms(use_true_random=False))
def test_names_dont_matter(case, random):
    ways, capacity, nbytes = case
    turn = list(range(len(ways)))
    random.shuffle(turn)
    again = ends([ways[f][::-1] for f in turn], capacity, nbytes[turn])
    np.testing.assert_allclose(again, ends(*case)[turn], rtol=1e-9)


@given(cases(), st.floats(0.5, 8.0))
def test_twice_the_bytes_take_twice_the_time(case, factor):
    ways, capacity, nbytes = case
    np.testing.assert_allclose(ends(ways, capacity, nbytes * factor), ends(*case) * factor, rtol=1e-9)


@pytest.mark.parametrize("equal", [True, False])
def test_many_flows_end_as_if_everything_were_solved_again(equal):
    """Large enough that an end concerns some flows and not others."""
    rng = np.random.default_rng(2)
    ways = [rng.choice(60, 3, replace=False).tolist() for _ in range(200)]
    capacity, nbytes = rng.uniform(1, 5, 60), np.ones(200) if equal else rng.uniform(1, 10, 200)
    np.testing.assert_allclose(ends(ways, capacity, nbytes), again_and_again(ways, capacity, nbytes), rtol=1e-7)


def test_a_merged_end_is_off_by_a_few_times_the_tolerance():
    """300 random flows of random size over 40 links, at three tolerances."""
    rng = np.random.default_rng(5)
    for tolerance in (0.01, 0.001, 0.0005):
        for _ in range(5):
            ways = [rng.choice(40, 4, replace=False).tolist() for _ in range(300)]
            capacity, nbytes = rng.uniform(1, 5, 40), rng.uniform(1, 10, 300)
            exact, merged = ends(ways, capacity, nbytes), ends(ways, capacity, nbytes, tolerance)
            assert abs(merged.max() / exact.max() - 1) <= 4 * tolerance
            assert np.abs(merged / exact - 1).max() <= 6 * tolerance


def test_flows_that_never_end_and_flows_that_have_nothing_to_do():
    found = ends([[0], [1], [0, 1], [1]], np.array([0.0, 6.0]), np.array([1.0, 12.0, 1.0, 0.0]))
    assert found.tolist() == [np.inf, 2.0, np.inf, 0.0]
    assert ends([[], [0]], np.array([2.0]), np.array([5.0, 4.0])).tolist() == [0.0, 2.0]
    assert ends([[0], [0, 1]], np.array([np.inf, 2.0]), np.array([5.0, 4.0])).tolist() == [0.0, 2.0]
    assert flows.last_of_equals(np.zeros(3), np.ones(3)) == 0.0
    assert flows.last_of_equals(np.ones(1), np.zeros(1)) == np.inf


@pytest.mark.parametrize(
    "links, capacity, nbytes, tolerance, words",
    [
        ([0], [1.0], [1.0, 2.0], 0.0, "2 sizes"),
        ([0], [1.0], [-1.0], 0.0, "zero bytes or more"),
        ([0], [1.0], [float("nan")], 0.0, "zero bytes or more"),
        ([0], [1.0], [float("inf")], 0.0, "bytes end"),
        ([0], [1.0], [1.0], -0.1, "tolerance"),
        ([0], [1.0], [1.0], 0.7, "tolerance"),
        ([4], [1.0], [1.0], 0.0, "link 4"),
        ([-2], [1.0], [1.0], 0.0, "link -2"),
        ([0], [-3.0], [1.0], 0.0, "zero or more"),
    ],
)
def test_what_cannot_be_is_refused(links, capacity, nbytes, tolerance, words):
    with pytest.raises(BadInput) as told:
        completions(np.array([0, 1]), np.array(links), np.array(capacity), np.array(nbytes), tolerance)
    assert words in str(told.value)


SIX = [[0], [0, 1], [1], [2, 1], [2], [0, 2]], np.array([4.0, 10.0, 1.0]), np.zeros(6)


def test_a_constant_in_the_place_of_the_last_of_equals_is_found_out(monkeypatch):
    law = test_the_last_of_equal_flows_needs_no_sharing.hypothesis.inner_test
    law(SIX, 7)
    for constant in (0.0, 1.0):
        monkeypatch.setattr(flows, "last_of_equals", lambda *_, constant=constant: constant)
        with pytest.raises(AssertionError):
            law(SIX, 7)
        with pytest.raises(AssertionError):
            test_flows_that_never_end_and_flows_that_have_nothing_to_do()
