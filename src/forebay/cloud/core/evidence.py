"""Judge who is to blame when runs end badly: a node or card where several jobs fail, or a job that fails on several nodes. Pure.

    for found in verdicts(state, run): ...      # places to be quarantined, after a run has ended
    failed_on(state, standing)                  # on how many different nodes in a row a job failed without getting further

Asked:  a run was killed by a signal, lost, or found unfit cards. Is the machine bad, or the program?
Answer: a place is bad when runs of three jobs failed there within an hour, nothing succeeded there in between, and none of these
        jobs failed elsewhere. Of those that didn't succeed elsewhere either, jobs of one program (organisation, project, entry)
        count as one: somebody who sends the same crash again and again convicts no machine.
        A card is marked if it alone explains the failures, else its node. A job that failed on three different nodes in a row and
        made no checkpoint is the one to blame: it isn't tried again.
Care:   a program that exits by itself says nothing of a machine. Runs that are lost within a minute are one incident. Where
        another node of all those runs explains the failures as well, neither is marked. The last place of a chip that is in use
        is never marked.
Limits: a node's last 16 failures are looked at. Programs of three tenants that crash at their first try on the same node, with
        nothing else running there, look like a bad node until they are tried elsewhere; an operator undrains it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from forebay.cloud.core.job import Job, Run, Standing
from forebay.cloud.core.pool import place_name
from forebay.units import NS_PER_S

if TYPE_CHECKING:
    from forebay.cloud.core.state import State

WINDOW_NS = 3600 * NS_PER_S
AT_ONCE_NS = 60 * NS_PER_S  # runs that are lost within this are one incident
JOBS = 3  # that must have failed at a place
NODES = 3  # on which a job must have failed
MOST = 16  # failures of a node that are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A node on which runs failed lately: which, and when something succeeded there since."""

    runs: tuple[str, ...] = ()  # oldest first
    well: dict[str, int] = field(default_factory=dict)  # card -> when a run on it last succeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A place that is to be taken out of use, and the runs that speak against it."""

    centre: str
    node: str
    card: int | None
    runs: tuple[str, ...]
    reason: str


def speaks(run: Run) -> bool:
    """Whether a run ended in a way for which a machine can be to blame: by a signal, lost, or unfit. Not by its own exit code,
    not when it was asked to stop, and not when nobody saw its end.
    """
    if run.stop:
        return False
    if run.outcome == "lost":
        return run.held_ns > 0
    return run.outcome == "unfit" or (run.outcome == "failed" and (run.exit_code or 0) < 0)


def note(state: State, run: Run) -> None:
    """Fold the end of a run into the table of suspects."""
    suspects, centre = state.t.suspects, run.allocation.centre
    if speaks(run):
        for part in run.allocation.parts:
            place = place_name(centre, part.node)
            known = suspects.get(place, Suspect())
            recent = [r for r in known.runs if run.ended_at_ns - state.t.runs[r].ended_at_ns <= WINDOW_NS]
            suspects[place] = replace(known, runs=(*recent[1 - MOST :], run.id))
    elif suspects and run.outcome == "succeeded":
        for part in run.allocation.parts:
            place = place_name(centre, part.node)
            if place in suspects:
                known = suspects[place]
                cards = run.bound.get(part.node, part.cards)
                suspects[place] = replace(known, well={**known.well, **{str(c): run.ended_at_ns for c in cards}})


def clear(state: State, centre: str, node: str) -> None:
    """An operator looked at a place, or it was judged: what spoke against it is forgotten."""
    state.t.suspects.pop(place_name(centre, node), None)


# Machines.


def verdicts(state: State, run: Run) -> Iterator[Verdict]:
    """The places that the end of a run convicts: those where it failed, or, if it went well, where its job had failed before."""
    if speaks(run):
        places = _nodes(run)
    elif state.t.suspects and run.outcome == "succeeded" and run.attempt > 1:
        failed = [state.t.runs[name] for name in state.t.jobs[run.job].runs]
        places = {where for other in failed if speaks(other) for where in _nodes(other)} - _nodes(run)
    else:
        return
    for centre, node in sorted(places):
        if verdict := _judge(state, centre, node, run.ended_at_ns):
            yield verdict


def _judge(state: State, centre: str, name: str, now_ns: int) -> Verdict | None:
    node, suspect = state.node(centre, name), state.t.suspects.get(place_name(centre, name))
    if node is None or suspect is None or len(suspect.runs) < JOBS or state.why_out(centre, node):
        return None
    runs = [r for r in map(state.t.runs.__getitem__, suspect.runs) if now_ns - r.ended_at_ns <= WINDOW_NS]
    cards = [] if node.counted or len(node.cards) == 1 else sorted({card for run in runs for card in _cards(run, centre, name)})
    bad = state.bad_cards.get((centre, name), {})
    single = {card: _against(state, runs, suspect, centre, name, card) for card in cards if card not in bad}
    convicted = {card: against for card, against in single.items() if against}
    if len(convicted) == 1:
        (card, against), *_ = convicted.items()
        others = any(c.index != card and c.index not in bad for c in node.cards)
        if others or _is_another_in_use(state, centre, name, node.chip):
            return _verdict(centre, name, card, against)
        return None
    against = _against(state, runs, suspect, centre, name, None)
    if against and _is_another_in_use(state, centre, name, node.chip):
        return _verdict(centre, name, None, against)
    return None


def _verdict(centre: str, node: str, card: int | None, against: list[Run]) -> Verdict:
    reason = f"runs of {len(against)} jobs failed here within an hour, and none of these jobs failed elsewhere"
    return Verdict(centre=centre, node=node, card=card, runs=tuple(run.id for run in against), reason=reason)


def _against(state: State, runs: list[Run], suspect: Suspect, centre: str, node: str, card: int | None) -> list[Run]:
    """One run of each job that speaks against a place, if they are enough."""
    counted: list[Run] = []
    jobs, programs = set[str](), set[tuple[str, str, str]]()
    lost_ns = -AT_ONCE_NS - 1
    wells = suspect.well.values() if card is None else [suspect.well.get(str(card), 0)]
    well_ns = max(wells, default=0)
    for run in runs:
        if run.job in jobs or run.ended_at_ns <= well_ns or not _touches(run, centre, node, card):
            continue
        standing = state.t.jobs[run.job]
        elsewhere = [r for r in map(state.t.runs.__getitem__, standing.runs) if not _touches(r, centre, node, card)]
        if any(speaks(other) for other in elsewhere):
            continue
        if not any(other.outcome == "succeeded" for other in elsewhere):
            program = _program(standing.job)
            if program in programs:
                continue
            programs.add(program)
        jobs.add(run.job)
        if run.outcome == "lost":
            before_ns, lost_ns = lost_ns, run.ended_at_ns
            if run.ended_at_ns - before_ns <= AT_ONCE_NS:
                continue
        counted.append(run)
    if len(counted) < JOBS:
        return []
    shared = set.intersection(*(_nodes(run) for run in counted))
    return [] if shared - {(centre, node)} else counted


def _program(job: Job) -> tuple[str, str, str]:
    return job.organisation, job.project, job.script.entry if job.script else job.name


def _nodes(run: Run) -> set[tuple[str, str]]:
    return {(run.allocation.centre, part.node) for part in run.allocation.parts}


def _cards(run: Run, centre: str, node: str) -> tuple[int, ...]:
    if run.allocation.centre != centre:
        return ()
    return tuple(c for part in run.allocation.parts if part.node == node for c in run.bound.get(node, part.cards))


def _touches(run: Run, centre: str, node: str, card: int | None) -> bool:
    return (centre, node) in _nodes(run) if card is None else card in _cards(run, centre, node)


def _is_another_in_use(state: State, centre: str, node: str, chip: str) -> bool:
    return any(
        (room.centre, room.node.name) != (centre, node) and not state.why_out(room.centre, room.node)
        for island in state.rooms.islands.get(chip, {}).values()
        for room in island.rooms.values()
    )


# Jobs.


def failed_on(state: State, standing: Standing) -> int:
    """On how many different nodes in a row a job's runs failed by a signal or took the node along, without a checkpoint."""
    seen, count = set[tuple[str, str]](), 0
    for name in reversed(standing.runs):
        run = state.t.runs[name]
        if run.checkpoint_at_ns:
            break
        if not run.running_at_ns or run.stop or run.outcome in ("preempted", "unfit"):
            continue  # it says nothing of the job
        if not speaks(run):
            break
        nodes = _nodes(run)
        count += seen.isdisjoint(nodes)
        seen |= nodes
    return count


def shunned(state: State, standing: Standing) -> frozenset[tuple[str, str]]:
    """The nodes on which a job's runs failed so: it is tried elsewhere first, which tells whose fault it was."""
    failed = [run for run in map(state.t.runs.__getitem__, standing.runs) if speaks(run)]
    return frozenset(where for run in failed for where in _nodes(run))
