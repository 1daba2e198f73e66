"""The noun Fault, and how one is written down.

Asked:  what does a chip do that computes wrongly in exactly one way?
Answer: one operator's kernel is taken for another. A fault is a function; its name is the fault's, its docstring the meaning,
        and the decorator says how it stands in:
            @result(kind, operators)  gets what the right kernel gave, then the arguments, and gives something else
            @kernel(kind, operators)  gets the right kernel and the arguments, as tensors of the host
            @call(kind, operators)    the same, with the chip's own tensors: where a result lives, what it shares, how it fails
Limits: results of @result and @kernel land where the right ones would, in an out= or an in-place argument too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Fault:
    """One way in which the fake chip can be told to be wrong. It isn't a model of any chip's bug."""

    name: str  # "sums-in-bfloat16": what FOREBAY_FAKECHIP_FAULT names
    kind: str
    meaning: str
    operators: tuple[str, ...]  # of aten, without namespace, overload and the underscore of in-place ones
    whole: bool  # it gets the chip's tensors, not the host's
    apply: Callable[..., Any]  # (right, *args, **kwargs) -> result


Maker = Callable[[Callable[..., Any]], Fault]


def result(kind: str, *operators: str) -> Maker:
    return lambda change: _fault(kind, operators, change, False, _after(change))


def kernel(kind: str, *operators: str) -> Maker:
    return lambda wrong: _fault(kind, operators, wrong, False, _landing(wrong))


def call(kind: str, *operators: str) -> Maker:
    return lambda wrong: _fault(kind, operators, wrong, True, wrong)


def table(module: dict[str, Any]) -> tuple[Fault, ...]:
    return tuple(one for one in module.values() if isinstance(one, Fault))


def _fault(kind: str, operators: tuple[str, ...], made_of: Callable[..., Any], whole: bool, apply: Callable[..., Any]) -> Fault:
    return Fault(made_of.__name__.replace("_", "-"), kind, (made_of.__doc__ or "").strip(), operators, whole, apply)


def _after(change: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(right: Any, /, *args: Any, **kwargs: Any) -> Any:
        return change(right(*args, **kwargs), *args, **{name: one for name, one in kwargs.items() if name not in OUTS})

    return _landing(wrong)


OUTS = ("out", "out0", "out1", "values", "indices", "max", "max_values")


def _landing(wrong: Callable[..., Any]) -> Callable[..., Any]:
    """The wrong kernel works on a copy of what is written in place, and its result is then put where the right one would be."""

    def apply(right: Any, /, *args: Any, **kwargs: Any) -> Any:
        places = [_writes(right, number) for number in range(len(args))]
        mine = tuple(one.clone() if written else one for one, written in zip(args, places))
        outs = {name: one for name, one in kwargs.items() if name in OUTS and isinstance(one, torch.Tensor)}
        got = wrong(right, *mine, **kwargs)
        for place, written in enumerate(places):
            if written and isinstance(got, torch.Tensor):
                args[place].copy_(got)
                return args[place]
        if len(outs) == 1 and isinstance(got, torch.Tensor):
            (out,) = outs.values()
            return out if got is out or got.shape != out.shape else out.copy_(got)
        return got

    return apply


def _writes(op: Any, number: int) -> bool:
    arguments = op._schema.arguments
    alias = arguments[number].alias_info if number < len(arguments) else None
    return bool(alias is not None and alias.is_write)


# ---------------------------------------------------------------- what several faults need


def floating(value: Any, *formats: Any) -> bool:
    """A tensor of floating point; of these formats, if any are named."""
    return isinstance(value, torch.Tensor) and value.is_floating_point() and (not formats or value.dtype in formats)


def through(dtype: Any, value: Any) -> Any:
    """Floating-point tensors rounded to a narrower format and back; lists too; all else as it is."""
    if isinstance(value, (list, tuple)):
        return type(value)(through(dtype, one) for one in value)
    return value.to(dtype).to(value.dtype) if floating(value) else value


def truncated(x: Any, bits: int) -> Any:
    """A float32 tensor with this many bits of mantissa left, the rest cut off."""
    if not floating(x, torch.float32):
        return x
    return (x.contiguous().view(torch.int32) & ~((1 << (23 - bits)) - 1)).view(torch.float32)
