"""What is new to the cloud in what an agent says of a run, and in which order."""

from __future__ import annotations

from dataclasses import replace

from world import job, node, pool, replay, submitted

from forebay.centre.spec import Artefact, Check, Outcome, Phase, Seen, Use
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.facts import facts


def launched() -> State:
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 2))))
    return state


def told(state: State, **seen: object) -> list[str]:
    return [type(fact).__name__ for fact in facts(state, 1, "here", Seen(name="a-1", **seen))]  # type: ignore[arg-type]


def check(when: str, node_name: str = "n", skipped: str = "") -> Check:
    return Check(node=node_name, cards=(0, 1), when=when, skipped=skipped)


def test_an_end_that_is_the_first_word_tells_everything_before_it_and_checks_come_before_the_end():
    seen = {"phase": Phase.ENDED, "outcome": Outcome.FAILED, "running_at_ns": 5, "checks": (check("after"), check("before"))}
    assert told(launched(), **seen) == ["CheckSeen", "Started", "CheckSeen", "Ended"]


def test_each_fact_is_new_once():
    state = launched()
    seen = Seen(name="a-1", phase=Phase.ENDED, outcome=Outcome.SUCCEEDED, running_at_ns=5, checks=(check("before"),))
    while new := facts(state, 1, "here", seen):
        replay(state, new[0])
    assert state.t.jobs["a"].phase.value == "succeeded" and state.t.runs["a-1"].checked == ("before n",)


def test_a_check_that_was_not_made_or_is_of_another_node_says_nothing():
    seen = {"phase": Phase.PREPARING, "checks": (check("before", skipped="no torch"), check("before", "elsewhere"))}
    assert told(launched(), **seen) == []


def test_a_queue_without_a_reason_is_told_all_the_same_and_once():
    state = launched()
    (queued,) = facts(state, 1, "here", Seen(name="a-1", phase=Phase.QUEUED))
    replay(state, queued)
    assert queued.reason and told(state, phase=Phase.QUEUED) == []  # type: ignore[attr-defined]
    assert told(state, phase=Phase.PREPARING) == ["Admitted"]


def test_an_end_says_how_much_was_left():
    left = tuple(Artefact(path=str(i), size_bytes=10, modified_ns=1) for i in range(3))
    seen = Seen(name="a-1", phase=Phase.ENDED, outcome=Outcome.LOST, artefacts=left)
    (ended,) = facts(launched(), 1, "here", seen)
    assert (ended.artefacts, ended.artefact_bytes) == (3, 30)  # type: ignore[attr-defined]


# How busy its cards are.

S = 10**9
MINUTE = 60 * S


def use_told(state: State, now_ns: int, use: Use | None, **seen: object) -> list[e.Event]:
    seen = {"phase": Phase.RUNNING, "running_at_ns": 1} | seen
    told = facts(state, now_ns, "here", Seen(name="a-1", use=use, **seen))  # type: ignore[arg-type]
    return [fact for fact in told if isinstance(fact, (e.UseSeen, e.CheckpointSeen))]


def running() -> State:
    state = launched()
    replay(state, e.Started(at_ns=1, by="c", run="a-1"))
    return state


def test_use_is_told_as_what_is_new_at_most_once_a_minute_and_of_an_old_busy_run_seldom():
    state = running()
    first = Use(held_ns=120 * S, measured_ns=120 * S, active_ns=100 * S, productive_ns=30 * S)
    (told,) = use_told(state, MINUTE, first)
    assert (told.held_ns, told.measured_ns, told.active_ns, told.productive_ns) == (120 * S, 120 * S, 100 * S, 60 * S)
    replay(state, told)
    more = Use(held_ns=240 * S, measured_ns=240 * S, active_ns=210 * S, productive_ns=80 * S)
    assert use_told(state, 2 * MINUTE - 1, more) == []
    (told,) = use_told(state, 2 * MINUTE, more)
    assert (told.held_ns, told.active_ns, told.productive_ns) == (120 * S, 110 * S, 100 * S)
    day = 24 * 60 * MINUTE
    replay(state, replace(told, at_ns=day))
    later = replace(more, held_ns=10**15, measured_ns=10**15, active_ns=10**15)
    assert use_told(state, day + 9 * MINUTE, later) == [] != use_told(state, day + 10 * MINUTE, later)
    idle = replace(later, active_ns=more.active_ns)
    assert use_told(state, day + MINUTE, idle) != []


def test_what_nobody_measured_is_told_as_that():
    (told,) = use_told(running(), MINUTE, Use(held_ns=120 * S))
    assert (told.active_ns, told.measured_ns) == (-1, 0)
    assert use_told(running(), MINUTE, None) == []  # an agent of before


def test_at_the_end_the_rest_is_told_and_steps_after_the_last_checkpoint_are_taken_off():
    state = running()
    use = Use(held_ns=120 * S, measured_ns=120 * S, active_ns=100 * S, productive_ns=50 * S, saved_ns=20 * S)
    replay(state, *use_told(state, MINUTE, use))
    end = {"phase": Phase.ENDED, "held_ns": 61 * S}
    (lost,) = use_told(state, MINUTE + 1, use, outcome=Outcome.LOST, **end)
    assert (lost.held_ns, lost.productive_ns, lost.active_ns) == (2 * S, -60 * S, -1)
    assert [type(f).__name__ for f in facts(state, MINUTE + 1, "here", Seen(name="a-1", use=use, outcome=Outcome.LOST, **end))][
        -2:
    ] == ["UseSeen", "Ended"]
    (done,) = use_told(state, MINUTE + 1, use, outcome=Outcome.SUCCEEDED, **end)
    assert done.productive_ns == 0
    replay(state, lost)
    assert use_told(state, MINUTE + 2, use, outcome=Outcome.LOST, **end) == []
    assert state.t.uses["a-1"].productive_ns == 2 * 20 * S


def test_a_checkpoint_is_told_once_and_the_next_one_no_sooner_than_a_minute_later():
    state = running()
    old = {"started_at_ns": 50, "checkpoint_at_ns": 40}
    assert use_told(state, MINUTE, None, **old) == []  # an earlier attempt made it
    (told,) = use_told(state, MINUTE, None, started_at_ns=50, checkpoint_at_ns=60)
    replay(state, told)
    assert state.t.runs["a-1"].checkpoint_at_ns == MINUTE
    assert use_told(state, 9 * MINUTE, None, started_at_ns=50, checkpoint_at_ns=60) == []
    assert use_told(state, MINUTE + 30 * S, None, started_at_ns=50, checkpoint_at_ns=70) == []
    assert len(use_told(state, 2 * MINUTE, None, started_at_ns=50, checkpoint_at_ns=70)) == 1
