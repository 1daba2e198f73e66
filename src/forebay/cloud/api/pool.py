"""What the pool has, who holds it and what is out of use."""

from __future__ import annotations

from collections import defaultdict

from fastapi import APIRouter

from forebay.chips.node import Node, NodeState
from forebay.cloud.access import Who
from forebay.cloud.api.centres import standing_of
from forebay.cloud.api.desk import At, Desk, ReadsPool
from forebay.cloud.core.job import Phase
from forebay.cloud.core.pool import Centre, place_name
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.units import NS_PER_S

router = APIRouter(prefix="/api/v1")


@router.get("/pool", tags=["pool"])
async def pool(desk: At, by: ReadsPool, cards: bool = True) -> Body:
    """Centres, nodes and cards, what is out of use and why, and how long jobs wait. Whose run holds a card is told to its own
    organisation and to operators only. `cards=false` leaves out the single cards.
    """
    state = desk.state
    return {
        "centres": [_centre(desk, by, centre, cards) for centre in state.t.centres.values()],
        "maintenance": [encode(window) for window in state.t.windows.values() if window.to_ns > desk.loop.clock.now_ns()],
        "waiting": state.waiting,
        "queue": _queue(state, desk.loop.clock.now_ns()),
    }


def _centre(desk: Desk, by: Who, centre: Centre, with_cards: bool) -> Body:
    state, heard = desk.state, desk.loop.heard_s_ago(centre.name)
    mark = state.t.marks.get(centre.name)
    queued = [run for run in state.runs_at(centre.name) if run.queue_reason]
    return {
        "name": centre.name,
        "state": standing_of(centre),
        "engine": centre.engine,
        "version": centre.version,
        "heard_s_ago": None if heard is None else round(heard, 1),
        "drained": mark.reason or "drained" if mark else None,
        "queued": len(queued),  # runs that wait in the centre's own queue
        "nodes": [_node(state, by, centre.name, node, with_cards) for node in centre.nodes],
    }


def _node(state: State, by: Who, centre: str, node: Node, with_cards: bool) -> Body:
    """`out`: why it gets no new runs. `ours` + `others` + `unfit` + `free` cards are all, while it isn't out."""
    stands = state.t.node_states.get(centre, {}).get(node.name) or NodeState(name=node.name)
    bad = state.bad_cards.get((centre, node.name), {})
    out = state.why_out(centre, node)
    holders = {card.index: state.holder(centre, node.name, card.index) for card in node.cards}
    room = state.rooms.by_node.get((centre, node.name))
    ours = {index for index, run in holders.items() if run}
    others = len(set(stands.busy) - ours) if not node.counted else min(len(set(stands.busy)), len(node.cards) - len(ours))
    body: Body = {
        "name": node.name,
        "chip": node.chip,
        "pretend": node.pretend,
        "island": node.island,
        "leaf": node.leaf,
        "condition": stands.condition.value,
        "out": out,
        "count": len(node.cards),
        "free": len(room.free) if room else 0,
        "ours": len(ours),
        "others": others,
        "unfit": {str(index): _why(mark.reason, mark.quarantine) for index, mark in sorted(bad.items())},
        "held_by": sorted({_seen(state, by, run) for run in holders.values() if run}),
    }
    if with_cards:
        body["cards"] = [
            {
                "index": card.index,
                "cores": list(card.cores),
                "held_by": _seen(state, by, run) if (run := holders[card.index]) else None,
                "others": card.index in stands.busy and card.index not in ours,
                "out": _why(bad[card.index].reason, bad[card.index].quarantine) if card.index in bad else "",
                "checked_at_ns": state.t.good_checks.get(place_name(centre, node.name, card.index)),
            }
            for card in node.cards
        ]
    return body


def _why(reason: str, quarantine: bool) -> str:
    return ("quarantined" if quarantine else "drained") + (f": {reason}" if reason else "")


def _seen(state: State, by: Who, run: str) -> str:
    return run if by.sees(state.t.jobs[state.t.runs[run].job].job.organisation) else "busy"


def _queue(state: State, now_ns: int) -> list[Body]:
    """How hot the queue is: by what jobs want, how many wait for cards, how many cards they want at least (of all that there
    are), for how many some are kept, and how long the oldest has waited; and the same for runs that have their cards but wait
    in their centre's own queue.
    """
    waiting: dict[tuple[str, ...], list[int]] = defaultdict(list)
    wanted: dict[tuple[str, ...], int] = defaultdict(int)
    kept: dict[tuple[str, ...], int] = defaultdict(int)
    for job in state.queue.jobs():
        standing = state.t.jobs[job]
        chips = tuple(sorted({option.chip for option in standing.job.menu}))
        waiting[chips].append(standing.submitted_at_ns)
        wanted[chips] += min(option.cards for option in standing.job.menu)
        kept[chips] += job in state.t.reservations
    lines = [
        {
            "chips": " or ".join(chips),
            "jobs": len(since),
            "cards": wanted[chips],
            "of": sum(state.total.get(chip, 0) for chip in chips),
            "kept_for": kept[chips],
            "oldest_s": round((now_ns - min(since)) / NS_PER_S, 1),
            "centre": None,
        }
        for chips, since in sorted(waiting.items())
    ]
    cards: dict[tuple[str, str], int] = defaultdict(int)
    inside: dict[tuple[str, str], list[int]] = defaultdict(list)
    for run_id in state.live:
        run = state.t.runs[run_id]
        if run.queue_reason and state.t.jobs[run.job].phase is Phase.QUEUED:
            inside[(run.allocation.chip, run.allocation.centre)].append(run.launched_at_ns)
            cards[(run.allocation.chip, run.allocation.centre)] += run.allocation.cards
    lines += [
        {
            "chips": chip,
            "jobs": len(since),
            "cards": cards[(chip, centre)],
            "of": state.total.get(chip, 0),
            "kept_for": 0,
            "oldest_s": round((now_ns - min(since)) / NS_PER_S, 1),
            "centre": centre,
        }
        for (chip, centre), since in sorted(inside.items())
    ]
    return lines
