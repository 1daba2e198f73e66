"""What is new to the cloud in what an agent says of a run, and in which order."""

from __future__ import annotations

from world import job, node, pool, replay, submitted

from forebay.centre.spec import Artefact, Check, Outcome, Phase, Seen
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
