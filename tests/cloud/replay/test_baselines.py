"""The baselines do what their names say, on a few cards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay.cloud.replay import site
from forebay.cloud.replay.baselines.floor import Floor
from forebay.cloud.replay.trace import Line, Traced

from .jobs import go, jct_s, job


def test_first_come_lets_nobody_pass():
    history = go("first-come", [job("a", 0, 3, 100), job("wide", 1, 4, 10), job("small", 2, 1, 10)])
    assert jct_s(history) == {"a": 100, "wide": 109, "small": 118}


def test_backfill_without_times_lets_all_pass_that_fit():
    jobs = [job("a", 0, 3, 100), job("wide", 1, 4, 10), job("small", 2, 1, 200), job("smaller", 3, 1, 10)]
    assert jct_s(go("backfill", jobs)) == {"a": 100, "small": 200, "smaller": 107, "wide": 211}


def test_backfill_with_times_lets_pass_who_delays_nobody():
    jobs = [job("a", 0, 3, 100), job("wide", 1, 4, 10), job("long", 2, 1, 200), job("short", 3, 1, 90)]
    assert jct_s(go("backfill", jobs, known=True)) == {"a": 100, "short": 90, "wide": 109, "long": 308}


def test_backfill_lets_a_long_job_pass_on_cards_that_the_first_will_not_need():
    jobs = [job("a", 0, 3, 100), job("wide", 1, 3, 10), job("long", 2, 1, 200)]
    assert jct_s(go("backfill", jobs, known=True)) == {"a": 100, "wide": 109, "long": 200}


def test_least_attained_service_stops_who_had_much_for_who_had_none():
    # a has had its card-hour after 900 s on four cards. The first round after that, rounds being 300 s, gives the cards to b.
    history = go("least-attained", [job("a", 0, 4, 3600), job("b", 10, 4, 60)], restart_s=0)
    assert jct_s(history) == {"a": 3660, "b": 1199 + 60 - 10}  # a replay's clock begins at 1 s, and so do its rounds
    assert [life.stops for life in history.lives] == [1, 0]


def test_least_attained_service_never_stops_a_job_that_cannot_resume():
    history = go("least-attained", [job("a", 0, 4, 36_000), job("b", 10, 4, 60)], resumable=0.0)
    assert jct_s(history) == {"a": 36_000, "b": 36_050}


def test_max_min_gives_equal_jobs_equal_shares():
    history = go("max-min", [job("a", 0, 4, 3600), job("b", 0, 4, 3600)], restart_s=0)
    assert min(jct_s(history).values()) > 6500
    assert max(jct_s(history).values()) == 7200


def test_max_throughput_puts_each_where_it_loses_least():
    def two(id, fast_s, slow_s):
        return Traced(
            id=id, arrival_s=0, lines=(Line(chip="f", cards=1, seconds=fast_s), Line(chip="s", cards=1, seconds=slow_s))
        )

    history = go("max-throughput", [two("any", 1000, 1010), two("picky", 1000, 9000)], "1x1:f,1x1:s", known=True, restart_s=0)
    assert jct_s(history)["picky"] < 1400
    assert jct_s(history)["any"] < 1400


@given(st.lists(st.integers(1, 20), max_size=30))
def test_the_floor_gives_each_card_once_and_takes_it_back(sizes):
    nodes = site.parse("3x4:h,1x8:h")
    floor = Floor("c", nodes)
    given_ = []
    for cards in sizes:
        allocation = floor.take("h", cards)
        if allocation:
            assert allocation.cards == cards
            given_.append(allocation)
    each = [card for allocation in given_ for card in allocation.each()]
    assert len(each) == len(set(each)) == 20 - floor.free["h"]
    for allocation in given_:
        floor.give_back(allocation)
    assert floor.take("h", 20) is not None


def test_a_job_that_fits_one_node_gets_the_one_where_it_leaves_the_fewest_over():
    floor = Floor("c", site.parse("1x8:h,1x4:h"))
    first = floor.take("h", 3)
    assert first is not None
    assert [part.node for part in first.parts] == ["n00001"]
