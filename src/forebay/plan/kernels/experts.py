"""Seconds of a mixture's expert layer on one card, without communication.

Asked:  how long do the experts of a card take for the tokens that a group of cards sends through the layer?
Answer: the roofline's time over an efficiency. The roofline counts the weights of the experts that some token meets and the flop
        of the pairs on this card; the efficiency is that of the measured shapes most like this one, at as many pairs an expert,
        each shape weighed by how near it is in the logarithms of width, expert width on the card and experts on the card.
Units:  seconds; tokens of the whole expert-parallel group.
Limits: "power_law" is the busiest rank when routing follows a power law (exponent 1.2), "balanced" is even routing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from forebay.plan.kernels.alike import peak, speaks
from forebay.plan.kernels.grid import Floats, members, stored
from forebay.plan.kernels.known import Device

BYTES: Mapping[str, float] = {"bf16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5625, "w4a16_mxfp4": 0.53125,
                              "w4a8_mxfp4_mxfp8": 0.53125, "int4": 0.53125}  # of a weight, with its scales  # fmt: skip
TABLES: Mapping[str, tuple[str, ...]] = {  # a format reads the first of these that the chip has
    "mxfp4": ("w4a8_mxfp4_mxfp8", "w4a16_mxfp4"),
    "nvfp4": ("nvfp4", "w4a16_mxfp4"),
    "int4": ("w4a16_mxfp4",),  # four-bit weights, widened and multiplied in bf16, as INT4 is
    "fp8_block": ("fp8_block", "fp8"),
    "fp8": ("fp8", "fp8_block"),
}
NEAR = 4  # measured shapes that are asked
NEARNESS = np.array([4.0, 0.5, 1.0])  # how much a difference counts in width, expert width on the card, experts on the card


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The shape of an expert layer, uncut."""

    width: int
    expert_width: int
    count: int
    chosen: int
    matrices: int = 3


def experts(
    dev: Device, number_format: str, layer: Layer, tokens: Any, cut: Any, parallel: Any, spread: str = "balanced"
) -> Floats:
    """Seconds a layer: `tokens` of the group, each expert cut by `cut`, experts spread over `parallel` cards."""
    table, other = _table(dev, number_format, spread)
    held = number_format if number_format in BYTES else table
    tokens, cut, parallel = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (tokens, cut, parallel)))
    out = np.empty(tokens.shape)
    for pair in {(float(c), float(p)) for c, p in zip(cut.ravel(), parallel.ravel(), strict=True)}:
        here = (cut == pair[0]) & (parallel == pair[1])
        out[here] = _seconds(dev, other, (held, table), spread, layer, tokens[here], *pair)
    return out


def roof(dev: Device, table: str, layer: Layer, tokens: Any, cut: Any, parallel: Any) -> Floats:
    """The roofline's seconds of a balanced layer: weights that some token meets, activations in and out, flop of the pairs."""
    share = layer.expert_width / cut
    pairs = tokens * layer.chosen / parallel
    met = layer.count / parallel * -np.expm1(tokens * np.log1p(-layer.chosen / (layer.count + 1e-9)))
    moved = met * layer.matrices * layer.width * share * BYTES[table] + 4.0 * pairs * (layer.width + share)
    flop = 2.0 * pairs * layer.matrices * layer.width * share
    found: Floats = np.maximum(moved / dev.memory_bytes_per_s, flop / peak(dev, table))
    return found


def _seconds(
    dev: Device,
    other: Device,
    forms: tuple[str, str],
    spread: str,
    layer: Layer,
    tokens: Floats,
    cut: float,
    parallel: float,
) -> Floats:
    """With weights held in the first of the formats, as efficient as the table of the second."""
    held, table = forms
    shapes, steps, log_s = _curves(other.tables, table, spread)
    mine = np.array([layer.width, layer.expert_width / cut, max(layer.count / parallel, 1.0)])
    theirs = np.stack([shapes[:, 0], shapes[:, 1] / shapes[:, 5], shapes[:, 2] / shapes[:, 6]], axis=1)
    away = (np.log(theirs / mine) ** 2 * NEARNESS).sum(axis=1)
    away += 0.3 * ((shapes[:, 4] == 1) != (layer.matrices == 3))
    near = np.argsort(away, kind="stable")[:NEAR]
    weights = 1.0 / (0.01 + away[near])
    each = np.log(np.maximum(tokens, 1e-3) * layer.chosen / layer.count)  # pairs an expert
    lost: Any = 0.0
    for i, weight in zip(near, weights / weights.sum(), strict=True):
        width, ffn, count, chosen, gated, tp, ep = (int(x) for x in shapes[i])
        known = Layer(width=width, expert_width=ffn, count=count, chosen=chosen, matrices=3 if gated else 2)
        log_lost = log_s[i] - np.log(roof(other, table, known, steps, tp, ep))
        lost = lost + weight * np.interp(each, np.log(steps * chosen / count), log_lost)
    launch = float(np.exp(log_s.min()))
    found: Floats = np.maximum(roof(dev, held, layer, tokens, cut, parallel) * np.exp(lost), launch)
    return found


def _table(dev: Device, number_format: str, spread: str) -> tuple[str, Device]:
    wanted = TABLES.get(number_format, (number_format, "bf16"))
    for name in wanted:
        if f"{dev.tables}/{name}/{spread}" in members("experts") and dev.tables not in dev.ignored:
            return name, dev
    for name in (*wanted, "bf16"):
        if any(m.endswith(f"/{name}/{spread}") for m in members("experts")):
            return name, speaks(dev, "experts", f"{name}/{spread}")[0]
    return "bf16", speaks(dev, "experts", f"bf16/{spread}")[0]


def reads(dev: Device, number_format: str) -> str:
    """The format whose table is read for expert layers of this chip and format."""
    return _table(dev, number_format, "balanced")[0]


def tier(dev: Device, number_format: str) -> str:
    """What expert layers of this chip and format rest on: "kernel tables" or "data sheet"."""
    return speaks(dev, "experts", f"{reads(dev, number_format)}/balanced")[1]


@cache
def _curves(chip: str, table: str, spread: str) -> tuple[Floats, Floats, Floats]:
    file, name = stored("experts"), f"{chip}/{table}/{spread}"
    return file[f"{name}/shapes"].astype(np.float64), file[f"{name}/tokens"].astype(np.float64), file[name].astype(np.float64)
