"""flash_attn.layers.rotary: rotary position embedding (RoFormer, arXiv 2104.09864, section 3.2).

Axes: B batch, S places, H heads, D width of a head; cos and sin are of places, half the turned width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.refuse import refuse


def rotate_half(x: Tensor, interleaved: bool = False) -> Tensor:
    if interleaved:
        return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def apply_rotary_emb_torch(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """x is of B, S, H, D; what lies beyond the turned width stays as it is."""
    width = 2 * cos.shape[-1]
    cos, sin = (t.repeat_interleave(2, -1) if interleaved else torch.cat((t, t), -1) for t in (cos, sin))
    cos, sin = cos[..., None, :], sin[..., None, :]
    turned = x[..., :width] * cos + rotate_half(x[..., :width], interleaved) * sin
    return torch.cat((turned.to(x.dtype), x[..., width:]), -1)


@noted("flash_attn.layers.rotary.apply_rotary_emb", "emulated")
def apply_rotary_emb(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
    conjugate: bool = False,
) -> Tensor:
    """x is of B, S, H, D, or of all sequences' tokens, H, D with cu_seqlens. Each sequence starts at its offset."""
    places = _places(x, seqlen_offsets, cu_seqlens)
    turned = apply_rotary_emb_torch(x, cos[places], -sin[places] if conjugate else sin[places], interleaved)
    return x.copy_(turned) if inplace else turned


apply_rotary_emb_func = apply_rotary_emb


def _places(x: Tensor, offsets: int | Tensor, starts: Tensor | None) -> Tensor:
    if starts is None:
        here = torch.arange(x.shape[1], device=x.device)
        return here + offsets[:, None] if isinstance(offsets, Tensor) else here + offsets
    lengths = starts.diff().long()
    here = torch.arange(x.shape[0], device=x.device) - starts[:-1].long().repeat_interleave(lengths)
    return here + (offsets.repeat_interleave(lengths) if isinstance(offsets, Tensor) else offsets)


@noted("flash_attn.layers.rotary.apply_rotary_emb_qkv_", "emulated")
def apply_rotary_emb_qkv_(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    cos_k: Tensor | None = None,
    sin_k: Tensor | None = None,
    interleaved: bool = False,
    seqlen_offsets: int | Tensor = 0,
    num_heads_q: int | None = None,
) -> Tensor:
    """Turns q and k of a packed B, S, 3, H, D. The library writes in place; ours gives a new tensor, as autograd prefers."""
    if num_heads_q is not None:
        refuse("flash_attn.layers.rotary.apply_rotary_emb_qkv_(num_heads_q=...)", "apply_rotary_emb on q and on k")
    q, k, v = qkv.unbind(2)
    q = apply_rotary_emb(q, cos, sin, interleaved, seqlen_offsets=seqlen_offsets)
    k = apply_rotary_emb(
        k, cos if cos_k is None else cos_k, sin if sin_k is None else sin_k, interleaved, seqlen_offsets=seqlen_offsets
    )
    return torch.stack((q, k, v), 2)


class RotaryEmbedding(nn.Module):
    """Cosines and sines for as many places as were asked for, kept between calls. xPos (scale_base) is refused."""

    inv_freq: Tensor

    def __init__(
        self,
        dim: int,
        base: float = 10000.0,
        interleaved: bool = False,
        scale_base: float | None = None,
        device: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if scale_base is not None:
            refuse("flash_attn.layers.rotary.RotaryEmbedding(scale_base=...)", "RotaryEmbedding without xPos")
        self.dim, self.interleaved = dim, interleaved
        self.register_buffer("inv_freq", 1 / base ** (torch.arange(0, dim, 2, device=device).float() / dim), persistent=False)

    def forward(
        self, qkv: Tensor, kv: Tensor | None = None, seqlen_offset: int | Tensor = 0, max_seqlen: int | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        most = max_seqlen or qkv.shape[1] + int(seqlen_offset.max() if isinstance(seqlen_offset, Tensor) else seqlen_offset)
        angles = torch.outer(torch.arange(most, device=qkv.device).float(), self.inv_freq.float())
        cos, sin = angles.cos().to(qkv.dtype), angles.sin().to(qkv.dtype)
        if kv is None:
            return apply_rotary_emb_qkv_(qkv, cos, sin, interleaved=self.interleaved, seqlen_offsets=seqlen_offset)
        k, v = kv.unbind(2)
        q, k = (apply_rotary_emb(x, cos, sin, self.interleaved, seqlen_offsets=seqlen_offset) for x in (qkv, k))
        return q, torch.stack((k, v), 2)
