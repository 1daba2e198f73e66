"""What metering decides beside the policy: credit notes, warnings of budgets, idle holders. `decide` calls it in one line."""

from __future__ import annotations

from forebay.cloud.core import events as e
from forebay.cloud.core.budget import warnings
from forebay.cloud.core.credit import credit
from forebay.cloud.core.idle import idlers
from forebay.cloud.core.state import State


def due(state: State, fact: e.Event) -> list[e.Event]:
    """What follows for money and idle cards from an end or a tick, folded."""
    decisions: list[e.Event] = []
    if isinstance(fact, e.Ended) and (note := credit(state.t.runs[fact.run], fact)):
        decisions.append(_made(state, note))
    for warned in warnings(state, fact.at_ns):
        decisions.append(_made(state, warned))
    if isinstance(fact, e.Tick):
        for decision in idlers(state, fact.at_ns):
            decisions.append(_made(state, decision))
    return decisions


def _made(state: State, decision: e.Event) -> e.Event:
    state.fold(decision)
    return decision
