"""Faults: generations of a centre, nodes that are down under a run, machines convicted by evidence, jobs that are poison."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from test_pool import cards_of, states, tick, two_centres, undrained
from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.chips.node import Condition, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import due_ns
from forebay.cloud.core.evidence import MOST
from forebay.cloud.core.health import checked_s_ago
from forebay.cloud.core.job import Job, Phase
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.cloud.replay.again import differences
from forebay.codec import decode, encode

CRASH = {"outcome": "failed", "exit_code": -11, "reason": "rank 0 was killed by SIGSEGV"}
LOST_AFTER_S = 300


def started(at_s: float, run: str) -> e.Started:
    return e.Started(at_ns=int(at_s * S), by="centre here", run=run)


def down(at_s: float, *names: str) -> e.NodeStatesSeen:
    return states(at_s, *(NodeState(name=name, condition=Condition.DOWN, reason="no answer") for name in names))


def away(at_s: float) -> e.CentreAway:
    return e.CentreAway(at_ns=int(at_s * S), by="forebay", centre="here", silent_s=61)


def back(at_s: float) -> e.CentreBack:
    return e.CentreBack(at_ns=int(at_s * S), by="centre here", centre="here")


def kinds(decisions: list[e.Event]) -> list[str]:
    return [type(decision).__name__ for decision in decisions]


def program(name: str, *menu: tuple[str, int], **more: object) -> Job:
    """A job whose program is its own."""
    asked = job(name, *(menu or (("cpu", 1),)), **more)  # type: ignore[arg-type]
    assert asked.script
    return replace(asked, script=replace(asked.script, entry=f"{name}.py"))


def quarantined(decisions: list[e.Event]) -> list[tuple[str, int | None]]:
    return [(d.node, d.card) for d in decisions if isinstance(d, e.Quarantined)]


def node_of(state: State, run: str) -> str:
    return state.t.runs[run].allocation.parts[0].node


def read_again(state: State) -> State:
    return State(decode(Tables, json.loads(json.dumps(encode(state.t)))))


# Generations.


def test_a_generation_grows_when_a_centre_goes_away_and_when_its_key_is_exchanged_anew():
    state = pool(node("n", "cpu", 1))
    assert state.t.centres["here"].generation == 0
    replay(state, away(1))
    assert state.t.centres["here"].generation == 1
    replay(state, back(2))
    assert state.t.centres["here"].generation == 1
    replay(state, e.CentreJoined(at_ns=3 * S, by="centre here", centre="here", key_sha256="k2"))
    assert state.t.centres["here"].generation == 2
    assert read_again(state).t.centres == state.t.centres


def test_a_centre_that_goes_away_keeps_its_runs_and_one_line_tells_it_for_all_of_them():
    state = pool(node("n", "cpu", 8))
    replay(state, *(submitted(0, job(f"j{i}", ("cpu", 1))) for i in range(8)))
    assert replay(state, away(100)) == []
    assert len(state.live) == 8
    assert replay(state, back(200), tick(10_000)) == []
    assert len(state.live) == 8


# Nodes that are down.


def test_a_run_whose_node_stays_down_and_of_which_nothing_is_told_is_taken_for_lost():
    state = pool(node("n1", "cpu", 1), node("n2", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), started(10, "a-1"), down(110, "n1"))
    assert due_ns(state) == (110 + LOST_AFTER_S) * S
    assert replay(state, tick(110 + LOST_AFTER_S - 1)) == []
    decisions = replay(state, tick(110 + LOST_AFTER_S))
    assert kinds(decisions)[0] == "Ended" and launches(decisions) == ["a-2"]
    assert node_of(state, "a-2") == "n2"
    run = state.t.runs["a-1"]
    assert (run.outcome, run.held_ns, run.lost_ns) == ("lost", 100 * S, 100 * S)  # held until the node's last sign
    assert "here/n1 is down" in run.reason
    assert due_ns(state) is None


def test_what_came_after_the_newest_checkpoint_of_a_run_on_a_dead_node_is_credited():
    state = pool(node("n1", "cpu", 1))
    replay(
        state,
        e.PriceSet(at_ns=0, by="op", chip="cpu", micro_per_card_s=10),
        submitted(0, job("a", ("cpu", 1))),
        started(1, "a-1"),
        e.CheckpointSeen(at_ns=80 * S, by="centre here", run="a-1"),
        down(100, "n1"),
    )
    decisions = replay(state, tick(400))
    assert state.t.runs["a-1"].lost_ns == 20 * S
    assert [d.micro for d in decisions if isinstance(d, e.Credited)] == [200]


def test_a_run_that_had_not_started_on_a_node_that_died_held_nothing():
    state = pool(node("n1", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), down(5, "n1"))
    assert kinds(replay(state, tick(305))) == ["Ended", "Requeued"]
    assert state.t.runs["a-1"].held_ns == 0 and state.t.jobs["a"].forgiven == 1


def test_a_node_that_comes_up_again_or_whose_run_is_told_to_have_ended_is_no_such_case():
    state = pool(node("n1", "cpu", 1), node("n2", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), submitted(0, job("b", ("cpu", 1))), down(5, "n1", "n2"))
    replay(state, states(100, NodeState(name="n1")), ended(200, "b-1"))
    assert replay(state, tick(1000)) == []
    assert list(state.live) == ["a-1"]
    replay(state, down(1000, "n1"))
    assert replay(state, tick(1299)) == [] and kinds(replay(state, tick(1300)))[0] == "Ended"


def test_while_its_agent_or_the_cloud_was_away_nothing_could_be_told_so_the_clock_begins_anew():
    state = pool(node("n1", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), down(5, "n1"), away(100))
    assert replay(state, tick(5000)) == []
    replay(state, back(6000))
    assert replay(state, tick(6299)) == []
    state = read_again(state)
    assert replay(state, replace(tick(9000), began_ns=8900 * S)) == []
    assert kinds(replay(state, replace(tick(9200), began_ns=8900 * S)))[0] == "Ended"


def test_a_gang_stranded_by_a_lost_node_gives_back_all_it_holds_and_goes_first():
    state = pool(*(node(f"n{i}", "cpu", 4) for i in range(3)))
    replay(state, submitted(0, job("gang", ("cpu", 8))), submitted(1, job("other", ("cpu", 4))), started(2, "gang-1"))
    replay(state, *(submitted(3, job(f"{who}{i}", ("cpu", 4), organisation=who)) for i in range(3) for who in ("acme", "more")))
    decisions = replay(state, down(10, "n1"), tick(10 + LOST_AFTER_S))
    assert kinds(decisions) == ["Ended", "Credited", "Requeued"]  # what is free again of it isn't given to those behind
    assert state.free_cards("cpu") == 4
    assert launches(replay(state, ended(400, "other-1"))) == ["gang-2"]
    assert {part.node for part in state.t.runs["gang-2"].allocation.parts} == {"n0", "n2"}
    assert encode(read_again(state).t) == encode(state.t)


def test_a_run_that_was_given_up_is_decided_again_alike_in_a_replay():
    facts = [
        e.CloudMade(at_ns=0, by="forebay", currency="CNY", version="0"),
        e.CentreMade(at_ns=0, by="op", name="here", token_sha256="t"),
        e.NodesSeen(at_ns=0, by="centre here", centre="here", nodes=(node("n1", "cpu", 1), node("n2", "cpu", 1))),
        submitted(0, job("a", ("cpu", 1))),
        down(5, "n1"),
        tick(400),
    ]
    state, lines = State(), list[e.Event]()
    for fact in facts:
        lines += [*([] if isinstance(fact, e.Tick) else [fact]), *replay(state, fact)]
    assert differences(lines) == []
    again = State()
    for line in lines:
        again.fold(line)
    assert encode(again.t) == encode(state.t)


# Evidence against machines.


def three_nodes(cards: int = 1) -> State:
    return pool(*(node(name, "cpu", cards) for name in ("bad", "fine1", "fine2")))


def fail_on(state: State, name: str, where: str, at_s: float, asked: Job, how: dict[str, object] = CRASH) -> list[e.Event]:
    """Have a job fail at its first try, which is on that node and no other."""
    others = [n.name for n in state.t.centres["here"].nodes if n.name != where]
    closed = [e.Drained(at_ns=int(at_s * S), by="op", centre="here", node=n) for n in others]
    opened = [e.Undrained(at_ns=int(at_s * S), by="op", centre="here", node=n) for n in others]
    replay(state, *closed, submitted(at_s, asked), started(at_s, f"{name}-1"), *opened)
    assert node_of(state, f"{name}-1") == where
    return replay(state, ended(at_s + 1, f"{name}-1", **how))  # type: ignore[arg-type]


def test_a_node_on_which_three_jobs_failed_that_succeed_elsewhere_is_quarantined():
    state = three_nodes(cards=2)
    decisions = []
    for i, name in enumerate(("a", "b", "c")):  # of one program, as in a sweep
        decisions += fail_on(state, name, "bad", 10 * i, replace(job(name, ("cpu", 2))))
        assert node_of(state, f"{name}-2") != "bad"  # it is tried elsewhere first
        decisions += replay(state, ended(10 * i + 5, f"{name}-2"))
    assert quarantined(decisions) == [("bad", None)]
    (marked,) = (d for d in decisions if isinstance(d, e.Quarantined))
    assert marked.runs == ("a-1", "b-1", "c-1") and "3 jobs" in marked.reason
    known = state.node("here", "bad")
    assert known and state.why_out("here", known).startswith("quarantined: runs of 3 jobs failed here")
    assert state.free_cards("cpu") == 4
    assert encode(read_again(state).t) == encode(state.t)


def test_an_undrained_node_gets_runs_again_is_looked_at_first_and_nothing_old_speaks_against_it():
    state = three_nodes()
    for i, name in enumerate(("a", "b", "c")):
        fail_on(state, name, "bad", 10 * i, program(name))
        replay(state, ended(10 * i + 5, f"{name}-2"))
    replay(state, undrained("here/bad", 100))
    assert state.free_cards("cpu") == 3
    assert quarantined(fail_on(state, "d", "bad", 110, program("d"))) == []
    replay(state, ended(115, "d-2"), submitted(120, job("wide", ("cpu", 3))))
    assert checked_s_ago(state, state.t.runs["wide-1"], 121 * S) is None


def test_of_a_node_with_several_cards_the_one_card_is_taken_that_explains_the_failures():
    state = pool(node("n", "cpu", 4), node("fine", "cpu", 4))
    decisions = []
    for i, name in enumerate(("a", "b", "c")):
        replay(state, submitted(10 * i, program(name)), started(10 * i, f"{name}-1"))
        (part,) = state.t.runs[f"{name}-1"].allocation.parts
        assert part.cards == (0,)
        decisions += replay(state, ended(10 * i + 1, f"{name}-1", **CRASH), ended(10 * i + 2, f"{name}-2"))
    assert quarantined(decisions) == [(part.node, 0)]
    assert cards_of(replay(state, undrained(f"here/{part.node}/0", 50), submitted(51, program("d"))))


def test_failures_on_different_cards_of_a_node_speak_against_the_node():
    state = three_nodes(cards=3)
    asked = [program(name) for name in ("a", "b", "c")]
    replay(state, *(e.Drained(at_ns=0, by="op", centre="here", node=n) for n in ("fine1", "fine2")))
    replay(state, *(submitted(1, one) for one in asked), *(started(2, f"{one.id}-1") for one in asked))
    replay(state, *(e.Undrained(at_ns=3 * S, by="op", centre="here", node=n) for n in ("fine1", "fine2")))
    assert quarantined(replay(state, *(ended(4 + i, f"{one.id}-1", **CRASH) for i, one in enumerate(asked)))) == [("bad", None)]


@pytest.mark.parametrize(
    "how",
    [
        {"outcome": "failed", "exit_code": 1},
        {"outcome": "unprepared"},
        {"outcome": "preempted"},
        {"outcome": "revoked"},
        {"outcome": "stopped"},
    ],
    ids=lambda how: how["outcome"],
)
def test_what_a_machine_is_not_to_blame_for_is_no_evidence(how):
    state = three_nodes()
    decisions = []
    for i, name in enumerate("abcd"):
        decisions += fail_on(state, name, "bad", 10 * i + 1, program(name, retries=0), how)
        if state.live_run(name):  # it is forgiven
            decisions += replay(state, ended(10 * i + 3, f"{name}-2"))
    assert quarantined(decisions) == [] and state.t.suspects == {}


def test_one_crash_that_somebody_sends_again_and_again_convicts_nothing():
    state = three_nodes()
    names = [f"j{i}" for i in range(9)]
    decisions = [d for i, n in enumerate(names) for d in fail_on(state, n, "bad", 10 * i, job(n, ("cpu", 1), retries=0))]
    assert quarantined(decisions) == []


def test_jobs_that_fail_elsewhere_too_convict_nothing():
    state = three_nodes()
    decisions = []
    for i, name in enumerate(("a", "b", "c", "d", "e")):
        decisions += fail_on(state, name, "bad", 10 * i, program(name))
        decisions += replay(state, started(10 * i + 2, f"{name}-2"), ended(10 * i + 3, f"{name}-2", **CRASH))
        decisions += replay(state, e.Cancelled(at_ns=int((10 * i + 4) * S), by="k", job=name))
    assert quarantined(decisions) == []


def test_a_success_on_the_node_takes_away_the_weight_of_the_failures_before_it():
    state = three_nodes()
    fail_on(state, "a", "bad", 0, program("a", retries=0))
    fail_on(state, "b", "bad", 10, program("b", retries=0))
    fail_on(state, "fine", "bad", 20, program("fine"), {"outcome": "succeeded"})
    assert quarantined(fail_on(state, "c", "bad", 30, program("c", retries=0))) == []
    fail_on(state, "d", "bad", 40, program("d", retries=0))
    assert quarantined(fail_on(state, "e", "bad", 50, program("e", retries=0))) == [("bad", None)]


def test_failures_an_hour_apart_convict_nothing():
    state = three_nodes()
    decisions = [d for i, n in enumerate("abc") for d in fail_on(state, n, "bad", 2000 * i, program(n, retries=0))]
    assert quarantined(decisions) == []
    assert state.t.suspects["here/bad"].runs == ("b-1", "c-1")


def test_runs_that_are_lost_together_are_one_incident():
    state = three_nodes(cards=4)
    names = ("a", "b", "c", "d")
    replay(state, *(e.Drained(at_ns=0, by="op", centre="here", node=n) for n in ("fine1", "fine2")))
    replay(state, *(submitted(1, program(n, retries=0)) for n in names), *(started(2, f"{n}-1") for n in names))
    replay(state, *(e.Undrained(at_ns=3 * S, by="op", centre="here", node=n) for n in ("fine1", "fine2")))
    assert quarantined(replay(state, *(ended(10 + i, f"{n}-1", "lost") for i, n in enumerate(names)))) == []


def test_of_a_gangs_nodes_none_is_marked_while_each_explains_the_failures():
    state = pool(*(node(n, "cpu", 1) for n in ("n1", "n2")), node("elsewhere", "h100-sxm", 1))
    decisions = []
    for i, name in enumerate(("a", "b", "c")):
        replay(state, submitted(10 * i, program(name, ("cpu", 2), retries=0)), started(10 * i, f"{name}-1"))
        decisions += replay(state, ended(10 * i + 1, f"{name}-1", **CRASH))
    assert quarantined(decisions) == []


def test_the_last_node_of_a_chip_is_never_taken_out_by_evidence():
    state = pool(node("only", "cpu", 1), node("other", "h100-sxm", 1))
    decisions = []
    for i, name in enumerate(("a", "b", "c", "d")):
        replay(state, submitted(10 * i, program(name, retries=0)), started(10 * i, f"{name}-1"))
        decisions += replay(state, ended(10 * i + 1, f"{name}-1", **CRASH))
    assert quarantined(decisions) == []


def test_runs_that_were_given_up_with_their_centre_are_no_evidence():
    state = two_centres()
    replay(state, *(submitted(i, program(f"j{i}")) for i in range(3)), *(started(9, f"j{i}-1") for i in range(2)))
    for name in list(state.t.centres):
        replay(state, e.CentreRevoked(at_ns=10 * S, by="op", centre=name, give_up=True))
    assert state.t.suspects == {}


def test_the_table_of_suspects_is_bounded():
    state = three_nodes()
    for i in range(3 * MOST):
        fail_on(state, f"j{i}", "bad", 10 * i, job(f"j{i}", ("cpu", 1), retries=0))
    assert len(state.t.suspects["here/bad"].runs) == MOST


# Jobs that are poison.


def fail_again(state: State, name: str, at_s: float, **how: object) -> list[e.Event]:
    """Have the run that a job has now fail."""
    run = state.t.jobs[name].runs[-1]
    return replay(state, started(at_s, run), ended(at_s + 1, run, **{**CRASH, **how}))  # type: ignore[arg-type]


def test_a_job_that_failed_on_three_different_nodes_is_not_tried_again():
    state = pool(*(node(f"n{i}", "cpu", 1) for i in range(5)))
    replay(state, submitted(0, program("poison", retries=20)))
    where = []
    for i in range(3):
        where.append(node_of(state, state.t.jobs["poison"].runs[-1]))
        decisions = [*fail_again(state, "poison", 100 * i + 1), *replay(state, tick(100 * i + 90))]
    assert sorted(set(where)) == sorted(where)
    (over,) = (d for d in decisions if isinstance(d, e.Finished))
    assert over.phase == "failed"
    assert "failed on 3 different nodes without getting further" in over.reason
    assert state.free_cards("cpu") == 5  # nothing of the pool was taken out for it


def test_a_poison_job_that_takes_its_nodes_down_is_stopped_after_three():
    state = pool(*(node(f"n{i}", "cpu", 1) for i in range(5)))
    replay(state, submitted(0, program("poison", retries=20)))
    for i in range(3):
        run = state.t.jobs["poison"].runs[-1]
        replay(
            state,
            started(1000 * i + 1, run),
            down(1000 * i + 10, node_of(state, run)),
            tick(1000 * i + 400),
            tick(1000 * i + 900),
        )
    assert state.t.jobs["poison"].phase is Phase.FAILED
    assert state.free_cards("cpu") == 2


def test_many_poison_jobs_of_one_tenant_leave_the_pool_as_it_is():
    state = pool(*(node(f"n{i}", "cpu", 1) for i in range(6)))
    decisions, at_s = [], 0.0
    for i in range(12):
        decisions += replay(state, submitted(at_s, program(f"p{i}", retries=20)))
        while state.t.jobs[f"p{i}"].phase is not Phase.FAILED:
            at_s += 400
            decisions += [*replay(state, tick(at_s)), *fail_again(state, f"p{i}", at_s + 1)]
    assert quarantined(decisions) == []
    assert all(len(state.t.jobs[f"p{i}"].runs) == 3 for i in range(12))


def test_a_job_that_makes_checkpoints_or_stays_on_one_node_is_tried_as_often_as_it_may():
    state = pool(*(node(f"n{i}", "cpu", 1) for i in range(5)))
    replay(state, submitted(0, program("a", retries=5)))
    for i in range(5):
        fail_again(state, "a", 400 * i, checkpointed=True)
        replay(state, tick(400 * i + 390))
    assert state.t.jobs["a"].phase is not Phase.FAILED
    alone = pool(node("only", "cpu", 1))
    replay(alone, submitted(0, program("a", retries=5)))
    for i in range(5):
        fail_again(alone, "a", 400 * i)
        replay(alone, tick(400 * i + 390))
    assert alone.t.jobs["a"].phase is not Phase.FAILED and len(alone.t.jobs["a"].runs) == 6


def test_where_no_other_node_is_free_a_job_is_tried_again_on_the_one_it_failed_on():
    state = pool(node("n1", "cpu", 1), node("n2", "cpu", 1))
    replay(state, submitted(0, program("a")), submitted(0, program("b")))
    mine = node_of(state, "a-1")
    fail_again(state, "a", 1)
    assert node_of(state, "a-2") == mine
