"""Usage and bills: folds over what was held.

Asked:  who held which cards for how long in a period, and what does it cost?
Answer: a run's cost is cards x seconds held x the price at its launch. The seconds were measured by the engine's monotonic
        clock, from the moment the cards were taken to the moment the last process was gone; never told by the job. A run that
        spans the border of a period is cut there, so that adjacent periods sum to the whole, to the micro-unit (`money.py`).
        Credit notes are taken off in the period in which they were given, and what others paid for a centre that the
        organisation brought is taken off in lines of its own (`lent.py`).
Border: what happens at one moment, an end or a credit note, belongs to the period that ends with that moment.
Limits: a run that still goes on is counted up to `now`, by the cloud's clock, and marked as open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forebay.cloud.core import money
from forebay.cloud.core.job import Run
from forebay.cloud.core.lent import Earned, earned
from forebay.cloud.core.state import State

ALWAYS_NS = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one run held in a period. `lost_ns` is the part of it whose work was not kept: after the newest checkpoint of a run
    that failed.
    """

    organisation: str
    project: str
    member: str  # who submitted it
    job: str
    job_name: str
    run: str
    centre: str
    chip: str
    pretend: bool
    cards: int
    held_ns: int
    lost_ns: int
    price_micro_per_card_s: int
    cost_micro: int
    lost_micro: int
    outcome: str
    began_ns: int = 0  # to hold its cards, by the cloud's clock; maybe before the period
    open: bool = False
    credited_micro: int = 0
    credit: str = ""  # why

    @property
    def card_ns(self) -> int:
        return self.cards * self.held_ns

    @property
    def billed_micro(self) -> int:
        return self.cost_micro - self.credited_micro


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The usage of an organisation in a period, or of all, with its sums. `billed = cost - credited - earned`.

    Of one organisation that is what it owes; of all it is what the pool keeps.
    """

    organisation: str  # empty: the whole pool
    currency: str
    from_ns: int  # 0: from the beginning
    to_ns: int
    lines: tuple[Usage, ...]
    earned: tuple[Earned, ...]
    card_ns: int
    lost_card_ns: int
    cost_micro: int
    lost_micro: int
    credited_micro: int
    earned_micro: int
    billed_micro: int


def bill(
    state: State,
    now_ns: int,
    *,
    organisation: str = "",
    project: str = "",
    job: str = "",
    member: str = "",
    chip: str = "",
    from_ns: int = 0,
    to_ns: int = ALWAYS_NS,
) -> Bill:
    """The bill for what matches the filters; the same state and times give the same bill."""
    to_ns = min(to_ns, now_ns)
    lines = tuple(
        line
        for line in (usage(state, run, from_ns, to_ns) for run in state.t.runs.values() if _touches(state, run, from_ns, to_ns))
        if (not organisation or line.organisation == organisation)
        and (not project or line.project == project)
        and (not job or line.job == job)
        and (not member or line.member == member)
        and (not chip or line.chip == chip)
    )
    of_parts = project or job or member  # what a centre earned is no project's and no member's
    credits = () if of_parts else tuple(one for one in earned(state, organisation, from_ns, to_ns) if chip in ("", one.chip))
    return total(lines, credits, organisation=organisation, currency=state.t.currency, from_ns=from_ns, to_ns=to_ns)


def usage(state: State, run: Run, from_ns: int, to_ns: int) -> Usage:
    """What a run held from a moment to another."""
    standing = state.t.jobs[run.job]
    job = standing.job
    credit = state.t.credits.get(run.id)
    due = credit is not None and from_ns < credit.at_ns <= to_ns
    lost = [money.lost_ns(run, at) for at in (from_ns, to_ns)]
    return Usage(
        organisation=job.organisation,
        project=job.project,
        member=member_of(state, standing.submitted_by),
        job=job.id,
        job_name=job.name,
        run=run.id,
        centre=run.allocation.centre,
        chip=run.allocation.chip,
        pretend=run.allocation.pretend,
        cards=run.allocation.cards,
        held_ns=money.held_ns(run, to_ns) - money.held_ns(run, from_ns),
        lost_ns=lost[1] - lost[0],
        price_micro_per_card_s=run.price_micro_per_card_s,
        cost_micro=money.cost_micro(run, to_ns) - money.cost_micro(run, from_ns),
        lost_micro=money.price_of(run, lost[1]) - money.price_of(run, lost[0]),
        outcome=run.outcome or "going on",
        began_ns=money.begins_ns(run),
        open=not run.outcome,
        credited_micro=credit.micro if credit and due else 0,
        credit=credit.reason if credit and due else "",
    )


def member_of(state: State, key_id: str) -> str:
    """Who has a key: a member, or what the key is called where it is nobody's in particular."""
    key = state.t.keys.get(key_id)
    return (key.member or key.name or key_id) if key else key_id


def total(
    lines: Iterable[Usage],
    credits: Iterable[Earned] = (),
    *,
    organisation: str,
    currency: str,
    from_ns: int = 0,
    to_ns: int = ALWAYS_NS,
) -> Bill:
    lines, credits = tuple(lines), tuple(credits)
    cost_micro = sum(line.cost_micro for line in lines)
    credited_micro = sum(line.credited_micro for line in lines)
    earned_micro = sum(one.earned_micro for one in credits)
    return Bill(
        organisation=organisation,
        currency=currency,
        from_ns=from_ns,
        to_ns=to_ns,
        lines=lines,
        earned=credits,
        card_ns=sum(line.card_ns for line in lines),
        lost_card_ns=sum(line.cards * line.lost_ns for line in lines),
        cost_micro=cost_micro,
        lost_micro=sum(line.lost_micro for line in lines),
        credited_micro=credited_micro,
        earned_micro=earned_micro,
        billed_micro=cost_micro - credited_micro - earned_micro,
    )


def _touches(state: State, run: Run, from_ns: int, to_ns: int) -> bool:
    """Whether a run has a line in a period: it held cards in it, waited in it, or was credited in it."""
    if from_ns <= 0 and to_ns >= run.launched_at_ns:
        return True
    credit = state.t.credits.get(run.id)
    went_on = run.launched_at_ns < to_ns and (not run.outcome or run.ended_at_ns > from_ns)
    return went_on or (credit is not None and from_ns < credit.at_ns <= to_ns)
