"""What organisations earn that brought a centre: a share of what others pay for its cards.

Asked:  north belongs to acme, with a share of 70 %. What does the pool owe acme for a period?
Answer: for each run of another organisation there, the share of what it cost while the centre was acme's, less the share of what
        was credited to it; rounded half up a run and owner. It is summed by centre and chip: who the others are is theirs.
        Nothing is made or lost: what the pool keeps and what owners earn is what tenants pay.
Limits: what an owner itself runs there is billed like any other use, and earns nothing. A credit note takes from whoever owns the
        centre at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from forebay.cloud.core import money
from forebay.cloud.core.job import Run
from forebay.cloud.core.money import Owned
from forebay.cloud.core.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """What one organisation earned with the cards of one chip at a centre that it brought. It says nothing of who paid."""

    organisation: str  # the owner
    centre: str
    chip: str
    pretend: bool
    paid_micro: int  # by others, credit notes taken off
    earned_micro: int


def earned(state: State, organisation: str, from_ns: int, to_ns: int) -> list[Earned]:
    """In a period, by one owner or (empty) all."""
    sums: dict[tuple[str, str, str, bool], tuple[int, int]] = {}
    if not state.t.owners:
        return []
    for run in state.t.runs.values():
        where = run.allocation
        for owned, begins_ns, ends_ns in _spans(state, run):
            if organisation not in ("", owned.organisation):
                continue
            paid, share = _of_run(state, run, owned, begins_ns, ends_ns, from_ns, to_ns)
            if paid or share:
                key = (owned.organisation, where.centre, where.chip, where.pretend)
                before = sums.get(key, (0, 0))
                sums[key] = (before[0] + paid, before[1] + share)
    return [
        Earned(organisation=owner, centre=centre, chip=chip, pretend=pretend, paid_micro=paid, earned_micro=share)
        for (owner, centre, chip, pretend), (paid, share) in sorted(sums.items())
    ]


def _spans(state: State, run: Run) -> Iterator[tuple[Owned, int, int]]:
    """The stretches of time in which another organisation than the run's owned its centre."""
    history = state.t.owners.get(run.allocation.centre, ())
    for i, owned in enumerate(history):
        ends_ns = history[i + 1].from_ns if i + 1 < len(history) else 2**63 - 1
        if owned.organisation and owned.organisation != state.t.jobs[run.job].job.organisation:
            yield owned, owned.from_ns, ends_ns


def _of_run(state: State, run: Run, owned: Owned, begins_ns: int, ends_ns: int, from_ns: int, to_ns: int) -> tuple[int, int]:
    """What was paid for a run in a stretch of ownership, as far as a period reaches; and the owner's share of it."""
    start = money.cost_micro(run, begins_ns)
    one, other = (money.cost_micro(run, max(begins_ns, min(at, ends_ns))) - start for at in (from_ns, to_ns))
    paid = other - one
    share = money.share_micro(other, owned.millionths) - money.share_micro(one, owned.millionths)
    credit = state.t.credits.get(run.id)
    if credit and max(from_ns, begins_ns) < credit.at_ns <= min(to_ns, ends_ns):
        paid -= credit.micro
        share -= money.share_micro(credit.micro, owned.millionths)
    return paid, share
