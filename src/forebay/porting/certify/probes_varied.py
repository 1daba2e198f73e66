"""The database's own samples once more: larger, laid out otherwise in memory, of other formats and with other values.

Asked:  what does a telling sample of any operator look like, without knowing the operator?
Answer: torch's makers of samples take their sizes from four names, S, M, L and XS. With larger numbers there they make larger
        samples, of which the first and the largest of a few are taken. Then the first sample, transposed in memory; beginning
        inside a larger memory; with tensors of two formats; and in each format that isn't measured by itself. Where the operator
        keeps its input's shape, that input also with NaN and infinities in it, as whole numbers with equal ones among them, and
        smaller.
Limits: samples whose sizes are written out in their makers stay as they are; what is larger than MOST elements is left out.
        Decompositions, transforms, random numbers and casts to integers get no NaN: what they make of it isn't told anywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

SIZES = {"XS": 5, "S": 11, "M": 35, "L": 67}  # for 3, 5, 10, 20; none is a multiple of a block's
LOOK = 6
LONG = 4099
MOST = 400_000  # elements
OTHERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.float64, torch.complex64)
UNTOLD = ("linalg", "fft", "svd", "eig", "cholesky", "lu", "qr", "det", "inverse", "solve", "lobpcg", "matrix", "ormqr", "geqrf")
DRAWING = ("normal", "bernoulli", "multinomial", "dropout", "rand", "uniform", "cauchy", "exponential", "geometric", "rrelu")
CASTING = ("to", "byte", "char", "short", "int", "long", "bool", "histc", "bincount", "grid_sample", "ctc_loss", "stft")
UNORDERED = ("sort", "topk", "kthvalue", "median", "mode", "unique", "max", "min", "cummax", "cummin", "quantile")  # of equals


def varied(op: Any, dtype: Any, requires_grad: bool, with_others: bool) -> Iterator[Any]:
    yield from larger(op, dtype, requires_grad)
    usual = first(op, dtype, requires_grad)
    if usual is None:
        yield from _made_longer(_made(op, dtype, requires_grad))
        return
    yield from _looked_at(usual, transposed, offset)
    if isinstance(usual.input, (list, tuple)):
        yield from _changed(usual, twice_as_many)
    if dtype.is_floating_point and _keeps_its_shape(op, usual):
        changes = [smaller, *([] if _one_of(op, UNORDERED) else [whole]), *([] if requires_grad else [with_edges])]
        yield from _changed(usual, *changes)
        yield from _looked_at(usual, repeated, repeated_along)
    if dtype.is_floating_point and not requires_grad:
        yield from _looked_at(usual, _Mixed(first=True), _Mixed(first=False))
    if with_others:
        for other in OTHERS:
            if other in op.supported_dtypes("cpu"):
                yield from _made(op, other, False)[:1]


def _made_longer(samples: list[Any]) -> Iterator[Any]:
    """Of an operator that makes tensors of a size: the sample that tells a size, with thousands of elements."""
    for sample in samples:
        if any(isinstance(one, torch.Size) and len(one) for one in (sample.input, *sample.args)):
            sizes = [torch.Size((LONG,)) if isinstance(one, torch.Size) else one for one in (sample.input, *sample.args)]
            yield _with(sample, sizes[0], tuple(sizes[1:]))
            return


def first(op: Any, dtype: Any, requires_grad: bool) -> Any:
    """The database's first sample that has more than single numbers, or None."""
    return next((one for one in _made(op, dtype, requires_grad) if any(t.dim() and t.numel() > 1 for t in _tensors(one))), None)


def larger(op: Any, dtype: Any, requires_grad: bool) -> list[Any]:
    with _sizes():
        found = _made(op, dtype, requires_grad)
    found = [one for one in found if _elements(one) <= MOST]
    return [found[0], max(found[1:], key=_elements)] if len(found) > 1 else found


# ---------------------------------------------------------------- looks


def transposed(x: Any) -> Any:
    """The same numbers, columns first in memory."""
    return x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.dim() > 1 and x.layout == torch.strided else x


def offset(x: Any) -> Any:
    """The same numbers, five elements into a larger memory."""
    if not x.dim() or x.layout != torch.strided or not x.numel():
        return x
    held = torch.zeros(x.numel() + 5, dtype=x.dtype)
    held[5:] = x.reshape(-1)
    return held[5:].view(x.shape)


def repeated(x: Any) -> Any:
    """One row, which is told to be all of them."""
    return x[:1].expand_as(x) if x.dim() and x.layout == torch.strided and x.is_floating_point() and len(x) else x


def repeated_along(x: Any) -> Any:
    """One column, which is told to be all of them."""
    return x[..., :1].expand_as(x) if x.dim() and x.layout == torch.strided and x.is_floating_point() and x.shape[-1] else x


class _Mixed:
    """Of a call's tensors of floating point, the first one in float64, or all others: two formats meet."""

    def __init__(self, first: bool) -> None:
        self.first, self.seen = first, 0

    def __call__(self, x: Any) -> Any:
        if not x.is_floating_point():
            return x
        self.seen += 1
        return x.to(torch.float64) if self.first == (self.seen == 1) else x


def _looked_at(sample: Any, *looks: Callable[[Any], Any]) -> Iterator[Any]:
    for look in looks:
        with contextlib.suppress(Exception):  # tensors in containers that torch doesn't look into
            yield sample.transform(lambda one, look=look: _kept(one, look))


def _kept(value: Any, look: Callable[[Any], Any]) -> Any:
    return look(value.detach()).requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value


# ---------------------------------------------------------------- values


def smaller(x: Any) -> Any:
    return x * 2.0**-10


def whole(x: Any) -> Any:
    """Zeros and small whole numbers, many of them equal."""
    return x.round().clamp(-2, 2)


def with_edges(x: Any) -> Any:
    """NaN, both infinities and both zeros among its numbers, and numbers as before in each row's end."""
    x = x.clone(memory_format=torch.contiguous_format)
    flat = x.view(-1)
    for place, value in enumerate((float("nan"), float("inf"), -float("inf"), 0.0, -0.0)):
        flat[place * (len(flat) // 5) : place * (len(flat) // 5) + 1] = value
    return x


def twice_as_many(parts: Any) -> Any:
    """Of tensors in a list: all of them, and once more turned around."""
    turned = [one.detach().flip(0).requires_grad_(one.requires_grad) if one.dim() else one for one in parts]
    return [*parts, *turned]


def _changed(sample: Any, *changes: Callable[[Any], Any]) -> Iterator[Any]:
    """The sample with another first input, and all else as it is."""
    for change in changes:
        x = sample.input
        made = change(x.detach()).requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else change(x)
        yield _with(sample, made, sample.args)


def _with(sample: Any, first: Any, args: tuple[Any, ...]) -> Any:
    from torch.testing._internal.opinfo import core

    sample_input: Any = core.SampleInput
    return sample_input(
        first,
        args=args,
        kwargs=sample.kwargs,
        output_process_fn_grad=sample.output_process_fn_grad,
        broadcasts_input=sample.broadcasts_input,
    )


def _keeps_its_shape(op: Any, sample: Any) -> bool:
    """Whether the operator gives a tensor of its input's shape, and what it makes of NaN is told."""
    x = sample.input
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.layout != torch.strided or x.numel() < 5:
        return False
    if any(word in op.name for word in (*UNTOLD, *DRAWING)) or _one_of(op, CASTING):
        return False
    try:
        with torch.no_grad():
            results = tree_leaves(op(x.detach().clone(), *sample.args, **sample.kwargs))
    except Exception:  # the reference's refusal is told by whoever measures
        return False
    return bool(results) and isinstance(results[0], torch.Tensor) and results[0].shape == x.shape


def _one_of(op: Any, names: tuple[str, ...]) -> bool:
    return op.name.rpartition(".")[2] in names or op.name.partition(".")[0] in names


# ---------------------------------------------------------------- sizes


def _made(op: Any, dtype: Any, requires_grad: bool) -> list[Any]:
    try:
        return list(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=requires_grad), LOOK))
    except Exception:  # a maker that has another size written out beside these
        return []


def _tensors(sample: Any) -> list[Any]:
    return [one for one in tree_leaves((sample.input, sample.args, sample.kwargs)) if isinstance(one, torch.Tensor)]


def _elements(sample: Any) -> int:
    return sum(one.numel() for one in _tensors(sample))


@contextlib.contextmanager
def _sizes() -> Iterator[None]:
    before = [
        (module, name, vars(module)[name])
        for path, module in list(sys.modules.items())
        if path.startswith("torch.testing._internal.") and isinstance(getattr(module, "S", None), int)
        for name in SIZES
        if isinstance(vars(module).get(name), int)
    ]
    try:
        for module, name, _ in before:
            setattr(module, name, SIZES[name])
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
