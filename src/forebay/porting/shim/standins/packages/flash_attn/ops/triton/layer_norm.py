"""flash_attn.ops.triton.layer_norm: norms that add the residual first, computed in fp32.

Limits: parallel weights, row scales and dropout inside the norm are refused.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.refuse import refuse


@noted("flash_attn.ops.triton.layer_norm.layer_norm_fn", "emulated")
def layer_norm_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None = None,
    x1: Tensor | None = None,
    weight1: Tensor | None = None,
    bias1: Tensor | None = None,
    eps: float = 1e-6,
    dropout_p: float = 0.0,
    rowscale: Tensor | None = None,
    prenorm: bool = False,
    residual_in_fp32: bool = False,
    zero_centered_weight: bool = False,
    is_rms_norm: bool = False,
    **rest: Any,
) -> Any:
    """The norm of x + residual; with prenorm also that sum, in fp32 where asked."""
    asked = {"x1": x1, "weight1": weight1, "bias1": bias1, "rowscale": rowscale, **rest}
    given = [name for name, value in asked.items() if value is not None and value is not False]
    if given or dropout_p:
        refuse(f"flash_attn.ops.triton.layer_norm with {', '.join(given) or 'dropout_p'}", "a norm, a sum and a dropout of torch")
    total = x.float() if residual is None else x.float() + residual.float()
    gain = weight.float() + 1 if zero_centered_weight else weight.float()
    if is_rms_norm:
        normed = total * torch.rsqrt(total.square().mean(-1, keepdim=True) + eps) * gain
        normed = normed if bias is None else normed + bias.float()
    else:
        normed = F.layer_norm(total, total.shape[-1:], gain, None if bias is None else bias.float(), eps)
    kept = total.to(residual.dtype if residual is not None else torch.float32 if residual_in_fp32 else x.dtype)
    return (normed.to(x.dtype), kept) if prenorm else normed.to(x.dtype)


def rms_norm_fn(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None = None, **kwargs: Any) -> Any:
    return layer_norm_fn(x, weight, bias, residual, is_rms_norm=True, **kwargs)


class RMSNorm(nn.Module):
    def __init__(self, hidden_size: int, eps: float = 1e-5, device: Any = None, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        self.register_parameter("bias", None)

    def forward(self, x: Tensor, residual: Tensor | None = None, prenorm: bool = False, residual_in_fp32: bool = False) -> Any:
        return rms_norm_fn(x, self.weight, None, residual, eps=self.eps, prenorm=prenorm, residual_in_fp32=residual_in_fp32)
