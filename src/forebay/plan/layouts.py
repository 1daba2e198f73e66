"""Unequal layers on one kind of chip: which plans of a space are better, or fit at all, with another number of layers a stage?

Asked: a first stage has the embedding and holds the most micro-batches, a last one the loss over a large vocabulary; leading
        layers are dense; 61 layers are not divided by 16. Equal stages then wait for the slowest, or recompute because one of
        them must.
Answer: a step in which all stages took as long would be the shortest (`time.step`, level), and recomputing only adds to it; so
        plans are left out, each with each way of recomputing, whose step is no better even so than what is on the menu already.
        Of the others the layers that each stage can hold are reckoned for each way, `divide` shares them out so that the slowest
        stage is done soonest, and where software or wishes let stages recompute differently, once more with ways mixed: a stage
        that must recompute then has fewer layers. Memory is counted again, layer by layer, before a plan is priced.
Units:  bytes, seconds.
Limits: 1F1B, and interleaved stages, which all recompute alike. Of the plans and ways that have room for all layers, the MOST
        that promise most. What gradients and the optimizer take of a stage with more layers is priced, not minimised. How many
        layers a stage holds supposes that the leading ones are all on the first stage; a plan that this made too large is left
        out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forebay.plan.abilities import Abilities
from forebay.plan.by_stage import ways
from forebay.plan.cuts import Cuts, alike, joined
from forebay.plan.cuts import cuts as as_cuts
from forebay.plan.divide import Costs, divided, spared
from forebay.plan.habits import Habits
from forebay.plan.memory import by_habits, fullest, held
from forebay.plan.model import Workload
from forebay.plan.passes import Site
from forebay.plan.plan import OFFLOAD, RECOMPUTE, SCHEDULES
from forebay.plan.schedule import in_flight
from forebay.plan.time import pieces, step, whole
from forebay.plan.wishes import Wishes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ToBeat = Callable[[Cuts, Floats, Cuts], Floats]  # plans and their seconds; others: what each of these must take less than

MOST, BATCH = 400, 50
SAME = 1e-6  # of a step: less isn't worth unequal stages
SLACK = 64  # bytes: parts are rounded up one by one


def open_(work: Workload, cuts: Cuts, wishes: Wishes, can: Abilities) -> Cuts:
    """Of these plans those that may be laid out, each with the least recomputing."""
    could = (cuts.stages > 1) & (cuts.schedule <= SCHEDULES.index("interleaved"))
    could &= cuts.stages * cuts.chunks <= work.model.layers + np.where(cuts.chunks > 1, 2, 0)
    few = cuts[could] if levels(wishes, can) else cuts[:0]
    few = replace(few, ends=np.zeros(len(few), dtype=np.bool_), by_stage=alike(len(few)), layers=alike(len(few)))
    return _with(few, levels(wishes, can)[0], 0) if len(few) else few


def laid_out(
    work: Workload, site: Site, few: Cuts, bound: Floats, room: float, wishes: Wishes, can: Abilities, to_beat: ToBeat
) -> tuple[Cuts, Floats, Floats]:
    """Open plans with other layers that fit and are among the best, their bytes and their seconds. `bound` is what each would
    take, were its stages level."""
    mixed, search = ways(can, wishes), _Search(work, site, room, to_beat)
    few, bound = search.better(few, bound)
    search.try_(few, bound, [few.recompute])
    if mixed:
        # Better with the least recomputing of all stages; how much each needs is seen when layers are shared out.
        for place in places(wishes):
            some = _with(few[few.chunks == 1], mixed[0], place)
            some, low = search.better(some, search.level(some))
            search.try_(some, low, [np.full(len(some), way) for way in mixed])
    few, _ = search.better(few, bound)
    others = [(way, place) for place in places(wishes) for way in levels(wishes, can)][1:]
    if others and len(few):
        every = joined([_with(few, way, place) for way, place in others])
        every, low = search.better(every, search.level(every))
        search.try_(every, low, [every.recompute])
    return search.found, search.needs, search.seconds


class _Search:
    """What was found. Lives for one search."""

    def __init__(self, work: Workload, site: Site, room: float, to_beat: ToBeat) -> None:
        self.work, self.site, self.room, self.to_beat = work, site, room, to_beat
        self.found, self.needs, self.seconds = as_cuts([]), np.zeros(0), np.zeros(0)

    def level(self, cuts: Cuts) -> Floats:
        return np.asarray(step(self.work, self.site, cuts, True).total) if len(cuts) else np.zeros(0)

    def better(self, cuts: Cuts, bound: Floats) -> tuple[Cuts, Floats]:
        """Those that might be among the best, were their stages level."""
        if not len(cuts):
            return cuts, bound
        at = bound < self.to_beat(self.found, self.seconds, cuts) * (1 - SAME)
        return cuts[at], bound[at]

    def try_(self, cuts: Cuts, bound: Floats, same: Sequence[Ints]) -> None:
        """Lay plans out, the most promising first, until what is left can't be among the best."""
        if not len(cuts):
            return
        work, site = self.work, self.site
        most = np.array([_most(work, cuts, level, self.room) for level in same])
        rows = np.flatnonzero(most.max(axis=0).sum(axis=1) >= work.model.layers)
        rows = rows[np.argsort(bound[rows], kind="stable")][:MOST]
        while rows.size:
            now, rows = rows[:BATCH], rows[BATCH:]
            whole_, cut = now[cuts.chunks[now] == 1], now[cuts.chunks[now] > 1]
            split = _laid(work, site, cuts[whole_], [level[whole_] for level in same], most[:, whole_])
            laid = joined([split, _spared(work, site, cuts[cut])])
            if not len(laid):
                continue
            needs = fullest(work, laid)
            laid, needs = laid[needs <= self.room], needs[needs <= self.room]
            if len(laid):
                self.found, self.needs = joined([self.found, laid]), np.concatenate([self.needs, needs])
                self.seconds = np.concatenate([self.seconds, np.asarray(step(work, site, laid).total)])
                rows = rows[bound[rows] < self.to_beat(self.found, self.seconds, cuts[rows]) * (1 - SAME)]


def levels(wishes: Wishes, can: Abilities) -> list[int]:
    """The ways of recomputing that there are, least first: indices of RECOMPUTE."""
    return [i for i, name in enumerate(RECOMPUTE) if name not in can.lacks and (not wishes.recompute or name in wishes.recompute)]


def places(wishes: Wishes) -> range:
    """Where the optimizer may live: indices of OFFLOAD."""
    return range(len(OFFLOAD) if wishes.offload else 1)


def _with(cuts: Cuts, recompute: int, offload: int) -> Cuts:
    """With one way for all; an offload of -1 stays as it is."""
    where = cuts.offload if offload < 0 else np.full(len(cuts), offload)
    return replace(cuts, recompute=np.full(len(cuts), recompute), offload=where)


def _laid(work: Workload, site: Site, cuts: Cuts, levels: Sequence[Ints], most: Ints) -> Cuts:
    """Each plan with the layers with which its slowest stage is done soonest, if stages may recompute in these ways and hold
    `most` layers; without those that nothing fits."""
    m = work.model
    if not len(cuts):
        return cuts
    parts = [pieces(work, site, replace(cuts, recompute=level)) for level in levels]
    plain, mixed, first, last = (
        np.array([np.asarray(whole(getattr(one, name)).total) for one in parts])
        for name in ("plain", "mixed", "opening", "closing")
    )
    costs = Costs(plain=plain, mixed=mixed, first=first, last=last + m.predicted * mixed)
    lead = m.experts.dense_layers if m.experts else 0
    split = divided(m.layers, lead, costs, cuts.stages, most[:, :, : int(cuts.stages.max())])
    ways_ = np.take_along_axis(np.array(levels).T, np.maximum(split.ways, 0), axis=1)
    ways_ = np.where(split.ways < 0, -1, ways_)
    highest = ways_.max(axis=1)
    uneven = np.where(ways_ < 0, highest[:, None], ways_).min(axis=1) < highest
    by_stage = np.where(uneven[:, None], ways_, -1) if uneven.any() else alike(len(cuts))
    found = replace(cuts, layers=split.layers, recompute=highest, by_stage=by_stage)
    return found[np.isfinite(split.slowest) & (uneven if len(levels) > 1 else True)]


def _spared(work: Workload, site: Site, cuts: Cuts) -> Cuts:
    """Interleaved plans with fewer layers at the model's ends."""
    if not len(cuts):
        return cuts
    parts, m = pieces(work, site, cuts), work.model
    mixed, first, last = (np.asarray(whole(one).total) for one in (parts.mixed, parts.opening, parts.closing))
    layers = spared(m.layers, cuts.stages, cuts.chunks, mixed, first, last + m.predicted * mixed)
    behind = np.arange(layers.shape[1]) >= cuts.stages[:, None]
    return replace(cuts, layers=np.where(behind, -1, layers))[layers.any(axis=1)]


def _most(work: Workload, cuts: Cuts, recompute: Ints, room: float) -> Ints:
    """How many layers each stage has room for: (plans, stages). A layer takes its states, and its activations times the
    micro-batches in flight; what a stage holds beside layers is reckoned of the first, the second and the last."""
    found = np.zeros((len(cuts), int(cuts.stages.max(initial=0))), dtype=np.int64)
    for here, how in by_habits(cuts, None):
        some = cuts[here]
        found[here, : int(some.stages.max())] = _most_of(work, some, how, recompute[here], room - SLACK)
    return found


def _most_of(work: Workload, cuts: Cuts, how: Habits, recompute: Ints, room: float) -> Ints:
    lead = work.model.experts.dense_layers if work.model.experts else 0
    first, last = np.zeros_like(cuts.stages), cuts.stages - 1

    def bytes_(stage: Ints, layers: int, before: int, largest: float = 1.0) -> Floats:
        return held(work, cuts, how, stage, np.full_like(stage, layers), np.full_like(stage, before), recompute, largest)

    place = np.arange(int(cuts.stages.max()))
    m = np.maximum(work.sequences // (cuts.data * cuts.micro_batch), 1)
    flying = in_flight(cuts.schedule[:, None], cuts.stages[:, None], cuts.chunks[:, None], m[:, None], place)
    one = bytes_(last, 1, lead)
    at_last = np.take_along_axis(flying, last[:, None], axis=1)[:, 0]
    kept = (bytes_(last, 1, lead, 2.0) - one) / (at_last * (1 + work.model.predicted))
    states = np.maximum(bytes_(last, 2, lead) - one - kept * at_last, 1.0)
    each = states[:, None] + kept[:, None] * flying
    bare = np.broadcast_to((bytes_(np.minimum(1, last), 1, lead) - each[:, 1])[:, None], each.shape).copy()
    bare[:, 0] = bytes_(first, lead + 1, 0) - each[:, 0]  # with the leading layers
    bare[np.arange(len(cuts)), last] = one - states - kept * at_last
    most = np.floor((room - bare) / each)
    if lead:
        # Leading layers alone, where they leave no room for another.
        single, all_ = bytes_(first, 1, 0), bytes_(first, lead, 0)
        some = 1 + np.floor((room - single) / np.maximum((all_ - single) / max(lead - 1, 1), 1.0))
        most[:, 0] = np.where(most[:, 0] >= 1, most[:, 0] + lead, np.clip(some, 0, lead))
    return np.asarray(np.clip(np.where(place <= last[:, None], most, 0), 0, work.model.layers), dtype=np.int64)
