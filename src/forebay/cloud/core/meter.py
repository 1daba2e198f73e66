"""Usage and bills: folds over what was held.

Asked:  who held which cards for how long, and what does it cost?
Answer: a run's cost is cards x seconds held x the price at its launch. The seconds were measured by the engine's monotonic
        clock, from the moment the cards were taken to the moment the last process was gone; never told by the job.
Limits: a run that still goes on is counted up to `now`, by the cloud's clock, and marked as open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forebay.cloud.core.job import Run
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one run held. `lost_ns` is the part of it whose work was not kept: after the newest checkpoint of a run that
    failed.
    """

    organisation: str
    project: str
    job: str
    job_name: str
    run: str
    chip: str
    pretend: bool
    cards: int
    held_ns: int
    lost_ns: int
    price_micro_per_card_s: int
    outcome: str
    open: bool = False

    @property
    def card_ns(self) -> int:
        return self.cards * self.held_ns

    @property
    def cost_micro(self) -> int:
        """Rounded half up to a whole micro-unit, once a run."""
        return (self.card_ns * self.price_micro_per_card_s + NS_PER_S // 2) // NS_PER_S

    @property
    def lost_micro(self) -> int:
        return (self.cards * self.lost_ns * self.price_micro_per_card_s + NS_PER_S // 2) // NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The usage of an organisation, or of all, with its sums."""

    organisation: str  # empty: the whole pool
    currency: str
    lines: tuple[Usage, ...]
    card_ns: int
    lost_card_ns: int
    cost_micro: int
    lost_micro: int


def usage(state: State, run: Run, now_ns: int) -> Usage:
    job = state.t.jobs[run.job].job
    going_on = not run.outcome
    return Usage(
        organisation=job.organisation,
        project=job.project,
        job=job.id,
        job_name=job.name,
        run=run.id,
        chip=run.allocation.chip,
        pretend=run.allocation.pretend,
        cards=run.allocation.cards,
        held_ns=_open_ns(run, now_ns) if going_on else run.held_ns,
        lost_ns=run.lost_ns,
        price_micro_per_card_s=run.price_micro_per_card_s,
        outcome=run.outcome or "going on",
        open=going_on,
    )


def _open_ns(run: Run, now_ns: int) -> int:
    """What a run has held so far. In its centre's own queue it holds nothing."""
    return 0 if run.queue_reason else max(0, now_ns - (run.admitted_at_ns or run.launched_at_ns))


def bill(state: State, now_ns: int, *, organisation: str = "", project: str = "", job: str = "") -> Bill:
    """The bill for what matches the filters; the same state and time give the same bill."""
    lines = tuple(
        line
        for line in (usage(state, run, now_ns) for run in state.t.runs.values())
        if (not organisation or line.organisation == organisation)
        and (not project or line.project == project)
        and (not job or line.job == job)
    )
    return total(lines, organisation=organisation, currency=state.t.currency)


def total(lines: Iterable[Usage], *, organisation: str, currency: str) -> Bill:
    lines = tuple(lines)
    return Bill(
        organisation=organisation,
        currency=currency,
        lines=lines,
        card_ns=sum(line.card_ns for line in lines),
        lost_card_ns=sum(line.cards * line.lost_ns for line in lines),
        cost_micro=sum(line.cost_micro for line in lines),
        lost_micro=sum(line.lost_micro for line in lines),
    )
