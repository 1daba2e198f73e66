"""Unequal layers on one kind of chip: which plans of a space are better, or fit at all, with another number of layers a stage?

Asked:  a first stage has the embedding and holds the most micro-batches, a last one the loss over a large vocabulary; leading layers
        are dense; 61 layers are not divided by 16. Equal stages then wait for the slowest, or recompute because one of them must.
Answer: a step in which all stages took as long would be the shortest (`time.step`, level), and recomputing only adds to it; so
        plans are left out, each with each way of recomputing, whose step is no better even so than what is on the menu already.
        Of the others the layers that each stage can hold are reckoned for each way, `divide` shares them out so that the slowest
        stage is done soonest, and where software or wishes let stages recompute differently, once more with ways mixed: a stage
        that must recompute then has fewer layers. Memory is counted again, layer by layer, before a plan is priced.
Units:  bytes, seconds.
Limits: 1F1B and interleaved. The most promising MOST plans with their ways. How many layers a stage holds supposes that the leading
        dense ones are all on the first stage; a plan that this made too large is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forebay.plan.abilities import Abilities
from forebay.plan.by_stage import ways
from forebay.plan.cuts import Cuts, alike, joined
from forebay.plan.divide import Costs, divided
from forebay.plan.habits import Habits
from forebay.plan.memory import by_habits, each_stage, fullest, held
from forebay.plan.model import Workload
from forebay.plan.passes import Site
from forebay.plan.plan import OFFLOAD, RECOMPUTE, SCHEDULES
from forebay.plan.time import pieces, step, whole
from forebay.plan.wishes import Wishes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 100
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
    work: Workload, site: Site, few: Cuts, bound: Floats, room: float, wishes: Wishes, can: Abilities, limit: Floats
) -> tuple[Cuts, Floats]:
    """Of open plans those with other layers that fit and may take less than `limit` seconds, and their bytes. `bound` is what
    each would take, were its stages level."""
    better = bound < limit * (1 - SAME)
    few, bound, limit = few[better], bound[better], limit[better]
    if not len(few):
        return few, bound
    allowed, mixed = levels(wishes, can), ways(can, wishes)
    others = [_with(few, way, place) for place in places(wishes) for way in allowed if (way, place) != (allowed[0], 0)]
    every = joined([few, *others])
    if others:
        bound = np.concatenate([bound, np.asarray(step(work, site, every[len(few) :], True).total)])
        better = bound < np.tile(limit, 1 + len(others)) * (1 - SAME)
        every, bound = every[better], bound[better]
    best = _promising(work, every, bound, room)
    found = [_laid(work, site, best, room, [best.recompute])]
    if mixed:
        # What fits with the most recomputing, and would be better with the least.
        least = (every.recompute == mixed[0]) & ((every.chunks == 1) | can.by_stage_chunks | wishes.by_stage)
        best = _promising(work, _with(every[least], mixed[-1], -1), bound[least], room)
        found.append(_laid(work, site, best, room, [np.full(len(best), way) for way in mixed]))
    whole_model = joined(found)
    needs = fullest(work, whole_model) if len(whole_model) else np.zeros(0)
    fits = needs <= room
    return whole_model[fits], needs[fits]


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


def _promising(work: Workload, cuts: Cuts, bound: Floats, room: float) -> Cuts:
    """The MOST that would take least of those whose stages may have room for all layers.

    Stages hold the less the further behind they are, but for the last: all up to the middle have no more room than that one.
    """
    if not len(cuts):
        return cuts
    p = cuts.stages
    stages = np.stack([np.zeros_like(p), p // 2, np.maximum(p - 2, 0), p - 1], axis=1)
    times = np.stack([np.ones_like(p), np.minimum(p // 2, p - 2), np.maximum(p - 2 - p // 2, 0), np.ones_like(p)], axis=1)
    row = np.repeat(np.arange(len(cuts)), stages.shape[1])
    most = _most(work, cuts[row], stages.ravel(), cuts.recompute[row], room).reshape(stages.shape)
    at = np.flatnonzero((most * times).sum(axis=1) >= work.model.layers)
    return cuts[at[np.argsort(bound[at], kind="stable")[:MOST]]]


def _laid(work: Workload, site: Site, cuts: Cuts, room: float, levels: Sequence[Ints]) -> Cuts:
    """Each plan with the layers with which its slowest stage is done soonest, if stages may recompute in these ways; without
    those that nothing fits."""
    if not len(cuts):
        return cuts
    m = work.model
    parts = [pieces(work, site, replace(cuts, recompute=level)) for level in levels]
    plain, mixed, first, last = (
        np.array([np.asarray(whole(getattr(one, name)).total) for one in parts]) for name in ("plain", "mixed", "opening", "closing")
    )
    costs = Costs(plain=plain, mixed=mixed, first=first, last=last + m.predicted * mixed)
    row, stage = each_stage(cuts)
    most = np.zeros((len(levels), len(cuts), int(cuts.stages.max())), dtype=np.int64)
    for i, level in enumerate(levels):
        most[i, row, stage] = _most(work, cuts[row], stage, level[row], room)
    lead = m.experts.dense_layers if m.experts else 0
    split = divided(m.layers, lead, costs, cuts.stages, cuts.chunks, most)
    ways_ = np.take_along_axis(np.array(levels).T, np.maximum(split.ways, 0), axis=1)
    ways_ = np.where(split.ways < 0, -1, ways_)
    highest = ways_.max(axis=1)
    uneven = np.where(ways_ < 0, highest[:, None], ways_).min(axis=1) < highest
    by_stage = np.where(uneven[:, None], ways_, -1) if uneven.any() else alike(len(cuts))
    found = replace(cuts, layers=split.layers, recompute=highest, by_stage=by_stage)
    return found[np.isfinite(split.slowest) & (uneven if len(levels) > 1 else True)]


def _most(work: Workload, cuts: Cuts, stage: Ints, recompute: Ints, room: float) -> Ints:
    """How many layers the stage of each plan has room for. Bytes grow by as much with each layer of a kind."""
    found = np.zeros(len(cuts), dtype=np.int64)
    for here, how in by_habits(cuts, None):
        found[here] = _most_of(work, cuts[here], how, stage[here], recompute[here], room - SLACK)
    return found


def _most_of(work: Workload, cuts: Cuts, how: Habits, stage: Ints, recompute: Ints, room: float) -> Ints:
    lead = work.model.experts.dense_layers if work.model.experts else 0
    first = (stage == 0) & (lead > 0)
    before = np.where(stage == 0, 0, lead)

    def bytes_(layers: Ints, largest: float = 1.0) -> Floats:
        return held(work, cuts, how, stage, layers, before, recompute, largest)

    start = np.where(first, lead + 1, 1)
    least, next_ = bytes_(start), bytes_(start + 1)
    each = np.maximum(next_ - least, 1.0)
    most = np.where(least <= room, start + np.floor((room - least) / each), 0)
    if first.any() and (least > room)[first].any():
        one, all_ = bytes_(np.ones_like(start)), bytes_(np.full_like(start, lead))
        some = 1 + np.floor((room - one) / np.maximum((all_ - one) / max(lead - 1, 1), 1.0))
        most = np.where(first & (least > room), np.clip(np.where(one <= room, some, 0), 0, lead), most)
    if (cuts.chunks > 1).any():
        # The largest chunk counts for all (memory.held): of a number that chunks don't divide, the missing layers' activations.
        kept = np.maximum(bytes_(start + 1, 2.0) - next_ - (bytes_(start, 2.0) - least), 0.0)
        down = most // cuts.chunks * cuts.chunks
        lacking = np.ceil((least + each * (down + cuts.chunks - start) - room) / np.maximum(each - kept, 1.0))
        most = np.where(cuts.chunks > 1, down + np.clip(cuts.chunks - lacking, 0, cuts.chunks - 1), most)
    return np.asarray(np.clip(most, 0, work.model.layers), dtype=np.int64)
