"""xformers.ops: memory_efficient_attention and SwiGLU's formula.

Asked:  memory_efficient_attention(q, k, v, attn_bias, p, scale), with q, k and v of B, S, H, D (or B, S, D)
Answer: attention.py, once for each block where the bias cuts a packed batch into sequences.
Limits: operators chosen by hand (op=...) are ours all the same; the kernels' own classes, partial attention and sequence
        parallelism are refused. With 5 dimensions (groups of heads) the groups are flattened.

Axes: B batch, S queries, T keys, H heads, D width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.attention import attend
from forebay.porting.shim.standins.refuse import refused

from . import fmha
from .fmha.attn_bias import AttentionBias, Blocks, LowerTriangularMask, LowerTriangularMaskWithTensorBias

__all__ = ["AttentionBias", "LowerTriangularMask", "SwiGLU", "fmha", "memory_efficient_attention", "unbind"]


@noted("xformers.ops.memory_efficient_attention", "emulated")
def memory_efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | AttentionBias | None = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    shape = query.shape
    if query.dim() == 3:
        query, key, value = (x.unsqueeze(2) for x in (query, key, value))
    elif query.dim() == 5:
        query, key, value = (x.flatten(2, 3) for x in (query, key, value))
    if isinstance(attn_bias, Blocks):
        parts = [
            _one(query[:, mine], key[:, theirs], value[:, theirs], keep, None, p, scale)
            for mine, theirs, keep in attn_bias.blocks(query.device)
        ]
        out = torch.cat(parts, 1)
    else:
        out = _one(query, key, value, *_split(attn_bias, query.shape[1], key.shape[1], query.device), p, scale)
    out = out.reshape(*shape[:-1], value.shape[-1])
    return out if output_dtype is None else out.to(output_dtype)


memory_efficient_attention_forward = memory_efficient_attention


def _split(bias: Tensor | AttentionBias | None, queries: int, keys: int, device: Any) -> tuple[Tensor | None, Tensor | None]:
    """Which keys are seen, and what is added."""
    if bias is None or isinstance(bias, Tensor):
        return None, bias
    if isinstance(bias, LowerTriangularMaskWithTensorBias):
        return bias.keep(queries, keys, device), bias.added
    return bias.keep(queries, keys, device), None


def _one(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None, bias: Tensor | None, p: float, scale: float | None) -> Tensor:
    if bias is not None and bias.dim() == 3:  # of B * H, S, T, as for inputs without heads
        bias = bias.reshape(q.shape[0], -1, *bias.shape[1:])
    turned = (x.transpose(1, 2) for x in (q, k, v))
    return attend(*turned, scale=scale, keep=keep, bias=bias, dropout_p=p).transpose(1, 2)


@noted("xformers.ops.unbind", "exact")
def unbind(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    return x.unbind(dim)


@noted("xformers.ops.swiglu", "emulated")
def swiglu(x: Tensor, w1: Tensor, b1: Any, w2: Tensor, b2: Any, w3: Tensor, b3: Any, *, op: Any = None) -> Tensor:
    return F.linear(F.silu(F.linear(x, w1, b1)) * F.linear(x, w2, b2), w3, b3)


class SwiGLU(nn.Module):
    """w3(silu(w1 x) * w2 x); w1 and w2 lie in one matrix, w12, unless told otherwise."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = True,
        *,
        _pack_weights: bool = True,
    ) -> None:
        super().__init__()
        self.packed = _pack_weights
        if self.packed:
            self.w12 = nn.Linear(in_features, 2 * hidden_features, bias=bias)
        else:
            self.w1 = nn.Linear(in_features, hidden_features, bias=bias)
            self.w2 = nn.Linear(in_features, hidden_features, bias=bias)
        self.w3 = nn.Linear(hidden_features, out_features or in_features, bias=bias)

    @noted("xformers.ops.SwiGLU", "emulated")
    def forward(self, x: Tensor) -> Tensor:
        first, second = self.w12(x).chunk(2, -1) if self.packed else (self.w1(x), self.w2(x))
        return self.w3(F.silu(first) * second)  # type: ignore[no-any-return]


memory_efficient_attention_partial = refused("xformers.ops.memory_efficient_attention_partial", "memory_efficient_attention")
memory_efficient_attention_forward_requires_grad = refused(
    "xformers.ops.memory_efficient_attention_forward_requires_grad", "memory_efficient_attention"
)
rope_padded = refused("xformers.ops.rope_padded", "a rotary embedding written with torch")
sequence_parallel_leading_matmul = refused("xformers.ops.sequence_parallel_leading_matmul", "torch.distributed.tensor.parallel")
sequence_parallel_trailing_matmul = refused("xformers.ops.sequence_parallel_trailing_matmul", "torch.distributed.tensor.parallel")
