"""The best ways to serve a model on a pool of several kinds of cards.

Asked:  so many cards of each kind, and a target. What does each kind do, with which engines, and how many?
Answer: each kind's engines are priced as for that kind alone (`offer`). Then there are these ways: both parts of a
        request on one kind; prompts on one kind and tokens on another or the same, all pairs (`pairs`). `share`
        shares the cards between at most two ways apart, with engines that do both on what is left; the target holds on each. Of
        the plans in which most cards of each kind do the same, the best is on the menu. Best: most requests a second; where
        so many are asked, the lowest price, or the fewest cards where a kind has none.
        One kind: the answer of `search`.
Units:  seconds, requests a second, micro-units of money.
Limits: those of `search`, but for the one kind; one engine a way and kind. Idle cards cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from forebay.chips import catalogue
from forebay.errors import DoesNotFit
from forebay.plan.pool import Pool
from forebay.plan.serving import MixMenu, ServingMix, ServingTarget, words
from forebay.plan.serving import search as of_one_kind
from forebay.plan.serving.blocks import Apart, Together, useful
from forebay.plan.serving.handover import Wire, wire
from forebay.plan.serving.mix import Ways, does, mix, money
from forebay.plan.serving.offer import Offer, offers, question
from forebay.plan.serving.pairs import Matched, matched, nearest
from forebay.plan.serving.roles import allowed
from forebay.plan.serving.search import MOST, missed_by, shortfall
from forebay.plan.serving.share import Shared, Way, cheapest, most, plain
from forebay.plan.serving.time import Ints
from forebay.plan.serving.wait import HABITS, Habits

EXACT = 1 + 1e-9  # a queue is solved for the target, and then reckoned
SLACK = 1.05  # of the nearest miss, where no plan keeps the times: so much of it that some requests are carried


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolQuestion:
    """What is asked of the search over kinds."""

    target: ServingTarget
    pool: Pool
    library: str = ""  # an engine, where it is known which
    apart: bool = False  # prompts are always read by engines of their own
    only: Mapping[str, str] = field(default_factory=dict)  # what a kind may do, where that is one thing: `roles`


def search(asked: PoolQuestion) -> MixMenu:
    """The menu. Raises where no kind can serve, or where wishes contradict each other."""
    kinds = asked.pool.kinds
    if len(kinds) == 1:
        may = allowed(kinds, asked.only, asked.apart, {})
        return _one_kind(asked, kinds[0], asked.apart or "both" not in may[kinds[0]])
    found, left_out = offers(asked.pool, asked.target, asked.library)
    may = allowed(kinds, asked.only, asked.apart, left_out)
    habits = HABITS.get(asked.library, HABITS[""])
    wires = _wires(asked.pool)
    target, counts = asked.target, np.array([one.count for one in asked.pool.cards])
    ways = _ways(found, may, wires, target, habits)
    shared = most(ways.ways, counts)
    if not shared:  # no plan keeps the times: those that miss them least
        over = _least_miss(found, may, wires, target, habits) * SLACK
        relaxed = replace(
            target,
            first_s=None if target.first_s is None else target.first_s * max(over, 1.0),
            token_s=None if target.token_s is None else target.token_s * max(over, 1.0),
        )
        ways = _ways(found, may, wires, relaxed, habits)
        shared = most(ways.ways, counts)
        if not shared:
            raise DoesNotFit(
                "Reading prompts apart takes two engines, which these cards don't hold.",
                asked=", ".join(f"{one.count} x {one.name}" for one in found if one is not None),
                found=", ".join(
                    f"an engine on {one.name}: {int(one.cuts.cards.min())} cards" for one in found if one is not None
                ),
                hint="more cards, or engines that do both",
            )
        return _menu(asked, kinds, found, left_out, ways, shared, dict.fromkeys(kinds, 0.0), relaxed)
    if target.requests_per_s is not None:
        prices = [one.price_per_hour for one in asked.pool.cards]
        known = np.array([price if price is not None else 1 for price in prices] if None not in prices else [1] * len(kinds))
        least = cheapest(ways.ways, counts, target.requests_per_s, known.astype(np.float64))
        least = sorted(
            least, key=lambda one: (round(float(np.log(one[0])), 3), sum(map(bool, one[1].used)), len(one[1].portions))
        )
        shared = [one for _, one in least] or shared
    return _menu(asked, kinds, found, left_out, ways, shared, _alone(ways, counts, kinds), target)


def _one_kind(asked: PoolQuestion, kind: str, apart: bool) -> MixMenu:
    """As `search` says; each of its plans is a mix of one group."""
    cards = asked.pool.cards[0]
    menu = of_one_kind.search(question(cards, asked.target, asked.library), apart)
    choices = tuple(
        ServingMix(
            groups=(one,),
            first_s=one.first_s,
            token_s=one.token_s,
            requests_per_s=one.requests_per_s,
            cards={kind: one.cards},
            idle={kind: cards.count - one.cards} if one.cards < cards.count else {},
            **money(asked.pool, (kind,), {kind: one.cards}, one.requests_per_s * asked.target.output_tokens),
        )
        for one in menu.choices
    )
    best = max(one.requests_per_s for one in choices)
    return MixMenu(
        choices=choices,
        target=asked.target,
        met=menu.met,
        searched=menu.searched,
        why=menu.why,
        alone={kind: best if menu.met else 0.0},
    )


def _wires(pool: Pool) -> dict[tuple[int, int], Wire]:
    every = range(len(pool.cards))
    return {
        (a, b): wire(pool.cards[a], pool.cards[b], None if a == b else pool.between_bytes_per_s) for a in every for b in every
    }


def _ways(
    found: Sequence[Offer | None],
    may: Mapping[str, frozenset[str]],
    wires: Mapping[tuple[int, int], Wire],
    target: ServingTarget,
    habits: Habits,
) -> Ways:
    ways: list[Way] = []
    engines: list[Ints | Matched] = []
    timed = replace(target, requests_per_s=None)
    for kind, one in enumerate(found):
        if one is None or "both" not in may[one.name]:
            continue
        served = one.together
        keeps = np.flatnonzero(missed_by(timed, served, served.requests_per_s) <= 1)
        keeps = keeps[np.argsort(served.token_s[keeps], kind="stable")]  # of equals the quicker token
        best = keeps[useful(one.cuts.cards[keeps], served.requests_per_s[keeps])]
        if len(best):
            ways.append(Together(kind=kind, size=one.cuts.cards[best], rate=served.requests_per_s[best]))
            engines.append(best)
    for (a, b), on in wires.items():
        readers, makers = found[a], found[b]
        if readers is None or makers is None or "prompts" not in may[readers.name] or "tokens" not in may[makers.name]:
            continue
        pairs = matched(a, b, readers, makers, on, target, habits)
        if len(pairs.reader):
            ways.append(pairs.way)
            engines.append(pairs)
    return Ways(ways=ways, engines=engines)


def _least_miss(
    found: Sequence[Offer | None],
    may: Mapping[str, frozenset[str]],
    wires: Mapping[tuple[int, int], Wire],
    target: ServingTarget,
    habits: Habits,
) -> float:
    timed = replace(target, requests_per_s=None)
    misses = [
        float(missed_by(timed, one.together, one.together.requests_per_s).min())
        for one in found
        if one is not None and "both" in may[one.name]
    ]
    for (a, b), on in wires.items():
        readers, makers = found[a], found[b]
        if readers is not None and makers is not None and "prompts" in may[readers.name] and "tokens" in may[makers.name]:
            misses.append(nearest(readers, makers, on, target, habits))
    return min(misses)


def _alone(ways: Ways, counts: Ints, kinds: Sequence[str]) -> dict[str, float]:
    """Requests a second of each kind by itself."""
    out = {}
    for k, kind in enumerate(kinds):
        mine = [one for one in ways.ways if (one.kind if isinstance(one, Together) else {one.reads_on, one.makes_on}) in (k, {k})]
        best = most(mine, counts)
        out[kind] = best[0].rate if best else 0.0
    return out


def _menu(
    asked: PoolQuestion,
    kinds: Sequence[str],
    found: Sequence[Offer | None],
    left_out: Mapping[str, str],
    ways: Ways,
    shared: Sequence[Shared],
    alone: Mapping[str, float],
    kept: ServingTarget,  # what the ways keep: the target, or a looser one
) -> MixMenu:
    target, counts = asked.target, np.array([one.count for one in asked.pool.cards])
    if target.requests_per_s is None:
        shared = sorted((plain(one) for one in shared), key=lambda one: (-round(float(np.log(one.rate)), 3), len(one.portions)))
    chosen: dict[tuple[tuple[str, int], ...], Shared] = {}
    for one in shared:
        chosen.setdefault(does(one, ways, counts), one)
    paces = {one.name: words.pace(one, kept) for one in found if one is not None}
    mixes = [mix(asked.pool, kinds, found, ways, target, one) for one in list(chosen.values())[:MOST]]
    best = mixes[0]
    limits = (best.first_s, target.first_s), (best.token_s, target.token_s), (target.requests_per_s, best.requests_per_s)
    met = all(one is None or at_most is None or one <= at_most * EXACT for one, at_most in limits)
    if not met:
        why = shortfall(target, best.first_s, best.token_s, best.requests_per_s)
    elif target.requests_per_s is not None:
        why = words.cheapest(target, all(one.price_per_hour is not None for one in asked.pool.cards))
    else:
        why = _compared(shared, ways)
    chips = catalogue.load()  # a chip that only its owner knows is its own vendor's
    vendors = {kind: chips[one.chip].vendor if one.chip in chips else one.chip for kind, one in asked.pool.by_kind.items()}
    return MixMenu(
        choices=tuple(replace(one, says=words.lines(one, paces, left_out, vendors)) for one in mixes),
        target=target,
        met=met,
        searched=sum(one.searched for one in found if one is not None),
        why=why,
        alone=alone,
        left_out=left_out,
    )


def _compared(shared: Sequence[Shared], ways: Ways) -> str:
    """The best against the best of other sorts: whole requests, prompts apart on their own kind, prompts that change it."""

    def sort(one: Shared) -> str:
        of = [ways.ways[part.way] for part in one.portions]
        if any(isinstance(way, Apart) and way.reads_on != way.makes_on for way in of):
            return "crossing"
        return "whole" if all(isinstance(way, Together) for way in of) else "apart"

    best: dict[str, float] = {}
    for one in shared:
        best.setdefault(sort(one), one.rate)
    return words.compared(best)
