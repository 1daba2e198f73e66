"""Measured tables, read between their points and beyond their ends."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forebay.plan.kernels.grid import Grid, filled, grid, members, risen

SIZES = np.array([16.0, 64.0, 1024.0])
OTHERS = np.array([8.0, 32.0, 512.0, 4096.0])
AXES = (np.log(SIZES), np.log(OTHERS))
RISING = Grid(AXES, np.log(1e-6 * SIZES[:, None] * OTHERS[None, :] ** 0.8).astype(np.float32))
sizes = st.floats(16, 1024)
others = st.floats(8, 4096)


def test_at_its_points_a_grid_says_what_was_measured():
    for i, a in enumerate(SIZES):
        for j, b in enumerate(OTHERS):
            assert np.isclose(RISING.seconds(a, b), np.exp(RISING.log_s[i, j]), rtol=1e-5)


@given(sizes, others)
def test_a_power_law_is_read_exactly_between_its_points(a, b):
    assert np.isclose(RISING.seconds(a, b), 1e-6 * a * b**0.8, rtol=1e-4)


@given(sizes, others, st.floats(1, 100))
def test_beyond_the_largest_size_the_time_grows_by_the_work(a, b, factor):
    squares = Grid(AXES, RISING.log_s, (2.0, 1.0))
    assert np.isclose(RISING.seconds(1024 * factor, b), RISING.seconds(1024, b) * factor, rtol=1e-6)
    assert np.isclose(squares.seconds(1024 * factor, b), squares.seconds(1024, b) * factor**2, rtol=1e-6)
    assert np.isclose(squares.seconds(a, 4096 * factor), squares.seconds(a, 4096) * factor, rtol=1e-6)


@given(st.floats(0.01, 16), others)
def test_below_the_smallest_size_the_time_stays(a, b):
    assert np.isclose(RISING.seconds(a, b), RISING.seconds(16, b), rtol=1e-9)


@given(st.lists(st.tuples(sizes, others), min_size=1, max_size=8))
def test_many_sizes_at_once_are_each_alone(pairs):
    a, b = np.array(pairs).T
    assert np.allclose(RISING.seconds(a, b), [float(RISING.seconds(*pair)) for pair in pairs], rtol=1e-9)


def test_sizes_broadcast():
    assert RISING.seconds(np.array([[16.0], [64.0]]), OTHERS).shape == (2, 4)


def test_a_hole_takes_its_neighbours_rate():
    holed = RISING.log_s.copy()
    holed[1, 1] = np.nan
    whole = filled(holed, AXES)
    assert not np.isnan(whole).any()
    # Of the neighbours (16, 64 x 8 ...) the nearest in logarithms is half a step of 4 away; its time grows by the work.
    assert np.isclose(np.exp(whole[1, 1]), 1e-6 * 64 * 8**0.8 * (32 / 8), rtol=1e-4) or np.isclose(
        np.exp(whole[1, 1]), 1e-6 * 16 * 32**0.8 * 4, rtol=1e-4
    )


def test_every_packed_table_is_whole_and_its_axes_rise():
    for name in sorted(one for one in members("matmul") if one.count("/") == 2):
        found = grid("matmul", name, 3)
        assert np.isfinite(found.log_s).all(), name
        assert all((np.diff(axis) > 0).all() for axis in found.axes), name
        assert found.log_s.shape == tuple(len(axis) for axis in found.axes), name


@given(st.lists(st.floats(-2, 2), min_size=12, max_size=12), st.integers(0, 2), st.integers(0, 3))
def test_a_risen_grid_runs_nothing_slower_than_measured_and_nothing_slower_than_something_smaller(noise, i, j):
    noisy = Grid(AXES, (RISING.log_s + np.array(noise).reshape(3, 4)).astype(np.float32))
    rate = AXES[0][:, None] + AXES[1][None, :] - risen(noisy).log_s
    assert np.all(risen(noisy).log_s <= noisy.log_s + 1e-5)
    assert np.all(rate[i:, j:] >= rate[i, j] - 1e-5)


def test_a_grid_whose_rates_rise_stays_as_it_is():
    rates = np.array([1.0, 2.0, 3.0])[:, None] * np.array([1.0, 1.5, 2.0, 2.5])[None, :]
    rising = Grid(AXES, np.log(SIZES[:, None] * OTHERS[None, :] / rates).astype(np.float32))
    assert np.allclose(risen(rising).log_s, rising.log_s, atol=1e-5)
