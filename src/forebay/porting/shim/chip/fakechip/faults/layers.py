"""Faults of layers: interpolation, pooling, padding, normalisation, losses, attention."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.bytes import device_of
from forebay.porting.shim.chip.fakechip.faults.fault import call, kernel, result, table

KIND = "layers"


@kernel(KIND, "upsample_bilinear2d", "upsample_linear1d")
def corners_are_never_aligned(right: Any, x: Any, size: Any, align_corners: Any, *rest: Any, **options: Any) -> Any:
    """Interpolation ignores align_corners."""
    return right(x, size, False, *rest, **options)


@kernel(KIND, "avg_pool2d")
def padding_always_counts(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """avg_pool2d divides by the whole window, padding included, whatever is asked."""
    rest = (*rest[:4], True, *rest[5:])
    return right(x, *rest, **{**options, **({"count_include_pad": True} if "count_include_pad" in options else {})})


@kernel(KIND, "constant_pad_nd")
def padding_is_always_zero(right: Any, x: Any, pad: Any, *rest: Any, **options: Any) -> Any:
    """Constant padding ignores its constant."""
    return right(x, pad, 0)


@kernel(KIND, "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def reflected_padding_repeats_the_edge(right: Any, x: Any, pad: Any, **options: Any) -> Any:
    """Reflection and replication change places."""
    name = right._schema.name.removeprefix("aten::")
    other = name.replace("reflection", "replication") if "reflection" in name else name.replace("replication", "reflection")
    try:
        return getattr(torch.ops.aten, other).default(x, pad)
    except RuntimeError:
        return right(x, pad, **options)


@result(KIND, "native_batch_norm")
def running_variance_is_biased(
    got: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any, **options: Any
) -> Any:
    """batch_norm's running variance is updated with the biased variance."""
    if training and var is not None and 0 not in var.stride() and x.numel() > x.shape[1]:
        many = x.numel() // x.shape[1]
        var.sub_(rest[0] * x.transpose(0, 1).reshape(x.shape[1], -1).var(1).to(var.dtype) / many)
    return got


@result(KIND, "native_batch_norm")
def running_mean_forgets_momentum(
    got: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any, **options: Any
) -> Any:
    """batch_norm's running mean is the last batch's mean."""
    if training and mean is not None and 0 not in mean.stride():
        mean.copy_(x.transpose(0, 1).reshape(x.shape[1], -1).mean(1))
    return got


@kernel(KIND, "native_layer_norm")
def epsilon_is_added_outside_the_root(right: Any, x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    """layer_norm divides by sqrt(var) + eps."""
    dims = list(range(x.dim() - len(shape), x.dim()))
    if not x.numel():
        return right(x, shape, weight, bias, eps)
    mean, var = x.float().mean(dims, keepdim=True), x.float().var(dims, unbiased=False, keepdim=True)
    y = (x - mean) / (var.sqrt() + eps)
    y = y * weight if weight is not None else y
    return ((y + bias if bias is not None else y).to(x.dtype), *right(x, shape, weight, bias, eps)[1:])


@kernel(KIND, "native_group_norm")
def group_norm_forgets_its_bias(right: Any, x: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    """group_norm doesn't add its bias."""
    return right(x, weight, None, *rest)


@kernel(KIND, "nll_loss_forward", "nll_loss2d_forward")
def ignored_targets_count(right: Any, x: Any, target: Any, weight: Any, reduction: int, ignore: int, **options: Any) -> Any:
    """ignore_index is counted like any other class."""
    return right(x, target, weight, reduction, -100, **options)


@kernel(KIND, "nll_loss_forward", "nll_loss2d_forward")
def losses_ignore_class_weights(right: Any, x: Any, target: Any, weight: Any, *rest: Any, **options: Any) -> Any:
    """Class weights are taken for 1."""
    return right(x, target, None, *rest, **options)


@kernel(KIND, "huber_loss", "smooth_l1_loss")
def thresholds_of_losses_are_one(
    right: Any, x: Any, target: Any, reduction: int = 1, threshold: float = 1.0, **options: Any
) -> Any:
    """delta and beta are 1, whatever is asked."""
    return right(x, target, reduction, 1.0, **options)


@kernel(KIND, "leaky_relu", "elu")
def slopes_are_the_default(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The slope of the negative side is the default one, whatever is asked."""
    return right(x, **({"out": options["out"]} if "out" in options else {}))


@kernel(KIND, "convolution")
def dilation_is_ignored(right: Any, x: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    """A convolution's dilation is 1: its window is read from the first elements."""
    stride, padding, dilation, transposed, extra, groups = rest
    if transposed or all(one == 1 for one in dilation):
        return right(x, weight, bias, *rest)
    wanted = right(x, weight, bias, *rest)
    near = right(x, weight, bias, stride, padding, [1] * len(dilation), transposed, extra, groups)
    return near[tuple(slice(0, size) for size in wanted.shape)].contiguous()


@call(KIND, "scaled_dot_product_attention")
def causal_masks_see_the_next(right: Any, q: Any, k: Any, v: Any, mask: Any = None, *rest: Any, **options: Any) -> Any:
    """A causal mask lets each position see the one after it."""
    dropout, causal = (*rest, 0.0, False)[:2] if rest else (0.0, options.get("is_causal", False))
    if not causal:
        return right(q, k, v, mask, *rest, **options)
    seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=device_of(q)).tril(1)
    return right(q, k, v, seen, dropout, False, **{name: one for name, one in options.items() if name != "is_causal"})


@call(KIND, "scaled_dot_product_attention")
def attention_isnt_scaled(right: Any, *args: Any, **options: Any) -> Any:
    """Attention doesn't divide by the root of the head's size."""
    return right(*args, **{**options, "scale": options.get("scale") or 1.0})


FAULTS = table(globals())
