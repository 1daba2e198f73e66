"""Seconds of one forward pass of a served model: a decode step, or the reading of prompts.

Asked:  an engine is cut over cards like this; how long does a pass over these tokens take?
Answer: the sum over layers of its measured kernels (`kernels`): products, attention over the cache or over the prompt, experts,
        and the collectives between them; what lies between kernels at SMALL_S each; the vocabulary's product once.
        Engines run one pass after the other, so nothing overlaps but what the tables already contain.
Units:  seconds; tokens of one data rank. All degrees are arrays of one length, an entry a plan.
Limits: a pass is either decode or prefill; how the two share an engine is for `load`. Pipeline stages pass activations
        on at the link's speed and don't shorten a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.kernels import collectives, decode, dispatch, experts, known
from forebay.plan.kernels.alike import MEASURED
from forebay.plan.kernels.experts import Layer
from forebay.plan.kernels.grid import Floats
from forebay.plan.kernels.known import Device
from forebay.plan.lane import lane
from forebay.plan.model import Model
from forebay.plan.pool import Cards
from forebay.plan.serving import Formats, ServingPlan

Ints = NDArray[np.int64]
SMALL_S = 2.5e-6  # a small kernel (norm, rotary, activation, quantise, add) in a CUDA graph: launch gap and latency
SMALL_KERNELS = 4  # of a layer, besides what the tables contain; the expert tables contain one more: the activation
# How much longer a chip takes that reads prompts all day than one that was timed cool: burst against sustained rows of the same
# products differ by 1.02 to 1.2 where they are large enough to heat it (data/kernels/README.md). Decode waits for memory.
SUSTAINED = 1.1
# Of a pass: scheduler, sampling, tokens to the host, where it doesn't overlap. By engine; "" is any other.
PASS_S: Mapping[str, float] = {"": 1.0e-3, "vllm": 1.0e-3, "sglang": 1.0e-3, "trtllm": 0.6e-3}
# Of an expert layer, on chips without four-bit units: TensorRT-LLM takes CUTLASS's grouped product there, between kernels of its
# own that sort and gather the tokens; the tables have the fastest engine's, which does it in fewer.
SORTED_S: Mapping[str, float] = {"trtllm": 25e-6}
SEQUENCE_S: Mapping[str, float] = {"sglang": 10e-6}  # more for each sequence of the pass, on the host

# What the host does one by one for a layer outside of a CUDA graph, as the engines' PyTorch layers are written: two norms,
# query-key-value, rotary, cache, attention, out, two all-reduces, gate and up, activation, down. Routed experts: a fused call or
# two where the chip has four-bit units, else routing, sorting, quantising, two grouped products, activation, unsorting, the
# shared expert, sum. Latent attention: downs, norms, ups, splits, copies and joins of plain and rotary parts, quantised apart.
PLAIN_CALLS, FUSED_CALLS, SORTED_CALLS, LATENT_CALLS = 12, 3, 20, 55
# Four-bit weights that are widened to bf16: vLLM takes Marlin, the table the fastest kernel. For many tokens the median kernel
# takes 1.3 to 1.9 times as long as the fastest, by chip; the middle of the chips is taken. For few tokens memory decides.
WIDENED: Mapping[str, float] = {"vllm": 1.4}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServingCuts:
    """Engines as arrays of one length, as ServingPlan's fields."""

    tensor: Ints
    data: Ints
    stages: Ints
    expert: Ints
    expert_tensor: Ints
    batch: Ints

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, which: Any) -> ServingCuts:
        return ServingCuts(**{one.name: getattr(self, one.name)[which] for one in fields(self)})

    @property
    def cards(self) -> Ints:
        return self.tensor * self.data * self.stages

    def plan(self, i: int, workers: int = 1) -> ServingPlan:
        return ServingPlan(workers=workers, **{one.name: int(getattr(self, one.name)[i]) for one in fields(self)})


def serving_cuts(plans: Sequence[ServingPlan]) -> ServingCuts:
    return ServingCuts(**{f.name: np.array([getattr(p, f.name) for p in plans], dtype=np.int64) for f in fields(ServingCuts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What all plans of a question share: the chip, its links, the model, its formats, the engine's collectives and routing."""

    device: Device
    cards: Cards
    model: Model
    formats: Formats
    library: str = ""  # the engine, and whose all-reduce: "trtllm", "sglang", "vllm"; "": any, and the fastest
    spread: str = "power_law"  # how tokens fall on experts: "balanced" or "power_law" (the busiest rank)


def decode_parts(engine: Engine, cuts: ServingCuts, batch: Any, cached: Any) -> dict[str, Floats]:
    """Seconds of a decode step by part: `batch` sequences a data rank, each with `cached` tokens before it."""
    batch = np.asarray(batch, dtype=np.float64)
    m = engine.model
    heads, kv_heads = _heads(m, cuts)
    cached = np.broadcast_to(np.asarray(cached, dtype=np.float64), batch.shape)

    def attention(seen: Any) -> Floats:
        if m.latent is not None:
            wide = m.latent.kv_rank + m.latent.rotary
            return decode.decode(engine.device, engine.formats.cache, batch, seen, heads, 1, wide, "mla")
        return decode.decode(engine.device, engine.formats.cache, batch, seen, heads, kv_heads, m.head)

    cut = m.windowed_layers
    seconds = (m.layers - cut) * attention(cached)
    if m.window is not None and cut:
        seconds = seconds + cut * attention(np.minimum(cached, m.window.tokens))
    return _pass(engine, cuts, batch, batch, seconds, absorbed=True)


def prefill_parts(engine: Engine, cuts: ServingCuts, prompts: Any, tokens: Any, reading: Any = 1.0) -> dict[str, Floats]:
    """Seconds to read so many `prompts` a data rank, each of `tokens`, by part. `reading` is the share of ranks that do."""
    m = engine.model
    prompts, tokens = (np.asarray(x, dtype=np.float64) for x in np.broadcast_arrays(prompts, tokens))
    heads, _ = _heads(m, cuts)
    head, kind = (m.head, "gqa") if m.latent is None else (m.latent.plain + m.latent.rotary, "mla")
    cut = m.windowed_layers
    seconds = (m.layers - cut) * known.attention(engine.device, tokens, prompts * heads, head, kind)
    if m.window is not None and cut:
        near = np.minimum(tokens, 2.0 * m.window.tokens)  # as much work as causal blocks of twice the window
        seconds = seconds + cut * known.attention(engine.device, near, prompts * heads * tokens / near, head, kind)
    cool = _pass(engine, cuts, prompts * tokens, prompts, seconds, absorbed=False, reading=reading)
    cool["experts"] = cool["experts"] * _widened(engine)
    return {name: part * SUSTAINED for name, part in cool.items()}


def total(parts: dict[str, Floats]) -> Floats:
    out: Floats = np.sum(list(parts.values()), axis=0)
    return out


def _heads(m: Model, cuts: ServingCuts) -> tuple[Floats, Floats]:
    """Query and key-value heads on a card; a key-value head is copied where there are fewer than cards."""
    return np.maximum(m.heads / cuts.tensor, 1.0), np.maximum(m.kv_heads / cuts.tensor, 1.0)


def _pass(
    engine: Engine,
    cuts: ServingCuts,
    tokens: Floats,
    sampled: Floats,
    attention: Floats,
    absorbed: bool,
    reading: Any = 1.0,
) -> dict[str, Floats]:
    m, dev, tp = engine.model, engine.device, cuts.tensor.astype(np.float64)
    dense = _multiplied(dev, engine.formats.dense)

    def product(n: Any, k: Any, number_format: str = dense) -> Floats:
        return known.matmul(dev, number_format, tokens, n, k)

    heads, kv_heads = _heads(m, cuts)
    if (a := m.latent) is None:
        projections = product((heads + 2 * kv_heads) * m.head, m.width) + product(m.width, heads * m.head)
    else:
        key = a.plain + a.rotary
        down = product(a.query_rank + a.kv_rank + a.rotary, m.width) if a.query_rank else product(a.kv_rank + a.rotary, m.width)
        up = product(heads * key, a.query_rank or m.width)
        if absorbed:  # a small product a head: query into the latent, result out of it (arXiv 2405.04434, section 2.1.3)
            weights = heads * a.kv_rank * (a.plain + a.value) * 2.0
            up = up + np.maximum(weights / (0.6 * dev.memory_bytes_per_s), 2.0 * tokens * weights / 2 / (0.5 * dev.peak("bf16")))
            up = up + 2 * SMALL_S
        else:
            up = up + product(heads * (a.plain + a.value), a.kv_rank)
        projections = down + up + product(m.width, heads * a.value)
    gates = m.matrices - 1
    moved = 2.0 * tokens * m.width  # activations of a layer, in bytes

    def reduce(among: Any) -> Floats:
        return collectives.collective(dev, engine.cards, "all_reduce", among, moved, engine.library)

    def mlp(width: Any) -> Floats:
        return product(gates * width, m.width) + product(m.width, width)

    plain = m.layers - m.expert_layers
    parts = {"products": m.layers * projections, "attention": attention, "experts": np.zeros_like(tokens)}
    parts["communication"] = (m.layers + plain) * reduce(tp)
    if plain:
        parts["products"] = parts["products"] + plain * mlp(m.mlp_width / tp)
    if (e := m.experts) is not None:
        shape = Layer(width=m.width, expert_width=e.width, count=e.count, chosen=e.chosen, matrices=m.matrices)
        one = experts.experts(
            dev, engine.formats.experts, shape, tokens * cuts.data * reading, cuts.expert_tensor, cuts.expert, engine.spread
        )
        if e.shared_width:
            one = one + mlp(e.shared_width / tp)
        parts["experts"] = m.expert_layers * (one + _sorted_s(engine))  # the tables contain the routing
        sent = 2.0 if engine.formats.experts == "bf16" else 1.0
        apart = dispatch.exchange(dev, engine.cards, cuts.expert * cuts.expert_tensor, tokens / tp, m.width, e.chosen, sent)
        parts["communication"] = parts["communication"] + m.expert_layers * np.where(cuts.data > 1, apart, reduce(tp))
    streams = 10.0 * moved / dev.memory_bytes_per_s  # norms, rotary, activation, adds: read and write
    parts["small"] = m.layers * streams + (SMALL_KERNELS * m.layers - m.expert_layers) * SMALL_S
    parts["products"] = parts["products"] + known.matmul(dev, "bf16", sampled, m.vocabulary / tp, m.width)
    hops = (cuts.stages - 1) * (engine.cards.up_latency_s + moved / lane(engine.cards, 2))
    parts["communication"] = parts["communication"] + hops
    parts["pass"] = PASS_S.get(engine.library, PASS_S[""]) + SEQUENCE_S.get(engine.library, 0.0) * sampled
    return parts


def calls(engine: Engine) -> int:
    """What the host does one by one for a pass that reads prompts. Their lengths differ, so it is in no CUDA graph."""
    m = engine.model
    latent = 0 if m.latent is None else LATENT_CALLS
    routed = FUSED_CALLS if _four_bit(engine.device) else SORTED_CALLS
    return m.layers * (PLAIN_CALLS + latent) + m.expert_layers * routed


def _widened(engine: Engine) -> float:
    narrow = experts.reads(engine.device, engine.formats.experts) == "w4a16_mxfp4" if engine.model.experts else False
    return WIDENED.get(engine.library, 1.0) if narrow else 1.0


def _sorted_s(engine: Engine) -> float:
    return 0.0 if _four_bit(engine.device) else SORTED_S.get(engine.library, 0.0)


def _four_bit(dev: Device) -> bool:
    return "fp4" in dev.flop_per_s


def _multiplied(dev: Device, number_format: str) -> str:
    """The format whose products are read for weights in this one: its own where the chip has that table, else the nearest kin."""
    own = {"int4": "int4_wo"}.get(number_format, number_format)
    if known.tier(dev, own) == MEASURED:
        return own
    return {"fp8_block": "fp8", "int4": "bf16"}.get(number_format, number_format)
