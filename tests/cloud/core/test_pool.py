"""What is out of use gets no runs, and comes back: drains, windows, states of nodes, quarantine, silent and revoked centres."""

from __future__ import annotations

from dataclasses import replace

import pytest
from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.chips.node import Condition, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core.admit import admit
from forebay.cloud.core.decide import due_ns
from forebay.cloud.core.health import checked_s_ago
from forebay.cloud.core.job import Phase
from forebay.cloud.core.pool import Window
from forebay.cloud.core.state import State
from forebay.errors import DoesNotFit


def states(at_s: float, *stands: NodeState, centre: str = "here") -> e.NodeStatesSeen:
    return e.NodeStatesSeen(at_ns=int(at_s * S), by=f"centre {centre}", centre=centre, states=stands)


def busy(name: str, *cards: int) -> NodeState:
    return NodeState(name=name, busy=cards)


def drained(place: str, at_s: float = 1) -> e.Drained:
    centre, _, rest = place.partition("/")
    name, _, card = rest.partition("/")
    return e.Drained(at_ns=int(at_s * S), by="op", centre=centre, node=name, card=int(card) if card else None, reason="why")


def undrained(place: str, at_s: float = 9) -> e.Undrained:
    fact = drained(place, at_s)
    return e.Undrained(at_ns=fact.at_ns, by="op", centre=fact.centre, node=fact.node, card=fact.card)


def window(from_s: float, to_s: float, node: str = "") -> e.MaintenanceSet:
    return e.MaintenanceSet(
        at_ns=0,
        by="op",
        window=Window(id="w1", centre="here", node=node, from_ns=int(from_s * S), to_ns=int(to_s * S), reason="new pumps"),
    )


def tick(at_s: float) -> e.Tick:
    return e.Tick(at_ns=int(at_s * S), by="forebay")


def cards_of(decisions: list[e.Event]) -> list[tuple[str, tuple[int, ...]]]:
    return [(part.node, part.cards) for d in decisions if isinstance(d, e.Launched) for part in d.allocation.parts]


# What is out.


@pytest.mark.parametrize("place", ["here", "here/n", "here/n/0"])
def test_what_an_operator_drains_gets_no_new_runs_until_it_is_undrained(place):
    state = pool(node("n", "cpu", 1))
    replay(state, drained(place))
    assert launches(replay(state, submitted(2, job("a", ("cpu", 1))))) == []
    assert launches(replay(state, undrained(place))) == ["a-1"]


def test_runs_on_a_drained_node_go_on_and_their_cards_stay_out_when_they_end():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 1))), drained("here/n"))
    assert "a-1" in state.live and state.free_cards("cpu") == 0
    replay(state, ended(3, "a-1"))
    assert state.free_cards("cpu") == 0
    replay(state, undrained("here/n"))
    assert state.free_cards("cpu") == 2


@pytest.mark.parametrize("condition", [Condition.DOWN, Condition.DRAINED])
def test_a_node_that_its_engine_calls_down_or_drained_gets_no_new_runs_until_it_is_up(condition):
    state = pool(node("n", "cpu", 2))
    replay(state, states(1, NodeState(name="n", condition=condition, reason="kernel update")))
    assert launches(replay(state, submitted(2, job("a", ("cpu", 1))))) == []
    assert launches(replay(state, states(3, NodeState(name="n")))) == ["a-1"]
    assert state.t.node_states == {}  # what is plainly up isn't kept


def test_cards_that_others_hold_are_not_given_away():
    state = pool(node("n", "cpu", 4))
    replay(state, states(1, busy("n", 0, 2)))
    assert cards_of(replay(state, submitted(2, job("a", ("cpu", 2))))) == [("n", (1, 3))]


def test_of_a_counted_node_only_the_number_of_busy_cards_matters():
    state = pool(replace(node("n", "cpu", 4), counted=True))
    replay(state, submitted(0, job("a", ("cpu", 1))), states(1, busy("n", 1, 2)))
    assert state.free_cards("cpu") == 1
    assert cards_of(replay(state, submitted(2, job("b", ("cpu", 1))))) == [("n", (1,))]  # a number, no particular card


@pytest.mark.parametrize("counted", [False, True])
def test_busy_cards_that_a_run_of_ours_was_given_meanwhile_break_nothing(counted):
    state = pool(replace(node("n", "cpu", 2), counted=counted))
    replay(state, submitted(0, job("a", ("cpu", 2))), states(1, busy("n", 0, 1)))
    assert state.free_cards("cpu") == 0
    replay(state, ended(2, "a-1"))
    assert state.free_cards("cpu") == 0
    replay(state, states(3, NodeState(name="n")))
    assert state.free_cards("cpu") == 2


def test_a_silent_centre_gets_no_new_runs_and_keeps_those_it_has():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 1))), e.CentreAway(at_ns=S, by="forebay", centre="here", silent_s=61))
    assert launches(replay(state, submitted(2, job("b", ("cpu", 1))))) == []
    assert list(state.live) == ["a-1"]
    assert launches(replay(state, e.CentreBack(at_ns=3 * S, by="centre here", centre="here"))) == ["b-1"]


def test_what_is_out_for_now_can_come_back_so_jobs_for_it_are_let_in():
    state = pool(node("n", "cpu", 2))
    replay(state, states(1, NodeState(name="n", condition=Condition.DOWN)), drained("here"))
    admit(state, job("a", ("cpu", 2)))


def test_a_centre_whose_key_was_revoked_does_not_count():
    state = pool(node("n", "cpu", 2))
    replay(state, e.CentreRevoked(at_ns=S, by="op", centre="here"))
    with pytest.raises(DoesNotFit, match="no centre has cpu"):
        admit(state, job("a", ("cpu", 2)))
    replay(state, e.CentreJoined(at_ns=2 * S, by="centre here", centre="here", key_sha256="k2"))
    admit(state, job("a", ("cpu", 2)))


# Revoked centres.


def test_runs_of_a_revoked_centre_go_on_until_they_are_given_up_and_then_are_tried_elsewhere():
    state = two_centres()
    replay(state, submitted(0, job("a", ("cpu", 1))))
    (run,) = state.live
    where = state.t.runs[run].allocation.centre
    assert replay(state, e.CentreRevoked(at_ns=S, by="op", centre=where)) == []
    assert list(state.live) == ["a-1"]
    decisions = replay(state, e.CentreRevoked(at_ns=2 * S, by="op", centre=where, give_up=True))
    assert [type(d).__name__ for d in decisions] == ["Ended", "Requeued", "Launched"]
    assert state.t.runs["a-1"].outcome == "lost" and state.t.runs["a-1"].held_ns == 0
    assert state.t.runs["a-2"].allocation.centre != where


def test_cancelling_a_job_at_a_revoked_centre_ends_it_at_once():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), e.CentreRevoked(at_ns=S, by="op", centre="here"))
    replay(state, e.Cancelled(at_ns=2 * S, by="k1", job="a"))
    assert state.t.jobs["a"].phase is Phase.CANCELLED and not state.live


# Maintenance.


def test_a_run_with_a_time_limit_is_not_started_into_a_window_and_one_that_is_through_before_is():
    state = pool(node("n", "cpu", 1))
    replay(state, window(100, 200))
    assert launches(replay(state, submitted(0, job("long", ("cpu", 1), time_limit_s=99)))) == []
    assert launches(replay(state, submitted(1, job("short", ("cpu", 1), time_limit_s=50, organisation="b")))) == ["short-1"]
    replay(state, ended(60, "short-1"))
    assert launches(replay(state, tick(199))) == []
    assert launches(replay(state, tick(200))) == ["long-1"]


def test_a_run_without_a_time_limit_is_asked_to_stop_when_the_window_begins_and_is_tried_again_afterwards():
    state = pool(node("n", "cpu", 1))
    replay(state, window(100, 200), submitted(0, job("a", ("cpu", 1), retries=0)))
    assert replay(state, tick(99)) == []
    began, stop = replay(state, tick(100))
    assert isinstance(began, e.MaintenanceBegan) and isinstance(stop, e.StopAsked) and stop.requeue and "new pumps" in stop.reason
    assert replay(state, tick(101)) == []
    (again,) = replay(state, ended(102, "a-1", "failed", exit_code=1))  # whatever it makes of the signal
    assert isinstance(again, e.Requeued) and again.forgiven
    assert launches(replay(state, tick(150))) == []
    assert launches(replay(state, tick(200))) == ["a-2"]


def test_a_window_of_one_node_leaves_the_others_alone():
    state = pool(node("n1", "cpu", 1), node("n2", "cpu", 1))
    replay(state, window(0, 100, node="n1"))
    assert cards_of(replay(state, submitted(1, job("a", ("cpu", 1))))) == [("n2", (0,))]


def test_cards_in_a_window_are_down_when_runs_have_left_them_and_no_time_is_lost():
    state = pool(node("n1", "cpu", 2), node("n2", "cpu", 1))
    replay(state, window(100, 200, node="n1"), submitted(0, job("a", ("cpu", 2))))
    assert due_ns(state) == 100 * S
    replay(state, tick(100), ended(110, "a-1", "stopped", held_s=110), tick(150))
    assert due_ns(state) == 200 * S
    (over, launched) = replay(state, tick(200))
    assert isinstance(over, e.MaintenanceOver) and isinstance(launched, e.Launched) and not state.t.windows
    replay(state, tick(250))
    n1, n2 = (state.t.lives["here"][name]["0"] for name in ("n1", "n2"))
    assert (n1.used_ns, n1.down_ns, n1.idle_ns, n1.kind, n1.since_ns) == (110 * S, 90 * S, 0, "used", 200 * S)
    assert (n2.used_ns, n2.down_ns, n2.kind) == (0, 0, "idle")
    (tally,) = [t for t in state.t.tallies.values() if not t.organisation]
    assert tally.reading(250 * S)[:3] == (2 * 160 * S, 250 * S, 2 * 90 * S)


def test_cards_are_idle_again_from_when_a_window_is_lifted():
    state = pool(node("n", "cpu", 1))
    replay(state, window(10, 100), tick(10), e.MaintenanceLifted(at_ns=30 * S, by="op", window="w1"), tick(50))
    (life,) = state.t.lives["here"]["n"].values()
    assert (life.idle_ns, life.down_ns, life.kind, life.since_ns) == (10 * S, 20 * S, "idle", 30 * S)


def test_a_lifted_window_holds_nothing_back():
    state = pool(node("n", "cpu", 1))
    replay(state, window(0, 100), submitted(1, job("a", ("cpu", 1))))
    assert launches(replay(state, e.MaintenanceLifted(at_ns=2 * S, by="op", window="w1"))) == ["a-1"]


def test_a_job_that_is_stopped_for_maintenance_can_still_be_cancelled():
    state = pool(node("n", "cpu", 1))
    replay(state, window(100, 200), submitted(0, job("a", ("cpu", 1))), tick(100))
    (stop,) = replay(state, e.Cancelled(at_ns=101 * S, by="k1", job="a"))
    assert isinstance(stop, e.StopAsked) and not stop.requeue
    replay(state, ended(102, "a-1", "stopped"))
    assert state.t.jobs["a"].phase is Phase.CANCELLED


# Checks and quarantine.


def check(at_s: float, run: str, *cards: int, bad: dict[str, str] | None = None, when: str = "before") -> e.CheckSeen:
    return e.CheckSeen(
        at_ns=int(at_s * S), by="centre here", centre="here", run=run, node="n", cards=cards, when=when, bad=bad or {}, took_s=2
    )


def test_a_card_that_fails_a_check_is_quarantined_until_an_operator_releases_it():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 1))))
    (decision,) = replay(state, check(1, "a-1", 0, bad={"0": "bits flip"}))
    assert isinstance(decision, e.Quarantined) and (decision.card, decision.run) == (0, "a-1")
    decisions = replay(state, ended(2, "a-1", "unfit", reason="a card is bad"))
    assert cards_of(decisions) == [("n", (1,))] and state.t.jobs["a"].forgiven == 1
    assert state.free_cards("cpu") == 0
    replay(state, undrained("here/n/0"))
    assert state.free_cards("cpu") == 1


def test_one_quarantined_card_takes_a_counted_node_out_because_its_engine_picks_the_cards():
    state = pool(replace(node("n", "cpu", 8), counted=True))
    replay(state, submitted(0, job("a", ("cpu", 1))), check(1, "a-1", 5, bad={"5": "bits flip"}))
    assert state.free_cards("cpu") == 0 and "card 5" in state.why_out("here", state.node("here", "n"))


def test_the_age_of_a_check_is_that_of_the_card_whose_check_is_oldest_and_unknown_after_a_failure():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 2))))
    run = state.t.runs["a-1"]
    assert checked_s_ago(state, run, 5 * S) is None
    replay(state, check(10, "a-1", 0), check(20, "a-1", 1))
    assert checked_s_ago(state, run, 30 * S) == 20
    replay(state, ended(40, "a-1", "failed", exit_code=-9))
    assert checked_s_ago(state, state.t.runs["a-2"], 50 * S) is None


def test_a_good_look_after_the_failure_settles_the_doubt():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), check(10, "a-1", 0, when="after"), ended(11, "a-1", "failed", exit_code=-9))
    assert checked_s_ago(state, state.t.runs["a-2"], 12 * S) == 2


# Ends that are nobody's fault.


def test_a_preempted_run_is_tried_again_at_once_and_uses_up_no_retry_but_not_for_ever():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1), retries=0)))
    for attempt in range(1, 21):
        assert launches(replay(state, ended(attempt, f"a-{attempt}", "preempted"))) == [f"a-{attempt + 1}"]
    replay(state, ended(99, "a-21", "preempted", reason="taken back"))
    assert (state.t.jobs["a"].phase, state.t.jobs["a"].reason) == (Phase.FAILED, "taken back; no retries left")


def test_a_run_that_was_lost_before_its_ranks_were_started_uses_up_no_retry_and_one_that_had_started_does():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1), retries=0)))
    assert launches(replay(state, ended(1, "a-1", "lost", held_s=0))) == ["a-2"]
    replay(state, e.Started(at_ns=2 * S, by="centre here", run="a-2"), ended(3, "a-2", "lost", reason="its node died"))
    assert (state.t.jobs["a"].phase, state.t.jobs["a"].reason) == (Phase.FAILED, "its node died; no retries left")


def test_a_run_that_was_ended_by_somebody_of_its_centre_is_not_tried_again():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), ended(1, "a-1", "revoked", reason="scancel by root"))
    assert state.t.jobs["a"].phase is Phase.FAILED
    assert state.t.jobs["a"].reason.startswith("scancel by root; not tried again")


# Queues of centres.


def test_a_run_in_its_centres_queue_is_queued_with_that_queues_reason_and_holds_nothing_that_is_billed():
    from forebay.cloud.core.meter import bill

    state = pool(node("n", "cpu", 1))
    replay(state, e.PriceSet(at_ns=0, by="op", chip="cpu", micro_per_card_s=1), submitted(0, job("a", ("cpu", 1))))
    replay(state, e.Queued(at_ns=S, by="centre here", run="a-1", reason="Priority"))
    assert (state.t.jobs["a"].phase, state.t.jobs["a"].reason) == (Phase.QUEUED, "Priority")
    assert bill(state, 50 * S).cost_micro == 0
    replay(state, e.Admitted(at_ns=60 * S, by="centre here", run="a-1"))
    assert (state.t.jobs["a"].phase, bill(state, 70 * S).cost_micro) == (Phase.STARTING, 10)
    replay(state, e.Started(at_ns=70 * S, by="centre here", run="a-1", bound={"n": (3,)}))
    assert (state.t.jobs["a"].phase, state.t.runs["a-1"].bound) == (Phase.RUNNING, {"n": (3,)})


def test_the_queue_of_a_centre_does_not_hide_that_a_run_was_asked_to_stop():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), e.Cancelled(at_ns=1, by="k1", job="a"))
    replay(state, e.Queued(at_ns=S, by="centre here", run="a-1", reason="Priority"))
    assert state.t.jobs["a"].phase is Phase.STOPPING


# Where gangs go.


def test_a_gang_stays_below_one_leaf_where_it_can():
    nodes = [replace(node(f"n{i}", "cpu", 2), leaf=f"spine{i // 4}/leaf{i // 2}") for i in range(8)]
    state = pool(*nodes)
    replay(state, submitted(0, job("one", ("cpu", 2))))  # on n0
    assert {name for name, _ in cards_of(replay(state, submitted(1, job("gang", ("cpu", 4)))))} == {"n2", "n3"}
    wide = cards_of(replay(state, submitted(2, job("wide", ("cpu", 6)))))
    assert [name for name, _ in wide] == ["n4", "n5", "n6"]  # below one spine


def test_a_gang_takes_whole_nodes_and_leaves_the_fewest_cards_over_on_the_last():
    state = pool(node("a", "cpu", 8), node("b", "cpu", 8), node("c", "cpu", 8))
    replay(state, submitted(0, job("small", ("cpu", 6))))
    assert cards_of(replay(state, submitted(1, job("gang", ("cpu", 10))))) == [("b", tuple(range(8))), ("a", (6, 7))]


# Where a job goes on.


def two_centres() -> State:
    state = pool(node("n", "cpu", 1))
    replay(
        state,
        e.CentreMade(at_ns=0, by="op", name="there", token_sha256="t2"),
        e.NodesSeen(at_ns=0, by="centre there", centre="there", nodes=(node("m", "cpu", 4),)),
    )
    return state


def test_a_job_is_tried_again_where_its_output_lies_though_another_centre_comes_first():
    state = two_centres()
    replay(state, drained("here"), submitted(1, job("a", ("cpu", 1))))
    assert state.t.runs["a-1"].allocation.centre == "there"
    replay(state, undrained("here"), e.Started(at_ns=10 * S, by="x", run="a-1"))
    replay(state, ended(11, "a-1", "lost", artefacts=1, artefact_bytes=5))
    assert state.t.runs["a-2"].allocation.centre == "there"
