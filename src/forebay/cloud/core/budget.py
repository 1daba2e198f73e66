"""Budgets: what an organisation or project may spend.

Asked:  may a run be launched for this project, as far as money goes? When is somebody to be warned?
Answer: a budget is over when what was held from its day on costs as much as its limit, credit notes taken off. Runs that go on
        are counted up to now and go on; no new ones start. `over_budget` costs the same whatever the pool does: the policy may
        ask it at each launch.
Limits: runs that go on may overrun a limit by what they still hold; nothing is reserved for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Budget
from forebay.units import show_money


def spent(state: State, budget: Budget, now_ns: int) -> int:
    """Micro-units spent of a budget that is set."""
    return state.accounts.budgets[budget.name].spent_micro(now_ns)


def over_budget(state: State, organisation: str, project: str, now_ns: int) -> str:
    """Why no new run of a project may start; empty: it may."""
    for name in (f"{organisation}/", f"{organisation}/{project}"):
        budget = state.t.budgets.get(name)
        if budget is None or now_ns < budget.from_ns:
            continue
        gone = spent(state, budget, now_ns)
        if gone >= budget.limit_micro:
            limit = show_money(budget.limit_micro, state.t.currency)
            return f"the budget of {name.rstrip('/')} is spent: {show_money(gone)} of {limit}"
    return ""


def warnings(state: State, now_ns: int) -> Iterator[e.BudgetWarned]:
    """For every budget that has reached the share at which a warning is due, once."""
    for budget in list(state.t.budgets.values()):
        if budget.warned or now_ns < budget.from_ns:
            continue
        gone = spent(state, budget, now_ns)
        if gone >= budget.warn_share * budget.limit_micro:
            yield e.BudgetWarned(
                at_ns=now_ns,
                by="forebay",
                organisation=budget.organisation,
                project=budget.project,
                spent_micro=gone,
                limit_micro=budget.limit_micro,
            )
