"""Seconds of attention for one new token a sequence, over the cache of what came before.

Asked:  how long does one layer's decode attention take on this chip?
Answer: its measured table, read between its points; else the most alike chip's, of which what lies above a launch scales with
        memory bandwidth: decode reads the cache once and does two flop a byte (grouped heads: times the group).
Units:  seconds; cached tokens, heads on the card, bytes.
Limits: all sequences are equally long; the fastest kernel that was timed, alone on a cool chip.
"""

from __future__ import annotations

from functools import cache
from math import log
from typing import Any

import numpy as np

from forebay.plan.kernels.alike import speaks
from forebay.plan.kernels.grid import Floats, grid, members
from forebay.plan.kernels.known import Device

CACHE_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0}


def decode(
    dev: Device, kv_format: str, batch: Any, cached: Any, heads: Any, kv_heads: Any, head: int, kind: str = "gqa"
) -> Floats:
    """Seconds a layer. For kind "mla" the cache is one vector of `head` (latent and rotary) a token, and kv_heads is 1."""
    kv = "fp8" if kv_format == "fp8" and f"{kind}/fp8" in _pairs() else "bf16"
    other, _ = speaks(dev, "decode", f"{kind}/{kv}")
    member, width = _nearest(other.tables, kind, kv, head)
    table = grid("decode", member, 3)
    lanes = np.asarray(batch, dtype=np.float64) * np.asarray(kv_heads, dtype=np.float64)
    group = np.asarray(heads, dtype=np.float64) / np.asarray(kv_heads, dtype=np.float64)
    found = table.seconds(lanes * (head / width), cached, group)
    if other is dev:
        return found
    launch = float(np.exp(table.log_s.min()))
    out: Floats = launch + np.maximum(found - launch, 0.0) * (other.memory_bytes_per_s / dev.memory_bytes_per_s)
    return out


def cache_bytes(kv_format: str, kv_heads: Any, head: int, kind: str = "gqa") -> Any:
    """Of one token in one layer: keys and values, or the one latent vector."""
    return CACHE_BYTES.get(kv_format, 2.0) * (head if kind == "mla" else 2 * np.asarray(kv_heads) * head)


@cache
def _pairs() -> frozenset[str]:
    return frozenset("/".join(m.split("/")[1:3]) for m in members("decode"))


@cache
def _nearest(chip: str, kind: str, kv: str, head: int) -> tuple[str, int]:
    start = f"{chip}/{kind}/{kv}/"
    widths = [int(m[len(start) :]) for m in members("decode") if m.startswith(start) and "/" not in m[len(start) :]]
    width = min(widths, key=lambda one: abs(log(one / head)))
    if width < 128 <= head or (kind == "gqa" and 128 in widths and width == 64):
        width = 128  # the table of 64 is thin; a cache line of 128 halves well
    return f"{start}{width}", width
