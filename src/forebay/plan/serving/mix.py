"""A pool's cards shared out, as a plan that a person can read: groups of engines, their times, money.

Asked:  so many workers of these ways. What is expected of each group, and of all?
Answer: of engines that do both what their own search says; of a pair the time to first token at the load that it gets. Times of
        the whole are those of the slowest group. A million output tokens cost what the cards at work cost in that time.
Units:  seconds, requests a second, whole micro-units of money.
Limits: prices are a card's and an hour's; idle cards cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forebay.plan.pool import Pool
from forebay.plan.serving import ServingChoice, ServingMix, ServingTarget
from forebay.plan.serving.blocks import Apart
from forebay.plan.serving.load import Served
from forebay.plan.serving.offer import Offer
from forebay.plan.serving.pairs import Matched
from forebay.plan.serving.search import FIRST_HIGH, FIRST_LOW, TOKEN_HIGH, TOKEN_LOW, tier
from forebay.plan.serving.share import Portion, Shared, Way
from forebay.plan.serving.time import Ints

HOUR_S = 3600.0
MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ways:
    """All ways that keep a target, and whose engines they are made of."""

    ways: list[Way]
    engines: list[Ints | Matched]  # of a Together which of the offer's cuts; of an Apart its pairs


def does(shared: Shared, ways: Ways, counts: Ints) -> tuple[tuple[str, int], ...]:
    """What most cards of each kind do, and for which kind."""
    left = counts - np.array(shared.used)
    cards: list[Counter[tuple[str, int]]] = [Counter({("idle", 0): int(idle)}) for idle in left]
    for one in shared.portions:
        way = ways.ways[one.way]
        for kind, used in enumerate(one.used):
            if not used:
                continue
            if not isinstance(way, Apart):
                what = ("both", kind)
            elif way.reads_on == way.makes_on:
                what = ("apart", kind)
            else:
                what = ("prompts", way.makes_on) if kind == way.reads_on else ("tokens", way.reads_on)
            cards[kind][what] += used
    return tuple(one.most_common(1)[0][0] for one in cards)


def mix(
    pool: Pool, kinds: Sequence[str], found: Sequence[Offer | None], ways: Ways, target: ServingTarget, of: Shared
) -> ServingMix:
    """All but its words."""
    groups = tuple(_group(found, ways, target, one) for one in of.portions)
    used = {kind: cards for kind, cards in zip(kinds, of.used, strict=True) if cards}
    left = {kind: one.count - used.get(kind, 0) for kind, one in zip(kinds, pool.cards, strict=True)}
    return ServingMix(
        groups=groups,
        first_s=max(one.first_s for one in groups),
        token_s=max(one.token_s for one in groups),
        requests_per_s=sum(one.requests_per_s for one in groups),
        cards=used,
        idle={kind: cards for kind, cards in left.items() if cards},
        **money(pool, kinds, used, of.rate * target.output_tokens),
    )


def money(pool: Pool, kinds: Sequence[str], used: Mapping[str, int], tokens_per_s: float) -> dict[str, Any]:
    """The fields of a ServingMix that say what a million output tokens cost."""
    prices = dict(zip(kinds, (one.price_per_hour for one in pool.cards), strict=True))
    by_kind: dict[str, int] = {}
    for kind, cards in used.items():
        price = prices[kind]
        if price is None:
            return {}
        by_kind[kind] = round(cards * price / HOUR_S / tokens_per_s * MILLION)
    return {"cost_per_million": sum(by_kind.values()), "cost_by_kind": by_kind, "currency": pool.currency}


def _group(found: Sequence[Offer | None], ways: Ways, target: ServingTarget, one: Portion) -> ServingChoice:
    way, engines = ways.ways[one.way], ways.engines[one.way]
    if isinstance(way, Apart) and isinstance(engines, Matched):
        readers, makers = found[way.reads_on], found[way.makes_on]
        assert readers is not None and makers is not None
        i, maker, reader = one.which, int(engines.maker[one.which]), int(engines.reader[one.which])
        first = engines.first_s(i, one.rate / one.readers / float(engines.read[i]))
        made = _made(makers, maker, makers.making, first, target, one)
        prefill = readers.readers.plan(reader, one.readers)
        return replace(
            made,
            prefill=replace(prefill, batch=prefill.data),
            prefill_chip="" if way.reads_on == way.makes_on else readers.name,
            moved_s=float(engines.moved_s[i]),
            tier=max(made.tier, tier(readers.engine), key=("kernel tables", "data sheet").index),
        )
    assert not isinstance(way, Apart) and not isinstance(engines, Matched)
    offer = found[way.kind]
    assert offer is not None
    i = int(engines[one.which])
    return _made(offer, i, offer.together, float(offer.together.first_s[i]), target, one)


def _made(offer: Offer, i: int, served: Served, first: float, target: ServingTarget, one: Portion) -> ServingChoice:
    """The group whose tokens engine `i` of the offer makes."""
    token, cards = float(served.token_s[i]), sum(one.used)
    return ServingChoice(
        chip=offer.name,
        decode=offer.cuts.plan(i, one.makers),
        first_s=first,
        token_s=token,
        first_low_s=first * FIRST_LOW,
        first_high_s=first * FIRST_HIGH,
        token_low_s=token * TOKEN_LOW,
        token_high_s=token * TOKEN_HIGH,
        requests_per_s=one.rate,
        tokens_per_s_card=one.rate * target.output_tokens / cards,
        memory_bytes=int(served.memory_bytes[i]),
        cards=cards,
        parts={name: float(values[i]) for name, values in served.parts.items()},
        tier=tier(offer.engine),
    )
