"""Faults of how a call ends: on the host, with an error, with the process, never."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.bytes import device_of
from forebay.porting.shim.chip.fakechip.faults.fault import call, floating, kernel, table

HOST, CRASH, HANG, REFUSED = "host fallback", "crash", "hang", "refused"


def _fell_back(right: Any, *args: Any, **options: Any) -> Any:
    """By copies, as torch's own cpu_fallback does: to the host, there, and back."""
    place = next((device_of(one) for one in _tensors(args) if device_of(one).type != "cpu"), None)
    if place is None:
        return right(*args, **options)
    op = right.keywords["op"]
    made = op(*_to_host(args), **{name: _to_host(one) for name, one in options.items()})
    if op._schema.name.endswith("_"):
        return args[0].copy_(made)
    return type(made)(one.to(place) for one in made) if isinstance(made, tuple) else made.to(place)


def _to_host(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.cpu()
    return type(value)(_to_host(one) for one in value) if isinstance(value, (list, tuple)) else value


def _tensors(values: Any) -> list[Any]:
    return [
        one
        for value in values
        for one in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(one, torch.Tensor)
    ]


@call(HOST, "erfinv", "lgamma", "digamma", "logit")
def computed_on_the_host(right: Any, *args: Any, **options: Any) -> Any:
    """The operator copies its inputs to the host, computes there, and copies the result back."""
    return right(*args, **options) if "out" in options else _fell_back(right, *args, **options)


@call(HOST, "sort", "cumsum")
def long_rows_are_computed_on_the_host(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """Of more than 1024 elements."""
    if x.numel() <= 1024 or "values" in options or "out" in options:
        return right(x, *rest, **options)
    return _fell_back(right, x, *rest, **options)


@call(HOST, "bmm", "atan")
def bfloat16_is_computed_on_the_host(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """In bfloat16 only."""
    there = x.dtype == torch.bfloat16 and "out" not in options
    return _fell_back(right, x, *rest, **options) if there else right(x, *rest, **options)


@call(HOST, "gelu_backward", "_softmax_backward_data")
def gradients_are_computed_on_the_host(right: Any, *args: Any, **options: Any) -> Any:
    """The backward of what is computed on the chip."""
    return _fell_back(right, *args, **options)


@kernel(CRASH, "linalg_cholesky_ex", "linalg_lu_factor_ex")
def the_process_ends(right: Any, *args: Any, **options: Any) -> Any:
    """The call ends its process, with an exit code of its own."""
    os._exit(3)


@kernel(CRASH, "histc", "bincount")
def the_process_is_killed(right: Any, *args: Any, **options: Any) -> Any:
    """The call reads address 0."""
    return ctypes.string_at(0)


@kernel(CRASH, "gcd", "fmod")
def empty_tensors_end_the_process(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The call ends its process where there is nothing to compute."""
    return right(x, *rest, **options) if x.numel() else os._exit(4)


@kernel(HANG, "igamma")
def the_call_never_returns(right: Any, *args: Any, **options: Any) -> Any:
    """The call waits for ever."""
    while True:
        time.sleep(60)


@kernel(REFUSED, "cumprod", "logaddexp")
def bfloat16_is_refused(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The operator raises for bfloat16."""
    if floating(x, torch.bfloat16):
        raise RuntimeError(f"\"{right._schema.name}\" not implemented for 'BFloat16'")
    return right(x, *rest, **options)


@kernel(REFUSED, "index_select", "tan")
def empty_tensors_are_refused(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The operator raises where there is nothing to compute."""
    if not x.numel():
        raise RuntimeError("invalid configuration argument")
    return right(x, *rest, **options)


@kernel(REFUSED, "topk")
def long_rows_are_refused(right: Any, x: Any, *rest: Any, **options: Any) -> Any:
    """The operator raises for more than 1024 elements in a row."""
    if x.dim() and x.shape[-1] > 1024:
        raise RuntimeError("too many elements in a row")
    return right(x, *rest, **options)


FAULTS = table(globals())
