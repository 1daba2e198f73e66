"""Read Gavel's and Shockwave's traces: models with so many steps to do, whose speeds stand in a file of their own (`--data`).

Gavel:     model, num_gpus, total_steps, arrival_s; some with a virtual cluster each (`vc`), which becomes an organisation.
Shockwave: the same with `trace` (which of several) and `duration_s`, the time on the cards of its own cluster; without a file of
           speeds a job takes that long on any chip. Its models change their batch sizes as they go; that is left out.

Both simulators count every job at the speed of cards that lie together, and so does a replay, unless it is told otherwise
(`--spread`).
"""

from __future__ import annotations

from forebay.cloud.replay.readers.speeds import Speeds
from forebay.cloud.replay.readers.table import Table, number
from forebay.cloud.replay.trace import ANY_CHIP, Line, Trace, Traced
from forebay.errors import BadInput

COLUMNS = frozenset({"model", "num_gpus", "total_steps", "arrival_s"})


def read(table: Table) -> Trace:
    has = set(table.header)
    fixed = "duration_s" in has
    if not fixed and table.data is None:
        raise BadInput(
            "A trace of steps needs the speeds that go with it.", asked=str(table.path), hint="--data gavel_throughputs.csv.gz"
        )
    speeds = Speeds(table.data) if table.data else None
    rows = list(table.rows())
    part = "trace" if "trace" in has else "vc" if "vc" in has else ""
    if part == "trace" or (part and table.part):
        table.need_part(row[part] for row in rows)
        rows = [row for row in rows if row[part] == table.part or not table.part]
    rows.sort(key=lambda row: float(row["arrival_s"]))
    jobs = []
    for order, row in enumerate(rows):
        cards = int(row["num_gpus"])
        if speeds:
            lines = speeds.lines(row["model"], cards, number(row, "total_steps", table.path))
        else:
            lines = (Line(chip=ANY_CHIP, cards=cards, seconds=number(row, "duration_s", table.path)),)
        jobs.append(
            Traced(
                id=f"g{int(row['job']) if 'job' in row else order:05}",
                arrival_s=number(row, "arrival_s", table.path),
                lines=lines,
                organisation=row.get("vc", "everybody"),
                name=row["model"],
                weight=float(row.get("priority_weight", "1")),
                elastic=len(lines) > 1,  # from chip to chip; its number of cards stays
            )
        )
    notes = (
        (f"{speeds.guessed} speeds of numbers of cards that nobody measured are those of fewer, a card",)
        if speeds and speeds.guessed
        else ()
    )
    return Trace(name=table.path.name, format="shockwave" if fixed else "gavel", jobs=tuple(jobs), notes=notes, times_known=True)
