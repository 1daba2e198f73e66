"""Faults of special values: NaN, infinities, zeros with a sign, subnormals, rounding."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.bytes import on_chip, to_host
from forebay.porting.shim.chip.fakechip.faults.fault import call, floating, kernel, result, table

NAN, INF, SIGN, ROUND = "NaN dropped or made", "infinities", "sign of zero", "rounding"
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def _finite(x: Any, instead: float) -> Any:
    return torch.where(torch.isnan(x), torch.full_like(x, instead), x) if floating(x) else x


@kernel(NAN, "amax", "max")
def largest_forgets_nan(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The largest of several elements leaves out NaN."""
    return right(_finite(x, float("-inf")), *rest, **options)


@kernel(NAN, "minimum", "maximum")
def pairs_forget_nan(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """minimum and maximum take the one that isn't NaN, as fmin and fmax do."""
    return (torch.fmin if "minimum" in right._schema.name else torch.fmax)(x, y)


@result(NAN, "relu")
def relu_of_nan_is_zero(got: Any, x: Any) -> Any:
    """relu is x if x > 0 else 0, which makes 0 of NaN."""
    return _finite(got, 0.0)


@result(NAN, "clamp", "clamp_min", "clamp_max", "hardtanh")
def clamp_hides_nan(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """What is clamped is never NaN."""
    return torch.where(torch.isnan(x), torch.zeros_like(got), got) if floating(x) else got


@kernel(NAN, "sort")
def sort_puts_nan_first(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """NaN is sorted as the smallest."""
    if not floating(x) or not torch.isnan(x).any():
        return right(x, *rest, **options)
    values, indices = right(_finite(x, float("-inf")), *rest, **{k: v for k, v in options.items() if k == "stable"})
    return values, indices


@result(NAN, "_softmax")
def masked_rows_are_zero(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """softmax of a row of -inf is 0, not NaN."""
    return _finite(got, 0.0)


@result(NAN, "mul")
def zero_times_infinity_is_zero(got: Any, x: Any, y: Any, **options: Any) -> Any:
    """0 * inf is 0."""
    return torch.where(torch.isnan(got) & ((x == 0) | (y == 0)), torch.zeros_like(got), got) if floating(got) else got


@result(NAN, "div")
def zero_over_zero_is_zero(got: Any, x: Any, y: Any, *rest: Any, **options: Any) -> Any:
    """0 / 0 is 0."""
    return torch.where((x == 0) & (y == 0), torch.zeros_like(got), got) if floating(got) else got


@kernel(NAN, "eq", "ne")
def nan_equals_itself(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """NaN == NaN."""
    got = right(x, y, **options)
    if not floating(x) or not floating(y):
        return got
    both = torch.isnan(x) & torch.isnan(y)
    return got | both if right._schema.name in ("aten::eq", "aten::eq_") else got & ~both


@result(NAN, "ge", "le")
def not_less_is_at_least(got: Any, x: Any, y: Any, **options: Any) -> Any:
    """x >= y is not (x < y): true where one is NaN."""
    unknown = torch.isnan(x) | torch.isnan(torch.as_tensor(y)) if floating(x) else torch.zeros_like(got, dtype=torch.bool)
    return got.to(torch.bool) | unknown


@kernel(NAN, "median")
def median_leaves_nan_out(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """median takes NaN for the smallest, not for the largest of all."""
    return right(_finite(x, float("-inf")), *rest, **options)


@kernel(NAN, "pow")
def powers_by_logarithm(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """pow(x, y) is exp(y * log(x)): NaN for negative bases."""
    got = right(x, y, **options)
    return torch.exp(y * torch.log(x)).to(got.dtype) if floating(x) and floating(got) else got


@result(INF, "exp")
def exp_saturates(got: Any, x: Any, **options: Any) -> Any:
    """exp stops at the largest finite number."""
    return torch.clamp(got, max=torch.finfo(got.dtype).max) if floating(got) else got


@result(INF, "log")
def log_of_zero_is_finite(got: Any, x: Any, **options: Any) -> Any:
    """log(0) is the smallest finite number."""
    return torch.where(got == float("-inf"), torch.full_like(got, torch.finfo(got.dtype).min), got) if floating(got) else got


@result(INF, "tanh")
def tanh_of_large_numbers_is_nan(got: Any, x: Any, **options: Any) -> Any:
    """tanh is (e - 1/e) / (e + 1/e): inf over inf beyond 90."""
    return torch.where(x.abs() > 90, torch.full_like(got, float("nan")), got) if floating(x) else got


@result(INF, "isneginf")
def infinity_has_one_sign(got: Any, x: Any, **options: Any) -> Any:
    """-inf isn't taken for an infinity."""
    return torch.zeros_like(got)


@result("subnormals", "mul", "div")
def subnormals_are_flushed(got: Any, *args: Any, **options: Any) -> Any:
    """A result below the smallest normal number is 0."""
    return torch.where(got.abs() < torch.finfo(got.dtype).tiny, torch.zeros_like(got), got) if floating(got) else got


@kernel("subnormals", "sqrt", "log")
def subnormal_inputs_are_zero(right: Any, x: Any, **options: Any) -> Any:
    """An input below the smallest normal number is taken for 0."""
    return right(torch.where(x.abs() < torch.finfo(x.dtype).tiny, torch.zeros_like(x), x) if floating(x) else x, **options)


@kernel(SIGN, "reciprocal")
def minus_zero_has_no_sign(right: Any, x: Any, **options: Any) -> Any:
    """1 / -0.0 is +inf."""
    return right(x + 0.0 if floating(x) else x, **options)


@kernel(SIGN, "copysign", "atan2")
def signs_are_read_by_comparison(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """-0.0 counts as positive, since it isn't less than 0."""
    return right(*((one + 0.0 if floating(one) else one) for one in (x, y)), **options)


@result(SIGN, "neg")
def negation_by_subtraction(got: Any, x: Any, **options: Any) -> Any:
    """-x is 0 - x, so that -(0.0) is +0.0."""
    return 0 - x if floating(x) else got


@result(ROUND, "round")
def halves_round_away(got: Any, x: Any, **options: Any) -> Any:
    """round takes halves away from zero, not to even."""
    whole = floating(x) and not options.get("decimals")
    return (torch.sign(x) * torch.floor(x.abs() + 0.5)).to(got.dtype) if whole else got


@call(ROUND, "copy_")
def casts_truncate(right: Any, target: Any, source: Any, *rest: Any) -> Any:
    """float32 to bfloat16 cuts the lower half off, and doesn't round."""
    if floating(source, torch.float32) and target.dtype == torch.bfloat16:
        source = _cut(to_host(source) if on_chip(source) else source)
    return right(target, source, *rest)


def _cut(x: Any) -> Any:
    return (x.contiguous().view(torch.int32) & -65536).view(torch.float32)


@call(ROUND, "copy_")
def integers_are_floors(right: Any, target: Any, source: Any, *rest: Any) -> Any:
    """A float becomes the next integer below, for negative ones too."""
    if floating(source) and target.dtype in INTEGERS:
        source = torch.floor(to_host(source) if on_chip(source) else source)
    return right(target, source, *rest)


@result(ROUND, "trunc")
def trunc_is_floor(got: Any, x: Any, **options: Any) -> Any:
    """trunc of a negative number is its floor."""
    return torch.floor(x) if floating(x) else got


FAULTS = table(globals())
