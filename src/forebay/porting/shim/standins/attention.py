"""Attention as flash-attn and xformers define it, over torch's own operators.

Asked:  softmax(scale * q k^T + bias) v, where some pairs are masked, scores may be capped, and a row may see nothing at all
Answer: torch's scaled_dot_product_attention where it has the same meaning; written out, in fp32, where scores are capped.
        A causal or windowed mask is aligned to the last key (bottom right): query i of S stands at key i + T - S of T.
        A row that sees nothing gives zeros, and zero gradients, as flash-attn documents.
Limits: dropout draws torch's numbers, not the kernel's. The mask of S x T is made in memory, which the kernels avoid.

Axes: B batch, S queries, T keys, H heads of q, K heads of k and v (H is a multiple of K), D width of a head.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(
    q_BHSD: Tensor,
    k_BKTD: Tensor,
    v_BKTD: Tensor,
    *,
    scale: float | None = None,
    keep: Tensor | None = None,
    bias: Tensor | None = None,
    softcap: float = 0.0,
    dropout_p: float = 0.0,
) -> Tensor:
    """`keep` is True where a query may see a key, `bias` is added to the scores; both broadcast to B, H, S, T."""
    heads, shared = q_BHSD.shape[1], k_BKTD.shape[1]
    if heads != shared:
        if heads % shared:
            raise RuntimeError(f"The heads of the queries ({heads}) must be a multiple of those of the keys ({shared}).")
        k_BKTD, v_BKTD = (x.repeat_interleave(heads // shared, 1) for x in (k_BKTD, v_BKTD))
    scale = 1 / math.sqrt(q_BHSD.shape[-1]) if scale is None else scale
    sees = None
    if keep is not None:
        sees = keep.any(-1, keepdim=True)  # a row that sees nothing sees all for the softmax's sake, and is zeroed below
        keep = keep | ~sees
        bias = (
            torch.zeros((), device=q_BHSD.device).masked_fill(~keep, -math.inf)
            if bias is None
            else bias.masked_fill(~keep, -math.inf)
        )
    out = (_written_out if softcap else _torchs)(q_BHSD, k_BKTD, v_BKTD, scale, bias, softcap, dropout_p)
    return out if sees is None else out * sees.to(out.dtype)


def _torchs(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None, softcap: float, dropout_p: float) -> Tensor:
    if bias is not None and bias.dim() < 2:
        bias = bias.expand(q.shape[-2], k.shape[-2])
    mask = None if bias is None else bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p, scale=scale)


def _written_out(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None, softcap: float, dropout_p: float) -> Tensor:
    scores = q.float() @ k.float().transpose(-1, -2) * scale
    scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    return (F.dropout(scores.softmax(-1), dropout_p) @ v.float()).to(q.dtype)


def distances(queries: int, keys: int, device: torch.device) -> Tensor:
    """How many places each key lies after its query (negative: before), with the last of both aligned."""
    here = torch.arange(queries, device=device)[:, None] + (keys - queries)
    return torch.arange(keys, device=device)[None, :] - here


def window(queries: int, keys: int, left: int, right: int, device: torch.device) -> Tensor | None:
    """The keys within `left` places before and `right` places after a query; -1 is no limit. None: all of them."""
    if left < 0 and right < 0:
        return None
    away = distances(queries, keys, device)
    keep = torch.ones_like(away, dtype=torch.bool)
    if left >= 0:
        keep &= away >= -left
    if right >= 0:
        keep &= away <= right
    return keep


def slope(alibi_slopes: Tensor, queries: int, keys: int) -> Tensor:
    """ALiBi's bias for slopes of H or of B, H."""
    away = distances(queries, keys, alibi_slopes.device).abs()
    return -alibi_slopes.float().reshape(-1, alibi_slopes.shape[-1], 1, 1) * away
