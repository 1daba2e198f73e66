"""What the core decides, as sentences and laws."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import S, ended, job, launches, node, pool, replay, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.admit import admit
from forebay.cloud.core.job import Phase
from forebay.cloud.core.meter import bill
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.codec import decode, encode
from forebay.errors import DoesNotFit


def test_a_job_that_fits_starts_at_once():
    state = pool(node("n", "cpu", 2))
    assert launches(replay(state, submitted(1, job("a", ("cpu", 2))))) == ["a-1"]
    assert state.free_cards("cpu") == 0


def test_a_wide_job_is_not_starved_by_small_ones():
    state = pool(node("n", "cpu", 4))
    replay(state, submitted(0, job("first", ("cpu", 2))), submitted(1, job("wide", ("cpu", 4))))
    # Small jobs go first, for a while. Those that come when the wide one is due sooner than they are wait behind it.
    assert launches(replay(state, submitted(2, job("early", ("cpu", 1))))) == ["early-1"]
    assert launches(replay(state, ended(3, "early-1"), submitted(20_000, job("small", ("cpu", 1))))) == []
    assert launches(replay(state, ended(20_001, "first-1"))) == ["wide-1"]
    assert launches(replay(state, ended(20_002, "wide-1"))) == ["small-1"]


def test_a_job_waiting_for_one_chip_does_not_hold_back_jobs_for_another():
    state = pool(node("n", "cpu", 1), node("g", "h100-sxm", 8))
    replay(state, submitted(0, job("a", ("cpu", 1))), submitted(1, job("b", ("cpu", 1))))
    assert launches(replay(state, submitted(2, job("c", ("h100-sxm", 8))))) == ["c-1"]


def test_the_second_line_of_the_menu_is_taken_when_the_first_is_busy():
    state = pool(node("n", "cpu", 1), node("g", "h100-sxm", 8))
    decisions = replay(state, submitted(0, job("a", ("cpu", 1))), submitted(1, job("b", ("cpu", 1), ("h100-sxm", 4))))
    assert [d.allocation.chip for d in decisions if isinstance(d, e.Launched)] == ["cpu", "h100-sxm"]


def test_a_quota_holds_back_its_own_organisation_only():
    state = pool(node("n", "cpu", 4))
    replay(state, e.QuotaSet(at_ns=0, by="op", organisation="acme", chip="cpu", cards=2))
    facts = [
        submitted(0, job("a", ("cpu", 2))),
        submitted(1, job("b", ("cpu", 1))),
        submitted(2, job("c", ("cpu", 2), organisation="other")),
    ]
    assert launches(replay(state, *facts)) == ["a-1", "c-1"]
    assert launches(replay(state, ended(3, "a-1"))) == ["b-1"]


def test_raising_a_quota_starts_who_waited_for_it():
    state = pool(node("n", "cpu", 4))
    replay(state, e.QuotaSet(at_ns=0, by="op", organisation="acme", chip="cpu", cards=1))
    replay(state, submitted(0, job("a", ("cpu", 1))), submitted(1, job("b", ("cpu", 1))))
    assert launches(replay(state, e.QuotaSet(at_ns=2, by="op", organisation="acme", chip="cpu", cards=None))) == ["b-1"]


def test_a_killed_run_is_tried_again_at_once_and_then_with_growing_pauses():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))))
    assert launches(replay(state, ended(10, "a-1", "failed", exit_code=-9, reason="killed"))) == ["a-2"]
    assert launches(replay(state, ended(20, "a-2", "failed", exit_code=-9, reason="killed"))) == []
    assert launches(replay(state, e.Tick(at_ns=24 * S, by="forebay"))) == []
    assert launches(replay(state, e.Tick(at_ns=25 * S, by="forebay"))) == ["a-3"]


def test_a_script_that_fails_by_itself_before_a_checkpoint_is_not_tried_again():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), ended(1, "a-1", "failed", exit_code=1, reason="rank 0 ended with 1"))
    assert state.t.jobs["a"].phase is Phase.FAILED
    assert "before a checkpoint" in state.t.jobs["a"].reason


def test_a_script_that_fails_after_a_checkpoint_is_tried_again():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))))
    assert launches(replay(state, ended(1, "a-1", "failed", exit_code=1, checkpointed=True))) == ["a-2"]


def test_retries_run_out():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1), retries=1)))
    replay(state, ended(1, "a-1", "failed", exit_code=-9), ended(2, "a-2", "failed", exit_code=-9, reason="killed"))
    assert state.t.jobs["a"].phase is Phase.FAILED
    assert state.t.jobs["a"].reason == "killed; no retries left"


def test_a_job_that_is_tried_again_keeps_its_place_before_later_jobs():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), submitted(1, job("b", ("cpu", 1))))
    assert launches(replay(state, ended(2, "a-1", "lost"))) == ["a-2"]


def test_cancelling_a_waiting_job_ends_it_and_lets_the_next_one_in():
    state = pool(node("n", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 1))), submitted(1, job("wide", ("cpu", 2))))
    assert launches(replay(state, submitted(20_000, job("b", ("cpu", 1))))) == []
    assert launches(replay(state, e.Cancelled(at_ns=20_001 * S, by="k1", job="wide"))) == ["b-1"]
    assert state.t.jobs["wide"].phase is Phase.CANCELLED


def test_cancelling_a_running_job_asks_its_run_to_stop_and_keeps_its_cards_until_it_has():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))))
    (stop,) = replay(state, e.Cancelled(at_ns=1, by="k1", job="a"))
    assert isinstance(stop, e.StopAsked) and stop.run == "a-1"
    assert state.free_cards("cpu") == 0
    replay(state, ended(2, "a-1", "stopped"))
    assert state.t.jobs["a"].phase is Phase.CANCELLED and state.free_cards("cpu") == 1


def test_a_time_limit_counts_from_the_start_of_the_ranks():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1), time_limit_s=10)))
    assert replay(state, e.Tick(at_ns=50 * S, by="forebay")) == []
    replay(state, e.Started(at_ns=50 * S, by="centre here", run="a-1"))
    assert replay(state, e.Tick(at_ns=60 * S, by="forebay")) == []
    (stop,) = replay(state, e.Tick(at_ns=60 * S + 1, by="forebay"))
    assert "time limit" in stop.reason
    replay(state, ended(61, "a-1", "stopped"))
    assert state.t.jobs["a"].phase is Phase.FAILED


def test_one_run_never_mixes_real_and_pretend_cards():
    state = pool(node("real", "h100-sxm", 2), node("p", "h100-sxm", 8, pretend=True))
    (launched,) = replay(state, submitted(0, job("a", ("h100-sxm", 4))))
    assert launched.allocation.pretend and {part.node for part in launched.allocation.parts} == {"p"}


def test_a_gang_over_two_nodes_gets_all_its_cards_or_none():
    state = pool(node("n1", "cpu", 2), node("n2", "cpu", 2))
    replay(state, submitted(0, job("a", ("cpu", 1))))
    assert launches(replay(state, submitted(1, job("gang", ("cpu", 4))))) == []
    (launched,) = replay(state, ended(2, "a-1"))[1:]
    assert [(part.node, part.cards) for part in launched.allocation.parts] == [("n1", (0, 1)), ("n2", (0, 1))]


@pytest.mark.parametrize(
    "menu, word",
    [((("cpu", 3),), "no island has more than 2"), ((("h100-sxm", 1),), "no centre has h100-sxm"), ((), "empty menu")],
)
def test_what_can_never_run_is_refused_at_once(menu, word):
    with pytest.raises(DoesNotFit) as refusal:
        admit(pool(node("n", "cpu", 2)), job("a", *menu))
    assert word in str(refusal.value)


def test_the_bill_is_cards_times_seconds_times_the_price_at_launch():
    state = pool(node("n", "cpu", 2))
    replay(state, e.PriceSet(at_ns=0, by="op", chip="cpu", micro_per_card_s=350))
    replay(state, submitted(0, job("a", ("cpu", 2))), e.PriceSet(at_ns=1, by="op", chip="cpu", micro_per_card_s=9_999))
    replay(state, ended(9, "a-1", held_s=8))
    whole = bill(state, 10 * S)
    assert (whole.card_ns, whole.cost_micro) == (16 * S, 16 * 350)


def test_the_end_of_a_run_that_is_told_twice_is_folded_once_by_the_edge():
    state = pool(node("n", "cpu", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), ended(1, "a-1"))
    assert state.t.runs["a-1"].outcome == "succeeded" and "a-1" not in state.live


# Laws.

CHIPS = ("cpu", "h100-sxm")
a_job = st.tuples(
    st.sampled_from(("acme", "other")), st.lists(st.tuples(st.sampled_from(CHIPS), st.integers(1, 4)), min_size=1, max_size=2)
)
a_step = st.one_of(
    st.tuples(st.just("submit"), a_job),
    st.tuples(
        st.just("end"), st.tuples(st.integers(0, 99), st.sampled_from(("succeeded", "failed", "lost", "stopped", "unprepared")))
    ),
    st.tuples(st.just("cancel"), st.integers(0, 99)),
    st.tuples(st.just("quota"), st.integers(0, 6)),
    st.tuples(st.just("tick"), st.integers(1, 400)),
)


def play(steps: list) -> tuple[State, list[e.Event]]:
    """A history made of random steps, and everything that a journal would hold of it."""
    state = pool(node("n1", "cpu", 2), node("n2", "cpu", 2), node("g", "h100-sxm", 4))
    lines: list[e.Event] = []
    at = 0
    for number, (kind, what) in enumerate(steps):
        at += 1
        fact: e.Event | None = None
        if kind == "submit":
            fact = submitted(at, job(f"j{number}", *what[1], organisation=what[0]))
        elif kind == "end" and state.live:
            fact = ended(at, list(state.live)[what[0] % len(state.live)], what[1], exit_code=-9)
        elif kind == "cancel" and (open_jobs := [j for j, s in state.t.jobs.items() if not s.phase.over]):
            fact = e.Cancelled(at_ns=at * S, by="k", job=open_jobs[what % len(open_jobs)])
        elif kind == "quota":
            fact = e.QuotaSet(at_ns=at * S, by="op", organisation="acme", chip="cpu", cards=what)
        elif kind == "tick":
            at += what
            fact = e.Tick(at_ns=at * S, by="forebay")
        if fact is None:
            continue
        decisions = replay(state, fact)
        lines += decisions if kind == "tick" else [fact, *decisions]
        _check(state)
    return state, lines


def _check(state: State) -> None:
    for chip in CHIPS:
        held = sum(state.t.runs[run].allocation.cards for run in state.live if state.t.runs[run].allocation.chip == chip)
        reserved = sum(
            state.holder(*card) is None
            for reservation in state.t.reservations.values()
            if reservation.allocation.chip == chip
            for card in reservation.allocation.each()
        )
        assert held + reserved + state.free_cards(chip) == 4, "cards are neither made nor lost"
    waiting = len(list(state.queue.jobs())) + len(state.t.reservations)
    assert waiting == state.waiting == sum(s.phase is Phase.WAITING for s in state.t.jobs.values())
    for standing in state.t.jobs.values():
        going_on = [run for run in standing.runs if not state.t.runs[run].outcome]
        assert len(going_on) == (0 if standing.phase.over or standing.phase is Phase.WAITING else 1), (
            "at most one run of a job at a time"
        )


@settings(max_examples=150, deadline=None)
@given(st.lists(a_step, max_size=60))
def test_cards_are_conserved_and_no_job_runs_twice_at_a_time_whatever_happens(steps):
    play(steps)


@settings(max_examples=100, deadline=None)
@given(st.lists(a_step, max_size=50))
def test_folding_the_journal_again_ends_in_the_same_state_and_so_does_a_snapshot(steps):
    state, lines = play(steps)
    again = pool(node("n1", "cpu", 2), node("n2", "cpu", 2), node("g", "h100-sxm", 4))
    for line in lines:
        again.fold(e.from_json(type(line).__name__, json.loads(json.dumps(e.to_json(line)))))
    assert again.t == state.t
    restored = State(decode(Tables, json.loads(json.dumps(encode(state.t)))))
    assert restored.t == state.t
    assert (restored.rooms.by_node, restored.waiting, restored.live) == (state.rooms.by_node, state.waiting, state.live)
    assert {k: n for k, n in restored.held.items() if n} == {k: n for k, n in state.held.items() if n}
    assert replay(restored, e.Tick(at_ns=10**15, by="x")) == replay(state, e.Tick(at_ns=10**15, by="x"))


def test_a_job_whose_pause_ends_is_looked_at_whatever_event_ends_it():
    state = pool(node("n", "cpu", 1), node("g", "h100-sxm", 1))
    replay(state, submitted(0, job("a", ("cpu", 1))), submitted(0, job("b", ("h100-sxm", 1))))
    replay(state, ended(10, "a-1", "failed", exit_code=-9), ended(20, "a-2", "failed", exit_code=-9))  # until 25
    assert launches(replay(state, ended(30, "b-1"))) == ["a-3"]


def test_who_was_held_back_by_a_job_that_went_to_another_chip_is_looked_at_at_once():
    state = pool(node("n", "cpu", 1), node("g", "h100-sxm", 4))
    replay(state, submitted(0, job("y", ("cpu", 1))), submitted(0, job("x", ("h100-sxm", 2))))
    replay(state, submitted(1, job("wide", ("h100-sxm", 4), ("cpu", 1))))
    assert launches(replay(state, submitted(20_000, job("small", ("h100-sxm", 1))))) == []
    assert launches(replay(state, ended(20_001, "y-1"))) == ["wide-1", "small-1"]
