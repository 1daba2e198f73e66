"""The scalar, from made runs whose seconds are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.plan.fit import factor

factors = st.floats(0.7, 3.5)


@given(factors, st.lists(st.floats(0.1, 100), min_size=1, max_size=9))
def test_runs_made_with_a_factor_give_it_back(made, seconds):
    kernels = np.array(seconds)
    assert factor(lambda slower: kernels * slower, kernels * made) == pytest.approx(made, rel=1e-3)


@given(factors)
def test_one_wild_run_of_five_changes_little(made):
    kernels = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    wild = kernels * made * np.array([1.0, 1.01, 0.99, 1.0, 9.0])
    assert factor(lambda slower: kernels * slower, wild) == pytest.approx(made, rel=0.02)


@given(factors)
def test_runs_that_wait_for_their_host_dont_move_the_factor(made):
    """Most of these runs are a second's waiting that is wrong by a fifth; three have nothing but kernels."""
    waiting, kernels = np.array([1.0] * 9 + [0.0] * 3), np.array([0.01] * 9 + [1.0] * 3)
    truth = waiting * 1.2 + kernels * made
    assert factor(lambda slower: waiting + kernels * slower, truth) == pytest.approx(made, rel=1e-3)
