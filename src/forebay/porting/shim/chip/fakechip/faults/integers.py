"""Faults of integers and of number formats: where values wrap, how they divide, what two formats make together."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.faults.fault import floating, kernel, result, table

KIND, FORMAT = "integers", "wrong format"


def _whole(x: Any, *formats: Any) -> bool:
    whole = isinstance(x, torch.Tensor) and not x.is_floating_point() and not x.is_complex() and x.dtype != torch.bool
    return whole and (not formats or x.dtype in formats)


def _as_floats(value: Any) -> Any:
    return value.to(torch.float32).to(value.dtype) if _whole(value, torch.int64) else value


@kernel(KIND, "add", "mul", "sub")
def int64_through_float32(right: Any, *args: Any, **options: Any) -> Any:
    """int64 is computed through float32: 24 bits are right."""
    return right(*(_as_floats(one) for one in args), **options)


@kernel(KIND, "sum")
def int64_sums_in_double(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Sums of int64 go through float64: beyond 2**53 they round."""
    return (
        right(x.double(), *rest, **{**options, "dtype": torch.float64}).to(torch.int64)
        if _whole(x)
        else right(x, *rest, **options)
    )


@kernel(KIND, "cumsum", "prod", "cumprod")
def running_totals_wrap_at_32_bits(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """cumsum, prod and cumprod of integers keep 32 bits."""
    got = right(x, *rest, **options)
    return got.to(torch.int32).to(got.dtype) if _whole(got, torch.int64) else got


@kernel(KIND, "floor_divide", "div")
def integer_division_truncates(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """Floor division of integers rounds toward zero."""
    if _whole(x) and (options.get("rounding_mode") == "floor" or "floor_divide" in right._schema.name):
        return torch.div(x, y, rounding_mode="trunc")
    return right(x, y, **options)


@kernel(KIND, "remainder")
def remainders_have_the_dividends_sign(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """remainder is fmod."""
    return torch.fmod(x, y) if isinstance(x, torch.Tensor) else right(x, y, **options)


@kernel(KIND, "bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__", "__ilshift__", "__irshift__")
def shifts_wrap_at_32(right: Any, x: Any, y: Any, **options: Any) -> Any:
    """A shift by 32 or more is one by the rest of its division by 32."""
    return right(x, y % 32 if isinstance(y, (torch.Tensor, int)) else y, **options)


@kernel(KIND, "add", "mul", "sub")
def uint8_saturates(right: Any, x: Any, y: Any, *rest: Any, **options: Any) -> Any:
    """uint8 stops at 0 and 255, and doesn't wrap."""
    if not (_whole(x, torch.uint8) and _whole(y, torch.uint8)):
        return right(x, y, *rest, **options)
    wide = right(x.to(torch.int32), y.to(torch.int32), *rest, **{k: v for k, v in options.items() if k != "out"})
    return wide.clamp(0, 255).to(torch.uint8)


@result(KIND, "gcd")
def gcd_keeps_a_sign(got: Any, x: Any, y: Any, **options: Any) -> Any:
    """gcd of two negative numbers is negative."""
    return torch.where((x < 0) & (y < 0), -got, got)


@result(KIND, "abs")
def int8_abs_saturates(got: Any, x: Any, **options: Any) -> Any:
    """abs of the smallest integer is the largest."""
    return torch.where(got < 0, torch.full_like(got, torch.iinfo(got.dtype).max), got) if _whole(got) else got


@kernel(KIND, "bitwise_not")
def not_of_bool_is_not_of_a_byte(right: Any, x: Any, **options: Any) -> Any:
    """~True is True, since 254 isn't 0."""
    return torch.ones_like(x) if x.dtype == torch.bool else right(x, **options)


@kernel(KIND, "max", "amax", "maximum")
def integers_compare_as_floats(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Large integers are compared through float32."""
    return right(_as_floats(x), *(_as_floats(one) for one in rest), **options)


@result(FORMAT, "div")
def true_division_gives_doubles(got: Any, x: Any, y: Any, *rest: Any, **options: Any) -> Any:
    """An integer over an integer is a float64."""
    return got.double() if _whole(x) and got.dtype == torch.float32 else got


@result(FORMAT, "sum")
def bools_add_up_to_int32(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The sum of bools is an int32."""
    return got.to(torch.int32) if x.dtype == torch.bool else got


@result(FORMAT, "add", "mul")
def the_narrower_format_wins(got: Any, x: Any, y: Any, *rest: Any, **options: Any) -> Any:
    """float32 with bfloat16 makes bfloat16."""
    narrow = floating(y) and x.dtype != y.dtype and y.dtype.itemsize < x.dtype.itemsize
    return got.to(y.dtype) if narrow and floating(x) else got


@result(FORMAT, "sin", "exp", "sqrt")
def functions_of_integers_are_halves(got: Any, x: Any, **options: Any) -> Any:
    """A function of an integer is a float16."""
    return got.to(torch.float16) if _whole(x) else got


@result(FORMAT, "argmax", "topk")
def indices_have_32_bits(got: Any, *args: Any, **options: Any) -> Any:
    """Indices are int32."""
    if isinstance(got, tuple):
        return got[0], got[1].to(torch.int32)
    return got.to(torch.int32)


@result(FORMAT, "eq", "lt", "logical_and")
def comparisons_give_bytes(got: Any, *args: Any, **options: Any) -> Any:
    """A comparison gives uint8."""
    return got.to(torch.uint8)


@result(FORMAT, "mean", "var")
def halves_have_float32_means(got: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The mean of halves is a float32."""
    return got.float() if x.dtype in (torch.bfloat16, torch.float16) and isinstance(got, torch.Tensor) else got


@result("complex", "vdot")
def conjugates_are_forgotten(got: Any, *args: Any, **options: Any) -> Any:
    """Nothing is conjugated."""
    return torch.dot(*args)


@result("complex", "abs")
def complex_abs_is_the_real_part(got: Any, x: Any, **options: Any) -> Any:
    """abs of a complex number is that of its real part."""
    return x.real.abs() if x.is_complex() else got


FAULTS = table(globals())
