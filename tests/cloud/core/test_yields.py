"""Who makes way for whom: priority, what stopping costs, gangs that get all or nothing, and reservations that can't be kept."""

from __future__ import annotations

from dataclasses import replace

from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.chips.node import Condition, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job
from forebay.cloud.core.pool import Window
from forebay.cloud.core.state import State


def soft(name: str, cards: int = 1, **more: object) -> Job:
    """A job that can be gone on with."""
    organisation = str(more.pop("organisation", "acme"))
    return replace(job(name, ("cpu", cards), organisation=organisation), resumable=True, restart_s=60.0, **more)  # type: ignore[arg-type]


def started(at_s: float, run: str) -> e.Started:
    return e.Started(at_ns=int(at_s * S), by="centre here", run=run)


def stops(decisions: list[e.Event]) -> list[str]:
    return [d.run for d in decisions if isinstance(d, e.StopAsked)]


def reserved(decisions: list[e.Event]) -> list[str]:
    return [d.job for d in decisions if isinstance(d, e.Reserved)]


def running(*jobs: Job, cards: int = 2, at_s: float = 1) -> State:
    state = pool(node("n", "cpu", cards))
    replay(state, *(submitted(0, asked) for asked in jobs), *(started(at_s, f"{asked.id}-1") for asked in jobs))
    return state


def test_a_job_of_higher_priority_goes_before_a_run_of_its_own_organisation():
    state = running(soft("low", 2))
    decisions = replay(state, submitted(1000, soft("high", 2, priority=5)))
    assert (reserved(decisions), stops(decisions)) == (["high"], ["low-1"])
    assert launches(replay(state, ended(1010, "low-1", "stopped"))) == ["high-1"]


def test_priority_is_worth_nothing_against_another_organisation():
    state = running(soft("low", 2, organisation="other"))
    assert stops(replay(state, submitted(1000, soft("high", 2, priority=5)))) == []


def test_a_run_that_cannot_be_gone_on_with_is_not_stopped_for_priority():
    state = running(job("low", ("cpu", 2)))
    assert stops(replay(state, submitted(1000, soft("high", 2, priority=5)))) == []


def test_a_run_that_has_just_begun_is_spared_until_it_has_worked_as_long_as_its_start_cost():
    state = running(soft("low", 2), at_s=990)
    assert stops(replay(state, submitted(1000, soft("high", 2, priority=5)))) == []
    assert stops(replay(state, e.Tick(at_ns=1049 * S, by="forebay"))) == []
    assert stops(replay(state, e.Tick(at_ns=1050 * S, by="forebay"))) == ["low-1"]


def test_jobs_that_go_before_each_other_by_different_rules_do_not_stop_each_other_for_ever():
    state = pool(node("n", "cpu", 1))
    late = replace(soft("late"), menu=tuple(replace(o, expected_s=100.0) for o in soft("late").menu))
    facts = [submitted(0, soft("a", priority=1)), submitted(0, late), submitted(0, soft("b", organisation="other"))]
    stopped = len(stops(replay(state, *facts)))
    for at_s in range(1, 3600):
        for run in list(state.live):
            if not state.t.runs[run].running_at_ns:
                stopped += len(stops(replay(state, started(at_s, run))))
            elif state.t.runs[run].stop:
                stopped += len(stops(replay(state, ended(at_s, run, "stopped"))))
        stopped += len(stops(replay(state, e.Tick(at_ns=at_s * S, by="forebay"))))
    assert stopped <= 3600 / 60


def test_a_short_job_goes_before_a_long_run_that_is_due_much_later():
    state = running(replace(soft("long", 2), menu=tuple(replace(o, expected_s=1e5) for o in soft("long", 2).menu)))
    short = replace(soft("short", 2), menu=tuple(replace(o, expected_s=100.0) for o in soft("short", 2).menu))
    assert stops(replay(state, submitted(1000, short))) == ["long-1"]


def test_a_run_is_not_stopped_for_less_than_stopping_it_costs():
    state = running(replace(soft("one", 2), menu=tuple(replace(o, expected_s=1000.0) for o in soft("one", 2).menu)))
    other = replace(soft("other", 2), menu=tuple(replace(o, expected_s=990.0) for o in soft("other", 2).menu))
    assert stops(replay(state, submitted(70, other))) == []


def test_a_gang_gets_all_its_cards_at_once_or_none():
    state = pool(node("a", "cpu", 2), node("b", "cpu", 2))
    replay(state, *(submitted(0, soft(f"j{i}")) for i in range(4)), *(started(1, f"j{i}-1") for i in range(4)))
    decisions = replay(state, submitted(1000, soft("gang", 4, priority=5)))
    assert reserved(decisions) == ["gang"] and len(stops(decisions)) == 4
    for number in range(3):
        assert launches(replay(state, ended(1001 + number, f"j{number}-1", "stopped"))) == []
    assert launches(replay(state, ended(1005, "j3-1", "stopped"))) == ["gang-1"]
    assert state.t.runs["gang-1"].allocation.cards == 4


def test_no_one_else_gets_cards_that_are_kept_for_a_gang():
    state = pool(node("a", "cpu", 2))
    replay(state, submitted(0, soft("j0")), submitted(0, soft("j1")), started(1, "j0-1"), started(1, "j1-1"))
    replay(state, submitted(1000, soft("gang", 2, priority=5)), ended(1001, "j0-1", "stopped"))
    assert launches(replay(state, submitted(1002, soft("small", priority=9)))) == []
    assert "gang-1" in launches(replay(state, ended(1003, "j1-1", "stopped")))


def test_a_reservation_is_given_up_when_one_of_its_nodes_is_lost_and_the_job_waits_again():
    state = pool(node("a", "cpu", 2), node("b", "cpu", 2))
    replay(state, *(submitted(0, soft(f"j{i}")) for i in range(4)), *(started(1, f"j{i}-1") for i in range(4)))
    replay(state, submitted(1000, soft("gang", 4, priority=5)))
    down = NodeState(name="b", condition=Condition.DOWN)
    decisions = replay(state, e.NodeStatesSeen(at_ns=1001 * S, by="centre here", centre="here", states=(down,)))
    assert [d.job for d in decisions if isinstance(d, e.Released)] == ["gang"]
    assert not state.t.reservations and not state._kept


def test_a_reservation_is_given_up_when_maintenance_begins_before_it_is_used():
    state = running(soft("low", 2))
    replay(state, submitted(1000, soft("high", 2, priority=5)))
    window = Window(id="w", centre="here", from_ns=1005 * S, to_ns=2000 * S)
    replay(state, e.MaintenanceSet(at_ns=1001 * S, by="op", window=window))
    decisions = replay(state, ended(1010, "low-1", "stopped"))
    assert launches(decisions) == [] and [d.job for d in decisions if isinstance(d, e.Released)] == ["high"]


def test_nobody_makes_way_on_a_node_that_is_maintained():
    state = running(soft("low", 2))
    window = Window(id="w", centre="here", node="n", from_ns=0, to_ns=2000 * S)
    replay(state, e.MaintenanceSet(at_ns=500 * S, by="op", window=window))
    assert reserved(replay(state, submitted(1000, soft("high", 2, priority=5)))) == []


def test_a_card_that_is_out_of_use_is_promised_to_nobody():
    state = running(soft("low", 2))
    check = e.CheckSeen(
        at_ns=2 * S, by="centre here", centre="here", run="low-1", node="n", cards=(0,), when="before", bad={"0": "ecc"}
    )
    replay(state, check)
    assert reserved(replay(state, submitted(1000, soft("high", 2, priority=5)))) == []
    decisions = replay(state, submitted(1001, soft("narrow", 1, priority=5)))
    assert [d.allocation.parts[0].cards for d in decisions if isinstance(d, e.Reserved)] == [(1,)]


def test_a_victim_that_ends_by_itself_and_late_is_waited_for_and_its_success_counts():
    state = running(soft("low", 2))
    replay(state, submitted(1000, soft("high", 2, priority=5)))
    assert launches(replay(state, e.Tick(at_ns=5000 * S, by="forebay"))) == []
    decisions = replay(state, ended(6000, "low-1"))
    assert state.t.jobs["low"].phase.value == "succeeded" and launches(decisions) == ["high-1"]


def test_a_cancelled_job_gives_its_reservation_back():
    state = running(soft("low", 2))
    replay(state, submitted(1000, soft("high", 2, priority=5)), e.Cancelled(at_ns=1001 * S, by="k1", job="high"))
    assert not state.t.reservations and not state._kept
    assert launches(replay(state, ended(1010, "low-1", "stopped"))) == ["low-2"]


def test_a_gang_that_loses_a_node_gives_back_what_it_holds_and_goes_first_again():
    state = pool(node("a", "cpu", 2), node("b", "cpu", 2), node("c", "cpu", 2))
    replay(state, submitted(0, soft("gang", 4)), started(1, "gang-1"))
    replay(state, submitted(10, soft("later", 4)), submitted(20, job("other", ("cpu", 2))))
    lost = state.t.runs["gang-1"].allocation.parts[1].node
    down = NodeState(name=lost, condition=Condition.DOWN)
    replay(state, e.NodeStatesSeen(at_ns=1000 * S, by="centre here", centre="here", states=(down,)))
    replay(state, ended(1001, "gang-1", "lost", reason="its node died"))
    assert state.free_cards("cpu") + sum(state.t.runs[run].allocation.cards for run in state.live) == 4
    decisions = replay(state, ended(1002, "other-1"))
    assert [run.rpartition("-")[0] for run in launches(decisions)] in (["gang"], [])
    assert state.t.jobs["gang"].runs[-1] == "gang-2" and "later-1" not in state.t.runs
