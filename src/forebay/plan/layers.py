"""What one layer takes on one micro-batch: products, attention, memory traffic, and the transfers inside the layer.

Asked:  how long do the forward and the backward pass of a layer run on a card, when it is cut so?
Answer: the layer is listed, product by product, as the card sees it after the cut (Shoeybi et al., arXiv 1909.08053, section 3;
        Korthikanti et al., arXiv 2205.05198, section 4 for sequence parallel). A backward pass has two products for each forward
        one: the input's gradient (m, k, n) and the weight's (n, k, m). What is no product moves bytes through memory.
        Attention has a file of its own (`attention`).
Units:  seconds. Arrays have one entry a plan.
Limits: one layer alone; what overlaps between layers is for `time`. Tile steps are smooth (`kernels.grid`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from forebay.plan.attention import core
from forebay.plan.cuts import Cuts
from forebay.plan.kernels import known
from forebay.plan.kernels.known import NARROW, Device
from forebay.plan.model import Workload
from forebay.plan.network import exchange, gather, split, total
from forebay.plan.passes import STREAM, Layer, Pass, Site

matmul = partial(known.matmul, long_job=True)

# Times as long the host launches a layer of experts whose exchange is hidden: Megatron-Core runs such a layer in four parts, each
# with its own stream and autograd graph, in turn with another micro-batch's (models/common/model_chunk_schedule_plan.py). Of
# Qwen3 235B with one sequence a micro-batch, B300 in 26.02, with it, took 1.43 times as long as B200 there, without it.
PARTED = 1.4
HOST_DRIFT = 0.1  # of the host's launching, for each doubling of the tensor degree: a collective waits for the latest host
# Times as long takes a product whose rows aren't whole 8 bytes (NVIDIA's guide to matrix products wants 16): at a vocabulary of
# 50,257 vTrain's A100 reach 77 TFLOP/s, at half of it 240.
UNALIGNED = 3.0
# Where experts aren't one kernel, their biases and limits are operators of their own. Bytes through memory, forward and back,
# counted in Megatron-Core 0.15 (moe/experts.py `_apply_bias`, fusions/fused_bias_geglu.py `weighted_bias_quick_geglu_impl`): for
# each element of a routed token's output the bias times its probability, in 4 bytes, is made, added, joined to the other experts'
# and rounded (28), and on the way back rounded, split, and reduced to both factors' gradients (40); each element that goes into
# the activation is cut off and joined (8), and on the way back masked and joined (10). The first products' biases are fused.
BIASES, LIMITS = 28.0 + 40.0, 8.0 + 10.0


def layer(work: Workload, at: Site, cuts: Cuts, experts: bool) -> Layer:
    """A layer of the model with a plain MLP, or with its experts."""
    m, t, c = work.model, cuts.tensor, cuts.context
    tokens = cuts.micro_batch * work.tokens / c  # that pass through a card's products
    wide = _Products(at.device, work.number_format, np.where((t > 1) & (at.framework.hides_tensor > 0), np.maximum(1, t / 2), 1))
    scores = core(work, at, cuts)
    moved: Any = 0.0  # bytes forward
    heads = m.heads / t
    if (a := m.latent) is None:
        kv = np.maximum(1.0, m.kv_heads / t)
        wide.add(tokens, (heads + 2 * kv) * m.head, m.width)
        wide.add(tokens, m.width, heads * m.head)
        rotated = (heads + kv) * m.head
    else:
        key = a.plain + a.rotary
        if a.query_rank:
            wide.add(tokens, a.query_rank, m.width)
        wide.add(tokens, heads * key, a.query_rank or m.width)
        wide.add(tokens, a.kv_rank + a.rotary, m.width)
        wide.add(tokens, heads * (a.plain + a.value), a.kv_rank)
        wide.add(tokens, m.width, heads * a.value)
        # Rotary parts are split off, spread over the heads, and put back.
        rotated = at.framework.rotary * heads * (2 * key + a.value)
    whole = np.where(cuts.sequence_parallel, t, 1)
    moved = moved + tokens * m.width * 2 * 10.0 / whole  # two norms read and write, two sums read twice and write
    if at.framework.dropout:
        moved = moved + tokens * m.width * 2 * 3.0 / whole
    moved = moved + tokens * rotated * 4.0 * (0.0 if m.positions else 1.0)
    inner: Any
    if experts and m.experts is not None:
        e = m.experts
        shared = e.shared_width
        if shared:
            wide.add(tokens, (m.matrices - 1) * shared / t, m.width)
            wide.add(tokens, m.width, shared / t)
        wide.add(tokens / whole, e.count, m.width)
        pairs = tokens / t * e.chosen * cuts.expert_tensor * at.imbalance
        local = np.maximum(1.0, e.count / cuts.expert)
        rows = np.ceil(pairs / local / 128.0) * 128.0  # an expert's, in whole tiles
        inner = e.width / cuts.expert_tensor
        rows, kernels = (rows * local, 1.0) if at.framework.grouped else (rows, local)
        wide.add_experts(rows, (m.matrices - 1) * inner, m.width, kernels, local)
        wide.add_experts(rows, m.width, inner, kernels, local)
        moved = moved + tokens * shared / t * 2.0 * m.matrices
        moved = moved + pairs * (inner * 2.0 * m.matrices + m.width * 2.0 * at.framework.passes)  # activation; permuting
        moved = moved + tokens / whole * e.count * 4.0 * 6.0  # the router's scores in fp32
        if not at.framework.grouped:  # a third of it forward, as of all that moves
            moved = moved + pairs * (e.biased * BIASES * m.width + e.clamped * LIMITS * (m.matrices - 1) * inner) / 3.0
    else:
        inner = m.mlp_width / t
        wide.add(tokens, (m.matrices - 1) * inner, m.width)
        wide.add(tokens, m.width, inner)
        moved = moved + tokens * inner * 2.0 * m.matrices
    traffic = at.framework.traffic * moved / (STREAM * at.device.memory_bytes_per_s)
    across = _tensor(work, at, cuts, tokens)
    swap = _experts(work, at, cuts, tokens) if experts else 0.0
    forward = Pass(
        products=wide.forward, attention=scores.forward.attention, traffic=traffic + scores.forward.traffic, tensor=across
    )
    forward = replace(forward, context=scores.forward.context, expert=swap)
    inputs = Pass(
        products=wide.inputs, attention=scores.inputs.attention, traffic=2 * traffic + scores.inputs.traffic, tensor=across
    )
    inputs = replace(inputs, context=scores.inputs.context, expert=swap)
    summed = wide.held * at.framework.summed_bytes / (STREAM * at.device.memory_bytes_per_s)
    weights = Pass(products=wide.weights, traffic=summed)
    soft, late = at.framework, 1 + HOST_DRIFT * np.log2(np.maximum(1, t))
    parted = np.where((cuts.chunks > 1) & (soft.hides_expert > 0), PARTED, 1.0)
    host = soft.expert_host_s * parted if experts else soft.host_s * late
    forward, inputs, weights = (_fed(one, at.slower, host) for one in (forward, inputs, weights))
    full, selective = cuts.recompute == 2, cuts.recompute == 1
    again = forward.times(np.where(full, 1.0, 0.0))
    anew = Pass(attention=scores.forward.attention, traffic=scores.forward.traffic).times(np.where(selective, 1.0, 0.0))
    return Layer(forward=forward, inputs=inputs + again + anew, weights=weights)


def ends(work: Workload, at: Site, cuts: Cuts) -> tuple[Layer, Layer]:
    """What the first stage does beside its layers (the embedding), and the last one (vocabulary and loss)."""
    m, t = work.model, cuts.tensor
    tokens = cuts.micro_batch * work.tokens / cuts.context
    rate = STREAM * at.device.memory_bytes_per_s
    words = tokens * m.width * 2.0 * 2.0 / rate
    first = Layer(forward=Pass(traffic=words), inputs=Pass(), weights=Pass(traffic=2 * words))
    wide = _Products(at.device, "bf16" if NARROW.get(work.number_format, 2.0) < 2 else work.number_format, 1)
    unaligned = (not at.framework.pads) & (np.floor(m.vocabulary / t) % 4 > 0)
    wide.add(tokens, m.vocabulary / t, m.width, np.where(unaligned, UNALIGNED, 1.0))
    loss = tokens * m.vocabulary / t * at.framework.loss_bytes / rate
    wire = gather(at.links, t, 1, tokens * m.width * 2.0)
    forward = _fed(Pass(products=wide.forward, traffic=loss / 2, tensor=wire), at.slower, 0.0)
    last = Layer(
        forward=replace(forward, launch=at.framework.between_s),
        inputs=_fed(Pass(products=wide.inputs, traffic=loss / 2, tensor=wire), at.slower, 0.0),
        weights=_fed(Pass(products=wide.weights, traffic=wide.held * at.framework.summed_bytes / rate), at.slower, 0.0),
    )
    return first, last


class _Products:
    """Products of a layer, added up: forward and the two of backward.

    A product that hides a transfer is cut into `pieces` along its rows, one for each rank of the tensor group, so that a piece is
    computed while the next one travels; smaller pieces run at a lower rate, two of them together (userbuffers of Transformer
    Engine have several streams): `pieces` is half of the ranks. Backward only half of the products are cut.
    """

    def __init__(self, device: Device, number_format: str, pieces: Any) -> None:
        self.device, self.format, self.pieces = device, number_format, pieces
        self.forward: Any = 0.0
        self.inputs: Any = 0.0
        self.weights: Any = 0.0
        self.held: Any = 0.0  # weights on the card

    def add(self, m: Any, n: Any, k: Any, scale: Any = 1.0) -> None:
        """out[m, n] = a[m, k] x w[n, k], by all ranks of the tensor group."""
        dev, form, cut = self.device, self.format, self.pieces
        self.forward = self.forward + scale * cut * matmul(dev, form, m / cut, n, k)
        self.inputs = self.inputs + scale * (cut * matmul(dev, form, m / cut, k, n) + matmul(dev, form, m, k, n)) / 2
        self.weights = self.weights + scale * matmul(dev, form, n, k, m)
        self.held = self.held + n * k

    def add_experts(self, m: Any, n: Any, k: Any, kernels: Any, count: Any) -> None:
        """The same for `count` matrices of that size in `kernels` launches of `m` rows each.

        A grouped product of Transformer Engine is a loop over cuBLAS, and takes what its members take: on B200 1.0 to 1.5 times
        their burst times from 128 to 9,832 rows, like plain products there (SimuMax, configs/system/b200_bf16_ceperm.json).
        """
        dev, form = self.device, self.format
        read = count / kernels * n * k * NARROW.get(form, 2.0) / dev.memory_bytes_per_s
        self.forward = self.forward + kernels * np.maximum(matmul(dev, form, m, n, k), read)
        self.inputs = self.inputs + kernels * np.maximum(matmul(dev, form, m, k, n), read)
        self.weights = self.weights + kernels * np.maximum(matmul(dev, form, n, k, m), read)
        self.held = self.held + count * n * k


def _tensor(work: Workload, at: Site, cuts: Cuts, tokens: Any) -> Any:
    """Two gathers and two scatters a pass (or two all-reduces, which are the same), as far as they aren't hidden."""
    nbytes, soft = tokens * work.model.width * 2.0, at.framework
    parts = 4 * gather(at.links, cuts.tensor, 1, nbytes)
    exposed = np.where(cuts.sequence_parallel, parts, 2 * total(at.links, cuts.tensor, 1, nbytes)) * (1.0 - soft.hides_tensor)
    return exposed + 2 * soft.meeting_s * (cuts.tensor > 1)


def _experts(work: Workload, at: Site, cuts: Cuts, tokens: Any) -> Any:
    """Tokens go to their experts and come back."""
    m = work.model
    assert m.experts is not None
    sent = tokens / cuts.tensor * m.experts.chosen * m.width * 2.0 * at.imbalance
    group, chosen = np.maximum(cuts.expert, 1), float(m.experts.chosen)
    stride = cuts.expert_tensor if at.framework.folded else cuts.tensor * cuts.context
    if at.framework.deduplicated:
        # Of `chosen` experts spread evenly over the group, so many distinct cards (and islands) are met.
        inside, islands = split(at.links, group, stride)
        cards = group * (1 - (1 - 1 / group) ** chosen) / chosen
        homes = islands * (1 - (1 - 1 / islands) ** chosen) / chosen
        once = exchange(at.links, group, stride, sent * cards, sent * homes * islands / group * inside)
    else:
        once = exchange(at.links, group, stride, sent)
    inside = gather(at.links, cuts.expert_tensor, 1, sent * cuts.expert_tensor)
    # Megatron-Core hides it behind another micro-batch's layers, where the schedule is interleaved.
    return 2 * (once + inside) * (1.0 - np.where(cuts.chunks > 1, at.framework.hides_expert, 0.0))


def _fed(one: Pass, slower: Any, least_s: Any) -> Pass:
    """The pass at the calibrated speed, with what the card waits for the host that launches its kernels.

    If the host were always far ahead, a pass would take the longer of both; if never, their sum. Of a layer's kernels short ones
    are waited for while long ones let the host get ahead: between the two, the cube root of the sum of cubes.
    """
    # The power limit slows the matrix units most; what memory feeds is held back by half as much (in logarithms).
    spared = slower**0.5
    one = replace(one, products=one.products * slower, attention=one.attention * spared, traffic=one.traffic * spared)
    busy = one.products + one.attention + one.traffic + one.tensor
    return replace(one, launch=(busy**3 + least_s**3) ** (1 / 3) - busy)
