"""Read the traces of Muri, Chronus and Alibaba's openb: a duration a job, on whatever chip.

Muri:    milliseconds; several traces a file (`trace`).
Chronus: a deadline a job, counted from its arrival (`expect_time_list`); the user, a virtual cluster, becomes an organisation.
openb:   pods with a time of creation, scheduling and deletion. Shares of a card are left out: whole cards only. `gpu_spec` names
         the chips that a pod may have; without it, any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from forebay.cloud.replay.readers.table import Table, number
from forebay.cloud.replay.trace import ANY_CHIP, Line, Trace, Traced
from forebay.errors import BadInput

MURI = frozenset({"trace", "job_id", "num_gpu", "submit_time", "duration", "iteration_time"})
CHRONUS = frozenset({"job_id", "user", "num_gpu", "submit_time", "duration", "expect_time_list", "job_type"})
OPENB = frozenset({"name", "cpu_milli", "num_gpu", "gpu_milli"})
_MS = 1e-3


def muri(table: Table) -> Trace:
    rows = list(table.rows())
    table.need_part(row["trace"] for row in rows)
    return _sorted(
        table,
        "muri",
        [
            Traced(
                id=f"m{int(row['job_id']):05}",
                arrival_s=number(row, "submit_time", table.path) * _MS,
                lines=(Line(chip=ANY_CHIP, cards=int(row["num_gpu"]), seconds=number(row, "duration", table.path) * _MS),),
                name=row["model_name"],
            )
            for row in rows
            if row["trace"] == table.part or not table.part
        ],
    )


def chronus(table: Table) -> Trace:
    jobs, without = [], 0
    for row in table.rows():
        if int(row["num_gpu"]) < 1:
            without += 1
            continue
        within = re.search(r"\d+(\.\d+)?", row["expect_time_list"]) if row["job_type"] != "best" else None
        jobs.append(
            Traced(
                id=f"c{int(row['job_id']):06}",
                arrival_s=number(row, "submit_time", table.path),
                lines=(Line(chip=ANY_CHIP, cards=int(row["num_gpu"]), seconds=number(row, "duration", table.path)),),
                organisation=row["user"],
                name=row["model_name"],
                deadline_s=float(within[0]) if within else None,
            )
        )
    notes = (f"{without} jobs without cards are left out",) if without else ()
    return _sorted(table, "chronus", jobs, notes)


def openb(table: Table) -> Trace:
    if not {"creation_time", "deletion_time", "scheduled_time"} <= set(table.header):
        raise BadInput(
            "These pods have no times, so there is nothing to replay.",
            asked=str(table.path),
            found=f"the columns {', '.join(table.header)}",
            hint="a list with creation_time, scheduled_time and deletion_time",
        )
    jobs, shared, never = [], 0, 0
    for row in table.rows():
        cards = int(row["num_gpu"] or 0)
        if not cards:
            continue
        if cards == 1 and int(row["gpu_milli"] or 1000) < 1000:
            shared += 1
            continue
        if not row["scheduled_time"] or not row["deletion_time"] or float(row["deletion_time"]) <= float(row["scheduled_time"]):
            never += 1
            continue
        chips = list(dict.fromkeys(row.get("gpu_spec", "").split("|"))) if row.get("gpu_spec") else [ANY_CHIP]
        seconds = number(row, "deletion_time", table.path) - number(row, "scheduled_time", table.path)
        jobs.append(
            Traced(
                id=row["name"],
                arrival_s=number(row, "creation_time", table.path),
                lines=tuple(Line(chip=chip, cards=cards, seconds=seconds) for chip in chips),
                project=row.get("qos", "") or "all",
            )
        )
    notes = (f"{shared} pods that asked for a share of a card are left out", f"{never} pods that never ran are left out")
    return _sorted(table, "openb", jobs, notes)


def _sorted(table: Table, format_: str, jobs: list[Traced], notes: tuple[str, ...] = ()) -> Trace:
    """In the order of arrival, and counted from the first."""
    jobs.sort(key=lambda job: job.arrival_s)
    begin = jobs[0].arrival_s if jobs else 0.0
    moved = tuple(replace(job, arrival_s=job.arrival_s - begin) for job in jobs if job.lines[0].seconds > 0)
    return Trace(name=table.path.name, format=format_, jobs=moved, notes=notes)


READERS: Mapping[frozenset[str], Callable[[Table], Trace]] = {MURI: muri, CHRONUS: chronus, OPENB: openb}
