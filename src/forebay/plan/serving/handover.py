"""What it takes to bring a prompt's keys and values from the engine that read it to the one that makes its tokens.

Asked:  how long does a request's cache travel, and how many can the links carry a second?
Answer: each card of the maker's rank gets its own part (heads are cut, a latent vector is copied to each), over its own NIC,
        from the cards of the reader's rank, over theirs; the slower side is what takes long. Engines hand over when the whole
        prompt is read: TensorRT-LLM's and vLLM's connectors do (NVIDIA/TensorRT-LLM issue 9212, vllm-project/vllm PR 51919), so
        all of it comes on top of the time to first token. Sending layer by layer would hide it but for the last layer
        (Splitwise, ISCA 2024, section 4.3; Mooncake, FAST 2025, section 5.2).
Units:  bytes, seconds, requests a second.
Limits: over the scale-out network, also where both engines would stand in one island. Both sides keep the cache in one format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forebay.fabric.physics import DEFAULTS
from forebay.plan.kernels.grid import Floats
from forebay.plan.network import links
from forebay.plan.pool import Cards
from forebay.plan.serving.memory import cache
from forebay.plan.serving.time import Engine, ServingCuts


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What a card sends to a card elsewhere, one way."""

    bytes_per_s: float
    latency_s: float


def wire(sender: Cards, receiver: Cards, between_bytes_per_s: float | None = None) -> Wire:
    """From cards of one kind to those of another, or of the same. `between` is what the pool has from kind to kind."""
    ends = links(sender), links(receiver)
    rate = min(one.out_bytes_per_s for one in ends)
    if between_bytes_per_s is not None:
        rate = min(rate, between_bytes_per_s * DEFAULTS["infiniband"].efficiency)
    return Wire(bytes_per_s=rate, latency_s=max(one.out_latency_s for one in ends))


def moved(on: Wire, maker: Engine, readers: ServingCuts, makers: ServingCuts, tokens: float) -> tuple[Floats, Floats, Floats]:
    """Seconds of one prompt's cache from each reader (rows) to each maker (columns), and the requests a second that the links of
    a whole reader and a whole maker carry."""
    part = cache(maker, makers, tokens)  # of one card
    whole = part * makers.tensor * makers.stages  # of its rank, copies and all
    senders = (readers.tensor * readers.stages)[:, None]
    seconds = np.maximum(part[None, :], whole[None, :] / senders) / on.bytes_per_s + on.latency_s
    send = readers.cards[:, None] * on.bytes_per_s / whole[None, :]
    return seconds, send, makers.cards * on.bytes_per_s / whole
