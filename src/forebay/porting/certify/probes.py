"""Samples of our own, beside those of torch's database.

Asked:  which faults would the database's own samples miss, and what shows them?
Answer: for an operator, more calls of it, by what torch's database says that it is: unary, binary, a reduction, or else. They
        differ from the database's in one thing each: values at the edges of a format, one magnitude at a time; sizes beside
        powers of two; strides, offsets and repeated elements; other number formats, alone and in pairs; rows of thousands of
        elements; ties; a long inner dimension. What is neither of the three gets the database's own samples once more, larger
        and otherwise (probes_varied.py), and where the operator is known, rows and products (probes_rows.py). Of every operator
        each option is tried once (probes_options.py).
        They are on the host; the engine carries them to the chip as it does the others.
Limits: calls that torch's CPU kernels refuse, or answer by chance, aren't made: an integer divided by zero, a float beyond an
        integer's range. Which of several equal elements comes first is asked only where torch's documentation says it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from forebay.porting.certify import probes_options, probes_rows, probes_values, probes_varied
from forebay.porting.certify.probes_values import extremes, grid, magnitudes, spread, wholes
from forebay.porting.certify.probes_varied import offset, transposed

SIZES = (33, 129, 1025, 4099)  # one more than what kernels are cut into
LONG = 4099
OTHERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float64, torch.complex64)
PAIRS = (
    (torch.float32, torch.bfloat16),
    (torch.float16, torch.float32),
    (torch.bfloat16, torch.float16),
    (torch.float32, torch.float64),
    (torch.int64, torch.float32),
    (torch.float16, torch.int32),
    (torch.uint8, torch.int8),
    (torch.int32, torch.int64),
    (torch.bool, torch.float32),
    (torch.uint8, torch.bool),
    (torch.bool, torch.int64),
    (torch.bool, torch.bool),
    (torch.float32, torch.complex64),
    (torch.int64, torch.complex64),
)
DIVIDING = ("div", "rem", "mod")  # in an operator's name: no integer zeros, and no -1 beside the smallest integer
SHIFTING = ("shift", "pow", "ldexp")
OF_MANY = ("std", "var")
NARROW = ("bfloat16", "float16", "float32")


def extra(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Any]:
    """SampleInputs for an entry of the database, with tensors of this dtype on the host; of others too, in one format."""
    with_others = not requires_grad and dtype == _main(op)
    makers: dict[str, Maker] = {"UnaryUfuncInfo": _unary, "BinaryUfuncInfo": _binary, "ReductionOpInfo": _reduction}
    maker = makers.get(type(op).__name__, _else)
    for made in maker(op, dtype, requires_grad, with_others):
        yield _sample(made, requires_grad) if isinstance(made, tuple) else made
    first = probes_varied.first(op, dtype, requires_grad)
    if first is not None:
        yield from probes_options.optional(op, first)


def _main(op: Any) -> Any:
    """The one format in which the others are tried along."""
    supported = op.supported_dtypes("cpu")
    return next((one for one in (torch.float32, torch.int64, torch.bool) if one in supported), None)


Call = tuple[tuple[Any, ...], dict[str, Any]]
Maker = Callable[[Any, Any, bool, bool], Iterator[Any]]


def _sample(call: Call, requires_grad: bool) -> Any:
    from torch.testing._internal.opinfo import core

    def own(value: Any) -> Any:
        takes = requires_grad and isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())
        return value.detach().requires_grad_(True) if takes else value

    (first, *rest), kwargs = call
    sample_input: Any = core.SampleInput
    return sample_input(own(first), args=tuple(own(one) for one in rest), kwargs=kwargs)


# ---------------------------------------------------------------- unary


def _unary(op: Any, dtype: Any, requires_grad: bool, with_others: bool) -> Iterator[Call]:
    more = _needed(op)
    for size in SIZES:
        yield (spread((size,), dtype), *more[0]), more[1]
    for x in (*strided(spread((17, 9), dtype)), spread((0, 3), dtype), spread((), dtype)):
        yield (x, *more[0]), more[1]
    if dtype.is_floating_point:
        for values in magnitudes(dtype, with_edges=not requires_grad):
            yield (values, *more[0]), more[1]
    elif not requires_grad:
        yield (extremes(dtype), *more[0]), more[1]
    if with_others:
        for other in OTHERS:
            if other in op.supported_dtypes("cpu") and other != dtype:
                yield (probes_values.edges(other), *more[0]), more[1]


def _needed(op: Any) -> Call:
    """What a unary operator needs beside its input."""
    args, kwargs = (), {}
    if op.sample_kwargs is not None:
        kwargs = op.sample_kwargs("cpu", torch.float32, None)[0]
    return args, dict(kwargs)


# ---------------------------------------------------------------- binary


def _binary(op: Any, dtype: Any, requires_grad: bool, with_others: bool) -> Iterator[Call]:
    kwargs = dict(next(iter(op.sample_inputs("cpu", dtype))).kwargs) if op.name == "div" else {}
    for size in (33, 1025, 4099):
        yield _pair(op, spread((size,), dtype), spread((size,), dtype)), kwargs
    x = spread((7, 7), dtype)
    for y in (spread((7, 1), dtype), spread((1, 7), dtype), spread((), dtype), spread((1, 7), dtype).expand(7, 7), x.t()):
        yield _pair(op, x, y), kwargs
        yield _pair(op, y, x), kwargs
    for left, right in zip(strided(spread((17, 9), dtype)), reversed(strided(spread((17, 9), dtype)))):
        yield _pair(op, left, right), kwargs
    yield (spread((0, 3), dtype), spread((1, 3), dtype)), kwargs
    if requires_grad:
        return
    if dtype.is_floating_point:
        for values in grid(dtype):
            yield values, kwargs
    else:
        yield _pair(op, *_every_pair(extremes(dtype), extremes(dtype))), kwargs
    if op.supports_rhs_python_scalar:
        for number in (2, 3, *((0.5, 2.5) if dtype.is_floating_point else ())):
            yield (spread((65,), dtype), number), kwargs
    if with_others:
        for one, other in PAIRS:
            left, right = probes_values.edges(one), probes_values.edges(other)
            size = min(left.numel(), right.numel())
            yield _pair(op, left[:size], right[:size].flip(0)), kwargs
            yield _pair(op, left[0], right), kwargs
            yield _pair(op, left, right[-1]), kwargs
        for one in OTHERS:
            if one != dtype:
                yield _pair(op, *_every_pair(extremes(one), extremes(one))), kwargs


def _every_pair(x: Any, y: Any) -> tuple[Any, Any]:
    return x.repeat_interleave(len(y)), y.repeat(len(x))


def _pair(op: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Two arguments; of integers, without what no kernel has an answer to."""
    whole = not (y.is_floating_point() or y.is_complex()) and y.dtype != torch.bool
    if whole and any(word in op.name for word in SHIFTING):
        y = y.to(torch.int64).remainder(torch.iinfo(x.dtype).bits if _is_whole(x) and "shift" in op.name else 4).to(y.dtype)
    elif whole and any(word in op.name for word in DIVIDING):
        y = torch.where((y == 0) | (y == -1), torch.full_like(y, 3), y)
    if op.name == "lcm" and whole:
        x, y = x.clamp(1, 100), y.clamp(1, 100)
    if whole and _is_whole(x) and op.name.startswith("__r"):
        x = torch.where((x == 0) | (x == -1), torch.full_like(x, 3), x)
    return x, y


def _is_whole(x: Any) -> bool:
    return not (x.is_floating_point() or x.is_complex()) and x.dtype != torch.bool


# ---------------------------------------------------------------- reductions


def _reduction(op: Any, dtype: Any, requires_grad: bool, with_others: bool) -> Iterator[Call]:
    many, turn = op.supports_multiple_dims, itertools.count()
    for x in probes_values.rows(dtype, LONG):
        yield from _reduced(op, x[0], turn)
        yield from _reduced(op, x, turn, dim=-1)
        yield from _reduced(op, x, turn, dim=1, keepdim=True)
        yield from _reduced(op, x.t().contiguous().t(), turn, dim=1)
    cube = spread((5, 33, 9), dtype)
    for options in (
        {"dim": 0},
        {"dim": -2},
        {"dim": 1, "keepdim": True},
        *(({"dim": (0, 2)}, {"dim": (-1, 1), "keepdim": True}) if many else ()),
    ):
        yield from _reduced(op, cube, turn, **options)
    for x in strided(spread((17, 9), dtype)):
        yield from _reduced(op, x, turn, dim=1)
        yield from _reduced(op, x, turn)
    for x in (wholes((7, 65), dtype), spread((3, 0), dtype), spread((0, 3), dtype)):
        yield from _reduced(op, x, turn, dim=-1 if x.numel() or x.shape[0] else 0)
    if dtype.is_floating_point and not requires_grad:
        yield from _reduced(op, probes_values.rows_with_edges(dtype), turn, dim=-1)
    if any(word in op.name for word in OF_MANY):
        for correction in (0, 1, 2):
            yield (cube,), {"dim": 1, "correction": correction}
    if with_others:
        for other in OTHERS:
            if other != dtype:
                x = probes_values.edges(other)
                yield from _reduced(op, x, turn)
                yield from _reduced(op, x[: len(x) // 3 * 3].reshape(3, -1), turn, dim=-1)


def _reduced(op: Any, x: Any, turn: Iterator[int], **options: Any) -> Iterator[Call]:
    """One call; of the arguments that the operator needs besides, such as a norm's order, each call takes the next."""
    try:
        needed = list(op.generate_args_kwargs(x, **options))
    except (IndexError, TypeError):  # torch's makers for std and var take one dimension only
        needed = [((), {})]
    if needed:
        args, kwargs = needed[next(turn) % len(needed)]
        yield (x, *args), {**kwargs, **options}


# ---------------------------------------------------------------- the others


def _else(op: Any, dtype: Any, requires_grad: bool, with_others: bool) -> Iterator[Any]:
    yield from probes_rows.rows(op, dtype, requires_grad)
    yield from probes_varied.varied(op, dtype, requires_grad, with_others)
    if with_others:
        yield from probes_rows.casts(op)


# ---------------------------------------------------------------- strides


def strided(x: Any) -> list[Any]:
    """The same matrix, told by other strides; and one whose rows are one row."""
    return [transposed(x), offset(x), every_second(x), x[:1].expand_as(x), x[:, :1].expand_as(x)]


def every_second(x: Any) -> Any:
    held = torch.zeros((*x.shape[:-1], x.shape[-1] * 2), dtype=x.dtype)
    held[..., ::2] = x
    return held[..., ::2]
