"""Read Pollux' workloads: elastic jobs, whose speed on each number of cards is read off the measured tables.

    workloads:   set, workload, name, time_s, application, num_replicas, batch_size        (`--part workloads/workload-1`)
    placements:  application, placement, local_bsz, step_time, sync_time                   (`--data`)
    scalability: application, num_nodes, num_replicas, local_bsz, step_time, sync_time     (found beside it)

Asked:  how fast is an application with its batch on n cards?
Answer: the batch is cut evenly over the cards, and the measured step for that local batch is taken, on as few nodes of four as
        hold them ("44": two full nodes), between two measured sizes by a straight line. A batch larger than was measured is
        done in several passes without exchange before the last. `spread`: the same cards, one a node.
Work:   the workloads don't say how much there is to do, since Pollux' jobs train until they converge. Each job gets a work of its
        own: card-hours at its asked size, drawn evenly in the logarithm within its application's class (Pollux' table 1: small
        below 1 card-hour, medium 1 to 10, large 10 to 100, very large above) by a hash of its name. No dice, so it is the same
        in every replay.
Limits: the batch never changes, so a job does the same work on any number of cards; what Pollux gains by changing it isn't here.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from forebay.cloud.replay.readers.files import open_text
from forebay.cloud.replay.readers.table import Table, number
from forebay.cloud.replay.trace import ANY_CHIP, Line, Trace, Traced
from forebay.errors import BadInput

COLUMNS = frozenset({"set", "workload", "name", "time_s", "application", "num_replicas", "batch_size"})
PLACEMENTS = frozenset({"application", "placement", "local_bsz", "step_time", "sync_time"})
SCALABILITY = frozenset({"application", "num_nodes", "num_replicas", "local_bsz", "step_time", "sync_time"})
A_NODE = 4
COUNTS = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
WORTH = 0.97  # of the time on fewer cards: a larger count that isn't as good as this isn't on the menu
CARD_HOURS = {
    "cifar10": (0.05, 1.0),
    "ncf": (0.05, 1.0),
    "bert": (1.0, 10.0),
    "deepspeech2": (1.0, 10.0),
    "yolov3": (10.0, 100.0),
    "imagenet": (100.0, 500.0),
}

Steps = Mapping[int, tuple[float, float]]
"""Local batch -> (seconds of a step, seconds of it in exchange)."""


def read(table: Table) -> Trace:
    if table.data is None:
        raise BadInput(
            "Pollux' workloads need the measured tables.", asked=str(table.path), hint="--data pollux_placements.csv.gz"
        )
    curves = Curves(table.data)
    rows = list(table.rows())
    table.need_part(f"{row['set']}/{row['workload']}" for row in rows)
    rows = [row for row in rows if not table.part or f"{row['set']}/{row['workload']}" == table.part]
    rows.sort(key=lambda row: float(row["time_s"]))
    begin = float(rows[0]["time_s"]) if rows else 0.0
    jobs = tuple(
        Traced(
            id=row["name"],
            arrival_s=number(row, "time_s", table.path) - begin,
            lines=_lines(row, curves, table.part),
            name=row["application"],
            elastic=True,
            resumable=True,
        )
        for row in rows
    )
    return Trace(name=table.path.name, format="pollux", jobs=jobs, times_known=True, spread_counts=True)


def work_s(part: str, name: str, application: str, cards: int) -> float:
    """How long a job takes at the size that was asked for."""
    low, high = CARD_HOURS[application]
    place: float = int.from_bytes(sha256(f"{part}/{name}".encode()).digest()[:6], "big") / 2**48
    return float(low * (high / low) ** place * 3600 / cards)


def _lines(row: Mapping[str, str], curves: Curves, part: str) -> tuple[Line, ...]:
    """The size that was asked for, and then every other that is worth it."""
    application, asked, batch = row["application"], int(row["num_replicas"]), int(row["batch_size"])
    times = {count: s for count in sorted({*COUNTS, asked}) if (s := curves.step_s(application, packed(count), batch))}
    if asked not in times:
        raise BadInput("An application's speed at the size that was asked for isn't in the tables.", asked=row["name"])
    whole_s = work_s(part, row["name"], application, asked)

    def line(count: int) -> Line:
        wide_s = curves.step_s(application, "1" * count, batch) if count > 1 else None
        return Line(
            chip=ANY_CHIP,
            cards=count,
            seconds=whole_s * times[count] / times[asked],
            spread_s=whole_s * wide_s / times[asked] if wide_s else None,
        )

    others, best_s = [], float("inf")
    for count, step_s in times.items():
        if step_s < WORTH * best_s:
            best_s = step_s
            others += [count] if count != asked else []
    return tuple(line(count) for count in [asked, *others])


def packed(count: int) -> str:
    """So many cards on as few nodes as hold them: "24" is six."""
    rest = count % A_NODE
    return (str(rest) if rest else "") + str(A_NODE) * (count // A_NODE)


class Curves:
    """Measured seconds of a step, by application, placement and local batch."""

    def __init__(self, placements: Path) -> None:
        self._packed = _tables(placements, PLACEMENTS, lambda row: row["placement"])
        beside = placements.with_name(placements.name.replace("placements", "scalability"))
        wide = _tables(beside, SCALABILITY, lambda row: f"{row['num_nodes']}/{row['num_replicas']}") if beside.exists() else {}
        self._wide: dict[tuple[str, int], dict[int, Steps]] = {}  # (application, cards) -> nodes -> steps
        for (application, place), steps in wide.items():
            nodes, _, cards = place.partition("/")
            self._wide.setdefault((application, int(cards)), {})[int(nodes)] = steps

    def step_s(self, application: str, placement: str, batch: int) -> float | None:
        """Seconds for one step of the whole batch; None: not measured."""
        cards = sum(int(digit) for digit in placement)
        steps: Steps | None = self._packed.get((application, placement))
        if steps is None:
            by_nodes = self._wide.get((application, cards), {})
            nodes = min((n for n in by_nodes if n >= len(placement)), default=None)
            if nodes is None or (nodes > len(placement) + A_NODE):
                return None
            steps = by_nodes[nodes]
        return _step(steps, batch / cards)


def _step(steps: Steps, batch: float) -> float:
    """Between two measured batches by a straight line; more than the largest in several passes, less than the smallest as it."""
    sizes = sorted(steps)
    passes = max(1, -(-int(batch) // sizes[-1]))
    batch /= passes
    at = bisect_left(sizes, batch)
    if at == 0:
        step, sync = steps[sizes[0]]
    elif at == len(sizes):
        step, sync = steps[sizes[-1]]
    else:
        share = (batch - sizes[at - 1]) / (sizes[at] - sizes[at - 1])
        step, sync = (a + share * (b - a) for a, b in zip(steps[sizes[at - 1]], steps[sizes[at]], strict=True))
    return step + (passes - 1) * (step - sync)


def _tables(
    path: Path, columns: frozenset[str], place: Callable[[Mapping[str, str]], str]
) -> dict[tuple[str, str], dict[int, tuple[float, float]]]:
    found: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    with open_text(path) as lines:
        rows = csv.DictReader(lines)
        if set(rows.fieldnames or ()) != columns:
            raise BadInput(
                "That file holds no measured steps.",
                asked=str(path),
                found=f"the columns {', '.join(rows.fieldnames or ())}",
                hint=f"the columns {', '.join(sorted(columns))}",
            )
        for row in rows:
            steps = found.setdefault((row["application"], place(row)), {})
            steps[int(row["local_bsz"])] = (float(row["step_time"]), float(row["sync_time"]))
    return found
