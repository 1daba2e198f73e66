"""Fold what happens to centres, nodes and cards into the state.

Beside `state.py`, and called by it only: the same rules hold (once an event, nothing is decided, nothing fails). An event changes
the rooms of the nodes that it is about, and of no others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forebay.chips.node import Condition, NodeState
from forebay.cloud.core import events as e
from forebay.cloud.core import evidence
from forebay.cloud.core.job import Run
from forebay.cloud.core.pool import Centre, Mark, place_name
from forebay.units import MIB

if TYPE_CHECKING:
    from forebay.cloud.core.state import State

LEAST_BYTES = 16 * MIB  # of what a run had to be brought, that it says something about a centre's rate
FADES = 0.75  # what was measured before counts for so much when something is measured


def fold(state: State, event: e.Event) -> None:
    state.troubled = True  # until it is known
    _fold(state, event)
    _look(state)


def _look(state: State) -> None:
    t = state.t
    state.troubled = bool(t.marks or t.node_states) or any(centre.revoked or centre.away for centre in t.centres.values())


def _fold(state: State, event: e.Event) -> None:
    t = state.t
    match event:
        case e.NodesSeen(centre=name, nodes=nodes):
            t.centres[name] = replace(t.centres[name], nodes=nodes)
            _index_rooms(state, name)
            state.measure()
        case e.NodeStatesSeen(centre=name, states=states):
            known = t.node_states.setdefault(name, {})
            for stands in states:
                if stands == NodeState(name=stands.name):
                    known.pop(stands.name, None)
                else:
                    known[stands.name] = stands
                _note_down(state, name, stands, event.at_ns)
                state.refresh(name, stands.name)
            if not known:
                del t.node_states[name]
        case e.CentreMade(name=name, token_sha256=token, expires_at_ns=expires):
            t.centres[name] = t.centres.get(name) or Centre(name=name, token_sha256="")
            _new_token(state, name, token, expires)
        case e.TokenMade(centre=name, token_sha256=token, expires_at_ns=expires):
            _new_token(state, name, token, expires)
        case e.CentreJoined(centre=name, key_sha256=key, version=version):
            centre = t.centres[name]
            state.centres_by_key.pop(centre.key_sha256, None)
            t.centres[name] = replace(
                centre,
                key_sha256=key,
                token_key_sha256=key,
                version=version or centre.version,
                revoked=False,
                generation=centre.generation + 1,
                back_at_ns=event.at_ns,
            )
            state.centres_by_key[key] = name
            if centre.revoked:
                _index_rooms(state, name)
                state.measure()
        case e.CentreRevoked(centre=name):
            centre = t.centres[name]
            state.centres_by_key.pop(centre.key_sha256, None)
            state.centres_by_token.pop(centre.token_sha256, None)
            t.centres[name] = replace(centre, key_sha256="", token_sha256="", token_key_sha256="", revoked=True)
            _index_rooms(state, name)
            state.measure()
        case e.AgentSeen(centre=name, engine=engine, version=version):
            t.centres[name] = replace(t.centres[name], engine=engine, version=version)
        case e.CentreAway(centre=name):
            t.centres[name] = replace(t.centres[name], away=True, generation=t.centres[name].generation + 1)
            _refresh_all(state, name)
        case e.CentreBack(centre=name):
            t.centres[name] = replace(t.centres[name], away=False, back_at_ns=event.at_ns)
            _refresh_all(state, name)
        case e.CentreOwned(centre=name, organisation=organisation, share=share):
            t.centres[name] = replace(t.centres[name], owner=organisation, owner_share=share if organisation else 0.0)
        case e.CentreRateSet(centre=name, bytes_per_s=bytes_per_s):
            t.centres[name] = replace(t.centres[name], said_bytes_per_s=bytes_per_s, pulled_bytes=0, pulled_ns=0)
        case e.Drained(centre=name, node=node, card=card, reason=reason):
            _mark(state, Mark(centre=name, node=node, card=card, reason=reason, by=event.by, at_ns=event.at_ns))
        case e.Quarantined(centre=name, node=node, card=card, reason=reason):
            mark = Mark(centre=name, node=node, card=card, reason=reason, by=event.by, at_ns=event.at_ns, quarantine=True)
            _mark(state, mark)
            if card is None:
                _doubt_all(state, name, node)
            if event.runs:
                evidence.clear(state, name, node)
        case e.Undrained(centre=name, node=node, card=card):
            _unmark(state, name, node, card)
            evidence.clear(state, name, node)
        case e.MaintenanceSet(window=window):
            for old in [w.id for w in t.windows.values() if w.to_ns < event.at_ns and not w.began]:  # of an older Forebay
                del t.windows[old]
            t.windows[window.id] = window
        case e.MaintenanceBegan(window=window_id):
            t.windows[window_id] = replace(t.windows[window_id], began=True)
        case e.MaintenanceLifted(window=window_id) | e.MaintenanceOver(window=window_id):
            t.windows.pop(window_id, None)
        case e.CheckSeen():
            _check(state, event)
        case _:
            raise AssertionError(f"no fold for {type(event).__name__}")


def index(state: State) -> None:
    """Make the indexes of centres and nodes from the tables."""
    for centre in state.t.centres.values():
        if centre.key_sha256:
            state.centres_by_key[centre.key_sha256] = centre.name
        if centre.token_sha256:
            state.centres_by_token[centre.token_sha256] = centre.name
    for mark in state.t.marks.values():
        if mark.card is not None:
            state.bad_cards.setdefault((mark.centre, mark.node), {})[mark.card] = mark
    for name in state.t.centres:
        _index_rooms(state, name)
    _look(state)
    for run in state.t.runs.values():
        if run.running_at_ns:
            _note_data(state, run)
    for name, known in state.t.node_states.items():  # a snapshot of before it was noted since when a node is down
        for stands in known.values():
            _note_down(state, name, stands, state.t.last_at_ns)


def arrived(state: State, run: Run, event: e.Started) -> None:
    """A run has started, so all that it mounts lies at its centre; and how fast that came, if its agent had to bring it."""
    _note_data(state, run)
    if event.fetched_bytes >= LEAST_BYTES and event.fetched_ns > 0:
        centre = state.t.centres[run.allocation.centre]
        state.t.centres[centre.name] = replace(
            centre,
            pulled_bytes=int(centre.pulled_bytes * FADES) + event.fetched_bytes,
            pulled_ns=int(centre.pulled_ns * FADES) + event.fetched_ns,
        )


def _note_data(state: State, run: Run) -> None:
    job = state.t.jobs[run.job].job
    for source in job.script.mounts.values() if job.script else ():
        if source.startswith("data:"):
            state.lies.setdefault(f"{job.organisation}/{source[5:]}", set()).add(run.allocation.centre)


def _note_down(state: State, centre: str, stands: NodeState, at_ns: int) -> None:
    if stands.condition is Condition.DOWN:
        state.t.down.setdefault(place_name(centre, stands.name), at_ns)
    else:
        state.t.down.pop(place_name(centre, stands.name), None)


def _doubt_all(state: State, centre: str, node: str) -> None:
    """All cards of a node are to be looked at before the next run on them."""
    known = state.node(centre, node)
    for card in known.cards if known else ():
        state.t.good_checks.pop(place_name(centre, node, card.index), None)


def _new_token(state: State, name: str, token: str, expires_at_ns: int | None) -> None:
    centre = state.t.centres[name]
    state.centres_by_token.pop(centre.token_sha256, None)
    state.t.centres[name] = replace(centre, token_sha256=token, token_key_sha256="", token_expires_at_ns=expires_at_ns)
    state.centres_by_token[token] = name


def _index_rooms(state: State, name: str) -> None:
    state.rooms.remove_centre(name)
    centre = state.t.centres[name]
    if not centre.revoked:
        for node in centre.nodes:
            state.rooms.add(name, node, state.free_of(name, node))
    state.expect_again(name)


def _refresh_all(state: State, centre: str) -> None:
    for node in state.t.centres[centre].nodes:
        state.refresh(centre, node.name)


def _refresh_marked(state: State, centre: str, node: str) -> None:
    if node:
        state.refresh(centre, node)
    else:
        _refresh_all(state, centre)


def _mark(state: State, mark: Mark) -> None:
    state.t.marks[mark.place] = mark
    if mark.card is not None:
        state.bad_cards.setdefault((mark.centre, mark.node), {})[mark.card] = mark
        state.t.good_checks.pop(mark.place, None)
    _refresh_marked(state, mark.centre, mark.node)


def _unmark(state: State, centre: str, node: str, card: int | None) -> None:
    state.t.marks.pop(place_name(centre, node, card), None)
    if card is not None and (bad := state.bad_cards.get((centre, node))):
        bad.pop(card, None)
        if not bad:
            del state.bad_cards[(centre, node)]
    _refresh_marked(state, centre, node)


def _check(state: State, event: e.CheckSeen) -> None:
    run = state.t.runs[event.run]
    state.t.runs[event.run] = replace(run, checked=(*run.checked, event.name))
    for card in event.cards:
        place = place_name(event.centre, event.node, card)
        if str(card) in event.bad:
            state.t.good_checks.pop(place, None)
        else:
            state.t.good_checks[place] = event.at_ns
