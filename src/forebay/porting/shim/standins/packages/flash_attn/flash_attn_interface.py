"""flash_attn's functions, with its arguments, its checks and its alignment of masks.

Asked:  what flash_attn_func and its kin compute, where their kernels can't run
Answer: attention.py. q, k and v are of B, S, H, D (of all sequences' tokens, H, D in the varlen forms).
Limits: return_attn_probs is refused (its second result is the kernel's own statistics), as are a paged cache and rotary
        embedding inside the cache call. `deterministic` and `num_splits` change nothing here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.attention import attend, slope, window
from forebay.porting.shim.standins.refuse import refuse

WIDEST = 256  # the widest head that the kernels take


@noted("flash_attn.flash_attn_func", "emulated")
def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    _check(q, k, v, return_attn_probs)
    return _one(q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes)


@noted("flash_attn.flash_attn_qkvpacked_func", "emulated")
def flash_attn_qkvpacked_func(
    qkv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    q, k, v = qkv.unbind(-3)
    _check(q, k, v, return_attn_probs)
    return _one(q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes)


@noted("flash_attn.flash_attn_kvpacked_func", "emulated")
def flash_attn_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    k, v = kv.unbind(-3)
    _check(q, k, v, return_attn_probs)
    return _one(q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes)


@noted("flash_attn.flash_attn_varlen_func", "emulated")
def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
) -> Tensor:
    if block_table is not None:
        refuse("flash_attn.flash_attn_varlen_func(block_table=...)", "keys and values that lie one after another")
    _check(q, k, v, return_attn_probs)
    _check_starts(cu_seqlens_q, cu_seqlens_k)
    starts_q, starts_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    parts = []
    for b in range(len(starts_q) - 1):
        mine, theirs = slice(starts_q[b], starts_q[b + 1]), slice(starts_k[b], starts_k[b + 1])
        slopes = alibi_slopes[b] if alibi_slopes is not None and alibi_slopes.dim() == 2 else alibi_slopes
        one = _one(
            q[None, mine], k[None, theirs], v[None, theirs], dropout_p, softmax_scale, causal, window_size, softcap, slopes
        )
        parts.append(one[0])
    rest = q.shape[0] - starts_q[-1]  # tokens after the last sequence, when the packed batch is padded
    if rest:
        parts.append(q.new_zeros(rest, q.shape[1], v.shape[-1]))
    return torch.cat(parts)


@noted("flash_attn.flash_attn_varlen_qkvpacked_func", "emulated")
def flash_attn_varlen_qkvpacked_func(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, *args: Any, **kwargs: Any) -> Tensor:
    q, k, v = qkv.unbind(-3)
    return flash_attn_varlen_func(q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, *args, **kwargs)


@noted("flash_attn.flash_attn_varlen_kvpacked_func", "emulated")
def flash_attn_varlen_kvpacked_func(q: Tensor, kv: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    k, v = kv.unbind(-3)
    return flash_attn_varlen_func(q, k, v, *args, **kwargs)


@noted("flash_attn.flash_attn_with_kvcache", "emulated")
def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Tensor:
    """New keys and values are written into the cache behind what it holds; then each query sees what is held."""
    name = "flash_attn.flash_attn_with_kvcache"
    if block_table is not None:
        refuse(f"{name}(block_table=...)", "a cache that lies in one piece")
    if rotary_cos is not None or cache_leftpad is not None:
        refuse(f"{name}(rotary_cos=... or cache_leftpad=...)", "flash_attn.layers.rotary.apply_rotary_emb before the call")
    _check(q, k_cache, v_cache, return_softmax_lse)
    if isinstance(cache_seqlens, torch.Tensor):
        lengths = cache_seqlens.tolist()
    elif cache_seqlens is not None:
        lengths = [cache_seqlens] * len(q)
    else:
        lengths = [k_cache.shape[1] - (0 if k is None else k.shape[1])] * len(q)
    places = range(len(q)) if cache_batch_idx is None else cache_batch_idx.tolist()
    parts = []
    for b, (place, held) in enumerate(zip(places, lengths)):  # noqa: B905  # Python 3.9 has no `strict`
        if k is not None and v is not None:
            k_cache[place, held : held + k.shape[1]] = k[b]
            v_cache[place, held : held + v.shape[1]] = v[b]
            held += k.shape[1]
        slopes = alibi_slopes[b] if alibi_slopes is not None and alibi_slopes.dim() == 2 else alibi_slopes
        keys, values = k_cache[None, place, :held], v_cache[None, place, :held]
        parts.append(_one(q[None, b], keys, values, 0.0, softmax_scale, causal, window_size, softcap, slopes))
    return torch.cat(parts)


def _one(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float,
    scale: float | None,
    causal: bool,
    window_size: tuple[int, int],
    softcap: float,
    alibi_slopes: Tensor | None,
) -> Tensor:
    left, right = window_size
    if causal:
        right = 0
    queries, keys = q.shape[1], k.shape[1]
    if keys == 0:
        return q.new_zeros(*q.shape[:-1], v.shape[-1])
    keep = None if queries == 1 and left < 0 and right == 0 else window(queries, keys, left, right, q.device)
    bias = None if alibi_slopes is None else slope(alibi_slopes, queries, keys)
    turned = (x.transpose(1, 2) for x in (q, k, v))
    out = attend(*turned, scale=scale, keep=keep, bias=bias, softcap=softcap or 0.0, dropout_p=dropout_p or 0.0)
    return out.transpose(1, 2).contiguous()


def _check(q: Tensor, k: Tensor, v: Tensor, probabilities: bool) -> None:
    """What the library refuses, ours refuses: else a script would fail on a card only."""
    if probabilities:
        refuse("flash_attn's return_attn_probs and return_softmax_lse", "torch's softmax of q @ k, where its numbers are needed")
    if q.dtype not in (torch.float16, torch.bfloat16):
        raise RuntimeError(f"FlashAttention only support fp16 and bf16 data type (found {q.dtype})")
    if not (q.dtype == k.dtype == v.dtype):
        raise RuntimeError(f"query, key and value must have the same dtype (found {q.dtype}, {k.dtype} and {v.dtype})")
    if q.device.type == "cpu" and torch.empty(0, device="cuda").device.type != "cpu":
        raise RuntimeError("Input tensor must be on CUDA device")
    if q.shape[-1] > WIDEST:
        raise RuntimeError(f"FlashAttention forward only supports head dimension at most {WIDEST} (found {q.shape[-1]})")


def _check_starts(*starts: Tensor) -> None:
    for one in starts:
        if one.dtype != torch.int32:
            raise RuntimeError(f"cu_seqlens must have dtype int32 (found {one.dtype})")
