"""Layers over stages of different chips, micro-batches over data ranks of different chips."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput, DoesNotFit
from forebay.plan.balance import layers, shares, slowest

times = st.lists(st.floats(0.1, 5), min_size=1, max_size=4)


def test_a_chip_that_is_twice_as_fast_gets_twice_the_layers():
    assert layers(12, [1.0, 2.0]) == (8, 4)


def test_a_loss_as_long_as_two_layers_takes_their_place():
    assert layers(14, [1.0] * 4, last_extra=2.0) == (4, 4, 4, 2)


def test_126_layers_over_16_stages_leave_the_ends_one_less():
    """As Llama 3 405B does by hand (arXiv 2407.21783, section 3.3.2)."""
    assert layers(126, [1.0] * 16, first_extra=0.9, last_extra=1.0) == (7, *(8,) * 14, 7)


def test_a_stage_gets_no_more_than_it_holds():
    assert layers(12, [1.0, 2.0], most=[5, 8]) == (5, 7)


def test_chunks_of_a_stage_have_as_many_layers():
    assert layers(24, [1.0, 1.0, 2.0], chunks=2) == (10, 10, 4) or sum(layers(24, [1.0, 1.0, 2.0], chunks=2)) == 24
    assert all(one % 2 == 0 for one in layers(24, [1.0, 1.0, 2.0], chunks=2))


@given(times, st.integers(0, 9), st.floats(0, 4), st.floats(0, 4), st.data())
def test_no_split_has_a_shorter_slowest_stage(seconds, more, first, last, data):
    n = len(seconds)
    count = n + more
    most = data.draw(st.lists(st.integers(1, 10), min_size=n, max_size=n))
    splits = [one for one in product(*(range(1, top + 1) for top in most)) if sum(one) == count]
    if not splits:
        with pytest.raises(DoesNotFit):
            layers(count, seconds, first_extra=first, last_extra=last, most=most)
        return
    found = layers(count, seconds, first_extra=first, last_extra=last, most=most)
    assert sum(found) == count and all(1 <= one <= top for one, top in zip(found, most, strict=True))
    best = min(slowest(one, seconds, first_extra=first, last_extra=last) for one in splits)
    assert slowest(found, seconds, first_extra=first, last_extra=last) == pytest.approx(best)


@given(times, st.integers(0, 12))
def test_no_shares_have_a_shorter_slowest_rank(seconds, more):
    count = len(seconds) + more
    found = shares(count, seconds)
    every = product(range(1, count + 1), repeat=len(seconds))
    best = min(max(n * s for n, s in zip(one, seconds, strict=True)) for one in every if sum(one) == count)
    assert sum(found) == count
    assert max(n * s for n, s in zip(found, seconds, strict=True)) == pytest.approx(best)


def test_layers_that_do_not_fit_are_refused_with_the_room_there_is():
    with pytest.raises(DoesNotFit) as error:
        layers(20, [1.0, 1.0], most=[8, 9])
    assert "room for 8, 9" in str(error.value)


@pytest.mark.parametrize("count, stages, chunks", [(3, 4, 1), (9, 2, 2), (7, 4, 2)])
def test_layers_that_chunks_do_not_divide_are_refused(count, stages, chunks):
    with pytest.raises(BadInput):
        layers(count, [1.0] * stages, chunks=chunks)


def test_more_ranks_than_micro_batches_are_refused():
    with pytest.raises(BadInput):
        shares(3, [1.0] * 4)


def test_128_layers_over_64_stages_are_all_given():
    assert sum(layers(128, [1.0 + i / 100 for i in range(64)])) == 128
