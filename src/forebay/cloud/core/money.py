"""What a run has held and cost by a moment, and the nouns Credit and Owned.

Asked:  a run spans the border of two months. What of it belongs to which, so that both bills add up to the whole?
Answer: held time goes on evenly from when the run got its cards, by the cloud's clock, until the time that its engine measured
        is used up. Cost is a function of a moment, rounded half up to a whole micro-unit; what a period costs is the difference
        of two moments, so adjacent periods sum to the whole exactly.
Clock:  `held_ns` of an ended run is the engine's own, monotonic. The cloud's interval, from the launch (or from when the centre's
        queue let it start) until the end was heard of, is as long or longer: a silent centre tells of ends late. Held time is
        laid at the beginning of the interval, because a late word is the common case.
Limits: an engine's clock that ran ahead of the cloud's leaves a rest, which belongs to the moment at which the end was heard of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.cloud.core.job import Run
from forebay.cloud.core.tenant import Price
from forebay.units import NS_PER_S

PARTS = 10**6  # an owner's share is reckoned in millionths


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Money that goes back for what a run held and the pool lost. It belongs to the moment at which it was given."""

    run: str
    at_ns: int
    card_ns: int
    micro: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """From this moment on, a centre is one that an organisation brought. Empty: nobody's."""

    from_ns: int
    organisation: str
    millionths: int  # its share of what others pay for the cards


def begins_ns(run: Run) -> int:
    """When a run began to hold its cards, by the cloud's clock. In its centre's own queue it holds nothing."""
    return run.admitted_at_ns or run.launched_at_ns


def held_ns(run: Run, at_ns: int) -> int:
    """How long a run had held its cards by a moment."""
    if not run.outcome:
        return 0 if run.queue_reason else max(0, at_ns - begins_ns(run))
    if at_ns >= run.ended_at_ns:
        return run.held_ns
    return min(run.held_ns, max(0, at_ns - begins_ns(run)))


def lost_ns(run: Run, at_ns: int) -> int:
    """The part of it whose work was not kept: the end of a run that didn't succeed."""
    return max(0, held_ns(run, at_ns) - (run.held_ns - run.lost_ns)) if run.outcome else 0


def cost_micro(run: Run, at_ns: int) -> int:
    """What a run had cost by a moment."""
    return price_of(run, held_ns(run, at_ns))


def price_of(run: Run, lasting_ns: int) -> int:
    """What its cards cost for so long, at the price of its launch: rounded half up to a whole micro-unit."""
    return (run.allocation.cards * lasting_ns * run.price_micro_per_card_s + NS_PER_S // 2) // NS_PER_S


def in_force(history: Sequence[Price], at_ns: int) -> Price | None:
    """The price at a moment. `history` is in the order in which prices come into force."""
    return next((price for price in reversed(history) if price.from_ns <= at_ns), None)


def with_price(history: Sequence[Price], price: Price) -> tuple[Price, ...]:
    """A history with one more price: a plan for the same moment is replaced, other plans stay."""
    return tuple(sorted((*(p for p in history if p.from_ns != price.from_ns), price), key=lambda p: p.from_ns))


def share_micro(micro: int, millionths: int) -> int:
    """A share of an amount, rounded half up; of a negative amount likewise."""
    return (micro * millionths + PARTS // 2) // PARTS
