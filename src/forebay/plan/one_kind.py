"""The best plans on cards of one kind.

Asked:  of all ways that this kind's cards can be cut for the work, which fit and are fastest?
Answer: every plan of the space (`space`) is checked for memory and priced, as arrays; none is skipped. Recomputing only ever adds
        time, so of a plan's variants only the first that fits is priced: none, selective, full; if it recomputes, the first with
        the optimizer in the host's memory; and where software or wishes let stages recompute differently, the least of each stage
        (`by_stage`). Where software can be told the layers of each stage, plans that could be on the menu by it are laid out
        (`layouts`). Of each shape (`Cuts.shape`) the best is kept.
Units:  seconds, bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from forebay.plan.abilities import abilities
from forebay.plan.by_stage import eased
from forebay.plan.cuts import Cuts, alike, joined
from forebay.plan.framework import Framework
from forebay.plan.knowledge import Known
from forebay.plan.layouts import laid_out, open_
from forebay.plan.memory import fullest
from forebay.plan.model import Workload
from forebay.plan.plan import RECOMPUTE, Choice, Dropped, Plan
from forebay.plan.pool import Cards
from forebay.plan.refuse import nothing_divides
from forebay.plan.space import allowed, divides, divisors, space
from forebay.plan.time import step
from forebay.plan.wishes import Wishes
from forebay.units import GB

Floats = NDArray[np.float64]
MOST = 5  # choices of a menu
NEXT = 10  # that are told of beside it
Told = Callable[[int, int], None]


def one_kind(
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
        raise nothing_divides(work, cards, wishes, software, laid=lays)
    if wishes.deadline_s is not None:
        late = [one for one in best if one.seconds_a_step > wishes.deadline_s]
        best = [one for one in best if one.seconds_a_step <= wishes.deadline_s]
        dropped += [
            Dropped(plan=one.plan, why=f"later than {wishes.deadline_s:g} s", seconds_a_step=one.seconds_a_step)
            for one in late[:5]
        ]
    return best, dropped, searched


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


def _too_large(plan: Plan, needs: float, has: float, chip: str) -> Dropped:
    return Dropped(plan=plan, why=f"needs {needs / GB:,.1f} GB a card, an {chip} has {has / GB:,.1f}")
