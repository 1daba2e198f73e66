"""The best plans for a workload on a pool.

Asked:  this model, this batch, these cards: how should it be cut?
Answer: every plan of the space (`space`) is checked for memory and priced, as arrays; none is skipped, so the first is the best
        of the space by the model's own figures. Recomputing only ever adds time, so of a plan's variants only the first that fits
        is priced: none, selective, full; if it recomputes, the first with the optimizer in the host's memory; and where software
        or wishes let stages recompute differently, the least of each stage (`by_stage`). Where software can be told the layers of
        each stage, plans that could be on the menu by it are laid out (`layouts`). Pools of several kinds are searched by
        `mixed`. The menu has the best plan of each of the five best shapes (tensor, stages, context, expert, sharded or not):
        variants of one shape teach little.
Units:  seconds, bytes, micro-units of money, joules.
Limits: as good as its figures; the interval of a choice says how good that is. Ties go to the plan that needs less memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from forebay.errors import BadInput, DoesNotFit
from forebay.plan.abilities import abilities
from forebay.plan.by_stage import eased, ways
from forebay.plan.calibration import Calibration
from forebay.plan.cuts import Cuts, alike, joined
from forebay.plan.detail import detailed
from forebay.plan.framework import Framework, framework
from forebay.plan.helps import helps
from forebay.plan.knowledge import Known, known
from forebay.plan.layouts import MOST as MOST_LAID
from forebay.plan.layouts import laid_out, open_
from forebay.plan.memory import fullest
from forebay.plan.mixed import mixed
from forebay.plan.model import Workload
from forebay.plan.plan import RECOMPUTE, Choice, Dropped, Menu, Plan
from forebay.plan.pool import Cards, Pool
from forebay.plan.refuse import agreed, nothing_divides, runnable
from forebay.plan.space import LEFT_OUT, allowed, divides, divisors, space
from forebay.plan.time import step
from forebay.plan.wishes import Wishes
from forebay.units import GB

Floats = NDArray[np.float64]
MOST = 5
NEXT = 10
ALIKE = "All stages of a plan recompute alike"
LAID = f"Unequal layers were tried of plans that could be best by them, {MOST_LAID} at most."
EVEN = "Stages have as even layers as can be."
Told = Callable[[int, int], None]


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
        best, less, count = _one_kind(work, name, cards, wishes, software, knows, told, most)
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
        raise nothing_fits(dropped)
    score = _objective(wishes, pool)
    return min(found, key=score).seconds_a_step


def fitted(work: Workload, cuts: Cuts, room: float, wishes: Wishes) -> tuple[Cuts, Floats]:
    """Of each plan the variant with the least recomputing that fits `room` bytes, and its bytes; and where that recomputes or
    doesn't fit, the same with the optimizer in the host's memory, if it then recomputes less.

    What fits in no way keeps the bytes of its smallest variant, above the room.
    """
    plain, needs = _least(work, cuts, room, wishes, 0)
    more = np.flatnonzero((needs > room) | (plain.recompute > plain.recompute.min(initial=0)))
    if not wishes.offload or not more.size:
        return plain, needs
    off, smaller = _least(work, cuts[more], room, wishes, 1)
    full = needs[more] > room
    better = (smaller <= room) & (full | (off.recompute < plain.recompute[more]))
    kept = np.ones(len(cuts), dtype=np.bool_)
    kept[more[better & full]] = False
    return joined([plain[kept], off[better]]), np.concatenate([needs[kept], smaller[better]])


def _least(work: Workload, cuts: Cuts, room: float, wishes: Wishes, offload: int) -> tuple[Cuts, Floats]:
    cuts = replace(cuts, by_stage=alike(len(cuts)))
    needs = np.full(len(cuts), np.inf)
    recompute = cuts.recompute.copy()
    where = np.full(len(cuts), offload)
    for again in [i for i, name in enumerate(RECOMPUTE) if not wishes.recompute or name in wishes.recompute]:
        at = np.flatnonzero(needs > room)
        if not at.size:
            break
        needs[at] = fullest(work, replace(cuts[at], recompute=np.full(len(at), again), offload=where[at]))
        recompute[at] = again
    return replace(cuts, recompute=recompute, offload=where), needs


def tells_layers(software: Framework, wishes: Wishes) -> bool:
    """May stages have unequal layers on cards of one kind?"""
    return abilities(software.name).layouts and not wishes.even


def _one_kind(
    work: Workload,
    name: str,
    cards: Cards,
    wishes: Wishes,
    software: Framework,
    knows: Known,
    told: Told | None,
    most: int,
) -> tuple[list[Choice], list[Dropped], int]:
    """The best plans on cards of one kind, whose `name` stands in them."""
    can, has = abilities(software.name), knows.room(wishes.spare)
    counts = [cards.count]
    if not wishes.use_all or wishes.objective == "cards":
        counts = [n for n in divisors(cards.count) if n >= cards.count // 64]
    if any("cards" in table for table in (wishes.most, wishes.least, wishes.exactly)):
        counts = [n for n in divisors(cards.count) if allowed(wishes, "cards", n)]
    best: list[Choice] = []
    dropped: list[Dropped] = []
    searched = 0
    lays = tells_layers(software, wishes)
    for done, count in enumerate(counts):
        every = space(work, cards, wishes, software, count, laid=lays)
        if not len(every):
            continue
        # Where layers can be told, those that don't divide are laid out below.
        cuts = every[divides(work.model, every)] if lays else every
        less, lesser = eased(work, cuts, has, wishes, can)
        cuts, needs = fitted(work, cuts, has, wishes)
        if len(less):
            cuts, needs = joined([cuts, less]), np.concatenate([needs, lesser])
        fits = needs <= has
        searched += len(cuts) or len(every)
        if not fits.all():
            i = int(np.argmin(np.where(fits, np.inf, needs)))
            dropped.append(_too_large(cuts.plan(i, name), float(needs[i]), has, name))
        cuts, needs = cuts[fits], needs[fits]
        other = open_(work, every, wishes, can) if lays else every[:0]
        both = joined([cuts, other])
        took = np.asarray(step(work, knows.site, both, np.arange(len(both)) >= len(cuts)).total) if len(both) else np.zeros(0)
        seconds, bound = took[: len(cuts)], took[len(cuts) :]
        if len(other):
            beat = partial(_to_beat, cuts, seconds, most)
            laid, needed, took = laid_out(work, knows.site, other, bound, has, wishes, can, beat)
            searched += len(laid)
            cuts, needs, seconds = joined([cuts, laid]), np.concatenate([needs, needed]), np.concatenate([seconds, took])
        if not len(cuts) and fits.all():  # no plan has equal stages, and no other fits
            every, needed = fitted(work, every, has, wishes)
            dropped.append(_too_large(every.plan(i := int(np.argmin(needed)), name), float(needed[i]), has, name))
        best += _heads(cuts, seconds, needs, name)
        if told is not None:
            told(done + 1, len(counts))
    if not searched:
        raise nothing_divides(work, cards, wishes)
    if wishes.deadline_s is not None:
        late = [one for one in best if one.seconds_a_step > wishes.deadline_s]
        best = [one for one in best if one.seconds_a_step <= wishes.deadline_s]
        dropped += [
            Dropped(plan=one.plan, why=f"later than {wishes.deadline_s:g} s", seconds_a_step=one.seconds_a_step)
            for one in late[:5]
        ]
    return best, dropped, searched


def _first(cuts: Cuts, seconds: Floats, needs: Floats) -> NDArray[np.int64]:
    """The best plan of each shape."""
    shape = cuts.shape
    order = np.lexsort((needs, seconds, shape))
    return np.asarray(order[np.concatenate([[True], np.diff(shape[order]) != 0])[: len(order)]])


def _to_beat(cuts: Cuts, seconds: Floats, most: int, more: Cuts, later: Floats, others: Cuts) -> Floats:
    """What each of the others must take less than to be one of the best: its shape's seconds, and the last best shape's."""
    cuts, seconds = (joined([cuts, more]), np.concatenate([seconds, later])) if len(more) else (cuts, seconds)
    if not len(cuts):
        return np.full(len(others), np.inf)
    heads = _first(cuts, seconds, seconds)
    shapes, took = cuts.shape[heads], seconds[heads]
    last = np.sort(took)[most - 1] if len(took) >= most else np.inf
    at = np.minimum(np.searchsorted(shapes, mine := others.shape), len(shapes) - 1)
    return np.minimum(np.where(shapes[at] == mine, took[at], np.inf), last)


def _heads(cuts: Cuts, seconds: Floats, needs: Floats, name: str) -> list[Choice]:
    """The best plan of each shape, fastest first."""
    heads = _first(cuts, seconds, needs)
    heads = heads[np.argsort(seconds[heads], kind="stable")][: MOST + NEXT]
    return [Choice(plan=cuts.plan(int(i), name), seconds_a_step=float(seconds[i]), memory_bytes=int(needs[i])) for i in heads]


def _objective(wishes: Wishes, pool: Pool) -> Callable[[Choice], float]:
    """What is to be small. Money and energy are those of the cards that a plan holds."""
    prices = {name: one.price_per_hour for name, one in pool.by_kind.items()}
    watts = {name: one.watts for name, one in pool.by_kind.items()}

    def held(one: Choice, rates: dict[str, int | None] | dict[str, float | None], what: str) -> float:
        total = 0.0
        for chip, count in one.plan.need().items():
            rate = rates[chip]
            if rate is None:
                raise BadInput(f"The pool doesn't say the {what} of a kind.", asked=f"--for {wishes.objective}", found=chip)
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


def _too_large(plan: Plan, needs: float, has: float, chip: str) -> Dropped:
    return Dropped(plan=plan, why=f"needs {needs / GB:,.1f} GB a card, an {chip} has {has / GB:,.1f}")


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
        found="; ".join(tried) or "no plan at all",
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
