"""Fair share: weights, the hierarchy, decay; and that a burst of one organisation delays nobody's single job."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job
from forebay.cloud.core.share import HALF_LIFE_S, Shares
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.cloud.core.tenant import Organisation, Project
from forebay.cloud.core.yields import urgency


def shares(*, cards: float = 8.0, weights: dict[str, float] | None = None) -> Shares:
    tables = Tables()
    for name, weight in (weights or {}).items():
        tables.organisations[name] = Organisation(name=name, weight=weight)
    made = Shares(tables)
    made.resize(cards, 0)
    return made


def timed(name: str, expected_s: float, cards: int = 1, *, organisation: str = "acme", project: str = "p") -> Job:
    asked = job(name, ("cpu", cards), organisation=organisation)
    return replace(asked, project=project, menu=tuple(replace(option, expected_s=expected_s) for option in asked.menu))


def test_one_job_alone_has_the_whole_pool_on_its_clock():
    known = shares(cards=8)
    assert known.enter("a", "p", 0) == 0.0
    assert known.clock("a", "p", 10 * S) == pytest.approx((80.0, 8.0))


def test_two_organisations_share_by_their_weights():
    known = shares(cards=8, weights={"a": 3.0, "b": 1.0})
    known.enter("a", "p", 0)
    known.enter("b", "p", 0)
    assert known.clock("a", "p", S)[1] == pytest.approx(6.0)
    assert known.clock("b", "p", S)[1] == pytest.approx(2.0)


def test_a_hundred_jobs_of_one_organisation_get_no_more_than_one_of_another():
    known = shares(cards=8)
    for _ in range(100):
        known.enter("a", "p", 0)
    known.enter("b", "p", 0)
    assert known.clock("b", "p", S)[1] == pytest.approx(4.0)
    assert known.clock("a", "p", S)[1] == pytest.approx(4.0 / 100)


def test_projects_share_their_organisations_part_by_their_weights():
    tables = Tables()
    tables.projects["a/x"] = Project(organisation="a", name="x", weight=3.0)
    known = Shares(tables)
    known.resize(8.0, 0)
    for organisation, project in (("a", "x"), ("a", "y"), ("b", "z")):
        known.enter(organisation, project, 0)
    rates = [known.clock(o, p, S)[1] for o, p in (("a", "x"), ("a", "y"), ("b", "z"))]
    assert rates == pytest.approx([3.0, 1.0, 4.0])


def test_who_leaves_gives_their_part_to_the_others():
    known = shares(cards=8)
    known.enter("a", "p", 0)
    known.enter("b", "p", 0)
    known.leave("b", "p", 10 * S)
    assert known.clock("a", "p", 20 * S) == pytest.approx((40.0 + 80.0, 8.0))


def test_a_clock_stands_still_while_its_account_has_no_job():
    known = shares(cards=8)
    known.enter("a", "p", 0)
    known.leave("a", "p", 10 * S)
    known.enter("b", "p", 10 * S)
    assert known.enter("a", "p", 100 * S) == pytest.approx(80.0)


def test_what_was_used_counts_against_a_weight_and_is_half_forgotten_after_a_week():
    known = shares(cards=8)
    known.use("a", 1000.0, 0)
    known.use("b", 10.0, 0)
    known.enter("b", "p", 0)
    known.enter("a", "p", 0)
    heavy = known.clock("a", "p", S)[1] / known.clock("b", "p", S)[1]
    assert heavy < 0.5
    assert known._decayed(known.account("a"), int(HALF_LIFE_S * S)) == pytest.approx(500.0)


def test_a_weight_never_falls_below_a_sixty_fourth_of_what_was_set():
    known = shares(cards=8)
    known.use("a", 1e12, 0)
    for number in range(10):
        known.enter(f"b{number}", "p", 0)
    known.enter("a", "p", 0)
    assert known.account("a").weight == pytest.approx(1.0 / 64)


def test_the_sums_of_all_accounts_come_back_to_nothing_when_all_have_left():
    known = shares()
    for number in range(50):
        known.enter("ab"[number % 2], "pq"[number % 3 % 2], number * S)
    for number in range(50):
        known.leave("ab"[number % 2], "pq"[number % 3 % 2], (60 + number) * S)
    assert all(known.account(name).jobs == 0 and known.account(name).weights == 0.0 for name in ("", "a", "b", "a/p", "b/q"))


def test_a_burst_of_one_organisation_does_not_delay_anothers_single_job():
    state = pool(node("n", "cpu", 4))
    replay(state, *(submitted(0, timed(f"burst{i:03}", 100.0)) for i in range(100)))
    replay(state, submitted(1, timed("single", 100.0, organisation="other")))
    assert "single-1" in launches(replay(state, ended(100, "burst000-1")))


def test_a_burst_of_one_project_does_not_delay_anothers_single_job():
    state = pool(node("n", "cpu", 4))
    replay(state, *(submitted(0, timed(f"burst{i:03}", 100.0, project="big")) for i in range(100)))
    replay(state, submitted(1, timed("single", 100.0, project="small")))
    assert "single-1" in launches(replay(state, ended(100, "burst000-1")))


def test_an_organisation_with_more_weight_is_due_earlier():
    state = pool(node("n", "cpu", 2))
    for name, weight in (("acme", 1.0), ("other", 4.0)):
        state.fold(e.OrganisationMade(at_ns=0, by="op", name=name))
        replay(state, e.OrganisationSet(at_ns=0, by="op", organisation=name, weight=weight))
    one, other = timed("one", 100.0), timed("other", 100.0, organisation="other")
    replay(state, submitted(0, timed("now", 1000.0, 2)), submitted(1, one), submitted(1, other))
    assert urgency(state, other, 2 * S) < urgency(state, one, 2 * S)


def test_the_clocks_of_a_state_that_is_made_again_stand_where_they_stood():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, timed("a", 10.0)), submitted(5, timed("b", 10.0, 2, organisation="other")), ended(9, "a-1"))
    again = State(state.t)
    for organisation in ("acme", "other"):
        assert again.shares.clock(organisation, "p", 20 * S) == state.shares.clock(organisation, "p", 20 * S)
