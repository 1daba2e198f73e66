"""What a search refuses before it looks, and what it says when nothing is left.

Asked:  do the wishes contradict each other? Does no degree divide the batch? Does the model fit nowhere?
Answer: one error each, with what was asked, what was found and the nearest that works.
Limits: the nearest batch and number of cards have a plan; whether it fits the cards' memory isn't looked at.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from forebay.errors import BadInput
from forebay.plan.abilities import Abilities
from forebay.plan.framework import Framework
from forebay.plan.model import Workload
from forebay.plan.plan import RECOMPUTE
from forebay.plan.pool import Cards, Pool
from forebay.plan.space import allowed, divisors, possible
from forebay.plan.wishes import DEGREES, Wishes

CARDS_TRIED = 256  # fewer ones, before an error names none


def agreed(work: Workload, pool: Pool, wishes: Wishes) -> None:
    """Raises BadInput where two wishes contradict each other, naming both, or a number makes no sense."""
    if work.sequences < 1 or work.tokens < 1:
        raise BadInput("A batch has at least one sequence of one token.", asked=f"{work.sequences} x {work.tokens}")
    if not pool.cards or pool.count < 1:
        raise BadInput("The pool has no cards.", asked="a pool", hint="h100-sxm:8")
    for name in DEGREES:
        most, least, exactly = (table.get(name) for table in (wishes.most, wishes.least, wishes.exactly))
        for word, low, high, other in (
            ("at least", least, most, "at most"),
            ("exactly", exactly, most, "at most"),
            ("at least", least, exactly, "exactly"),
        ):
            if low is not None and high is not None and low > high:
                raise BadInput(
                    "Two wishes contradict each other.", asked=f"{name} {word} {low} and {name} {other} {high}", hint="drop one"
                )
    product = 1
    for name in ("tensor", "stages", "context"):
        product *= wishes.exactly.get(name, wishes.least.get(name, 1))
    if product > pool.count:
        raise BadInput(
            "The degrees that are wished need more cards than the pool has.", asked=f"{product} cards", found=f"{pool.count}"
        )
    if wishes.objective == "cards" and wishes.deadline_s is None:
        raise BadInput("The fewest cards are those that keep a deadline.", asked="for cards", hint="say within which seconds")


def runnable(wishes: Wishes, can: Abilities) -> Wishes:
    """The wishes without what the software lacks. Raises BadInput where nothing of a wish is left."""
    stages = wishes.exactly.get("stages", wishes.least.get("stages", 0))
    have = can.piped if stages > 1 else can.zero if stages else tuple(sorted({*can.zero, *can.piped}))
    if not any(allowed(wishes, "zero", one) for one in have):
        raise BadInput(
            "The framework runs no such stage of ZeRO" + (" with a pipeline." if stages > 1 else "."),
            asked=f"zero {wishes.exactly.get('zero', wishes.least.get('zero'))} with {wishes.framework}",
            found="zero " + ", ".join(str(one) for one in have),
            hint="one of these, or --framework " + ("torchtitan" if stages > 1 else "megatron"),
        )
    for name in ("tensor", "stages", "context", "expert"):
        degree = wishes.exactly.get(name, wishes.least.get(name, 1))
        if degree > 1 and name in can.lacks:
            raise BadInput(f"{wishes.framework} has no {name} degree.", asked=f"{name} {degree}", hint="--framework megatron")
    recompute = tuple(one for one in wishes.recompute or RECOMPUTE if one not in can.lacks)
    if not recompute:
        raise BadInput(f"{wishes.framework} doesn't recompute so.", asked=", ".join(wishes.recompute),
                       hint=", ".join(one for one in RECOMPUTE if one not in can.lacks))  # fmt: skip
    whole = recompute == RECOMPUTE
    return replace(wishes, recompute=() if whole else recompute, offload=wishes.offload and "offload" not in can.lacks)


def nothing_divides(work: Workload, cards: Cards, wishes: Wishes, software: Framework, *, laid: bool) -> BadInput:
    """No plan exists: the batch, the cards or the wishes divide by nothing. Says what nearest batches and cards do."""

    def works(batch: int, count: int) -> bool:
        other = replace(cards, count=count, island=min(cards.island, count))
        return possible(replace(work, sequences=batch), other, wishes, software, laid=laid)

    batches = {
        batch
        for unit in divisors(cards.count)
        for batch in (work.sequences // unit * unit, -(-work.sequences // unit) * unit)
        if batch > 0 and batch != work.sequences
    }
    close = sorted(batches, key=lambda batch: abs(batch - work.sequences))
    near = list(islice((batch for batch in close if works(batch, cards.count)), 2))
    fewer = next((n for n in range(cards.count - 1, max(cards.count - CARDS_TRIED, 0), -1) if works(work.sequences, n)), None)
    hints = [f"a batch of {' or '.join(str(one) for one in near)}"] if near else []
    hints += [f"{fewer} cards" if fewer else "another number of cards", "or fewer wishes"]
    said = ", ".join(f"{name} {how} {value}" for how, table in _tables(wishes) for name, value in table.items())
    return BadInput(
        "No degrees divide the cards, the batch and the model together.",
        asked=f"{work.sequences} sequences of {work.tokens} tokens on {cards.count} cards" + (f", {said}" if said else ""),
        found=f"{work.model.name}: {work.model.layers} layers, {work.model.heads} heads",
        hint=", ".join(hints),
    )


def nothing_shared(work: Workload, pool: Pool) -> BadInput:
    """No plan exists over kinds that are all to be used."""
    return BadInput(
        "No degrees divide the cards of all kinds, the batch and the model together.",
        asked=f"{work.sequences} sequences of {work.tokens} tokens on "
        + " and ".join(f"{one.count} x {name}" for name, one in pool.by_kind.items()),
        found=f"{work.model.name}: {work.model.layers} layers, {work.model.heads} heads",
        hint="cards of each kind, and a batch, that larger numbers divide; --some-idle; or fewer wishes",
    )


def _tables(wishes: Wishes) -> tuple[tuple[str, dict[str, int]], ...]:
    return (("at most", dict(wishes.most)), ("at least", dict(wishes.least)), ("exactly", dict(wishes.exactly)))
