"""What a served model takes of a card's memory, and how many sequences fit.

Asked:  do weights, cache and working space fit, with this many sequences?
Answer: weights by part and how each is cut (experts over expert x expert_tensor, the rest over tensor), the cache a token, and
        WORKING bytes for activations, CUDA graphs and communication. Engines fill SHARE of a card (vLLM's default).
Units:  bytes a card.
Limits: a key-value head is copied where there are more cards than heads; the latent cache is whole on every card of a tensor
        group. Sequences are counted at their full length, so the last token fits too: never optimistic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.plan.kernels.decode import cache_bytes
from forebay.plan.kernels.experts import BYTES
from forebay.plan.kernels.grid import Floats
from forebay.plan.serving.time import Engine, ServingCuts
from forebay.units import GB

SHARE = 0.9
WORKING = 5 * GB
STORED = {**BYTES, "mxfp4": BYTES["w4a16_mxfp4"], "int4": BYTES["w4a16_mxfp4"], "fp16": 2.0, "fp32": 4.0}


def weights(engine: Engine, cuts: ServingCuts) -> Floats:
    """Of one card, the fullest stage."""
    m, tp = engine.model, cuts.tensor.astype(np.float64)
    dense = STORED[engine.formats.dense]
    plain = m.layers - m.expert_layers
    cut = (m.layers * m.attention_parameters + plain * m.mlp_parameters) * dense / tp
    if m.experts is not None:
        shared = m.expert_layers * m.shared_parameters * dense / tp
        routed = m.expert_layers * m.routed_parameters * STORED[engine.formats.experts] / (cuts.expert * cuts.expert_tensor)
        cut = cut + shared + routed
    words = m.embedding_parameters * (1 if m.tied_embeddings else 2) * 2.0 / tp
    deepest = np.ceil(m.layers / cuts.stages) / m.layers
    out: Floats = cut * deepest + words / np.minimum(cuts.stages, 2)
    return out


def cache(engine: Engine, cuts: ServingCuts, tokens: Any) -> Floats:
    """Of one sequence of so many tokens, on one card of its data rank."""
    m = engine.model
    if m.latent is not None:
        one: Any = cache_bytes(engine.formats.cache, 1, m.latent.kv_rank + m.latent.rotary, "mla") * np.ones(len(cuts))
    else:
        one = cache_bytes(engine.formats.cache, np.maximum(np.ceil(m.kv_heads / cuts.tensor), 1.0), m.head)
    tokens = np.asarray(tokens, dtype=np.float64)
    near = np.minimum(tokens, m.window.tokens) if m.window is not None else tokens
    held = (m.layers - m.windowed_layers) * tokens + m.windowed_layers * near
    out: Floats = one * held * np.ceil(m.layers / cuts.stages) / m.layers
    return out


def memory(engine: Engine, cuts: ServingCuts, tokens: Any) -> Floats:
    """Of the fullest card with the whole batch, each sequence of so many tokens."""
    here = np.ceil(cuts.batch / cuts.data)
    out: Floats = weights(engine, cuts) + WORKING + here * cache(engine, cuts, tokens)
    return out


def room(engine: Engine, cuts: ServingCuts, tokens: Any, share: float = SHARE) -> Floats:
    """Sequences of an engine that fit at once, a whole number; 0: not even one, or not the weights."""
    left = engine.device.memory_bytes * share - weights(engine, cuts) - WORKING
    out: Floats = np.maximum(np.floor(left / cache(engine, cuts, tokens)), 0.0) * cuts.data
    return out
