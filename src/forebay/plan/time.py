"""Seconds of a training step, for many plans at once.

Asked:  how long is a step of this workload, cut so, on cards of one kind?
Answer: layers (`layers`) put into a pipeline (`schedule`), then what a step does once: gradients travel, the optimizer runs,
        weights come back; and what the slowest of many cards costs all others.
Units:  seconds. Arrays have one entry a plan.
Limits: stages are equal but for the embedding and the loss; unequal ones are simulated (`stages`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.cuts import Cuts
from forebay.plan.layers import STREAM, Layer, Pass, Site, ends, layer
from forebay.plan.model import Workload
from forebay.plan.network import gather, send
from forebay.plan.schedule import seconds as pipeline_seconds
from forebay.units import GB

Floats = NDArray[np.float64]

ADAM_BYTES = 30.0  # through memory for each weight: master, two moments and gradient read, three written, the 16-bit copy
# An optimizer in the host's memory (ZeRO-Offload, arXiv 2101.06840, section 3): gradients go down and weights come up over PCIe
# 4.0 or 5.0 x16, shared with nothing; each card has an eighth of what two sockets' memory carries. Both assumed.
HOST_LINK_BYTES_PER_S = 25 * GB
HOST_MEMORY_BYTES_PER_S = 30 * GB
SWEEP_BYTES = 10.0  # for each gradient: cleared, added to, and read for the norm
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


def step(work: Workload, at: Site, cuts: Cuts) -> Step:
    """A step of each plan."""
    micro = work.sequences / (cuts.data * cuts.micro_batch)
    found = rhythm(work, at, cuts, micro)
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


def rhythm(work: Workload, at: Site, cuts: Cuts, micro: Any) -> Rhythm:
    """Of each plan, whose data ranks run `micro` micro-batches each."""
    m, p, v, c = work.model, cuts.stages, cuts.chunks, cuts.context
    parts = pieces(work, at, cuts)
    first, middle, last = _stages(work, parts, cuts)
    slowest = _longer(_longer(first, middle), last)
    # Fill and drain: each other stage's share of one micro-batch, a chunk at a time (Narayanan et al., arXiv 2104.04473, 2.2).
    others = first.total + last.total + (p - 2) * middle.total - slowest.total
    bubble = np.where(p > 1, others / v, 0.0)
    split = (cuts.schedule > 1) & (p > 1)
    if split.any():
        bubble[split] = _split_bubble(m.layers + m.predicted, parts, cuts, micro, split, slowest.total)
    vector = cuts.micro_batch * work.tokens / c * m.width * 2.0 / cuts.tensor  # a part from each rank of the tensor group
    hop = np.where(p > 1, send(at.links, cuts.tensor * c * cuts.data, vector), 0.0)
    exposed = np.where(v > 1, INTERLEAVED_SENDS if at.framework.hides_sends else 1.0, 1.0)
    data, optimizer = once(work, at, cuts, slowest.total, micro)
    return Rhythm(
        slowest=slowest,
        sends=hop * 2 * v * exposed * (p > 1),
        bubble=bubble,
        first_sends=hop * 2 * (p - 1),
        data=data,
        optimizer=optimizer,
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
    _, which, back = np.unique(key, return_index=True, return_inverse=True)
    small = cuts[which]
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
    return _where(single, alone, first), _where(single, alone, mixed.times(per)), _where(single, alone, last)


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


def held(work: Workload, cuts: Cuts) -> tuple[Any, Any]:
    """Weights on a card of the mean stage, before ZeRO: plain ones, and experts'."""
    m = work.model
    plain = m.layers * m.attention_parameters + (m.layers - m.expert_layers) * m.mlp_parameters
    plain = plain + m.expert_layers * m.shared_parameters
    routed = m.expert_layers * m.routed_parameters
    words = m.vocabulary * m.width * np.where((cuts.stages > 1) | m.tied_embeddings, 1, 2)
    return plain / (cuts.tensor * cuts.stages) + words / cuts.tensor, routed / (cuts.expert * cuts.expert_tensor * cuts.stages)


def once(work: Workload, at: Site, cuts: Cuts, stage: Any, micro: Any) -> tuple[Any, Any]:
    """What a step does once: gradients and weights that travel unhidden, and the optimizer."""
    m = work.model
    plain, routed = held(work, cuts)
    group, stride = cuts.data * cuts.context, cuts.tensor
    own = np.maximum(1.0, cuts.data * cuts.context * cuts.tensor / (cuts.expert * cuts.expert_tensor))
    layers = m.layers / cuts.stages
    bytes_each = at.framework.gradient_bytes

    def travel(size: float) -> Any:
        a = gather(at.links, group, stride, plain * size)
        return a + gather(at.links, own, np.maximum(1, cuts.expert * cuts.expert_tensor), routed * size)

    # ZeRO 0 sums the gradients whole: a scatter and a gather of them. ZeRO 1 and 2 scatter gradients and gather weights.
    scatter, collect = travel(bytes_each), np.where(cuts.zero == 0, travel(bytes_each), travel(2.0))
    forward, backward = stage / 3, stage * 2 / 3
    if at.framework.hides_data:
        # Hidden behind the last micro-batch's backward and the first one's forward pass; interleaved, a chunk's gradients are
        # done while the other chunks of p micro-batches still compute. The last layer's have nothing to hide behind.
        window = np.where(cuts.chunks > 1, cuts.stages * (1 - 1 / cuts.chunks), 1.0)
        data = np.maximum(scatter / np.maximum(1.0, layers), scatter - window * backward)
        data = data + np.maximum(collect / np.maximum(1.0, layers), collect - window * forward)
        data = np.maximum(data, (scatter + collect) * at.framework.disturbs)
    else:
        data = scatter + collect
    # ZeRO 3 gathers the weights for each pass of each micro-batch, a layer ahead.
    gathers = 2 * micro * travel(2.0) + (micro - 1) * scatter
    gone = np.maximum(gathers / np.maximum(1.0, layers), gathers - micro * stage)
    unhidden = np.maximum(gone, gathers * at.framework.disturbs)
    data = np.where(cuts.zero == 3, np.maximum(data, scatter / np.maximum(1.0, layers)) + unhidden, data)
    shard = np.where(cuts.zero == 0, plain + routed, plain / np.maximum(1, cuts.shards * cuts.context) + routed / own)
    swept = np.where(cuts.zero == 3, shard, plain + routed)
    rate = STREAM * at.device.memory_bytes_per_s
    on_host = shard * (bytes_each + 2.0) / HOST_LINK_BYTES_PER_S + shard * ADAM_BYTES / HOST_MEMORY_BYTES_PER_S
    optimizer = swept * SWEEP_BYTES / rate + np.where(cuts.offload > 0, on_host, shard * ADAM_BYTES / rate)
    return data, optimizer


__all__ = ["Layer", "Pieces", "Rhythm", "Site", "Step", "drift", "held", "once", "pieces", "rhythm", "step", "whole"]
