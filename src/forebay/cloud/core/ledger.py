"""Where the time of every card went: a fold that is kept beside the rest of the state.

Asked:  for every card that the pool ever had, how long was it used, idle and down, since it joined and until it left?
Answer: a Life a card. Each event settles the cards that it is about: the time since the last change is added to what the card
        was, and what it is now is noted. So `used + idle + down = elapsed` holds to the nanosecond, whatever crashed meanwhile:
        the times are the journal's own. A Tally sums the same over the cards of a chip at a centre; a Reading of all tallies is
        kept for every hour (a week long) and every day, from which any stretch that begins there is told by a difference.
Clock:  the cloud's, as all of the journal. A card is *used* from the decision that gives it to a run until the cloud hears of
        the run's end. What is billed is *held*: measured by the engine's monotonic clock, and within that time.
Limits: used comes before down: a card of a silent centre, or of a drained node, whose run goes on is used. Cards that others
        hold at their centre count as down, and `others` says how much of it that was. So do cards in a window of maintenance,
        from the tick that saw it begin to the one that saw it end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay.chips.node import Node
from forebay.cloud.core import events as e
from forebay.cloud.core.pool import Allocation
from forebay.units import NS_PER_S

if TYPE_CHECKING:
    from forebay.cloud.core.state import State

USED, IDLE, DOWN, OTHERS, GONE = "used", "idle", "down", "others", "gone"
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
HOURS_KEPT_NS = 8 * DAY_NS
DAYS_KEPT_NS = 800 * DAY_NS


@dataclass(slots=True, kw_only=True)
class Life:
    """One card, from when it joined the pool: what it is now, since when, and what it was before that."""

    group: str  # the tally that it counts in
    joined_ns: int
    since_ns: int
    kind: str  # "used", "idle", "down", "others" or "gone"
    used_ns: int = 0
    idle_ns: int = 0
    down_ns: int = 0  # others included
    others_ns: int = 0
    gone_ns: int = 0  # it had left, and came back

    def settle(self, at_ns: int, kind: str) -> None:
        """It is `kind` from now on."""
        lasted = at_ns - self.since_ns
        if self.kind == USED:
            self.used_ns += lasted
        elif self.kind == IDLE:
            self.idle_ns += lasted
        elif self.kind == GONE:
            self.gone_ns += lasted
        else:
            self.down_ns += lasted
            self.others_ns += lasted if self.kind == OTHERS else 0
        self.since_ns, self.kind = at_ns, kind

    def elapsed_ns(self, now_ns: int) -> int:
        """How long it has been in the pool."""
        until = self.since_ns if self.kind == GONE else now_ns
        return until - self.joined_ns - self.gone_ns


@dataclass(slots=True, kw_only=True)
class Tally:
    """Cards of one chip at one centre, or those of them that one organisation used: how many are what, and card-time so far."""

    centre: str
    chip: str
    pretend: bool = False
    organisation: str = ""  # empty: all cards
    at_ns: int = 0  # up to when the times below are counted
    used: int = 0
    idle: int = 0
    down: int = 0  # others not included
    others: int = 0
    used_ns: int = 0
    idle_ns: int = 0
    down_ns: int = 0  # others included
    others_ns: int = 0
    held_ns: int = 0  # as told by engines so far; of ended runs it is what is billed
    measured_ns: int = 0  # of held: while a monitor told how busy the cards were
    active_ns: int = 0  # of measured
    productive_ns: int = 0  # of held: covered by steps that count

    def count(self, kind: str, more: int) -> None:
        if kind == USED:
            self.used += more
        elif kind == IDLE:
            self.idle += more
        elif kind == DOWN:
            self.down += more
        elif kind == OTHERS:
            self.others += more

    def advance(self, at_ns: int) -> None:
        (self.used_ns, self.idle_ns, self.down_ns, self.others_ns, *_), self.at_ns = self.reading(at_ns), at_ns

    def reading(self, at_ns: int) -> tuple[int, ...]:
        """Card-time up to a moment, in the order of `READ`."""
        lasted = at_ns - self.at_ns
        return (
            self.used_ns + self.used * lasted,
            self.idle_ns + self.idle * lasted,
            self.down_ns + (self.down + self.others) * lasted,
            self.others_ns + self.others * lasted,
            self.held_ns,
            self.measured_ns,
            self.active_ns,
            self.productive_ns,
        )


READ = ("used_ns", "idle_ns", "down_ns", "others_ns", "held_ns", "measured_ns", "active_ns", "productive_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All tallies at a full hour: the times of `READ` by a tally's key."""

    at_ns: int
    tallies: dict[str, tuple[int, ...]]


def begin(state: State) -> None:
    """Of a journal from before there was a ledger, cards are counted from its last line on."""
    if state.t.lives:
        return
    for name in state.t.centres:
        for node in _nodes(state, name):
            _settle(state, name, node)
    for run in state.live:
        _organisation_uses(state, run, state.t.runs[run].allocation.cards)


def fold(state: State, event: e.Event) -> None:
    """Called when the rest of the state holds the event."""
    if state.t.last_at_ns - state.t.read_at_ns >= HOUR_NS:
        _read(state, state.t.last_at_ns)
    settle = _SETTLES.get(type(event))
    if settle is not None:
        settle(state, event)


def _launched(state: State, event: e.Launched) -> None:
    allocation, at_ns = event.allocation, state.t.last_at_ns
    group = _key(allocation.centre, allocation.chip, allocation.pretend, "")
    tally = _tally_of(state, group)
    tally.advance(at_ns)
    for part in allocation.parts:
        room = state.rooms.by_node.get((allocation.centre, part.node))
        if room is None or room.node.counted:
            _settle(state, allocation.centre, part.node)
            continue
        known = state.t.lives[allocation.centre][part.node]
        for card in part.cards:  # the commonest event, so by the shortest way
            life = known[str(card)]
            tally.count(life.kind, -1)
            life.settle(at_ns, USED)
            tally.used += 1
    _organisation_uses(state, event.run, allocation.cards)


def _ended(state: State, event: e.Ended) -> None:
    allocation = state.t.runs[event.run].allocation
    _settle_parts(state, allocation)
    _organisation_uses(state, event.run, -allocation.cards)


def _stand(state: State, event: e.NodeStatesSeen) -> None:
    for stands in event.states:
        _settle(state, event.centre, stands.name)


def _marked(state: State, event: e.Drained | e.Undrained | e.Quarantined | e.MaintenanceBegan | e.MaintenanceOver) -> None:
    for name in [event.node] if event.node else _nodes(state, event.centre):
        _settle(state, event.centre, name)


def _centre(state: State, event: Any) -> None:
    for name in _nodes(state, event.centre):
        _settle(state, event.centre, name)


def _lifted(state: State, event: e.MaintenanceLifted) -> None:
    """Where the window was is known no more, and this is seldom: so everywhere."""
    for centre in state.t.centres:
        for name in _nodes(state, centre):
            _settle(state, centre, name)


_SETTLES: Mapping[type[e.Event], Callable[[State, Any], None]] = {
    e.Launched: _launched,
    e.Ended: _ended,
    e.NodeStatesSeen: _stand,
    e.MaintenanceLifted: _lifted,
    **dict.fromkeys((e.Drained, e.Undrained, e.Quarantined, e.MaintenanceBegan, e.MaintenanceOver), _marked),
    **dict.fromkeys((e.NodesSeen, e.CentreJoined, e.CentreRevoked, e.CentreAway, e.CentreBack), _centre),
}


def tallies_of(state: State, run_id: str) -> tuple[Tally, Tally]:
    """Those in which a run's cards count: of all, and of its organisation."""
    run = state.t.runs[run_id]
    where = run.allocation
    organisation = state.t.jobs[run.job].job.organisation
    return (
        _tally(state, where.centre, where.chip, where.pretend, ""),
        _tally(state, where.centre, where.chip, where.pretend, organisation),
    )


def since(state: State, from_ns: int) -> Reading:
    """The newest reading at or before a moment; all zero where there is none."""
    found = [reading for reading in state.t.readings if reading.at_ns <= from_ns]  # the newest is the last
    return found[-1] if found else Reading(at_ns=0, tallies={})


def lives(state: State) -> Iterator[tuple[str, str, str, Life]]:
    """Every card that the pool ever had, as (centre, node, card, life)."""
    for centre, nodes in state.t.lives.items():
        for node, cards in nodes.items():
            for card, life in cards.items():
                yield centre, node, card, life


def _nodes(state: State, centre: str) -> list[str]:
    """The nodes that a centre has, and those that it had."""
    return list(dict.fromkeys([*(node.name for node in state.t.centres[centre].nodes), *state.t.lives.get(centre, {})]))


def _settle_parts(state: State, allocation: Allocation) -> None:
    for part in allocation.parts:
        room = state.rooms.by_node.get((allocation.centre, part.node))
        counted = room is None or room.node.counted  # then which of its cards are others' may change with ours
        _settle(state, allocation.centre, part.node, None if counted else part.cards)


def _settle(state: State, centre: str, name: str, only: Sequence[int] | None = None) -> None:
    """Note what the cards of a node are now; `only` some of them, where the others can't have changed."""
    at_ns = state.t.last_at_ns
    room = state.rooms.by_node.get((centre, name))
    node = room.node if room else None
    group = _key(centre, node.chip, node.pretend, "") if node else ""
    known = state.t.lives.setdefault(centre, {}).setdefault(name, {})
    tally: Tally | None = None
    for index, kind in _kinds(state, centre, name, node, only):
        life = known.get(index)
        if life is None:
            if node is None:
                continue
            life = known[index] = Life(group=group, joined_ns=at_ns, since_ns=at_ns, kind=GONE)
        elif life.kind == kind and (node is None or life.group == group):
            continue
        if tally is None or life.group != group:
            tally = _tally_of(state, life.group)
            tally.advance(at_ns)
        tally.count(life.kind, -1)
        life.settle(at_ns, kind)
        if node is not None and life.group != group:
            life.group = group
            tally = _tally_of(state, group)
            tally.advance(at_ns)
        tally.count(kind, 1)


def _kinds(state: State, centre: str, name: str, node: Node | None, only: Sequence[int] | None) -> Iterator[tuple[str, str]]:
    """What cards of a node are now, by their numbers."""
    holder = state.holder
    if node is None:  # it has left, or its centre was revoked; a run may hold cards of it all the same
        for card in state.t.lives[centre][name]:
            yield card, USED if holder(centre, name, int(card)) else GONE
        return
    out = bool(state.why_out(centre, node)) or _is_maintained(state, centre, name)
    stands = state.t.node_states.get(centre, {}).get(name)
    busy = stands.busy if stands else ()
    bad = state.bad_cards.get((centre, name), {})
    if node.counted:
        left = [card.index for card in node.cards if not holder(centre, name, card.index)]
        busy = tuple(left[max(0, len(left) - len(set(busy))) :])
    for index in [card.index for card in node.cards] if only is None else only:
        if holder(centre, name, index):
            yield str(index), USED
        elif out or index in bad:
            yield str(index), DOWN
        else:
            yield str(index), OTHERS if index in busy else IDLE
    if only is None:
        here = {str(card.index) for card in node.cards}
        for card in [card for card in state.t.lives[centre][name] if card not in here]:
            yield card, USED if holder(centre, name, int(card)) else GONE


def _is_maintained(state: State, centre: str, node: str) -> bool:
    return any(w.began and w.centre == centre and w.node in ("", node) for w in state.t.windows.values())


def _organisation_uses(state: State, run_id: str, cards: int) -> None:
    _, tally = tallies_of(state, run_id)
    tally.advance(state.t.last_at_ns)
    tally.used += cards


def _key(centre: str, chip: str, pretend: bool, organisation: str) -> str:
    return f"{centre}|{chip}|{'pretend' if pretend else ''}|{organisation}"


def _tally(state: State, centre: str, chip: str, pretend: bool, organisation: str) -> Tally:
    return _tally_of(state, _key(centre, chip, pretend, organisation))


def _tally_of(state: State, key: str) -> Tally:
    tally = state.t.tallies.get(key)
    if tally is None:
        centre, chip, pretend, organisation = key.split("|")
        tally = Tally(centre=centre, chip=chip, pretend=bool(pretend), organisation=organisation, at_ns=state.t.last_at_ns)
        state.t.tallies[key] = tally
    return tally


def _read(state: State, at_ns: int) -> None:
    """Take the readings that have come due. Between two events nothing changes, so those of an hour in which nothing happened
    are exact too; where several hours have passed, that of the last one and of the last midnight (UTC) are taken.
    """
    t, hour_ns = state.t, at_ns - at_ns % HOUR_NS
    before_ns, t.read_at_ns = t.read_at_ns, hour_ns
    if not before_ns or not t.tallies:
        return
    for moment in dict.fromkeys((at_ns - at_ns % DAY_NS, hour_ns)):
        if moment > before_ns:
            read = {key: tally.reading(moment) for key, tally in t.tallies.items()}
            kept = (reading for reading in t.readings if not _is_old(reading, at_ns))
            t.readings = (*kept, Reading(at_ns=moment, tallies=read))


def _is_old(reading: Reading, at_ns: int) -> bool:
    return reading.at_ns < at_ns - (HOURS_KEPT_NS if reading.at_ns % DAY_NS else DAYS_KEPT_NS)
