"""Read what Slurm's accounting printed: last month's jobs of a site.

    sacct --allusers --starttime 2026-10-01 --endtime 2026-11-01 --parsable2 --noconvert \\
          --format JobID,User,Account,Partition,Submit,Start,End,ElapsedRaw,State,ReqTRES,AllocTRES,Timelimit > october.txt

Needed: JobID, Submit, ElapsedRaw or Elapsed, and AllocTRES or ReqTRES; the other columns are used where they are there. An
        account becomes an organisation, a user a project of it. Cards are `gres/gpu`, by its type where Slurm names it. A time
        limit is told to the core, the true time isn't.
Limits: steps, jobs without cards and jobs that never ran are left out, and counted. How a job ended doesn't matter: it held its
        cards as long as it did. A job that Slurm requeued is told once, with its last run.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import datetime

from forebay.cloud.replay.readers.table import Table
from forebay.cloud.replay.trace import ANY_CHIP, Line, Trace, Traced
from forebay.errors import BadInput

NEEDED = frozenset({"JobID", "Submit"})
_LENGTH = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)(?:\.\d+)?")
_CARDS = re.compile(r"gres/gpu(?::([^=,]+))?=(\d+)")


def read(table: Table) -> Trace:
    has = set(table.header)
    if not has & {"ElapsedRaw", "Elapsed"} or not has & {"AllocTRES", "ReqTRES"}:
        raise BadInput(
            "The accounting lacks a column.",
            asked=str(table.path),
            found=", ".join(table.header),
            hint="sacct --parsable2 --format JobID,User,Account,Submit,ElapsedRaw,AllocTRES,Timelimit",
        )
    left_out: Counter[str] = Counter()
    jobs, began = [], []
    for row in table.rows():
        if "." in row["JobID"]:
            continue
        cards = _cards(row.get("AllocTRES") or "") or _cards(row.get("ReqTRES") or "")
        seconds = float(row["ElapsedRaw"]) if row.get("ElapsedRaw") else length_s(row.get("Elapsed", ""))
        if not cards:
            left_out["without cards"] += 1
            continue
        if not seconds or row["Submit"] in ("", "Unknown"):
            left_out["that never ran"] += 1
            continue
        chip, count = cards
        began.append(datetime.fromisoformat(row["Submit"]))
        jobs.append(
            Traced(
                id=f"s{row['JobID']}",
                arrival_s=0.0,
                lines=(Line(chip=chip, cards=count, seconds=seconds),),
                organisation=row.get("Account") or "everybody",
                project=row.get("User") or "all",
                name=row.get("JobName", ""),
                time_limit_s=length_s(row.get("Timelimit", "")) or None,
            )
        )
    first = min(began, default=datetime.min)
    placed = [replace(job, arrival_s=(at - first).total_seconds()) for job, at in zip(jobs, began, strict=True)]
    placed.sort(key=lambda job: job.arrival_s)
    notes = tuple(f"{count} jobs {what} are left out" for what, count in sorted(left_out.items()))
    return Trace(name=table.path.name, format="sacct", jobs=tuple(placed), notes=notes)


def length_s(text: str) -> float:
    """Seconds in "1-02:03:04", "02:03:04" or "03:04"; 0 for UNLIMITED, Partition_Limit and nothing at all."""
    found = _LENGTH.fullmatch(text.strip())
    if not found:
        return 0.0
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def _cards(tres: str) -> tuple[str, int] | None:
    """The chip and the number of cards: of the typed entry, where there is one beside the plain one."""
    found = sorted(_CARDS.findall(tres), key=lambda one: one[0] == "")
    return (found[0][0] or ANY_CHIP, int(found[0][1])) if found and int(found[0][1]) else None
