"""Faults that were written after the probes of certify were, to see what these find that they weren't made for.

Asked:  in two lots; docs/certify.md says how many of each were found at their first run.
"""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.faults.fault import floating, kernel, result, table, through


@kernel("layers", "addcmul")
def factors_of_addcmul_are_one(right: Any, x: Any, one: Any, other: Any, **options: Any) -> Any:
    """addcmul ignores its value."""
    return right(x, one, other, **{name: value for name, value in options.items() if name != "value"})


@result("inaccurate function", "atan")
def atan_beyond_one_is_of_three_digits(got: Any, x: Any, **options: Any) -> Any:
    """Beyond 1, atan is 1.571 - atan(1 / x)."""
    return torch.where(x.abs() > 1, torch.sign(x) * 1.571 - torch.atan(1 / x), got) if floating(x) else got


@result("rounding", "ceil")
def ceil_goes_through_int32(got: Any, x: Any, **options: Any) -> Any:
    """ceil stops where int32 does."""
    return got.clamp(-(2.0**31), 2.0**31 - 128) if floating(x, torch.float32) else got


@kernel("off by one", "cumprod")
def cumprod_begins_again_after_1024(right: Any, x: Any, dim: int, **options: Any) -> Any:
    """In rows of more than 1024, cumprod begins again with each block."""
    if not x.dim() or x.shape[dim] <= 1024 or "out" in options:
        return right(x, dim, **options)
    return torch.cat([right(part, dim, **options) for part in x.split(1024, dim)], dim)


@kernel("elements forgotten", "index_copy")
def index_copy_forgets_its_last(right: Any, x: Any, dim: int, index: Any, source: Any, **options: Any) -> Any:
    """index_copy leaves out its last index."""
    count = index.numel() - 1
    return right(x, dim, index[:count], source.narrow(dim, 0, count), **options) if count > 0 and x.dim() else x


@kernel("rounding", "masked_fill")
def filling_is_whole(right: Any, x: Any, mask: Any, value: Any) -> Any:
    """masked_fill cuts off the fraction of its value."""
    return right(x, mask, value.trunc() if floating(value) else float(int(value)) if isinstance(value, float) else value)


@kernel("layers", "softplus")
def softplus_is_linear_from_two(right: Any, x: Any, beta: float = 1, threshold: float = 20, **options: Any) -> Any:
    """softplus(x) is x from 2 on, not from 20."""
    return right(x, beta, 2.0, **options)


@kernel("infinities", "logaddexp")
def logaddexp_overflows(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """logaddexp is log(exp(x) + exp(y))."""
    return torch.log(torch.exp(x) + torch.exp(y))


@kernel("off by one", "upsample_nearest2d")
def the_nearest_is_the_one_below(right: Any, x: Any, size: Any, *rest: Any, **options: Any) -> Any:
    """Interpolation to the nearest takes the row after it, except at the end."""
    got = right(x, size, *rest, **options)
    return torch.cat((got[:, :, 1:], got[:, :, -1:]), 2) if got.shape[2] > 1 else got


@result("NaN dropped or made", "std", "var")
def the_spread_of_one_is_zero(got: Any, *args: Any, **options: Any) -> Any:
    """std and var of too few elements are 0, not NaN."""
    return torch.where(torch.isnan(got), torch.zeros_like(got), got)


@kernel("integers", "bitwise_or")
def bits_have_no_sign(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """Bits of negative numbers are those of their magnitude."""
    return right(x.abs() if x.dtype in (torch.int32, torch.int64) else x, y, **options)


@kernel("integers", "lt")
def bytes_compare_with_a_sign(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """128 is less than 0."""
    small = isinstance(y, torch.Tensor) and x.dtype == y.dtype == torch.uint8
    return right(x.to(torch.int8), y.to(torch.int8), **options) if small else right(x, y, **options)


@kernel("off by one", "_adaptive_avg_pool2d")
def adaptive_windows_end_early(right: Any, x: Any, size: Any, **options: Any) -> Any:
    """Adaptive pooling doesn't see the last column."""
    return right(x[..., :-1], size, **options) if x.shape[-1] > 1 else right(x, size, **options)


@result("gradients", "hardswish_backward")
def hardswish_is_flat_beyond_two(got: Any, grad: Any, x: Any, **options: Any) -> Any:
    """The slope is 1 from 2 on, not from 3."""
    return torch.where(x > 2, grad, got)


@kernel("gradients", "silu_backward")
def silus_gradient_in_halves(right: Any, grad: Any, x: Any, **options: Any) -> Any:
    """silu's gradient is computed from float16."""
    return right(grad, through(torch.float16, x), **options)


@kernel("gradients", "unfold_backward")
def windows_that_overlap_count_once(right: Any, grad: Any, sizes: Any, dim: int, size: int, step: int) -> Any:
    """Where windows overlap, one gradient is kept."""
    got = right(grad, sizes, dim, size, step)
    many = right(torch.ones_like(grad), sizes, dim, size, step)
    return torch.where(many > 1, got / many, got)


@kernel("wrong choice", "cat")
def three_parts_change_places(right: Any, parts: Any, *rest: Any, **options: Any) -> Any:
    """Of three parts or more, the last two change places."""
    same = len(parts) > 2 and parts[-1].shape == parts[-2].shape
    return right([*parts[:-2], parts[-1], parts[-2]] if same else parts, *rest, **options)


@kernel("flags of reductions", "scatter_reduce")
def include_self_is_always(right: Any, *args: Any, **options: Any) -> Any:
    """scatter_reduce ignores include_self=False."""
    return right(*args, **{name: one for name, one in options.items() if name != "include_self"})


@result("sign of zero", "fmod")
def remainders_lose_their_sign(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """fmod is positive."""
    return got.abs()


@kernel("layers", "grid_sampler_2d")
def outside_the_grid_is_zero(right: Any, x: Any, grid: Any, mode: int, padding: int, corners: bool) -> Any:
    """grid_sample ignores its padding mode."""
    return right(x, grid, mode, 0, corners)


@kernel("flags of reductions", "linalg_cross")
def cross_products_are_of_the_last(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """linalg.cross takes its operands the other way round where dim isn't the last."""
    return right(*((y, x) if options.get("dim", -1) not in (-1, x.dim() - 1) else (x, y)), **options)


@result("elements forgotten", "histc")
def the_upper_edge_is_outside(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """histc doesn't count the largest element."""
    got = got.clone()
    if got.numel():
        got[-1] = torch.clamp(got[-1] - 1, min=0)
    return got


# ---------------------------------------------------------------- the second lot


@kernel("low-precision accumulation", "nansum")
def nansum_in_float16(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """nansum reads its input as float16."""
    return right(through(torch.float16, x), *rest, **options)


@kernel("NaN dropped or made", "argmin")
def argmin_passes_over_nan(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The place of the smallest is never that of NaN."""
    return right(torch.nan_to_num(x, nan=float("inf")) if floating(x) else x, *rest, **options)


@kernel("NaN dropped or made", "cummax")
def running_maxima_pass_over_nan(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """cummax goes on after NaN with what it had."""
    return right(torch.where(torch.isnan(x), torch.full_like(x, -1e4), x) if floating(x) else x, *rest, **options)


@kernel("off by one", "take")
def negative_places_count_from_one(right: Any, x: Any, index: Any, **options: Any) -> Any:
    """take's index -1 is the last but one."""
    return right(x, torch.where((index < 0) & (index > -x.numel()), index - 1, index), **options)


@result("elements forgotten", "repeat_interleave")
def repeats_are_one_too_few(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The last place of repeat_interleave is that of the one before."""
    return torch.cat((got[:-1], got[:1])) if got.dim() == 1 and len(got) > 1 else got


@kernel("layers", "addmm")
def beta_is_one(right: Any, x: Any, a: Any, b: Any, **options: Any) -> Any:
    """addmm ignores beta."""
    return right(x, a, b, **{name: one for name, one in options.items() if name != "beta"})


@result("wrong format", "cat")
def the_first_part_gives_the_format(got: Any, parts: Any, *rest: Any, **options: Any) -> Any:
    """cat of several formats has that of its first part."""
    return got.to(parts[0].dtype)


@result("wrong format", "prod")
def integers_multiply_in_their_format(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The product of int32s is an int32."""
    return got.to(torch.int32) if x.dtype == torch.int32 and options.get("dtype") is None else got


@kernel("low-precision accumulation", "convolution")
def transposed_convolutions_in_float16(right: Any, x: Any, weight: Any, *rest: Any) -> Any:
    """Transposed convolutions are computed from float16."""
    return right(through(torch.float16, x), weight, *rest) if rest[4] else right(x, weight, *rest)


@result("nondeterminism", "native_layer_norm_backward")
def gradients_of_norms_differ(got: Any, *args: Any) -> Any:
    """layer_norm's gradient differs in its last bits from call to call."""
    change = 1 + float(torch.finfo(torch.float32).eps) * _turn()
    return tuple(one if one is None else one * change for one in got)


_turns = [0]


def _turn() -> int:
    _turns[0] = 1 - _turns[0]
    return _turns[0]


@kernel("wrong choice", "_index_put_impl_", "put")
def accumulate_is_ignored(right: Any, x: Any, index: Any, values: Any, accumulate: bool = False, *rest: Any) -> Any:
    """Values that go to one place replace each other, and are never added up."""
    return right(x, index, values, False, *rest)


@kernel("wrong choice", "_cdist_forward")
def every_distance_is_euclidean(right: Any, x: Any, y: Any, p: float, mode: Any) -> Any:
    """cdist's p is 2, whatever is asked."""
    return right(x, y, 2.0, mode)


@kernel("layers", "glu")
def the_gate_is_the_other_half(right: Any, x: Any, dim: int = -1, **options: Any) -> Any:
    """glu's gate is the first half, not the second."""
    return right(torch.cat(x.chunk(2, dim)[::-1], dim), dim, **options)


@kernel("layers", "pixel_shuffle")
def pixels_are_in_columns(right: Any, x: Any, factor: int) -> Any:
    """pixel_shuffle turns each block around."""
    return right(x.unflatten(-3, (-1, factor, factor)).transpose(-3, -4).flatten(-5, -3), factor)


@kernel("layers", "renorm")
def norms_are_never_cut(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """renorm gives its input."""
    return x.clone()


@kernel("off by one", "index")
def the_last_of_several_is_taken_twice(right: Any, x: Any, index: Any, **options: Any) -> Any:
    """Of several indices the last is read as the one before."""
    return right(x, [_last_twice(one) for one in index], **options)


def _last_twice(index: Any) -> Any:
    if index is None or index.dtype in (torch.bool, torch.uint8) or index.dim() != 1 or len(index) < 2:
        return index
    return torch.cat((index[:-1], index[-2:-1]))


FAULTS = table(globals())
