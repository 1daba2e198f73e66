"""Attention of one layer on one micro-batch: scores and values, and the transfers of the context degree.

Asked:  how long does attention take on a card, forward and backward, when sequences are cut so?
Answer: a kernel that keeps no scores is read from measured tables; one that keeps them moves them through memory. Backward
        recomputes the scores: 2.5 times the flop (Dao, arXiv 2307.08691, section 3.2), at a lower rate. A ring gathers keys and
        values while it computes (Liu et al., arXiv 2310.01889); Ulysses exchanges heads for tokens (Jacobs et al., arXiv
        2309.14509).
Units:  seconds. Arrays have one entry a plan.
Limits: a window is the mean over layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from forebay.plan.cuts import Cuts
from forebay.plan.kernels.known import attention
from forebay.plan.model import Workload
from forebay.plan.network import exchange, ring
from forebay.plan.passes import STREAM, Layer, Pass, Site

BACKWARD_ATTENTION = 3.1  # of the forward's seconds: 2.5 times the flop at 0.8 of the rate (FlashAttention-3, arXiv 2407.08608,
# figures 5 and 6)


def core(work: Workload, at: Site, cuts: Cuts) -> Layer:
    """Scores and values, and the ring or exchange of the context degree."""
    m, c = work.model, cuts.context
    lanes = cuts.micro_batch * m.heads / cuts.tensor
    kv = np.maximum(1.0, m.kv_heads / cuts.tensor) * m.head if m.latent is None else m.heads / cuts.tensor * 160
    forward, backward = _fused(work, at, cuts, lanes) if at.framework.flash else _unfused(work, at, lanes / c)
    handed_on = 2.0 * kv * cuts.micro_batch * work.tokens * 2.0  # keys and values of the whole sequence
    wire = ring(at.links, c, cuts.tensor, handed_on)
    swap = 4 * exchange(at.links, c, cuts.tensor, lanes * m.head * work.tokens / c * 2.0)
    ahead = np.where(cuts.ulysses, swap, np.maximum(0.0, wire - forward.attention))
    behind = np.where(cuts.ulysses, swap, np.maximum(0.0, 2 * wire - backward.attention))
    return Layer(forward=replace(forward, context=ahead), inputs=replace(backward, context=behind), weights=Pass())


def _fused(work: Workload, at: Site, cuts: Cuts, lanes: Any) -> tuple[Pass, Pass]:
    """Attention of a kernel that keeps no scores, forward and backward: the mean of all layers."""
    m = work.model
    seen = 1.0
    if m.window is not None and m.layers:
        near = min(m.window.tokens, work.tokens) / work.tokens
        seen = 1.0 - m.windowed_layers / m.layers * (1.0 - near) ** 2
    kind = "gqa" if m.latent is None else "mla"
    alone = attention(at.device, work.tokens, lanes, m.head if m.latent is None else 192, kind)
    alone = alone * seen * at.framework.attention * (1.75 if at.framework.ampere and "fp8" in at.device.flop_per_s else 1.0)
    return Pass(attention=alone / cuts.context), Pass(attention=BACKWARD_ATTENTION * alone / cuts.context)


def _unfused(work: Workload, at: Site, lanes: Any) -> tuple[Pass, Pass]:
    """Attention whose scores go through memory."""
    m = work.model
    scores = lanes * float(work.tokens) ** 2
    moved = scores * (2 + 4 + (5 if at.framework.dropout else 0) + 2) / (STREAM * at.device.memory_bytes_per_s)
    two = 4.0 * scores * m.head / (0.6 * at.device.peak(work.number_format))
    return Pass(attention=two, traffic=moved), Pass(attention=2 * two, traffic=2 * moved)
