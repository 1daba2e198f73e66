"""flash_attn.ops.layer_norm."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .triton.layer_norm import layer_norm_fn


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Any:
    return layer_norm_fn(x, weight, bias, eps=epsilon)


class DropoutAddLayerNorm(nn.LayerNorm):
    """x and residual are added, then normed. Dropout is refused: the kernel draws it inside."""

    def __init__(
        self, hidden_size: int, prenorm: bool = False, p: float = 0.0, eps: float = 1e-5, residual_in_fp32: bool = False
    ) -> None:
        super().__init__(hidden_size, eps=eps)
        self.prenorm, self.p, self.residual_in_fp32 = prenorm, p, residual_in_fp32

    def forward(self, x0: Tensor, residual: Tensor | None = None) -> Any:
        p = self.p if self.training else 0.0
        options: dict[str, Any] = {"dropout_p": p, "prenorm": self.prenorm, "residual_in_fp32": self.residual_in_fp32}
        return layer_norm_fn(x0, self.weight, self.bias, residual, eps=self.eps, **options)
