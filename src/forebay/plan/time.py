"""Seconds of a training step, for many plans at once.

Asked:  how long is a step of this workload, cut so, on cards of one kind?
Answer: layers (`layers`) put into a pipeline (`schedule`), then what a step does once (`once`), and what the
        slowest of many cards costs all others.
Units:  seconds. Arrays have one entry a plan.
Limits: chunks of a stage are alike; of stages whose layers are said only the fullest one's weights are known, so its share of
        gradients and weights travels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.cuts import Cuts, alike
from forebay.plan.divide import leading
from forebay.plan.layers import ends, layer
from forebay.plan.model import Workload
from forebay.plan.network import send
from forebay.plan.once import once
from forebay.plan.passes import Layer, Pass, Site
from forebay.plan.plan import RECOMPUTE
from forebay.plan.schedule import seconds as pipeline_seconds

Floats = NDArray[np.float64]

INTERLEAVED_SENDS = 0.4  # of the sends between chunks, what isn't hidden: they share links and units with what computes
DRIFT = 0.002  # of a step for each doubling of the cards beyond one host: the slowest of many (order statistics; MLPerf 3.1
# GPT-3 logs: 0.7 % from 4,096 to 8,192 cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step's seconds by part; they add up to `total`."""

    products: Any
    attention: Any
    traffic: Any
    launch: Any
    tensor: Any
    context: Any
    expert: Any
    bubble: Any  # stages wait for each other
    sends: Any  # between stages, exposed
    data: Any  # gradients and weights, exposed
    optimizer: Any
    stragglers: Any
    fixed: Any

    @property
    def total(self) -> Any:
        return sum(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """What a step takes for each micro-batch of a data rank, and what beside them, in seconds."""

    slowest: Pass  # of the stage that sets the pace, for each micro-batch
    sends: Any  # exposed, for each micro-batch
    bubble: Any
    first_sends: Any  # while the pipeline fills and drains
    data: Any
    optimizer: Any


def step(work: Workload, at: Site, cuts: Cuts, level: Any = False) -> Step:
    """A step of each plan; where `level`, no longer than with any number of layers a stage (`_level`)."""
    micro = work.sequences / (cuts.data * cuts.micro_batch)
    found = rhythm(work, at, cuts, micro, level)
    everything = found.slowest.times(micro)
    sends = found.first_sends + micro * found.sends
    busy = everything.total + found.bubble + sends
    kernels = {one.name: getattr(everything, one.name) for one in fields(Pass)}
    return Step(
        **kernels,
        bubble=found.bubble,
        sends=sends,
        data=found.data,
        optimizer=found.optimizer,
        stragglers=busy * drift(cuts.cards),
        fixed=np.full(len(cuts), at.framework.fixed_s),
    )


def drift(cards: Any) -> Any:
    """The share of a step that the slowest of so many cards costs the others."""
    return DRIFT * np.log2(np.maximum(1.0, cards / 8.0))


def rhythm(work: Workload, at: Site, cuts: Cuts, micro: Any, level: Any = False) -> Rhythm:
    """Of each plan, whose data ranks run `micro` micro-batches each; `level` as in `step`."""
    m, p, v, c = work.model, cuts.stages, cuts.chunks, cuts.context
    parts = pieces(work, at, cuts)
    first, middle, last = _stages(work, parts, cuts)
    slowest = _longer(_longer(first, middle), last)
    # Fill and drain: each other stage's share of one micro-batch, a chunk at a time (Narayanan et al., arXiv 2104.04473, 2.2).
    others = first.total + last.total + (p - 2) * middle.total - slowest.total
    if cuts.by_stage.shape[1]:
        slowest, others = _uneven(work, at, cuts, slowest, others)
    heavier = np.ones(len(cuts))
    if cuts.layers.shape[1]:
        slowest, others = _laid(work, at, cuts, slowest, others)
        heavier = np.maximum(1.0, np.where(cuts.layers[:, 0] >= 0, cuts.layers.max(axis=1) * p / m.layers, 1.0))
    if np.any(level):
        least, rest = _level(work, parts, p, v)
        slowest, others = _where(level, least, slowest), np.where(level, rest, others)
        heavier = np.where(level, -(-m.layers // (p * v)) * p * v / m.layers, heavier)
    bubble = np.where(p > 1, others / v, 0.0)
    split = (cuts.schedule > 1) & (p > 1)
    if split.any():
        bubble[split] = _split_bubble(m.layers + m.predicted, parts, cuts, micro, split, slowest.total)
    vector = cuts.micro_batch * work.tokens / c * m.width * 2.0 / cuts.tensor  # a part from each rank of the tensor group
    # Stages inside data are worth it only where all of a pipeline is in an island: it is as fast as its slowest hop. In the usual
    # order data ranks lie between stages, and the hops of most are alike.
    beside = np.where(cuts.tensor * c * p <= at.links.island, cuts.tensor * c, at.links.island)
    hop = np.where(p > 1, send(at.links, np.where(cuts.stages_inner, beside, cuts.tensor * c * cuts.data), vector), 0.0)
    exposed = np.where(v > 1, INTERLEAVED_SENDS if at.framework.hides_sends else 1.0, 1.0)
    data, optimizer = once(work, at, cuts, slowest.total, micro)
    return Rhythm(
        slowest=slowest,
        sends=hop * 2 * v * exposed * (p > 1),
        bubble=bubble,
        first_sends=hop * 2 * (p - 1),
        data=data * heavier,
        optimizer=optimizer * heavier,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What a stage is made of, one micro-batch, one entry a plan: a plain layer, a layer of experts, and the two ends."""

    plain: Layer
    mixed: Layer
    opening: Layer
    closing: Layer


def pieces(work: Workload, at: Site, cuts: Cuts) -> Pieces:
    """Priced once for each distinct way to cut a layer: most plans share theirs with many others."""
    words = (cuts.tensor, cuts.micro_batch, cuts.context, cuts.expert, cuts.expert_tensor, cuts.recompute, cuts.ulysses)
    key = cuts.sequence_parallel.astype(np.int64)
    for word in words:
        key = key * (int(word.max(initial=0)) + 1) + word
    if work.model.experts and at.framework.hides_expert:
        key = key * 2 + (cuts.chunks > 1)  # the exchange hides behind other chunks
    if np.ndim(at.slower):
        steps = np.unique(at.slower, return_inverse=True)[1]
        key = key * len(cuts) + steps
    _, which, back = np.unique(key, return_index=True, return_inverse=True)
    small = cuts[which]
    if np.ndim(at.slower):
        at = replace(at, slower=at.slower[which])
    m = work.model
    plain = layer(work, at, small, experts=False) if m.experts is None or m.experts.dense_layers else None
    mixed = layer(work, at, small, experts=True) if m.experts else plain
    opening, closing = ends(work, at, small)
    spread = [_spread(one, back) for one in (plain or mixed, mixed or plain, opening, closing) if one is not None]
    return Pieces(plain=spread[0], mixed=spread[1], opening=spread[2], closing=spread[3])


def _spread(one: Layer, back: Any) -> Layer:
    def over(value: Any) -> Any:
        return value[back] if isinstance(value, np.ndarray) and value.ndim else np.full(len(back), value)

    def each(part: Pass) -> Pass:
        return Pass(**{field.name: over(getattr(part, field.name)) for field in fields(Pass)})

    return Layer(forward=each(one.forward), inputs=each(one.inputs), weights=each(one.weights))


def _stages(work: Workload, parts: Pieces, cuts: Cuts) -> tuple[Pass, Pass, Pass]:
    """One micro-batch, forward and backward, on the first, a middle and the last stage. With one stage all three are that one."""
    m, p, v = work.model, cuts.stages, cuts.chunks
    layers = m.layers + m.predicted
    leading = m.experts.dense_layers if m.experts else layers
    plain, mixed, opening, closing = (whole(one) for one in (parts.plain, parts.mixed, parts.opening, parts.closing))
    per = np.where(cuts.ends, (layers + 2) / p, np.ceil(layers / p / v) * v)
    outer = np.where(p == 1, layers, np.where(cuts.ends, per - 1, per))
    ahead = np.minimum(leading, outer)
    first = plain.times(ahead) + mixed.times(outer - ahead) + opening
    last = mixed.times(np.where(cuts.ends, outer, np.maximum(layers - per * (p - 1), 0))) + closing
    alone = first + closing
    single = p == 1
    middle = _where(p == 2, first, mixed.times(per))  # of two stages none is in the middle
    return _where(single, alone, first), _where(single, alone, middle), _where(single, alone, last)


def _level(work: Workload, parts: Pieces, stages: Any, chunks: Any) -> tuple[Pass, Any]:
    """What no split's slowest stage is shorter than: the mean, and the layers that one of the stages must have at least. With it
    the seconds of the others."""
    m = work.model
    lead = m.experts.dense_layers if m.experts else 0
    plain, mixed, opening, closing = (whole(one) for one in (parts.plain, parts.mixed, parts.opening, parts.closing))
    all_ = plain.times(lead) + mixed.times(m.layers + m.predicted - lead) + opening + closing
    # Pieces of interleaved stages are alike (`divide.spared`).
    slowest = _longer(all_.times(1.0 / stages), mixed.times(-(-(m.layers - lead) // (stages * chunks)) * chunks))
    return slowest, all_.total - slowest.total


def _laid(work: Workload, at: Site, cuts: Cuts, slowest: Pass, others: Any) -> tuple[Pass, Any]:
    """The slowest stage and the seconds of all others, where each stage's layers are said; else as given."""
    rows = np.flatnonzero(cuts.layers[:, 0] >= 0)
    few, m = cuts[rows], work.model
    layers, place, last = np.maximum(few.layers, 0), np.arange(few.layers.shape[1]), few.stages[:, None] - 1
    ahead = leading(layers, few.chunks)
    lead = m.experts.dense_layers if m.experts else 0
    plain = np.clip(lead - (np.cumsum(ahead, axis=1) - ahead), 0, ahead)
    mixed = np.where(place <= last, layers - plain, 0) + (place == last) * m.predicted
    how = np.broadcast_to(few.recompute[:, None], layers.shape)
    if few.by_stage.shape[1]:
        said = np.pad(few.by_stage, ((0, 0), (0, max(0, layers.shape[1] - few.by_stage.shape[1]))), constant_values=-1)
        how = np.where(said[:, :1] >= 0, said[:, : layers.shape[1]], how)
    site = replace(at, slower=at.slower[rows]) if np.ndim(at.slower) else at
    times = np.zeros(layers.shape)
    ways = []
    for way in np.unique(how[place <= last]):
        same = replace(few, recompute=np.full(len(rows), way), by_stage=alike(len(rows)))
        parts = pieces(work, site, same)
        each = [whole(one) for one in (parts.plain, parts.mixed, parts.opening, parts.closing)]
        counts = [np.where(how == way, count, 0) for count in (plain, mixed, (place == 0) * 1, (place == last) * 1)]
        times = times + sum(count * one.total[:, None] for count, one in zip(counts, each, strict=True))
        ways.append((counts, each))
    at_most = np.argmax(times, axis=1)
    longest, one_each = Pass(), np.arange(len(rows))
    for counts, each in ways:
        for count, one in zip(counts, each, strict=True):
            longest = longest + one.times(count[one_each, at_most])
    if (few.chunks > 1).any():
        longest = _where(few.chunks > 1, _longer(longest, _by_chunk(work, pieces(work, site, few), few, layers, ahead)), longest)
    spread = {one.name: np.broadcast_to(getattr(slowest, one.name), len(cuts)).copy() for one in fields(Pass)}
    for name, column in spread.items():
        column[rows] = getattr(longest, name)
    others = np.array(others)
    others[rows] = np.maximum(times.sum(axis=1) - longest.total, 0.0)
    return Pass(**spread), others


def _by_chunk(work: Workload, parts: Pieces, cuts: Cuts, layers: Any, ahead: Any) -> Pass:
    """What interleaved stages take if they wait in each chunk for the one that has most in it: all pieces are alike but the first
    and the last of the model, which have the ends. These two meet in one round only (`schedule._interleaved`)."""
    m = work.model
    each = -(-layers.max(axis=1) // cuts.chunks)
    plain, mixed, opening, closing = (whole(one) for one in (parts.plain, parts.mixed, parts.opening, parts.closing))
    lead = np.minimum(m.experts.dense_layers if m.experts else 0, ahead[:, 0])
    final = np.maximum(layers[np.arange(len(cuts)), cuts.stages - 1] - each * (cuts.chunks - 1), 0) + m.predicted
    first = plain.times(lead) + mixed.times(ahead[:, 0] - lead) + opening
    last = mixed.times(final) + closing
    piece = mixed.times(each)
    return mixed.times(each * (cuts.chunks - 1)) + _longer(piece, _longer(first, last))


def _uneven(work: Workload, at: Site, cuts: Cuts, slowest: Pass, others: Any) -> tuple[Pass, Any]:
    """The slowest stage and the seconds of all others, where stages recompute differently; else as given."""
    rows = np.flatnonzero(cuts.by_stage[:, 0] >= 0)
    few = cuts[rows]
    levels, place, last = few.by_stage, np.arange(few.by_stage.shape[1]), few.stages[:, None] - 1
    site = replace(at, slower=at.slower[rows]) if np.ndim(at.slower) else at
    longest, total = Pass(), np.zeros(len(rows))
    for way in range(len(RECOMPUTE)):
        same = replace(few, recompute=np.full(len(rows), way), by_stage=alike(len(rows)))
        here = levels == way
        inner = (place > 0) & (place < last)
        counts = ((here & where).sum(axis=1) for where in (place == 0, inner, place == last))
        for one, count in zip(_stages(work, pieces(work, site, same), same), counts, strict=True):
            longest = _longer(longest, one.times(np.where(count > 0, 1.0, 0.0)))
            total = total + count * one.total
    spread = {one.name: np.broadcast_to(getattr(slowest, one.name), len(cuts)).copy() for one in fields(Pass)}
    for name, column in spread.items():
        column[rows] = getattr(longest, name)
    others = np.array(others)
    others[rows] = total - longest.total
    return Pass(**spread), others


def _split_bubble(layers: int, parts: Pieces, cuts: Cuts, micro: Any, at: Any, slowest: Any) -> Floats:
    """Waiting of schedules whose weight gradients fill the gaps: the array form of `schedule`, less the slowest stage's work."""
    few = cuts[at]
    # With `ends` the embedding and the loss stand in for a layer each.
    per = np.where(few.ends, layers + 2, layers) / few.stages
    one, count = parts.mixed, np.maximum(1, np.round(micro[at])).astype(np.int64)
    forward, inputs, weights = (getattr(one, name).total[at] * per for name in ("forward", "inputs", "weights"))
    spared = np.where(few.ends, whole(one).total[at], 0.0)
    start, end = (np.maximum(0.0, whole(part).total[at] - spared) for part in (parts.opening, parts.closing))
    took = pipeline_seconds(few.schedule, few.stages, few.chunks, count, forward, inputs, weights, start, end)
    waits: Floats = np.maximum(0.0, took - slowest[at] * micro[at])
    return waits


def whole(one: Layer) -> Pass:
    """Forward and backward together."""
    return one.forward + one.backward


def _where(which: Any, a: Pass, b: Pass) -> Pass:
    return Pass(**{one.name: np.where(which, getattr(a, one.name), getattr(b, one.name)) for one in fields(Pass)})


def _longer(a: Pass, b: Pass) -> Pass:
    return _where(a.total >= b.total, a, b)
