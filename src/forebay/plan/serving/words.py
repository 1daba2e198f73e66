"""What each kind of cards does in a plan and why, in plain words.

Asked:  a plan over several kinds. What does each kind do, why that, and why this plan?
Answer: a line a kind. Why prompts are read here and tokens made there: what a card of either kind does of either part in a
        second, with its best engine. Not the speeds but their ratio decides who reads: comparative advantage.
Limits: words for a screen; figures are in the nouns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forebay.plan.serving import ServingChoice, ServingMix, ServingTarget
from forebay.plan.serving.offer import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Of a card of a kind, with the engine that is best at it."""

    reads: float  # prompts a second
    makes: float  # requests a second whose tokens are made, in time


def pace(offer: Offer, target: ServingTarget) -> Pace:
    making = offer.making
    quick = making.token_s <= (np.inf if target.token_s is None else target.token_s)
    return Pace(
        reads=float((offer.prompts / offer.readers.cards).max()),
        makes=float((making.requests_per_s / offer.cuts.cards)[quick].max(initial=0.0)),
    )


def lines(mix: ServingMix, paces: Mapping[str, Pace], left_out: Mapping[str, str], vendors: Mapping[str, str]) -> tuple[str, ...]:
    """One for each kind of the pool, and what must be seen to where a cache goes from one vendor's cards to another's."""
    told = []
    for kind, its in paces.items():
        parts = [part for group in mix.groups for part in _does(group, kind)]
        if idle := mix.idle.get(kind, 0):
            parts.append(f"leaves {_cards(idle)} idle")
        others = {g.chip if g.prefill_chip == kind else g.prefill_chip for g in mix.groups if _crosses(g, kind)}
        why = [_why(kind, its, other, paces[other], _reads(mix, kind)) for other in sorted(others)]
        told.append(f"{kind} {', '.join(parts)}" + "".join(f": {one}" for one in why) + ".")
    told += [f"{kind} is left out: {why}." for kind, why in left_out.items()]
    crossing = sorted({(g.prefill_chip, g.chip) for g in mix.groups if g.prefill_chip})
    foreign = [f"{a} and {b}" for a, b in crossing if vendors[a] != vendors[b]]
    return (*told, *(f"{pair} are of two vendors: see that their engines lay out a cache alike." for pair in foreign))


SORTS = {
    "crossing": "prompts read on one kind for another",
    "apart": "prompts read apart, each on its own kind,",
    "whole": "whole requests, answered where they are read,",
}


def compared(best: Mapping[str, float]) -> str:
    """Why the first plan of a menu is that. `best` has the most that plans of each sort carry, the best sort first."""
    (first, rate), *others = best.items()
    told = [f"{SORTS[sort]} would carry {_more(other, rate)}" for sort, other in others]
    most = f"{SORTS[first][0].upper()}{SORTS[first][1:]} carry most"
    return f"{most}; {', and '.join(told)}." if told else f"{most}."


def _more(one: float, other: float) -> str:
    share = one / other - 1
    return "as much" if abs(share) < 0.0005 else f"{abs(share):.1%} {'more' if share > 0 else 'less'}"


def _does(group: ServingChoice, kind: str) -> list[str]:
    if group.prefill is None:
        return [f"reads and makes on {_cards(group.decode.cards)}"] if group.chip == kind else []
    if not group.prefill_chip:
        apart = f"reads prompts on {_cards(group.prefill.cards)} and makes their tokens on {group.decode.cards}"
        return [apart] if group.chip == kind else []
    if group.prefill_chip == kind:
        return [f"reads prompts for {group.chip} on {_cards(group.prefill.cards)}"]
    return [f"makes tokens for prompts of {group.prefill_chip} on {_cards(group.decode.cards)}"] if group.chip == kind else []


def _crosses(group: ServingChoice, kind: str) -> bool:
    return bool(group.prefill_chip) and kind in (group.chip, group.prefill_chip)


def _reads(mix: ServingMix, kind: str) -> bool:
    return any(group.prefill_chip == kind for group in mix.groups)


def _why(kind: str, its: Pace, other: str, others: Pace, reads: bool) -> str:
    read, make = _times(its.reads, others.reads), _times(its.makes, others.makes)
    if reads and not its.makes:
        return f"a card reads {read} prompts a card of {other} does, and none makes tokens in time"
    if reads:
        return f"a card reads {read} prompts a card of {other} does, and makes {make} tokens"
    return f"a card makes {make} tokens a card of {other} does, and reads {read} prompts"


def _times(one: float, other: float) -> str:
    if not other:
        return "the"
    share = one / other
    return f"{share:.1f} times the" if share >= 0.995 else f"{share:.0%} of the"


def _cards(n: int) -> str:
    return f"{n:,} card" if n == 1 else f"{n:,} cards"


def cheapest(target: ServingTarget, priced: bool) -> str:
    """Why the first plan is that where so many requests are asked."""
    least = "The least money that carries" if priced else "The fewest cards that carry"
    return f"{least} {target.requests_per_s:g} requests a second."


__all__: Sequence[str] = ("Pace", "cheapest", "compared", "lines", "pace")
