"""flash_attn.ops.rms_norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .triton.layer_norm import rms_norm_fn


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Any:
    return rms_norm_fn(x, weight, None, eps=epsilon)


class RMSNorm(nn.Module):
    def __init__(self, hidden_size: int, eps: float = 1e-5, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Any:
        return rms_norm(x, self.weight, self.eps)
