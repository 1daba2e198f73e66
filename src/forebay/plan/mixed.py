"""Plans over cards of several kinds: unequal stages, or unequal shares of the batch.

Asked:  half of the cards are of one kind and half of another. How does one job use both?
Answer: in two ways. Either each kind holds some of the pipeline's stages, and gets as many layers as its speed and its memory
        carry (`balance.layers`, exact), or each kind holds some of the data ranks, and gets as many micro-batches as it is done
        with in time (`balance.shares`, exact). For each way to cut, a step can't be shorter than the work over all cards' speed
        together; ways are taken in the order of this bound and split exactly until the bound of the next is longer than the best
        step found, so nothing better is left out but what `MOST_SPLIT` cuts off.
Units:  seconds.
Limits: tensor, context and data degrees are the same for all stages; layers are balanced by the mean layer (then priced as they
        are). Between kinds the slower of the two networks carries all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.errors import DoesNotFit
from forebay.plan.abilities import abilities
from forebay.plan.balance import layers, shares
from forebay.plan.cuts import joined
from forebay.plan.framework import Framework
from forebay.plan.knowledge import Known
from forebay.plan.memory import fullest, memory
from forebay.plan.model import Workload
from forebay.plan.network import send
from forebay.plan.once import once
from forebay.plan.orders import group
from forebay.plan.passes import Pass, Site
from forebay.plan.plan import RECOMPUTE, Choice, Dropped, Plan
from forebay.plan.pool import Pool
from forebay.plan.space import allowed, divisors, space
from forebay.plan.time import INTERLEAVED_SENDS, Pieces, drift, pieces, rhythm, whole
from forebay.plan.wishes import Wishes

Floats = NDArray[np.float64]
MOST_SPLIT = 150  # ways that are split exactly
CROWDED = 1.3  # a way that needs so many times a card's memory with even stages is tried after the others: few splits fit it
KEPT = 15
Told = Callable[[int, int], None]


def mixed(
    work: Workload, pool: Pool, wishes: Wishes, software: Framework, kinds: Sequence[Known], told: Told | None
) -> tuple[list[Choice], list[Dropped], int]:
    """The best plans that use every kind, what didn't fit, and how many ways were bounded."""
    staged = _Staged(work, pool, wishes, software, kinds)
    shared = _Shared(work, pool, wishes, software, kinds)
    found, dropped = _best(staged, told)
    more, less = _best(shared, told)
    return found + more, dropped + less, len(staged.bound) + len(shared.bound)


def _best(ways: _Staged | _Shared, told: Told | None) -> tuple[list[Choice], list[Dropped]]:
    order = np.lexsort((ways.bound, ways.crowded))
    found: list[Choice] = []
    dropped: list[Dropped] = []
    most = min(MOST_SPLIT, len(order))
    for done, i in enumerate(order[:most]):
        if len(found) >= KEPT and ways.bound[i] > sorted(one.seconds_a_step for one in found)[KEPT - 1]:
            break
        try:
            found.append(ways.split(int(i)))
        except DoesNotFit as error:
            if len(dropped) < 5:
                dropped.append(Dropped(plan=ways.plan(int(i)), why=f"{error.text}: {error.found}"))
        if told is not None:
            told(done + 1, most)
    return found, dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """Seconds of one micro-batch on one kind, both passes, an entry a way."""

    plain: Floats
    mixed: Floats
    opening: Floats
    closing: Floats
    mean: Floats  # of a layer


class _Staged:
    """Ways in which each kind holds stages, each with each way of recomputing. Lives for one search."""

    def __init__(self, work: Workload, pool: Pool, wishes: Wishes, software: Framework, kinds: Sequence[Known]) -> None:
        self.work, self.pool, self.wishes, self.kinds = work, pool, wishes, kinds
        m = work.model
        unit = gcd(*(one.count for one in pool.cards))
        # A stage's cards divide each kind's: plans over that many cards with one stage are the ways to cut a stage.
        like = replace(min(pool.cards, key=lambda one: one.island), count=unit)
        parts = []
        can = replace(abilities(software.name), zero=(0, 1), piped=(0, 1))
        for count in divisors(unit):
            few = replace(wishes, exactly={**wishes.exactly, "stages": 1, "zero": 1})
            stages = sum(one.count // count for one in pool.cards)
            if stages <= m.layers and allowed(wishes, "stages", stages):
                cuts = space(work, like, few, software, count, can)
                parts.append(replace(cuts, stages=np.full(len(cuts), stages)))
        once_each = joined(parts)
        once_each = replace(once_each, zero=np.where(once_each.zero == 1, _cut_states(software), once_each.zero))
        again = [i for i, name in enumerate(RECOMPUTE) if not wishes.recompute or name in wishes.recompute]
        self.cuts = joined([replace(once_each, recompute=np.full(len(once_each), i)) for i in again])
        self.stages = np.array([[one.count for one in pool.cards]]) // np.maximum(self.cuts.cards // self.cuts.stages, 1)[:, None]
        self.micro = work.sequences / (self.cuts.data * self.cuts.micro_batch)
        self.costs = [_costs(work, pieces(work, one.site, self.cuts)) for one in kinds] if len(self.cuts) else []
        speed = sum((self.stages[:, k] / one.mean for k, one in enumerate(self.costs)), np.zeros(len(self.cuts)))
        self.bound: Floats = self.micro * m.layers / np.maximum(speed, 1e-30)
        roomiest = max(knows.room(wishes.spare) for knows in kinds)
        self.crowded = fullest(work, self.cuts) > CROWDED * roomiest if len(self.cuts) else np.zeros(0, dtype=np.bool_)

    def plan(self, i: int) -> Plan:
        chips = tuple(name for k, name in enumerate(self.pool.kinds) for _ in range(int(self.stages[i, k])))
        return replace(self.cuts.plan(i, chips[0]), stages=chips)

    def split(self, i: int) -> Choice:
        """The best order of kinds, chunks and split of way i. Raises DoesNotFit where no split fits."""
        m, p, rounds = self.work.model, int(self.stages[i].sum()), int(self.micro[i])
        ways = []
        for order in permutations(range(len(self.kinds))):
            kind_of = [k for k in order for _ in range(int(self.stages[i, k]))]
            for chunks in (1, 2, 3, 4, 6, 8):
                divides = chunks == 1 or (m.layers % chunks == 0 and m.layers >= p * chunks and group(p, rounds))
                if divides and allowed(self.wishes, "chunks", chunks):
                    counts = self._counts(i, kind_of, chunks, [m.layers] * p)
                    ways.append((self._seconds(i, kind_of, counts, chunks), chunks, kind_of, counts))
        ways.sort(key=lambda way: way[0])
        for _, chunks, kind_of, counts in ways[:4]:
            if (plan := self._fitted(i, kind_of, counts, chunks)) is not None:
                parts = self._parts(i, kind_of, plan)
                held = max(one.total for one in memory(self.work, plan))
                return Choice(plan=plan, seconds_a_step=sum(parts.values()), memory_bytes=held, parts=parts)
        raise DoesNotFit("No split of the layers fits the cards", found=f"{m.layers} layers on {p} stages")

    def _counts(self, i: int, kind_of: Sequence[int], chunks: int, most: Sequence[int]) -> tuple[int, ...]:
        means = [float(self.costs[k].mean[i]) for k in kind_of]
        opening, closing = float(self.costs[kind_of[0]].opening[i]), float(self.costs[kind_of[-1]].closing[i])
        return layers(self.work.model.layers, means, first_extra=opening, last_extra=closing, most=most, chunks=chunks)

    def _times(self, i: int, kind_of: Sequence[int], counts: Sequence[int]) -> list[float]:
        """Of each stage, one micro-batch. Leading dense layers come first."""
        leading, seen, times = self._leading, 0, []
        for k, count in zip(kind_of, counts, strict=True):
            plain = min(max(0, leading - seen), count)
            seen += count
            times.append(plain * float(self.costs[k].plain[i]) + (count - plain) * float(self.costs[k].mixed[i]))
        times[0] += float(self.costs[kind_of[0]].opening[i])
        times[-1] += float(self.costs[kind_of[-1]].closing[i])
        return times

    @property
    def _leading(self) -> int:
        m = self.work.model
        return m.experts.dense_layers if m.experts else m.layers

    def _seconds(self, i: int, kind_of: Sequence[int], counts: Sequence[int], chunks: int) -> float:
        times = self._times(i, kind_of, counts)
        return max(times) * float(self.micro[i]) + (sum(times) - max(times)) / chunks

    def _fitted(self, i: int, kind_of: Sequence[int], counts: tuple[int, ...], chunks: int) -> Plan | None:
        """With layers moved off the stages that are full; None where nothing helps."""
        chips = tuple(self.pool.kinds[k] for k in kind_of)
        schedule = "interleaved" if chunks > 1 else "1f1b"
        base = replace(self.cuts.plan(i, chips[0]), stages=chips, chunks=chunks, schedule=schedule)
        rooms = [self.kinds[k].room(self.wishes.spare) for k in kind_of]
        most = [self.work.model.layers] * len(kind_of)
        for _ in range(3):
            held = memory(self.work, replace(base, layers=counts))
            if all(one.total <= room for one, room in zip(held, rooms, strict=True)):
                return replace(base, layers=counts)
            for s, (one, room) in enumerate(zip(held, rooms, strict=True)):
                if one.total > room:
                    most[s] = int(counts[s] * room / one.total) // chunks * chunks
            try:
                counts = self._counts(i, kind_of, chunks, most)
            except DoesNotFit:
                return None
        return None

    def _parts(self, i: int, kind_of: Sequence[int], plan: Plan) -> dict[str, float]:
        """Where the seconds go: the slowest stage's passes, and what a step takes beside them."""
        work, m, micro = self.work, self.work.model, float(self.micro[i])
        row = self.cuts[np.array([i])]
        times = self._times(i, kind_of, plan.layers)
        slow = int(np.argmax(times))
        k = kind_of[slow]
        costs = pieces(work, self.kinds[k].site, row)
        plain = min(max(0, self._leading - sum(plan.layers[:slow])), plan.layers[slow])
        stage = whole(costs.plain).times(plain) + whole(costs.mixed).times(plan.layers[slow] - plain)
        stage = stage + whole(costs.opening) if slow == 0 else stage
        stage = stage + whole(costs.closing) if slow == len(times) - 1 else stage
        vector = plan.micro_batch * work.tokens / plan.context * m.width * 2.0 / plan.tensor
        sites = [_joint(one.site, self.pool) for one in self.kinds]
        stride = plan.tensor * plan.context * plan.data
        hop = max(float(np.squeeze(send(site.links, stride, vector))) for site in sites)
        exposed = 1.0 if plan.chunks == 1 else INTERLEAVED_SENDS
        sends = hop * (2 * (len(times) - 1) + 2 * plan.chunks * micro * exposed)
        heavier = max(plan.layers) * len(times) / m.layers  # the fullest stage has so many times the mean's weights
        tails = [once(work, site, row, np.array([times[slow]]), micro) for site in sites]
        bubble = (sum(times) - times[slow]) / plan.chunks
        parts = {name: float(np.squeeze(getattr(stage, name))) * micro for name in Pass.__dataclass_fields__}
        parts |= {"bubble": bubble, "sends": sends}
        parts["stragglers"] = sum(parts.values()) * float(drift(plan.cards))
        parts["data"] = max(float(np.squeeze(one[0])) for one in tails) * heavier
        parts["optimizer"] = max(float(np.squeeze(one[1])) for one in tails) * heavier
        return {name: seconds for name, seconds in parts.items() if seconds > 0}


class _Shared:
    """Ways in which each kind holds data ranks. Lives for one search."""

    def __init__(self, work: Workload, pool: Pool, wishes: Wishes, software: Framework, kinds: Sequence[Known]) -> None:
        self.work, self.pool, self.kinds = work, pool, kinds
        unit = gcd(*(one.count for one in pool.cards))
        like = replace(min(pool.cards, key=lambda one: one.island), count=unit)
        alone = replace(wishes, exactly={**wishes.exactly, "replicas": 1, "shards": 1, "zero": 0})
        can = replace(abilities(software.name), zero=(0, 1), piped=(0, 1))
        ways = joined([space(work, like, alone, software, count, can) for count in divisors(unit)])
        # So many data ranks of each kind; their states are cut over all of them.
        ranks = np.array([[one.count for one in pool.cards]]) // np.maximum(ways.cards, 1)[:, None]
        total = ranks.sum(axis=1)
        kept = (work.sequences // np.maximum(ways.micro_batch, 1) >= total) & (ways.schedule < 2)
        ways, ranks, total = ways[kept], ranks[kept], total[kept]
        ways = replace(ways, shards=total, zero=np.minimum(total - 1, 1) * _cut_states(software))
        space_left = min(knows.room(wishes.spare) for knows in kinds)
        fits = np.zeros(len(ways), dtype=np.bool_)
        self.needs = np.full(len(ways), np.inf)
        recompute = np.zeros(len(ways), dtype=np.int64)
        for again, name in enumerate(RECOMPUTE):
            at = np.flatnonzero(~fits)
            if at.size and (not wishes.recompute or name in wishes.recompute):
                self.needs[at] = fullest(work, replace(ways[at], recompute=np.full(len(at), again)))
                recompute[at] = again
                fits = self.needs <= space_left
        self.cuts, self.ranks, self.needs = replace(ways, recompute=recompute)[fits], ranks[fits], self.needs[fits]
        self._price()

    def _price(self) -> None:
        """Seconds of one more micro-batch on each kind, and of what a step takes beside them."""
        cuts = self.cuts
        count = self.work.sequences / np.maximum(cuts.micro_batch, 1)
        more = 1.0 + drift(cuts.cards)
        self.pace: list[Any] = []
        self.rest: list[Any] = []
        for knows in self.kinds:
            found = rhythm(self.work, _joint(knows.site, self.pool), cuts, count / np.maximum(cuts.data, 1))
            self.pace.append((found.slowest.total + found.sends) * more)
            self.rest.append((found.bubble + found.first_sends) * more + found.data + found.optimizer)
        speed = sum((self.ranks[:, k] / self.pace[k] for k in range(len(self.kinds))), np.zeros(len(cuts)))
        self.bound: Floats = count / np.maximum(speed, 1e-30) + np.minimum.reduce(self.rest)
        self.crowded = np.zeros(len(cuts), dtype=np.bool_)  # all of them fit

    def plan(self, i: int) -> Plan:
        chips = tuple(name for k, name in enumerate(self.pool.kinds) for _ in range(int(self.ranks[i, k])))
        return replace(self.cuts.plan(i, chips[0]), data_chips=chips)

    def split(self, i: int) -> Choice:
        """Way i with micro-batches shared out so that the slowest rank is done soonest."""
        count = self.work.sequences // int(self.cuts.micro_batch[i])
        paces = [float(self.pace[k][i]) for k in range(len(self.kinds)) for _ in range(int(self.ranks[i, k]))]
        got = shares(count, paces)
        plan = replace(self.plan(i), shares=got)
        if plan.schedule == "interleaved" and not all(group(len(plan.stages), n) for n in set(got)):
            raise DoesNotFit("A share has no even rounds for interleaved stages", found=f"{min(got)} to {max(got)} micro-batches")
        rest = max(float(one[i]) for one in self.rest)
        working = max(n * pace for n, pace in zip(got, paces, strict=True))
        parts = {"micro-batches": working, "fill, drain, data and optimizer": rest}
        return Choice(plan=plan, seconds_a_step=working + rest, memory_bytes=int(self.needs[i]), parts=parts)


def _cut_states(software: Framework) -> int:
    """The ZeRO stage that cuts the optimizer: 1, or 2 where the software has no other."""
    return 1 if 1 in abilities(software.name).piped else 2


def _joint(site: Site, pool: Pool) -> Site:
    """The site with the links that carry what kinds send each other."""
    slowest = pool.between_bytes_per_s or min(one.out_bytes_per_s / one.oversubscription for one in pool.cards)
    return replace(site, links=replace(site.links, out_bytes_per_s=min(site.links.out_bytes_per_s, slowest)))


def _costs(work: Workload, parts: Pieces) -> _Costs:
    m = work.model
    leading = m.experts.dense_layers / m.layers if m.experts else 1.0
    plain, mixed_, opening, closing = (
        np.asarray(whole(one).total, dtype=np.float64) for one in (parts.plain, parts.mixed, parts.opening, parts.closing)
    )
    return _Costs(plain=plain, mixed=mixed_, opening=opening, closing=closing, mean=leading * plain + (1 - leading) * mixed_)
