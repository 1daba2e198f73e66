"""Laws over random lives of two centres: nothing is placed on what is out, cards are conserved, a replay ends the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from world import S, ended, job, node, replay, submitted

from forebay.chips.node import Condition, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Phase
from forebay.cloud.core.pool import Window
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.codec import decode, encode

NODES = {
    "east": (
        node("n1", "cpu", 2),
        replace(node("n2", "cpu", 2), leaf="spine/leaf1"),
        replace(node("n3", "cpu", 2), leaf="spine/leaf1"),
    ),
    "west": (replace(node("c1", "cpu", 4), counted=True), node("g1", "h100-sxm", 4), node("p1", "h100-sxm", 4, pretend=True)),
}
PLACES = [
    (centre, name, card)
    for centre, nodes in NODES.items()
    for name, card in [("", None), *((n.name, c) for n in nodes for c in (None, 0, 1))]
]
CHIPS = ("cpu", "h100-sxm")
OUTCOMES = ("succeeded", "failed", "lost", "stopped", "unprepared", "preempted", "revoked", "unfit")
NUMBER = st.integers(0, 99)

a_step = st.one_of(
    st.tuples(
        st.just("submit"),
        st.tuples(
            st.sampled_from(("acme", "other")),
            st.lists(st.tuples(st.sampled_from(CHIPS), st.integers(1, 5)), min_size=1, max_size=2),
            st.sampled_from((None, 5.0, 50.0)),
            st.sampled_from((None, 3.0, 30.0)),
        ),
    ),
    st.tuples(st.just("end"), st.tuples(NUMBER, st.sampled_from(OUTCOMES))),
    st.tuples(st.just("start"), NUMBER),
    st.tuples(st.just("queue"), NUMBER),
    st.tuples(st.just("cancel"), NUMBER),
    st.tuples(st.just("drain"), st.sampled_from(PLACES)),
    st.tuples(st.just("undrain"), st.sampled_from(PLACES)),
    st.tuples(
        st.just("stand"),
        st.tuples(st.sampled_from(PLACES), st.sampled_from(Condition), st.lists(st.integers(0, 3), max_size=3)),
    ),
    st.tuples(st.just("check"), st.tuples(NUMBER, st.booleans(), st.sampled_from(("before", "after")))),
    st.tuples(st.just("window"), st.tuples(st.sampled_from(PLACES), st.integers(0, 30), st.integers(1, 30))),
    st.tuples(st.just("away"), st.sampled_from(sorted(NODES))),
    st.tuples(st.just("back"), st.sampled_from(sorted(NODES))),
    st.tuples(st.just("revoke"), st.tuples(st.sampled_from(sorted(NODES)), st.booleans())),
    st.tuples(st.just("join"), st.sampled_from(sorted(NODES))),
    st.tuples(st.just("nodes"), st.tuples(st.sampled_from(sorted(NODES)), st.integers(0, 3))),
    st.tuples(st.just("keep"), st.tuples(NUMBER, st.booleans())),
    st.tuples(st.just("tick"), st.integers(1, 60)),
)


def two_centres() -> State:
    state = State()
    replay(state, e.CloudMade(at_ns=0, by="forebay", currency="CNY", version="0"))
    for name, nodes in NODES.items():
        replay(
            state,
            e.CentreMade(at_ns=0, by="op", name=name, token_sha256=f"t-{name}"),
            e.CentreJoined(at_ns=0, by=f"centre {name}", centre=name, key_sha256=f"k-{name}"),
            e.NodesSeen(at_ns=0, by=f"centre {name}", centre=name, nodes=nodes),
        )
    return state


def fact_of(state: State, kind: str, what: Any, at: int, number: int) -> e.Event | None:
    """The fact that a step means in this state, if it means any."""
    when = {"at_ns": at * S, "by": "law"}
    live = [state.t.runs[run] for run in state.live]
    pick = lambda index: live[index % len(live)]  # noqa: E731
    match kind:
        case "submit":
            organisation, menu, limit, expected = what
            asked = job(f"j{number}", *menu, organisation=organisation, time_limit_s=limit)
            return submitted(at, replace(asked, menu=tuple(replace(o, expected_s=expected) for o in asked.menu)))
        case "end" if live:
            return ended(at, pick(what[0]).id, what[1], exit_code=-9, artefacts=number % 2, artefact_bytes=number)
        case "start" if live and not pick(what).running_at_ns:
            return e.Started(**when, run=pick(what).id)
        case "queue" if live and not pick(what).running_at_ns:
            return e.Queued(**when, run=pick(what).id, reason=f"reason {number % 3}")
        case "cancel" if open_jobs := [name for name, s in state.t.jobs.items() if not s.phase.over]:
            return e.Cancelled(**when, job=open_jobs[what % len(open_jobs)])
        case "drain":
            return e.Drained(**when, centre=what[0], node=what[1], card=what[2])
        case "undrain":
            return e.Undrained(**when, centre=what[0], node=what[1], card=what[2])
        case "stand" if what[0][1]:
            (centre, name, _), condition, busy = what
            stands = NodeState(name=name, condition=condition, busy=tuple(sorted(set(busy))))
            return e.NodeStatesSeen(**when, centre=centre, states=(stands,))
        case "check" if live:
            run = pick(what[0])
            part = run.allocation.parts[0]
            bad = {str(part.cards[0]): "bits flip"} if what[1] else {}
            centre = run.allocation.centre
            return e.CheckSeen(**when, centre=centre, run=run.id, node=part.node, cards=part.cards, when=what[2], bad=bad)
        case "window":
            (centre, name, _), begins, lasts = what
            span = {"from_ns": (at + begins) * S, "to_ns": (at + begins + lasts) * S}
            return e.MaintenanceSet(**when, window=Window(id=f"w{number}", centre=centre, node=name, **span))
        case "away" if not state.t.centres[what].away:
            return e.CentreAway(**when, centre=what, silent_s=60)
        case "back" if state.t.centres[what].away:
            return e.CentreBack(**when, centre=what)
        case "revoke":
            return e.CentreRevoked(**when, centre=what[0], give_up=what[1])
        case "join":
            return e.CentreJoined(**when, centre=what, key_sha256=f"k{number}")
        case "nodes":
            return e.NodesSeen(**when, centre=what[0], nodes=NODES[what[0]][: what[1]])
        case "keep" if state.t.runs:
            run = list(state.t.runs.values())[what[0] % len(state.t.runs)]
            return e.OutputKept(**when, job=run.job, run=run.id, version="v", size_bytes=1, files=1, whole=what[1])
        case "tick":
            return e.Tick(**when)
    return None


def play(steps: list[Any]) -> tuple[State, list[e.Event]]:
    """A history made of random steps, and everything that a journal would hold of it."""
    state, lines, at = two_centres(), list[e.Event](), 0
    for number, (kind, what) in enumerate(steps):
        at += what if kind == "tick" else 1
        fact = fact_of(state, kind, what, at, number)
        if fact is None:
            continue
        decisions = decided(state, fact)
        lines += decisions if kind == "tick" else [fact, *decisions]
        check_cards(state)
        check_jobs(state)
    return state, lines


def decided(state: State, fact: e.Event) -> list[e.Event]:
    """What follows from a fact; and no run is placed on what was out, after the fact and what was decided before."""
    decisions = replay(state, fact)
    for launched in (d for d in decisions if isinstance(d, e.Launched)):
        run = state.t.runs[launched.run]
        for part in run.allocation.parts:
            centre, stands = run.allocation.centre, state.t.node_states.get(run.allocation.centre, {}).get(part.node)
            found = state.node(centre, part.node)
            assert found is not None and not state.why_out(centre, found)
            assert found.counted or not set(part.cards) & set(state.bad_cards.get((centre, part.node), {}))
            assert found.counted or not stands or not set(part.cards) & set(stands.busy)
            limit_s = state.t.jobs[run.job].job.time_limit_s
            for window in state.t.windows.values():
                inside = window.from_ns <= fact.at_ns + int((limit_s or 0) * S) and fact.at_ns < window.to_ns
                assert not (inside and window.centre == centre and window.node in ("", part.node))
    return decisions


def check_cards(state: State) -> None:
    """Each card is held once, free, or out; the counts that placing goes by agree with a count one by one."""
    held: dict[tuple[str, str, int], str] = {}
    for run in state.live:
        for card in state.t.runs[run].allocation.each():
            assert card not in held, "a card is held by one run at a time"
            held[card] = run
    free = dict.fromkeys(CHIPS, 0)
    for (centre, name), room in state.rooms.by_node.items():
        assert not set(room.free) & {card for where, there, card in held if (where, there) == (centre, name)}
        assert room.free == state.free_of(centre, room.node) and len(set(room.free)) == len(room.free)
        assert not room.free or not state.why_out(centre, room.node)
        free[room.node.chip] += len(room.free)
    for chip in CHIPS:
        islands = state.rooms.islands.get(chip, {}).values()
        assert state.free_cards(chip) == free[chip] == sum(island.free for island in islands)
        assert all(
            len(island.rooms[name].free) == n for island in islands for n, names in island.by_free.items() for name in names
        )


def check_jobs(state: State) -> None:
    waiting = len(list(state.queue.jobs())) + len(state.t.reservations)
    assert waiting == state.waiting == sum(s.phase is Phase.WAITING for s in state.t.jobs.values())
    for standing in state.t.jobs.values():
        going_on = [run for run in standing.runs if not state.t.runs[run].outcome]
        assert len(going_on) == (0 if standing.phase.over or standing.phase is Phase.WAITING else 1)
        assert standing.forgiven <= 20 + sum(state.t.runs[run].requeue for run in standing.runs)


def indexes(state: State) -> dict[str, Any]:
    return {
        "rooms": state.rooms.by_node,
        "free": +state.rooms.free,
        "islands": {
            (chip, key): (island.free, island.total, island.by_free)
            for chip, islands in state.rooms.islands.items()
            for key, island in islands.items()
        },
        "live": (state.live, state.limited),
        "at": {centre: runs for centre, runs in state.live_at.items() if runs},
        "ends": state.ends.by_island,
        "bad": state.bad_cards,
        "unsent": {centre: set(runs) for centre, runs in state.unsent.items() if runs},
        "centres": (state.centres_by_key, state.centres_by_token),
        "held": {key: cards for key, cards in state.held.items() if cards},
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(a_step, max_size=60))
def test_cards_are_conserved_and_nothing_is_placed_on_what_is_out_whatever_happens(steps):
    play(steps)


@settings(max_examples=150, deadline=None)
@given(st.lists(a_step, max_size=50))
def test_folding_the_journal_again_ends_in_the_same_state_and_so_does_a_snapshot(steps):
    state, lines = play(steps)
    again = two_centres()
    for line in lines:
        again.fold(e.from_json(type(line).__name__, json.loads(json.dumps(e.to_json(line)))))
    restored = State(decode(Tables, json.loads(json.dumps(encode(state.t)))))
    assert again.t == restored.t == state.t
    assert indexes(again) == indexes(restored) == indexes(state)
    assert replay(restored, e.Tick(at_ns=10**13, by="x")) == replay(state, e.Tick(at_ns=10**13, by="x"))
