"""apex.normalization.fused_layer_norm: norms computed in fp32.

The plain forms give their input's type; the mixed ones (fused_*_affine with weights of another type) the weight's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forebay.porting.shim.journal import noted

Shape = Any  # a number or a sequence of them, as in torch.nn.LayerNorm


def _shape(normalized_shape: Shape) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def _layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Shape, eps: float) -> Tensor:
    gain, shift = (None if t is None else t.float() for t in (weight, bias))
    return F.layer_norm(x.float(), _shape(shape), gain, shift, eps)


def _rms_norm(x: Tensor, weight: Tensor | None, shape: Shape, eps: float) -> Tensor:
    dims = tuple(range(-len(_shape(shape)), 0))
    normed = x.float() * torch.rsqrt(x.float().square().mean(dims, keepdim=True) + eps)
    return normed if weight is None else normed * weight.float()


@noted("apex.normalization.fused_layer_norm", "emulated")
def fused_layer_norm(input: Tensor, normalized_shape: Shape, eps: float = 1e-6, memory_efficient: bool = False) -> Tensor:
    return _layer_norm(input, None, None, normalized_shape, eps).to(input.dtype)


@noted("apex.normalization.fused_layer_norm_affine", "emulated")
def fused_layer_norm_affine(
    input: Tensor, weight: Tensor, bias: Tensor, normalized_shape: Shape, eps: float = 1e-6, memory_efficient: bool = False
) -> Tensor:
    return _layer_norm(input, weight, bias, normalized_shape, eps).to(input.dtype)


@noted("apex.normalization.mixed_dtype_fused_layer_norm_affine", "emulated")
def mixed_dtype_fused_layer_norm_affine(
    input: Tensor, weight: Tensor, bias: Tensor, normalized_shape: Shape, eps: float = 1e-6, memory_efficient: bool = False
) -> Tensor:
    return _layer_norm(input, weight, bias, normalized_shape, eps).to(weight.dtype)


@noted("apex.normalization.fused_rms_norm", "emulated")
def fused_rms_norm(input: Tensor, normalized_shape: Shape, eps: float = 1e-6, memory_efficient: bool = False) -> Tensor:
    return _rms_norm(input, None, normalized_shape, eps).to(input.dtype)


@noted("apex.normalization.fused_rms_norm_affine", "emulated")
def fused_rms_norm_affine(
    input: Tensor, weight: Tensor, normalized_shape: Shape, eps: float = 1e-6, memory_efficient: bool = False
) -> Tensor:
    return _rms_norm(input, weight, normalized_shape, eps).to(input.dtype)


@noted("apex.normalization.mixed_dtype_fused_rms_norm_affine", "emulated")
def mixed_dtype_fused_rms_norm_affine(
    input: Tensor, weight: Tensor, normalized_shape: Shape, eps: float = 1e-6, memory_efficient: bool = False
) -> Tensor:
    return _rms_norm(input, weight, normalized_shape, eps).to(weight.dtype)


class FusedLayerNormAffineFunction:
    """By its `apply`, as Megatron calls it; it also looks for `memory_efficient` among the arguments of `forward`."""

    apply = staticmethod(fused_layer_norm_affine)

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, normalized_shape: Shape, eps: float, memory_efficient: bool = False
    ) -> Tensor:
        return fused_layer_norm_affine(input, weight, bias, normalized_shape, eps)


class _Norm(nn.Module):
    weight: Any
    bias: Any

    def __init__(self, normalized_shape: Shape, eps: float, elementwise_affine: bool, has_bias: bool) -> None:
        super().__init__()
        self.normalized_shape = torch.Size(_shape(normalized_shape))
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter("weight", nn.Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None)
        if has_bias:
            self.register_parameter("bias", nn.Parameter(torch.zeros(self.normalized_shape)) if elementwise_affine else None)

    def reset_parameters(self) -> None:
        if self.elementwise_affine:
            nn.init.ones_(self.weight)
            if getattr(self, "bias", None) is not None:
                nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return f"{tuple(self.normalized_shape)}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class FusedLayerNorm(_Norm):
    def __init__(
        self, normalized_shape: Shape, eps: float = 1e-5, elementwise_affine: bool = True, memory_efficient: bool = False
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, has_bias=True)

    def forward(self, input: Tensor) -> Tensor:
        if self.elementwise_affine:
            return fused_layer_norm_affine(input, self.weight, self.bias, self.normalized_shape, self.eps)
        return fused_layer_norm(input, self.normalized_shape, self.eps)


class FusedRMSNorm(_Norm):
    def __init__(
        self, normalized_shape: Shape, eps: float = 1e-5, elementwise_affine: bool = True, memory_efficient: bool = False
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, has_bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if self.elementwise_affine:
            return fused_rms_norm_affine(input, self.weight, self.normalized_shape, self.eps)
        return fused_rms_norm(input, self.normalized_shape, self.eps)


class MixedFusedLayerNorm(FusedLayerNorm):
    def __init__(self, normalized_shape: Shape, eps: float = 1e-5, memory_efficient: bool = False, **kwargs: Any) -> None:
        super().__init__(normalized_shape, eps)

    def forward(self, input: Tensor) -> Tensor:
        return mixed_dtype_fused_layer_norm_affine(input, self.weight, self.bias, self.normalized_shape, self.eps)


class MixedFusedRMSNorm(FusedRMSNorm):
    def __init__(self, normalized_shape: Shape, eps: float = 1e-5, memory_efficient: bool = False, **kwargs: Any) -> None:
        super().__init__(normalized_shape, eps)

    def forward(self, input: Tensor) -> Tensor:
        return mixed_dtype_fused_rms_norm_affine(input, self.weight, self.normalized_shape, self.eps)
