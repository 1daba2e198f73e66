"""Quotas: what is guaranteed, what may be borrowed, and that lenders get theirs back in time."""

from __future__ import annotations

from dataclasses import replace

from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE


def quota(organisation: str, cards: int, borrow: int | None = 0, *, chip: str = "cpu", reclaim_s: float = 60.0) -> e.QuotaSet:
    return e.QuotaSet(at_ns=0, by="op", organisation=organisation, chip=chip, cards=cards, borrow=borrow, reclaim_s=reclaim_s)


def organisations(state: State, **cohorts: str) -> State:
    for name, cohort in cohorts.items():
        state.fold(e.OrganisationMade(at_ns=0, by="op", name=name))
        replay(state, e.OrganisationSet(at_ns=0, by="op", organisation=name, cohort=cohort))
    return state


def shared() -> State:
    """Four cards: two guaranteed to each of two, each of whom may borrow the other's."""
    state = organisations(pool(node("n", "cpu", 4)), acme="x", other="x")
    replay(state, quota("acme", 2, None), quota("other", 2, None, reclaim_s=7.0))
    return state


def test_an_organisation_may_hold_its_guarantee_and_what_it_may_borrow_and_no_more():
    state = pool(node("n", "cpu", 8))
    replay(state, quota("acme", 2, 1))
    assert launches(replay(state, *(submitted(0, job(f"j{i}", ("cpu", 1))) for i in range(5)))) == ["j0-1", "j1-1", "j2-1"]


def test_without_leave_to_borrow_a_guarantee_is_a_limit():
    state = pool(node("n", "cpu", 8))
    replay(state, quota("acme", 2))
    assert launches(replay(state, *(submitted(0, job(f"j{i}", ("cpu", 1))) for i in range(3)))) == ["j0-1", "j1-1"]


def test_without_a_quota_nothing_limits_an_organisation():
    state = pool(node("n", "cpu", 8))
    replay(state, quota("other", 8))
    assert launches(replay(state, submitted(0, job("a", ("cpu", 8))))) == ["a-1"]


def test_what_another_cohort_is_guaranteed_is_not_lent():
    state = organisations(pool(node("n", "cpu", 4)), acme="x", other="y")
    replay(state, quota("acme", 2, None), quota("other", 2, None))
    assert launches(replay(state, *(submitted(0, job(f"j{i}", ("cpu", 1))) for i in range(4)))) == ["j0-1", "j1-1"]
    replay(state, e.OrganisationSet(at_ns=S, by="op", organisation="other", cohort="x"))
    assert launches(replay(state, ended(2, "j0-1"))) == []  # those that waited were let in when the cohorts became one
    assert state.held["acme/cpu"] == 3


def test_cards_that_are_guaranteed_to_nobody_may_be_borrowed_by_every_cohort():
    state = organisations(pool(node("n", "cpu", 6)), acme="x", other="y")
    replay(state, quota("acme", 2, None), quota("other", 2, None))
    assert len(launches(replay(state, *(submitted(0, job(f"j{i}", ("cpu", 1))) for i in range(6))))) == 4


def test_a_lender_takes_back_what_is_guaranteed_to_it_from_a_run_that_cannot_be_gone_on_with():
    state = shared()
    replay(state, *(submitted(0, job(f"b{i}", ("cpu", 1))) for i in range(4)))
    decisions = replay(state, submitted(10, job("mine", ("cpu", 2), organisation="other")))
    stops = [d for d in decisions if isinstance(d, e.StopAsked)]
    assert len(stops) == 2 and all(stop.requeue and stop.grace_s <= 7.0 for stop in stops)
    assert "takes them back" in stops[0].reason
    decisions = replay(state, *(ended(12, stop.run, "stopped") for stop in stops))
    assert launches(decisions) == ["mine-1"]


def test_what_was_lent_is_asked_back_with_no_more_grace_than_the_lender_waits():
    state = shared()
    replay(state, *(submitted(0, replace(job(f"b{i}", ("cpu", 1)), grace_s=600.0)) for i in range(4)))
    decisions = replay(state, submitted(10, job("mine", ("cpu", 1), organisation="other")))
    assert [d.grace_s for d in decisions if isinstance(d, e.StopAsked)] == [7.0]


def test_no_more_is_taken_back_than_was_borrowed():
    state = shared()
    replay(state, *(submitted(0, job(f"b{i}", ("cpu", 1))) for i in range(4)))
    replay(state, *(submitted(10, job(f"m{i}", ("cpu", 1), organisation="other")) for i in range(4)))
    assert sum(bool(state.t.runs[run].stop) for run in state.live) == 2


def test_a_lender_who_wants_more_than_its_guarantee_takes_nothing_back():
    state = shared()
    replay(state, *(submitted(0, job(f"b{i}", ("cpu", 1))) for i in range(4)))
    decisions = replay(state, submitted(10, job("wide", ("cpu", 3), organisation="other")))
    assert not [d for d in decisions if isinstance(d, e.StopAsked)]


def test_a_quota_in_compute_limits_the_sum_over_all_chips():
    state = pool(node("n", "cpu", 4), node("g", "h100-sxm", 4))
    replay(
        state,
        e.IndexSet(at_ns=0, by="op", chip="h100-sxm", compute=2.0),
        quota("acme", 4, 0, chip=COMPUTE),
        submitted(0, job("a", ("h100-sxm", 1))),
        submitted(0, job("b", ("cpu", 2))),
    )
    assert launches(replay(state, submitted(0, job("c", ("cpu", 1))))) == []
    assert launches(replay(state, ended(1, "a-1"))) == ["c-1"]


def test_a_reservation_counts_as_held():
    state = shared()
    replay(state, *(submitted(0, job(f"b{i}", ("cpu", 1))) for i in range(4)))
    replay(state, submitted(10, job("mine", ("cpu", 2), organisation="other")))
    assert state.held["other/cpu"] == 2 and not state.rights.is_owed("other", "cpu", 1)


def test_a_reservation_over_a_quota_that_was_lowered_is_given_up():
    state = shared()
    replay(state, *(submitted(0, job(f"b{i}", ("cpu", 1))) for i in range(4)))
    decisions = replay(state, submitted(10, job("mine", ("cpu", 2), organisation="other")))
    runs = [d.run for d in decisions if isinstance(d, e.StopAsked)]
    replay(state, replace(quota("other", 1, 0), at_ns=11 * S))
    decisions = replay(state, *(ended(12, run, "stopped") for run in runs))
    assert [d.job for d in decisions if isinstance(d, e.Released)] == ["mine"]
    assert "mine-1" not in launches(decisions) and state.held["other/cpu"] == 0


def test_who_is_owed_cards_and_needs_only_free_ones_starts_at_once():
    state = organisations(pool(node("n1", "cpu", 3), node("n2", "cpu", 1)), acme="x", other="x", third="x")
    replay(state, quota("acme", 2, None), quota("other", 0, None))
    replay(state, submitted(0, job("b", ("cpu", 3), organisation="other")))  # one of its cards is acme's
    replay(state, submitted(1, job("wide", ("cpu", 4), organisation="third", time_limit_s=10)))
    decisions = replay(state, submitted(2, job("mine", ("cpu", 1))))  # not let past the wide one by forecast, but owed
    assert [type(d).__name__ for d in decisions] == ["Launched"] and launches(decisions) == ["mine-1"]
    assert state.t.reservations == {}
