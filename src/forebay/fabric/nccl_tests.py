"""Read what nccl-tests prints (all_reduce_perf, alltoall_perf, ... of NVIDIA/nccl-tests, and of its forks for RCCL and others).

Asked:  which bandwidth at which size does this output tell of, of which collective on how many cards?
Answer: the line of headings over the rows says which columns there are, so versions with and without `root`, `redop` and `#wrong`
        are read alike. Lines of NCCL's own logging, repeated headings and the ranks' prefixes of mpirun and srun are passed over.
Units:  nccl-tests' GB/s is 10^9 bytes a second.
Limits: older versions don't name the collective: it follows from busbw over algbw and the number of ranks where that is
        unique, else the caller says it. A size that was run several times gets the median.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose
from statistics import median

from forebay.errors import BadInput
from forebay.fabric.curves import Curve, Point, Setup, curve, named
from forebay.fabric.physics import bus_factor
from forebay.units import GB

_PREFIX = re.compile(r"^\s*(\[\d+,\d+\](<std(out|err)>)?:|\d+:|\[\w[\w.-]*:\d+\])\s?")  # mpirun --tag-output, srun --label
_RANK = re.compile(r"#\s+Rank\s+(\d+).*?\bon\s+(\S+)\s+device\s+(\d+)\s*(?:\[[^\]]*\])?\s*(.*)")
_TYPES = re.compile(r"u?int(8|32|64)?|char|half|float(16|32|64)?|double|bfloat16|f(p)?8_?e[45]m[23]|none")
_FAILED = re.compile(r"(Test NCCL failure.*|Test CUDA failure.*|.*NCCL WARN.*|Out of bounds values\s*:\s*[1-9]\d*.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    message_bytes: int
    time_s: float
    algbw_bytes_per_s: float
    busbw_bytes_per_s: float
    wrong: int  # values out of bounds; 0 too where it wasn't checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One output: the rows of both columns as they stand there."""

    collective: str  # "": not said, and not to be told from the figures
    n_gpus: int  # 0: no line of a rank
    hosts: int
    gpu: str
    out_of_place: tuple[Row, ...]
    in_place: tuple[Row, ...]
    average_bytes_per_s: float  # "# Avg bus bandwidth"; 0: not printed


def parse(text: str) -> Run:
    """The run that an output tells of. Raises BadInput with the line of what can't be read."""
    columns: list[str] = []
    both: tuple[list[Row], list[Row]] = ([], [])
    ranks: dict[int, tuple[str, str]] = {}
    said, average, failed = "", 0.0, ""
    for number, line in enumerate((_PREFIX.sub("", line) for line in text.splitlines()), 1):
        words = line.split()
        if rank := _RANK.match(line):
            ranks[int(rank[1])] = (rank[2], rank[4].strip())
        elif line.startswith("#"):
            if {"size", "time", "busbw"} <= set(words):
                columns = words[1:]
            if found := re.search(r"Avg bus bandwidth\s*:\s*(\d+(?:\.\d+)?)\s*$", line):
                average = float(found[1]) * GB
            if found := re.search(r"Collective test starting:\s*(\S+)", line):
                said = found[1]
            if found := _FAILED.search(line):
                failed = failed or f"line {number}: {found[1].strip()}"
        elif len(words) > 2 and words[0].isdigit() and words[1].isdigit() and _TYPES.fullmatch(words[2]):
            for rows, row in zip(both, _row(words, columns, number), strict=True):
                rows.append(row)
        elif found := _FAILED.search(line):
            failed = failed or f"line {number}: {found[1].strip()}"
    if not both[0]:
        raise BadInput("There is no row of nccl-tests' output here.", found=failed or f"{len(text.splitlines())} lines",
                       hint="the text that all_reduce_perf or another of the tests prints")  # fmt: skip
    n_gpus = len(ranks)
    return Run(
        collective=named(said) if said else _told_by_figures(both[0], n_gpus, _redop(text)),
        n_gpus=n_gpus,
        hosts=len({host for host, _ in ranks.values()}),
        gpu=next(iter(ranks.values()))[1] if ranks else "",
        out_of_place=tuple(both[0]),
        in_place=tuple(both[1]),
        average_bytes_per_s=average,
    )


def to_curve(
    run: Run,
    system: str,
    *,
    date: str = "",
    collective: str = "",
    n_gpus: int = 0,
    in_place: bool = False,
    setup: Setup | None = None,
) -> Curve:
    """The curve of a run, for `calibrate` and `diagnose`. What the output doesn't say the caller must."""
    rows = [row for row in (run.in_place if in_place else run.out_of_place) if row.busbw_bytes_per_s > 0]
    collective, n_gpus = collective or run.collective, n_gpus or run.n_gpus
    if not collective or not n_gpus:
        missing, how = ("collective", "--collective all_reduce") if not collective else ("number of cards", "--gpus 16")
        raise BadInput(f"The output doesn't say the {missing}.", asked=system, hint=how)
    if wrong := [row for row in rows if row.wrong]:
        raise BadInput("The run gave wrong results: what it measured is no collective.", asked=system,
                       found=f"{wrong[0].wrong} values out of bounds at {wrong[0].message_bytes} bytes")  # fmt: skip
    by_size: dict[int, list[float]] = {}
    for row in rows:
        by_size.setdefault(row.message_bytes, []).append(row.busbw_bytes_per_s)
    if not by_size:
        raise BadInput(
            "No row of the output has a bandwidth above zero.", asked=system, hint="sizes from 16 MiB on: -b 16M -e 16G -f 2"
        )
    return curve(
        (Point(message_bytes=size, busbw_bytes_per_s=median(rates)) for size, rates in by_size.items()),
        system=system,
        collective=named(collective),
        n_gpus=n_gpus,
        setup=setup or Setup(cards_per_host=n_gpus // run.hosts if run.hosts and n_gpus % run.hosts == 0 else 0),
        date=date,
        source="nccl-tests" + (f", {run.gpu}" if run.gpu else ""),
    )


def _row(words: list[str], columns: list[str], number: int) -> Iterator[Row]:
    """The two halves of a row: out of place, and in place."""
    if columns.count("time") != 2:
        raise BadInput(f"nccl-tests' output, line {number}: a row without the headings over it.", found=" ".join(words),
                       hint="the whole output, from `# nThread` on")  # fmt: skip
    if len(words) != len(columns):
        raise BadInput(f"nccl-tests' output, line {number}: {len(words)} values under {len(columns)} headings.",
                       found=" ".join(words), hint="lines of several ranks may be mixed: print from rank 0 alone")  # fmt: skip
    first = columns.index("time")
    second = columns.index("time", first + 1)
    for half in (slice(first, second), slice(second, None)):
        told = dict(zip(columns[half], words[half], strict=True))
        try:
            wrong = told.get("#wrong", told.get("error", "0"))
            yield Row(
                message_bytes=int(words[0]),
                time_s=float(told["time"]) / 1e6,
                algbw_bytes_per_s=float(told["algbw"]) * GB,
                busbw_bytes_per_s=float(told["busbw"]) * GB,
                wrong=int(wrong) if wrong.isdigit() else 0,  # "N/A", or an older version's error as 2e-07
            )
        except (KeyError, ValueError) as error:
            raise BadInput(f"nccl-tests' output, line {number}: {error}.", found=" ".join(words)) from None


def _redop(text: str) -> bool:
    """Do the rows name an operation? An all-gather and an all-to-all print none."""
    return bool(re.search(r"^\D*\d+\s+\d+\s+\w+\s+(sum|prod|min|max|avg|mulsum)\b", text, re.MULTILINE))


def _told_by_figures(rows: list[Row], n_gpus: int, redop: bool) -> str:
    """What busbw over algbw says: 2(n-1)/n is an all-reduce, (n-1)/n with an operation a reduce-scatter. Else several fit."""
    ratios = [row.busbw_bytes_per_s / row.algbw_bytes_per_s for row in rows if row.algbw_bytes_per_s > 0]
    if n_gpus < 2 or not ratios:
        return ""
    ratio = median(ratios)
    for collective, fits in (("all_reduce", True), ("reduce_scatter", redop)):
        if fits and isclose(ratio, bus_factor(collective, n_gpus), rel_tol=0.02) and n_gpus > 2:
            return collective
    return ""
