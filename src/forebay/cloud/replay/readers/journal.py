"""Read our own journal: what this cloud's jobs did, so that another policy or pool can be tried on them.

    forebay replay ~/.local/share/forebay/journal.sqlite

A job has the menu that it had. On the option on which it ran it takes what its runs held and didn't lose; on the others as much
more or less as the menu said, and one of which the menu said nothing is left out. Quotas, cohorts and weights are those that held
last, and so are the nodes, where no other pool is described.
Limits: the file is opened read-only and may be in use. Jobs that never ran are left out. A job's own failures aren't repeated.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job, Option, Run
from forebay.cloud.core.state import State
from forebay.cloud.replay.trace import ANY_CHIP, Line, Tenant, Trace, Traced
from forebay.errors import BadInput
from forebay.units import NS_PER_S

MAGIC = b"SQLite format 3\x00"


def read(path: Path) -> Trace:
    return of_events(path.name, _events(path))


def of_events(name: str, events: Iterable[e.Event]) -> Trace:
    state = State()
    for event in events:
        state.fold(event)
    jobs, never = [], 0
    standings = sorted(state.t.jobs.values(), key=lambda standing: standing.order)
    begin_ns = standings[0].submitted_at_ns if standings else 0
    for standing in standings:
        runs = [state.t.runs[run] for run in standing.runs if state.t.runs[run].outcome]
        lines = _lines(standing.job, runs)
        if not lines:
            never += 1
            continue
        job = standing.job
        jobs.append(
            Traced(
                id=job.id,
                arrival_s=(standing.submitted_at_ns - begin_ns) / NS_PER_S,
                lines=tuple(line for line, _ in lines),
                expected=tuple(said for _, said in lines),
                organisation=job.organisation,
                project=job.project,
                name=job.name,
                priority=job.priority,
                time_limit_s=job.time_limit_s,
                deadline_s=(job.deadline_ns - standing.submitted_at_ns) / NS_PER_S if job.deadline_ns else None,
                resumable=job.resumable,
                elastic=job.elastic,
            )
        )
    tenants = []
    for organisation in state.t.organisations.values():
        quotas = [quota for quota in state.t.quotas.values() if quota.organisation == organisation.name]
        for quota in (*quotas,) if quotas else (None,):
            tenants.append(
                Tenant(
                    name=organisation.name,
                    cohort=organisation.cohort,
                    weight=organisation.weight,
                    chip=quota.chip if quota else ANY_CHIP,
                    cards=quota.cards if quota else None,
                    borrow=quota.borrow if quota else None,
                    reclaim_s=quota.reclaim_s if quota else 60.0,
                )
            )
    nodes = tuple(node for centre in state.t.centres.values() if not centre.revoked for node in centre.nodes)
    notes = (f"{never} jobs that never ran are left out",) if never else ()
    return Trace(name=name, format="journal", jobs=tuple(jobs), tenants=tuple(tenants), nodes=nodes, notes=notes)


def _lines(job: Job, runs: list[Run]) -> list[tuple[Line, float | None]]:
    """The menu with true times, the best first, and what its owner said of each line."""
    if not runs:
        return []
    last = runs[-1]
    held = next((o for o in job.menu if (o.chip, o.cards) == (last.allocation.chip, last.allocation.cards)), None)
    took_s = sum(_useful_s(job, run, held) for run in runs)
    if took_s <= 0:
        return []
    found: list[tuple[Line, float | None]] = []
    for option in job.menu:
        if option == held:
            factor = 1.0
        elif held and held.expected_s and option.expected_s:
            factor = option.expected_s / held.expected_s
        else:
            continue
        found.append((Line(chip=option.chip, cards=option.cards, seconds=took_s * factor), option.expected_s))
    return found


def _useful_s(job: Job, run: Run, held: Option | None) -> float:
    """What a run did and kept, in seconds on the option that the job ended on."""
    ran = next((o for o in job.menu if (o.chip, o.cards) == (run.allocation.chip, run.allocation.cards)), None)
    factor = held.expected_s / ran.expected_s if held and ran and held.expected_s and ran.expected_s else 1.0
    return max(0, run.held_ns - run.lost_ns) / NS_PER_S * factor


def _events(path: Path) -> Iterator[e.Event]:
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as db:
            for kind, body in db.execute("SELECT kind, body FROM events ORDER BY seq"):
                yield e.from_json(kind, json.loads(body))
    except sqlite3.Error as error:
        raise BadInput("That database is no journal of Forebay's.", asked=str(path), found=str(error)) from None
