"""When a waiting job is likely to start, and when nobody can say."""

from __future__ import annotations

from dataclasses import replace

from world import S, ended, job, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.history import ENOUGH
from forebay.cloud.core.job import Job
from forebay.cloud.core.state import State
from forebay.cloud.core.why import Start, why


def timed(name: str, cards: int, takes_s: float, **more: object) -> Job:
    plain = job(name, ("cpu", cards))
    return replace(plain, menu=(replace(plain.menu[0], expected_s=takes_s),), **more)  # type: ignore[arg-type]


def started(at_s: float, run: str) -> e.Started:
    return e.Started(at_ns=int(at_s * S), by="x", run=run)


def start(state: State, name: str, now_s: float) -> Start | None:
    found = why(state, state.t.jobs[name], int(now_s * S))
    assert found is not None
    return found.start


def test_of_what_nothing_is_known_nothing_is_foretold():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), started(0, "a-1"), submitted(10, job("b", ("cpu", 1))))
    assert start(state, "b", 10) is None
    assert why(state, state.t.jobs["b"], 10 * S).constraint == "busy"  # type: ignore[union-attr]


def test_what_ended_before_tells_of_what_is_alike():
    state = pool(node("n", "cpu", 1))
    for number in range(ENOUGH):
        at = 1000 * number
        run = f"a{number}"
        replay(state, submitted(at, replace(job(run, ("cpu", 1)), name="a")), started(at, f"{run}-1"))
        replay(state, ended(at + 90, f"{run}-1", held_s=90))
    replay(state, submitted(9000, replace(job("x", ("cpu", 1)), name="a")), started(9000, "x-1"))
    replay(state, submitted(9010, job("b", ("cpu", 1))))
    found = start(state, "b", 9010)
    assert found is not None and 50 < found.likely_s < 110 and found.soonest_s <= found.likely_s <= found.latest_s


def test_a_time_limit_is_known_of_a_job_of_which_nothing_else_is():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1), time_limit_s=100)), started(0, "a-1"), submitted(10, job("b", ("cpu", 1))))
    assert start(state, "b", 10) == Start(soonest_s=90.0, likely_s=90.0, latest_s=90.0)


def test_cards_of_others_than_the_unknown_run_may_do():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 1))), started(0, "a-1"), submitted(1, timed("t", 1, 500)), started(1, "t-1"))
    replay(state, submitted(10, job("b", ("cpu", 1))), submitted(11, job("wide", ("cpu", 2))))
    found = start(state, "b", 11)
    assert found is not None and found.likely_s == 490.0
    assert start(state, "wide", 11) is None


def test_jobs_that_go_first_are_let_start_first():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, timed("a", 1, 100)), started(0, "a-1"))
    replay(state, submitted(10, timed("b", 1, 200)), submitted(20, timed("c", 1, 3000)))
    assert start(state, "c", 20) == Start(soonest_s=280.0, likely_s=280.0, latest_s=280.0)


def test_a_run_that_would_make_way_is_waited_for_until_it_has_worked_ten_times_as_long_as_its_start_cost():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, timed("long", 1, 50_000, resumable=True, restart_s=6.0)), started(1, "long-1"))
    replay(state, submitted(20, timed("short", 1, 100)))
    found = start(state, "short", 20)
    assert found == Start(soonest_s=41.0, likely_s=41.0, latest_s=41.0 + 10.0 + 5.0)  # its grace, and until that is heard
    assert [type(d).__name__ for d in replay(state, e.Tick(at_ns=61 * S, by="x"))][:1] == ["Reserved"]


def test_cards_that_are_kept_for_another_are_free_when_that_one_is_through():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, timed("long", 1, 50_000, resumable=True, restart_s=6.0)), started(1, "long-1"))
    replay(state, submitted(20, timed("short", 1, 100)), e.Tick(at_ns=61 * S, by="x"))
    assert state.t.reservations["short"].runs == ("long-1",)
    replay(state, submitted(62, timed("next", 1, 300)))
    found = start(state, "next", 62)
    assert found is not None and found.likely_s == 100.0


def test_many_that_follow_each_other_last_as_many_of_their_kind_do_and_not_as_its_half():
    state = pool(node("n", "cpu", 1))
    for number in range(40):  # one in four takes a hundred times as long
        at, run, took = 2000 * number, f"a{number}", 1000 if number % 4 == 0 else 10
        replay(state, submitted(at, replace(job(run, ("cpu", 1)), name="a")), started(at, f"{run}-1"))
        replay(state, ended(at + took, f"{run}-1", held_s=took))
    now = 100_000
    replay(state, submitted(now, replace(job("x", ("cpu", 1)), name="a")), started(now, "x-1"))
    for number in range(32):
        replay(state, submitted(now + number, replace(job(f"b{number}", ("cpu", 1)), name="a")))
    found = start(state, "b31", now + 40)
    assert found is not None and 32 * 150 < found.likely_s < 32 * 400  # 257 s each; half of them take ten
    assert found.soonest_s < found.likely_s / 4 and found.latest_s > 2 * found.likely_s
