"""Fold what was used and what it costs into the state: the ledger, how busy runs are, prices, owners, credits, accounts.

Beside `state.py`, and called by it only, when the rest of the state holds the event: the same rules hold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forebay.cloud.core import events as e
from forebay.cloud.core import ledger, money
from forebay.cloud.core.money import PARTS, Credit, Owned
from forebay.cloud.core.tenant import Price
from forebay.cloud.core.use import Used

if TYPE_CHECKING:
    from forebay.cloud.core.state import State


COUNT = frozenset(
    (
        e.Launched,
        e.Queued,
        e.Admitted,
        e.Started,
        e.Ended,
        e.UseSeen,
        e.CheckpointSeen,
        e.IdleWarned,
        e.IdleLimitsSet,
        e.PriceSet,
        e.CentreOwned,
        e.Credited,
        e.BudgetSet,
        e.BudgetLifted,
    )
)


def fold(state: State, event: e.Event) -> None:
    t = state.t
    ledger.fold(state, event)
    if type(event) not in COUNT:
        return
    match event:
        case e.Launched(run=run) | e.Queued(run=run) | e.Admitted(run=run) | e.Started(run=run):
            _goes_on(state, run)
        case e.Ended(run=run):
            _goes_on(state, run)
            _tell_rest(state, run)
        case e.UseSeen():
            _use(state, event)
        case e.CheckpointSeen(run=run, stamp_ns=stamp_ns):
            t.uses[run] = replace(t.uses.get(run, Used()), stamp_ns=stamp_ns)
        case e.IdleWarned(run=run):
            t.uses[run] = replace(t.uses.get(run, Used()), warned=True)
        case e.IdleLimitsSet(limits=limits):
            t.idle_limits = limits
        case e.PriceSet(chip=chip, micro_per_card_s=micro, from_ns=from_ns):
            price = Price(chip=chip, micro_per_card_s=micro, from_ns=max(from_ns, event.at_ns))
            t.price_history[chip] = money.with_price(t.price_history.get(chip, ()), price)
        case e.CentreOwned(centre=centre, organisation=organisation, share=share):
            owned = Owned(from_ns=event.at_ns, organisation=organisation, millionths=round(share * PARTS) if organisation else 0)
            t.owners[centre] = (*t.owners.get(centre, ()), owned)
        case e.Credited(run=run, card_ns=card_ns, micro=micro, reason=reason):
            t.credits[run] = Credit(run=run, at_ns=event.at_ns, card_ns=card_ns, micro=micro, reason=reason)
            state.accounts.credited(t.credits[run], t.jobs[t.runs[run].job].job)
        case e.BudgetSet(budget=budget):
            _watch(state, budget.name, budget.from_ns)
        case e.BudgetLifted(organisation=organisation, project=project):
            state.accounts.drop(f"{organisation}/{project}")


def index(state: State) -> None:
    """Make what is derived from the tables: called at the end of State's own indexes."""
    for run in state.t.runs.values():
        state.accounts.goes_on(run, state.t.jobs[run.job].job)
    for credit in state.t.credits.values():
        state.accounts.credited(credit, state.t.jobs[state.t.runs[credit.run].job].job)
    for budget in state.t.budgets.values():
        _watch(state, budget.name, budget.from_ns)
    state.idle = {run: None for run in state.live if state.t.uses.get(run, Used()).idle_ns}
    ledger.begin(state)


def _watch(state: State, name: str, from_ns: int) -> None:
    runs = ((run, state.t.jobs[run.job].job) for run in state.t.runs.values())
    state.accounts.watch(name, from_ns, runs, state.t.credits)


def _goes_on(state: State, run_id: str) -> None:
    run = state.t.runs[run_id]
    state.accounts.goes_on(run, state.t.jobs[run.job].job)


def _tell_rest(state: State, run_id: str) -> None:
    """A run has ended: what it held is known exactly now. The rest was never measured."""
    run, used = state.t.runs[run_id], state.t.uses.get(run_id, Used())
    held_ns = run.allocation.cards * run.held_ns
    for tally in ledger.tallies_of(state, run_id):
        tally.held_ns += held_ns - used.held_ns
    if run_id in state.t.uses:
        state.t.uses[run_id] = replace(used, held_ns=held_ns)
    state.idle.pop(run_id, None)


def _use(state: State, event: e.UseSeen) -> None:
    run, used = state.t.runs[event.run], state.t.uses.get(event.run, Used())
    measured_ns = 0 if event.active_ns < 0 else event.held_ns if event.measured_ns < 0 else event.measured_ns
    active_ns = max(0, event.active_ns)
    is_idle = measured_ns > 0 and active_ns < state.t.idle_limits.share * measured_ns
    idle_ns = used.idle_ns + measured_ns // run.allocation.cards if is_idle else 0
    state.t.uses[run.id] = replace(
        used,
        told_at_ns=event.at_ns,
        held_ns=used.held_ns + event.held_ns,
        measured_ns=used.measured_ns + measured_ns,
        active_ns=used.active_ns + active_ns,
        productive_ns=used.productive_ns + event.productive_ns,
        idle_ns=idle_ns,
        warned=used.warned and is_idle,
    )
    for tally in ledger.tallies_of(state, run.id):
        tally.held_ns += event.held_ns
        tally.measured_ns += measured_ns
        tally.active_ns += active_ns
        tally.productive_ns += event.productive_ns
    if is_idle and not run.outcome:
        state.idle[run.id] = None
    else:
        state.idle.pop(run.id, None)
