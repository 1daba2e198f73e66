"""Say how old the last good look at a run's cards is."""

from __future__ import annotations

from forebay.cloud.core.job import Run
from forebay.cloud.core.pool import place_name
from forebay.cloud.core.state import State
from forebay.units import NS_PER_S


def checked_s_ago(state: State, run: Run, now_ns: int) -> float | None:
    """Of the card whose last good check is the oldest. None: one of them has none, or a run on it failed since.

    Where the engine picks the cards itself it may pick any of the node's, so all of them count.
    """
    oldest_ns = now_ns
    for part in run.allocation.parts:
        node = state.node(run.allocation.centre, part.node)
        if node is None:
            return None
        for card in [card.index for card in node.cards] if node.counted else part.cards:
            checked_ns = state.t.good_checks.get(place_name(run.allocation.centre, part.node, card))
            if checked_ns is None:
                return None
            oldest_ns = min(oldest_ns, checked_ns)
    return (now_ns - oldest_ns) / NS_PER_S
