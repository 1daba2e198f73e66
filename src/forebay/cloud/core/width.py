"""How many cards an elastic job should hold, given what they cost all others. Pure.

    rents_s(state, standing, options, now_ns)     # seconds that count as if each option ended so much later
    wanted(state, standing, options, now_ns)      # the line that it would take if all cards were free

Asked:  a job is faster on more cards, but seldom twice as fast on twice as many. How many does it take while others are there?
Answer: its account's clock says how many card-seconds a second each of its jobs gets under exact sharing (`share.py`). A card-
        second that a job holds therefore costs the others 1 / rate - 1 / pool seconds: with one organisation and m jobs on N
        cards, (m - 1) / N, the delay of m - 1 jobs of which each gets an Nth of a second less. A job takes the line with the
        least sum of its own time and that rent, time x (1 + price x cards). Alone it takes the fastest line; the more others
        there are, the nearer it comes to the line that makes most of a card; cards that speed it up in full it always takes.
Limits: only menus with times, and only where they offer more than one count of a chip: between chips alone the rent says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from forebay.cloud.core.job import Job, Option, Standing
from forebay.cloud.core.state import State


def has_widths(job: Job) -> bool:
    """Whether it may take more or fewer cards of a chip, and not only other chips."""
    return job.elastic and len({option.chip for option in job.menu}) < len(job.menu)


def price(state: State, job: Job, now_ns: int) -> float:
    """What holding a card of the reference chip for a second costs all others, in seconds."""
    _, rate = state.shares.clock(job.organisation, job.project, now_ns)
    return max(0.0, 1.0 / rate - 1.0 / state.shares.cards)


def rents_s(state: State, standing: Standing, options: Sequence[Option], now_ns: int) -> list[float]:
    """Of the rest of a job, on each of the options; empty where there is no width to choose."""
    if not has_widths(standing.job):
        return []
    a_card_s = price(state, standing.job, now_ns) * (1.0 - standing.done)
    return [a_card_s * o.cards * state.compute(o.chip) * (o.expected_s or 0.0) for o in options]


def wanted(state: State, standing: Standing, options: Sequence[Option], now_ns: int) -> Option | None:
    """None: nothing is known of its times, or it has no width to choose."""
    timed = [option for option in options if option.expected_s is not None]
    rents = rents_s(state, standing, timed, now_ns)
    left = 1.0 - standing.done
    worths = [(left * (o.expected_s or 0.0) + rent, i) for i, (o, rent) in enumerate(zip(timed, rents, strict=False))]
    return timed[min(worths)[1]] if worths else None
