"""The best plans for a workload on a pool.

Asked:  this model, this batch, these cards: how should it be cut?
Answer: every plan that fits is priced, of cards of one kind by `one_kind`, of several by `mixed`; so the first is the best of the
        space by the model's own figures. The menu has the best plan of each of the five best shapes (tensor, stages, context,
        expert, sharded or not): variants of one shape teach little.
Units:  seconds, bytes, micro-units of money, joules.
Limits: as good as its figures; the interval of a choice says how good that is. Ties go to the plan that needs less memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forebay.errors import BadInput, DoesNotFit
from forebay.plan.abilities import abilities
from forebay.plan.by_stage import ways
from forebay.plan.calibration import Calibration
from forebay.plan.detail import detailed
from forebay.plan.framework import Framework, framework
from forebay.plan.helps import helps
from forebay.plan.knowledge import known
from forebay.plan.layouts import MOST as MOST_LAID
from forebay.plan.mixed import mixed
from forebay.plan.model import Workload
from forebay.plan.one_kind import MOST, NEXT, Told, one_kind, tells_layers
from forebay.plan.plan import Choice, Dropped, Menu
from forebay.plan.pool import Pool
from forebay.plan.refuse import agreed, nothing_shared, runnable
from forebay.plan.space import LEFT_OUT
from forebay.plan.wishes import Wishes
from forebay.units import GB

Floats = NDArray[np.float64]
ALIKE = "All stages of a plan recompute alike"
LAID = f"Unequal layers were tried of plans that could be best by them, {MOST_LAID} at most."
EVEN = "Stages have as even layers as can be."


def search(
    work: Workload, pool: Pool, wishes: Wishes, told: Told | None = None, calibrations: Iterable[Calibration] = ()
) -> Menu:
    """At most five choices, the next ten with what keeps them off the menu, and what would help the first most.

    Raises BadInput for wishes or numbers that contradict each other, DoesNotFit where no plan fits the cards' memory.
    """
    agreed(work, pool, wishes)
    software = framework(wishes.framework)
    narrow = runnable(wishes, abilities(software.name))
    rests = tuple(calibrations)
    found, dropped, searched, exact = _found(work, pool, narrow, software, rests, told)
    if not found and not dropped:
        raise nothing_shared(work, pool)
    if not found:
        raise _nearest(work, pool, narrow, software, rests, nothing_fits(dropped))
    score = _objective(wishes, pool)
    ranked = sorted(found, key=lambda one: (score(one), one.memory_bytes))
    choices = [detailed(work, pool, one, software, rests, wishes.imbalance) for one in _shapes(ranked)]
    choices.sort(key=score)
    top = {one.plan for one in choices}

    # Asked five times more: where the best plan has equal stages, others are compared with such ones.
    like = narrow if choices[0].plan.layers else replace(narrow, even=True)

    def again(other: Workload, elsewhere: Pool) -> float:
        return _best_seconds(other, elsewhere, like, software, rests)

    others = [_passed(one, choices[0]) for one in ranked if one.plan not in top]
    return Menu(
        choices=tuple(choices),
        workload=work,
        objective=wishes.objective,
        searched=searched,
        dropped=(*others[: NEXT - min(3, len(dropped))], *sorted(dropped, key=_soonest)[:3])[:NEXT],
        helps=helps(work, pool, again),
        exact=exact,
        pool=pool,
        wishes=wishes,
    )


def _found(
    work: Workload,
    pool: Pool,
    wishes: Wishes,
    software: Framework,
    rests: tuple[Calibration, ...],
    told: Told | None,
    most: int = MOST,
) -> tuple[list[Choice], list[Dropped], int, str]:
    """Priced plans, what was dropped, how many were looked at, and what was exact; `most`: how many are wanted."""
    kinds = [known(cards, work.number_format, software, rests, wishes.imbalance) for cards in pool.cards]
    found: list[Choice] = []
    dropped: list[Dropped] = []
    searched = 0
    stages = "" if ways(abilities(software.name), wishes) else f" {ALIKE} (--by-stage: not so)."
    exact = (
        f"All plans that {software.name} runs were priced. {LEFT_OUT}{stages} {LAID if tells_layers(software, wishes) else EVEN}"
    )
    for name, cards, knows in zip(pool.kinds, pool.cards, kinds, strict=True):
        if len(pool.cards) > 1 and wishes.use_all and wishes.objective != "cards":
            continue  # a part of a mixed pool leaves the rest idle
        best, less, count = one_kind(work, name, cards, wishes, software, knows, told, most)
        found, dropped, searched = found + best, dropped + less, searched + count
    if len(pool.cards) > 1:
        best, less, count = mixed(work, pool, wishes, software, kinds, told)
        found, dropped, searched = found + best, dropped + less, searched + count
        exact = f"Of {count:,} ways over several kinds all were bounded and the best ones split exactly. {LEFT_OUT} {ALIKE}."
    return found, dropped, searched, exact


def _best_seconds(work: Workload, pool: Pool, wishes: Wishes, software: Framework, rests: tuple[Calibration, ...]) -> float:
    """Of the best plan. Raises DoesNotFit where there is none."""
    found, dropped, _, _ = _found(work, pool, wishes, software, rests, None, most=1)
    if not found:
        raise nothing_fits(dropped) if dropped else nothing_shared(work, pool)
    score = _objective(wishes, pool)
    return min(found, key=score).seconds_a_step


def _objective(wishes: Wishes, pool: Pool) -> Callable[[Choice], float]:
    """What is to be small. Money and energy are those of the cards that a plan holds."""
    prices = {name: one.price_per_hour for name, one in pool.by_kind.items()}
    watts = {name: one.watts for name, one in pool.by_kind.items()}

    def held(one: Choice, rates: dict[str, int | None] | dict[str, float | None], what: str) -> float:
        total = 0.0
        for chip, count in one.plan.need().items():
            rate = rates[chip]
            if rate is None:
                line = 'price_per_hour = "2.10", and a currency' if what == "price" else 'power = "1.2 kW"'
                raise BadInput(
                    f"The pool doesn't say the {what} of a kind.",
                    asked=f"--for {wishes.objective}",
                    found=chip,
                    hint=f"a pool file that does: {line} (docs/plan-models.md)",
                )
            total += rate * count
        return total * one.seconds_a_step

    if wishes.objective == "cost":
        return lambda one: held(one, prices, "price")
    if wishes.objective == "energy":
        return lambda one: held(one, watts, "power")
    if wishes.objective == "cards":
        return lambda one: one.plan.cards + one.seconds_a_step * 1e-6
    return lambda one: one.seconds_a_step


def _shapes(ranked: Sequence[Choice]) -> list[Choice]:
    found: dict[tuple[object, ...], Choice] = {}
    for one in ranked:
        p = one.plan
        found.setdefault((p.tensor, p.stages, p.context, p.expert, p.zero == 3, p.data_chips, p.cards), one)
    return list(found.values())[:MOST]


def _passed(one: Choice, first: Choice) -> Dropped:
    slower = one.seconds_a_step / first.seconds_a_step - 1
    why = f"{slower:.1%} slower than the first" if slower > 0 else "worse by the objective"
    return Dropped(plan=one.plan, why=why, seconds_a_step=one.seconds_a_step)


def _soonest(one: Dropped) -> float:
    return one.seconds_a_step or np.inf


def nothing_fits(dropped: Sequence[Dropped]) -> DoesNotFit:
    """The error for a model that fits nowhere, with what the smallest plans need."""
    tried = [
        f"tensor {d.plan.tensor}, {len(d.plan.stages)} stages, context {d.plan.context}, data {d.plan.data}, zero {d.plan.zero}: "
        f"{d.why}"
        for d in dropped[:5]
    ]
    return DoesNotFit(
        "No plan fits the cards." if not any(d.seconds_a_step for d in dropped) else "No plan fits the cards and is in time.",
        found="; ".join(tried),
        hint="more cards, a smaller batch, a shorter sequence, or fewer wishes",
    )


def _nearest(
    work: Workload, pool: Pool, wishes: Wishes, software: Framework, rests: tuple[Calibration, ...], error: DoesNotFit
) -> DoesNotFit:
    """The error, with the fewest cards (twice, four times ... as many) on which a plan fits, and that plan."""
    for times in (2, 4, 8, 16, 32, 64):
        larger = replace(pool, cards=tuple(replace(one, count=one.count * times) for one in pool.cards))
        try:
            found, _, _, _ = _found(work, larger, wishes, software, rests, None)
        except BadInput:
            continue
        if found:
            best = min(found, key=lambda one: one.seconds_a_step)
            p = best.plan
            again = " and ".join(dict.fromkeys(p.recompute))
            cut = f"tensor {p.tensor}, {len(p.stages)} stages, data {p.data}, {again} recomputed"
            hint = f"{larger.count} cards: {cut}, {best.memory_bytes / GB:,.0f} GB a card, {best.seconds_a_step:.3g} s a step"
            return DoesNotFit(error.text, asked=f"{work.model.name} on {pool.count} cards", found=error.found, hint=hint)
    return error
