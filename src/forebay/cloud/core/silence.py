"""Say which runs are taken for lost because a node of theirs is down and nobody tells their end. Pure.

Asked:  an engine says that a node is down, and says nothing of the run that has cards there. How long is that waited for?
Answer: five minutes, counted from when the node was first told to be down; and anew from when its centre was heard of again, or
        the cloud itself began to listen, so that an agent always has the time to tell. One clock a node, none a run.
Held:   until the node's last sign, which is when it was first told to be down, by the cloud's clock since nobody measured it.
        What came after the newest checkpoint is lost, and credited.
Limits: a node that vanished from its centre's listing without ever being down keeps its runs; so does one of a silent centre
        (decision 0065).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Run
from forebay.cloud.core.pool import split_place
from forebay.units import NS_PER_S

if TYPE_CHECKING:
    from forebay.cloud.core.state import State

LOST_AFTER_NS = 300 * NS_PER_S


def lost(state: State, tick: e.Tick) -> list[e.Ended]:
    """The ends, not folded yet, of the runs that are given up now."""
    if not state.t.down:
        return []
    ends: dict[str, e.Ended] = {}
    for place, down_ns in state.t.down.items():
        if (due := _due_ns(state, place, down_ns, tick.began_ns)) is None or tick.at_ns < due:
            continue
        for run in state.runs_at(*split_place(place)):
            known = ends.get(run.id)
            if known is None or _held_ns(run, down_ns) < known.held_ns:
                ends[run.id] = _end(run, place, down_ns, tick.at_ns)
    return list(ends.values())


def next_ns(state: State) -> Iterator[int]:
    """When runs are given up next, if nothing happens before."""
    for place, down_ns in state.t.down.items():
        due = _due_ns(state, place, down_ns, 0)
        if due is not None and any(state.runs_at(*split_place(place))):
            yield due


def _due_ns(state: State, place: str, down_ns: int, began_ns: int) -> int | None:
    centre, _ = split_place(place)
    if not state.reachable(centre):
        return None
    return max(down_ns, state.t.centres[centre].back_at_ns, began_ns) + LOST_AFTER_NS


def _held_ns(run: Run, down_ns: int) -> int:
    return max(0, down_ns - run.running_at_ns) if run.running_at_ns else 0


def _end(run: Run, place: str, down_ns: int, now_ns: int) -> e.Ended:
    held_ns = _held_ns(run, down_ns)
    return e.Ended(
        at_ns=now_ns,
        by="forebay",
        run=run.id,
        outcome="lost",
        held_ns=held_ns,
        lost_ns=min(held_ns, down_ns - run.checkpoint_at_ns) if run.checkpoint_at_ns else held_ns,
        reason=f"{place} is down, and its centre can't tell what became of the run",
        checkpointed=run.checkpoint_at_ns > 0,
    )
