"""What a trace tells: the nouns Line, Traced and Trace, and how they become jobs of the core.

Asked:  what did people ask for, when, and how long does it really take on which cards?
Answer: a Traced job has lines like a menu's, each with its true seconds. The simulator alone knows these; the core gets them as
        `Option.expected_s` only where the settings say that they are known.
Limits: nobody's jobs depend on when other jobs end; they arrive when the trace says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from forebay.chips.node import Node
from forebay.cloud.core.job import Job, Option
from forebay.units import NS_PER_S

ANY_CHIP = "*"
"""A line of a trace that names no chip: it takes as long on any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """So many cards of a chip, and how long the job truly takes on them. What the core is told of it is an Option."""

    chip: str
    cards: int
    seconds: float
    spread_s: float | None = None  # on more nodes than it needs; None: as long


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A job of a trace. What the core is told of it is a Job."""

    id: str
    arrival_s: float  # since the trace's first job
    lines: tuple[Line, ...]
    asked: int = 0  # which of the lines the owner asked for; an elastic job may take others
    organisation: str = "everybody"
    project: str = "all"
    name: str = ""
    priority: int = 0
    weight: float = 1.0
    time_limit_s: float | None = None
    deadline_s: float | None = None  # since its arrival
    resumable: bool | None = None  # None: as the settings say
    elastic: bool = False
    expected: tuple[float | None, ...] | None = None  # by line, what its owner said; None: as the settings say

    @property
    def alone_s(self) -> float:
        """How long it takes on the fastest cards, as many as its owner asked for."""
        cards = self.lines[self.asked].cards
        return min(line.seconds for line in self.lines if line.cards == cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An organisation of a trace, and one quota of it. Two quotas are two of these."""

    name: str
    cohort: str = ""
    weight: float = 1.0
    chip: str = ANY_CHIP
    cards: int | None = None  # guaranteed; None: no quota
    borrow: int | None = None  # over these; None: as many as there are
    reclaim_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Jobs in the order of their arrival, and where they are from."""

    name: str
    format: str
    jobs: tuple[Traced, ...]
    notes: tuple[str, ...] = ()  # what was left out of the file, or assumed
    tenants: tuple[Tenant, ...] = ()  # what is known of them beside their names
    nodes: tuple[Node, ...] = ()  # where the jobs ran, if the trace tells
    spread_counts: bool = False  # whether cards that are spread over more nodes than needed are slower, as far as it is measured
    times_known: bool = False  # whether whoever had these jobs could say how long they take

    def first(self, most: int) -> Trace:
        return replace(self, jobs=self.jobs[:most])


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a replay assumes beside the trace."""

    known: bool | None = None  # whether the core is told how long jobs take; None: as the trace says
    resumable: float = 1.0  # share of the jobs that go on from a checkpoint
    restart_s: float = 60.0  # what a start after a stop costs before work goes on
    elastic: bool = True  # False: every job is held at the size that its owner asked for
    spread: bool | None = None  # whether spread cards are slower; None: as the trace says
    forecasts: bool = False  # ask the policy, as each job comes, when it will start
    tenants: bool = True  # False: all jobs are one organisation's


def on_pool(trace: Trace, chips: Mapping[str, int], settings: Settings) -> tuple[list[Traced], list[Traced]]:
    """The jobs as this pool can run them, and those that it never can."""
    good, never = [], []
    for job in trace.jobs:
        lines = _lines(job, chips, settings.elastic)
        if not lines:
            never.append(job)
        elif lines is job.lines or lines == job.lines:
            good.append(job)
        else:
            expected = None if job.expected is None else _again(job, lines)
            asked = next((i for i, line in enumerate(lines) if line.cards == job.lines[job.asked].cards), 0)
            good.append(replace(job, lines=lines, asked=asked, expected=expected))
    return good, never


def _again(job: Traced, lines: Sequence[Line]) -> tuple[float | None, ...]:
    """What the owner said of each line that is left."""
    assert job.expected is not None
    said = {(line.chip, line.cards): s for line, s in zip(job.lines, job.expected, strict=True)}
    return tuple(said.get((line.chip, line.cards), said.get((ANY_CHIP, line.cards))) for line in lines)


def _lines(job: Traced, chips: Mapping[str, int], elastic: bool) -> tuple[Line, ...]:
    lines = job.lines
    if job.elastic and not elastic:
        lines = tuple(line for line in lines if line.cards == lines[job.asked].cards)
    if any(line.chip == ANY_CHIP for line in lines):
        lines = tuple(
            replace(line, chip=chip) if line.chip == ANY_CHIP else line
            for line in lines
            for chip in (chips if line.chip == ANY_CHIP else [line.chip])
        )
    if all(chips.get(line.chip, 0) >= line.cards for line in lines):
        return lines
    return tuple(line for line in lines if chips.get(line.chip, 0) >= line.cards)


def job_of(traced: Traced, settings: Settings, known: bool, epoch_ns: int) -> Job:
    """What the core is told."""
    said = traced.expected or tuple(line.seconds if known else None for line in traced.lines)
    return Job(
        id=traced.id,
        organisation=traced.organisation if settings.tenants else "everybody",
        project=traced.project if settings.tenants else "all",
        name=traced.name or traced.id,
        menu=tuple([Option(chip=o.chip, cards=o.cards, expected_s=s) for o, s in zip(traced.lines, said, strict=True)]),
        priority=traced.priority,
        time_limit_s=traced.time_limit_s,
        resumable=can_resume(traced, settings),
        elastic=traced.elastic and settings.elastic and len(traced.lines) > 1,
        restart_s=settings.restart_s,
        deadline_ns=0 if traced.deadline_s is None else epoch_ns + int((traced.arrival_s + traced.deadline_s) * NS_PER_S),
    )


def can_resume(traced: Traced, settings: Settings) -> bool:
    """By the job's own word, else by a hash of its name: the same jobs in every replay, with no dice."""
    if traced.resumable is not None:
        return traced.resumable
    return settings.resumable >= 1 or crc32(traced.id.encode()) % 10_000 < settings.resumable * 10_000
