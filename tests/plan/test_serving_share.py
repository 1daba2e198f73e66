"""Cards of several kinds shared between ways to serve: as good as trying everything, and laws."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.serving.blocks import Apart, Together, blocks, filled, front, useful
from forebay.plan.serving.share import cheapest, most

easy = settings(deadline=None, max_examples=60)
sizes = st.sampled_from([1, 2, 3, 4])
rates = st.floats(0.1, 10.0, allow_nan=False)


def ints(values):
    return np.array(values, dtype=np.int64)


def together(kind, engines):
    return Together(kind=kind, size=ints([s for s, _ in engines]), rate=np.array([r for _, r in engines]))


def apart(a, b, pairs):
    columns = list(zip(*pairs, strict=True))
    return Apart(
        reads_on=a, makes_on=b, read_size=ints(columns[0]), make_size=ints(columns[1]),
        read_rate=np.array(columns[2]), make_rate=np.array(columns[3]),
    )  # fmt: skip


@st.composite
def pools(draw, most_cards=5):
    counts = draw(st.tuples(st.integers(1, most_cards), st.integers(1, most_cards)))
    ways = [together(k, draw(st.lists(st.tuples(sizes, rates), min_size=1, max_size=2))) for k in (0, 1)]
    for a, b in draw(st.lists(st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]), unique=True, max_size=4)):
        ways.append(apart(a, b, draw(st.lists(st.tuples(sizes, sizes, rates, rates), min_size=1, max_size=2))))
    return ways, ints(counts)


def every_number(way, counts):
    """(cards of each kind, requests a second) for every entry and every number of workers, one by one."""
    if isinstance(way, Together):
        for size, rate in zip(way.size, way.rate, strict=True):
            for n in range(1, counts[way.kind] // size + 1):
                used = [0, 0]
                used[way.kind] = n * size
                yield tuple(used), n * rate
        return
    for s, d, p, r in zip(way.read_size, way.make_size, way.read_rate, way.make_rate, strict=True):
        for x, y in product(range(1, counts[way.reads_on] // s + 1), range(1, counts[way.makes_on] // d + 1)):
            used = [0, 0]
            used[way.reads_on] += x * s
            used[way.makes_on] += y * d
            if all(used[k] <= counts[k] for k in (0, 1)):
                yield tuple(used), min(x * p, y * r)


def all_plans(ways, counts, choices):
    for chosen in choices:
        for parts in product(*(list(every_number(ways[i], counts)) for i in chosen)):
            used = [sum(part[0][k] for part in parts) for k in (0, 1)]
            if all(used[k] <= counts[k] for k in (0, 1)):
                yield used, sum(part[1] for part in parts)


@easy
@given(pools())
def test_the_most_is_what_trying_everything_finds(pool):
    ways, counts = pool
    pairs = [i for i, way in enumerate(ways) if isinstance(way, Apart)]
    choices = [(), *((i,) for i in pairs), *combinations(pairs, 2)]
    best = 0.0
    for used, rate in all_plans(ways, counts, choices):
        left = [int(counts[k] - used[k]) for k in (0, 1)]
        rest = sum(max((left[k] // s * r for s, r in zip(ways[k].size, ways[k].rate, strict=True)), default=0.0) for k in (0, 1))
        best = max(best, rate + rest)
    found = most(ways, counts)
    assert (found[0].rate if found else 0.0) == pytest.approx(best)


@easy
@given(pools(), st.floats(0.2, 40.0), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_cheapest_is_what_trying_everything_finds(pool, wanted, prices):
    ways, counts = pool
    choices = [*((i,) for i in range(len(ways))), *combinations(range(len(ways)), 2)]
    price = [used[0] * prices[0] + used[1] * prices[1] for used, rate in all_plans(ways, counts, choices) if rate >= wanted]
    found = cheapest(ways, counts, wanted, np.array(prices, dtype=np.float64))
    assert bool(found) == bool(price)
    if found:
        assert found[0][0] == pytest.approx(min(price))
        assert found[0][1].rate >= wanted


@easy
@given(pools(40), st.integers(0, 1), st.integers(1, 200))
def test_more_cards_of_any_kind_never_carry_less(pool, kind, more):
    ways, counts = pool
    larger = counts.copy()
    larger[kind] += more
    now, then = (most(ways, one) for one in (counts, larger))
    assert (then[0].rate if then else 0.0) >= (now[0].rate if now else 0.0) * (1 - 1e-9)


@easy
@given(pools(60))
def test_cards_are_never_counted_twice_and_rates_add_up(pool):
    ways, counts = pool
    for one in most(ways, counts):
        assert all(used <= count for used, count in zip(one.used, counts, strict=True))
        assert one.rate == pytest.approx(sum(part.rate for part in one.portions))


@easy
@given(pools(30))
def test_exchanging_the_kinds_exchanges_the_answer(pool):
    ways, counts = pool
    turned = [
        together(1 - w.kind, list(zip(w.size, w.rate, strict=True))) if isinstance(w, Together)
        else apart(1 - w.reads_on, 1 - w.makes_on, list(zip(w.read_size, w.make_size, w.read_rate, w.make_rate, strict=True)))
        for w in ways
    ]  # fmt: skip
    here, there = most(ways, counts), most(turned, counts[::-1])
    assert [one.rate for one in here] == pytest.approx([one.rate for one in there])


@easy
@given(sizes, sizes, rates, rates, st.booleans())
def test_neither_side_of_a_pair_is_larger_than_the_other_needs(s, d, p, r, one_kind):
    found = blocks(apart(0, 0 if one_kind else 1, [(s, d, p, r)]), ints([30, 20]))
    assert (found.rate == pytest.approx(np.minimum(found.readers * p, found.makers * r))) if len(found) else True
    assert ((found.readers - 1) * p < found.rate).all() and ((found.makers - 1) * r < found.rate).all()


@pytest.mark.parametrize("way", [apart(0, 1, [(1, 1, 1.0, 0.31)]), apart(0, 0, [(1, 1, 1.0, 0.31)])])
def test_large_pools_lose_at_most_a_hundredth_or_two(way):
    counts = ints([5000, 9000])
    found = float(blocks(way, counts).rate.max())
    best = min(5000.0, 9000 * 0.31) if way.makes_on == 1 else 5000 / (1 + 1 / 0.31)
    assert 0.984 * best <= found <= best * 1.0001


def test_engines_that_smaller_ones_replace_are_dropped():
    size, rate = ints([1, 2, 4, 4]), np.array([1.0, 1.9, 4.5, 4.4])
    assert list(useful(size, rate)) == [0, 2]
    way = Together(kind=0, size=size, rate=rate)
    assert [float(filled(way, np.array(n))[0]) for n in (0, 3, 4, 7)] == [0.0, 3.0, 4.5, 7.0]


def test_a_front_keeps_what_no_other_outdoes():
    read, make = np.array([3.0, 2.0, 3.0, 1.0]), np.array([1.0, 2.0, 0.5, 1.5])
    assert sorted(front(read, make)) == [0, 1]
