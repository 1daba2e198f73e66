"""One call of an operator: made, timed, and taken apart into tensors that can be compared on the host.

Asked:  what did this call return, what did it do to its arguments, how long did it take?
Answer: `forward` and `backward` make it, from one seed; an Outcome holds the results where they are, and `Outcome.on_host` copies
        them. Gradients are those for a cotangent that is drawn once, on the host, in the format that is measured.
Limits: seconds are one call's, with its launch.
"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from forebay.porting.certify.samples import Sample, wide_of
from forebay.porting.certify.target import Side
from forebay.porting.certify.traffic import device_of

COTANGENT = 7  # added to the call's seed


@dataclass(frozen=True)
class Outcome:
    """What one call gave. Its tensors lie where the call left them."""

    results: tuple[Any, ...]
    seconds: float

    def on_host(self) -> tuple[Any, ...]:
        return tuple(host(one) for one in self.results)


def host(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    found = value.detach()
    return found.to("cpu") if device_of(found).type != "cpu" else found


def forward(op: Any, sample: Sample, seed: int, side: Side, *, process: bool = False) -> Outcome:
    """The operator's results. With `process` what torch's database makes of them: decompositions are unique only after it."""
    side.seed(seed)
    began = time.perf_counter()
    with _quiet(), torch.no_grad():
        result = op(*sample.args, **sample.kwargs)
    side.wait()
    seconds = time.perf_counter() - began
    return Outcome(_flat(sample.process(result) if process else result), seconds)


def backward(op: Any, sample: Sample, seed: int, dtype: Any, side: Side) -> Outcome:
    """The gradients with respect to every argument that takes one; none where no result has a gradient."""
    side.seed(seed)
    began = time.perf_counter()
    with _quiet():
        made = _flat(sample.process(op(*sample.args, **sample.kwargs)))
        results = [one for one in made if isinstance(one, torch.Tensor) and one.requires_grad]
        leaves = [one for one in sample.tensors() if one.requires_grad]
        if not results or not leaves:
            return Outcome((), 0.0)
        cotangents = [_cotangent(one, seed + COTANGENT, dtype) for one in results]
        found = torch.autograd.grad(results, leaves, cotangents, allow_unused=True)
    side.wait()
    return Outcome(tuple(found), time.perf_counter() - began)


def _cotangent(result: Any, seed: int, dtype: Any) -> Any:
    """The same numbers for every side: drawn on the host, in the measured format, whatever format the result has."""
    source = torch.Generator().manual_seed(seed)
    drawn = torch.randn(result.shape, generator=source, dtype=wide_of(result.dtype))
    if dtype.is_floating_point and not result.dtype.is_complex:
        drawn = drawn.to(dtype)
    elif result.dtype.is_complex:
        drawn = drawn.to(torch.complex64)
    made = drawn.to(result.dtype).to(device_of(result))
    return made.to_sparse() if result.layout == torch.sparse_coo else made


def _flat(result: Any) -> tuple[Any, ...]:
    return tuple(tree_leaves(result))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield
