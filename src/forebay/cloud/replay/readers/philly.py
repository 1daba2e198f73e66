"""Read the Philly trace as the artefacts of Pollux, Sia and Blox have it: timestamp, duration, num_gpus, gpu_time, cluster.

A virtual cluster becomes an organisation, and the name of its jobs. The trace names no chip, so a job takes as long on any.
"""

from __future__ import annotations

from datetime import datetime

from forebay.cloud.replay.readers.table import Table
from forebay.cloud.replay.trace import ANY_CHIP, Line, Trace, Traced

COLUMNS = ("timestamp", "duration", "num_gpus", "gpu_time", "cluster")


def read(table: Table) -> Trace:
    found = [(datetime.fromisoformat(row[0]), float(row[1]), int(row[2]), row[4]) for row in table.lines if row]
    found.sort(key=lambda row: row[0])
    begin = found[0][0] if found else datetime.min  # the difference of two dates, so that no machine's time zone matters
    jobs = tuple(
        Traced(
            id=f"p{number:06}",
            arrival_s=(at - begin).total_seconds(),
            lines=(Line(chip=ANY_CHIP, cards=cards, seconds=seconds),),
            organisation=cluster,
            name=cluster,
        )
        for number, (at, seconds, cards, cluster) in enumerate(found)
        if seconds > 0
    )
    return Trace(name=table.path.name, format="philly", jobs=jobs)
