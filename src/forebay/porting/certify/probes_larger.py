"""The database's own samples once more: larger, and laid out otherwise in memory.

Asked:  what does a sample of any operator look like beyond a block of threads, without knowing the operator?
Answer: torch's makers of samples take their sizes from four names, S, M, L and XS. With larger numbers under these names they make
        larger samples, of which the first and the largest of a few are taken. And the first sample, transposed in memory, and
        beginning inside a larger memory.
Limits: samples whose sizes are written out in their makers stay as they are; what is larger than MOST elements is left out.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

SIZES = {"XS": 5, "S": 11, "M": 35, "L": 67}  # for 3, 5, 10, 20; none is a multiple of a block's
LOOK = 6
MOST = 400_000  # elements


def larger(op: Any, dtype: Any, requires_grad: bool) -> list[Any]:
    with _sizes():
        found = _made(op, dtype, requires_grad)
    found = [one for one in found if _elements(one) <= MOST]
    return [found[0], max(found[1:], key=_elements)] if len(found) > 1 else found


def laid_out_otherwise(op: Any, dtype: Any, requires_grad: bool) -> Iterator[Any]:
    first = next((one for one in _made(op, dtype, requires_grad) if any(t.dim() and t.numel() > 1 for t in _tensors(one))), None)
    if first is None:
        return
    for look in (transposed, offset):
        with contextlib.suppress(Exception):  # samples whose tensors are in containers that torch doesn't look into
            yield first.transform(lambda one, look=look: _kept(one, look))


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


def _kept(value: Any, look: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return look(value.detach()).requires_grad_(value.requires_grad)


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
