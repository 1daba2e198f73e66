"""Samples: which calls of an operator are tried, and the same call on the host, on the chip and in float64.

Asked:  of hundreds of samples that torch's database has for an operator, which few show most?
Answer: the first, then each that brings something new: another rank, a zero-size, scalar, broadcast or non-contiguous tensor,
        another keyword or number. Then the first once more with strided inputs, and our own of probes.py. They are made on the
        host from fixed seeds, so a run that goes on, or another --only, sees the same.
Limits: tensors keep their strides, not that two arguments share memory.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from forebay.porting.certify import probes
from forebay.porting.certify.exceptions import SLOW_BY_VALUE, listed

LOOK = 6  # samples of the database that are looked at, for each that is taken
SEED = 20261122
ON_HOST = {"tensor_split": (1,)}  # arguments that torch wants on the host, by place: the input is 0
PLAIN = (bool, int, float, str)
MAKERS = ("cpu", "cuda")  # devices that samples name: where they are made, and where torch's own makers find a GPU
WIDE = {torch.complex32: torch.complex128, torch.complex64: torch.complex128}


@dataclass(frozen=True)
class Sample:
    """One call, on the host, in the format that is measured. What it returns isn't known yet."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    broadcasts_input: bool
    process: Callable[[Any], Any]  # what torch's database does to a result before it takes gradients

    def tensors(self) -> list[Any]:
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    def is_somewhere(self) -> bool:
        """Whether it has a tensor or names a device. Else it runs on the host, whatever is measured: `arange(3)`."""
        return any(
            isinstance(leaf, (torch.Tensor, torch.device)) or leaf in MAKERS for leaf in tree_leaves((self.args, self.kwargs))
        )


def seed_of(*words: str) -> int:
    return SEED ^ zlib.crc32(" ".join(words).encode())


def seeded(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device there may be, at some cost
    random.seed(seed)
    try:
        import numpy
    except ImportError:
        return
    numpy.random.seed(seed % 2**32)


def choose(op: Any, operator: str, dtype: Any, requires_grad: bool, most: int, own: bool = True) -> list[Sample]:
    """At most `most` of the database's samples; and, where `own`, a strided one and those of probes.py."""
    seeded(seed_of(operator, str(dtype)))
    found = list(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=requires_grad), LOOK * most))
    chosen = [found[place] for place in _spread([_features(one) for one in found], most)]
    if own:
        first = next((one for one in chosen if any(t.numel() > 1 and t.dim() for t in _sample(one).tensors())), None)
        if first is not None:
            chosen += _strided(first)
        if not listed(operator, SLOW_BY_VALUE):
            chosen += list(probes.extra(op, dtype, requires_grad))
    return [sample for sample in map(_sample, chosen) if sample.is_somewhere()]


def carried(sample: Sample, operator: str, device: Any) -> Sample:
    """The same call on a device: tensors of its own with the same strides, and the words that name a device."""
    kept = ON_HOST.get(operator.partition(".")[0], ()) if str(device) != "cpu" else ()

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return _at(value, device)
        if isinstance(value, torch.device) and value.type in MAKERS:
            return torch.device(device)
        if isinstance(value, str) and value.partition(":")[0] in MAKERS:
            return str(device)
        return value

    args = tuple(tree_map(lambda v: v, arg) if place in kept else tree_map(move, arg) for place, arg in enumerate(sample.args))
    return Sample(args, tree_map(move, sample.kwargs), sample.broadcasts_input, sample.process)


def names_a_device(sample: Sample) -> bool:
    """Whether a call says where its result shall be; without it and without tensors, the result is on the host."""
    return sample.kwargs.get("device") is not None or any(isinstance(one, torch.device) for one in tree_leaves(sample.args))


def widened(sample: Sample) -> Sample:
    """The same call in float64, or complex128: its numbers are the same, its arithmetic is finer."""

    def widen(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            wide = wide_of(value.dtype)
            return value.detach().to(wide).requires_grad_(value.requires_grad) if wide != value.dtype else _at(value, "cpu")
        return wide_of(value) if isinstance(value, torch.dtype) else value

    return Sample(tree_map(widen, sample.args), tree_map(widen, sample.kwargs), sample.broadcasts_input, sample.process)


def wide_of(dtype: Any) -> Any:
    return torch.float64 if dtype.is_floating_point else WIDE.get(dtype, dtype)


def _at(tensor: Any, device: Any) -> Any:
    """A copy with the same strides: all of its storage goes, as one plain row, and is looked at as before."""
    plain = tensor.detach()
    if plain.layout != torch.strided or (plain.is_contiguous() and not plain.storage_offset()):
        made = plain.to(device, copy=True)
    else:
        plain = torch.resolve_neg(torch.resolve_conj(plain))
        count = plain.untyped_storage().nbytes() // max(1, plain.element_size())
        row = torch.empty(0, dtype=plain.dtype).set_(plain.untyped_storage(), 0, (count,), (1,))
        made = row.to(device, copy=True).as_strided(plain.shape, plain.stride(), plain.storage_offset())
    return made.requires_grad_(True) if tensor.requires_grad else made


def _sample(given: Any) -> Sample:
    return Sample((given.input, *given.args), dict(given.kwargs), bool(given.broadcasts_input), given.output_process_fn_grad)


def _strided(given: Any) -> list[Any]:
    try:
        return [given.noncontiguous()]
    except Exception:  # torch makes none of some: sparse tensors, tensors in containers it doesn't know
        return []


def _features(given: Any) -> frozenset[str]:
    sample = _sample(given)
    tensors = sample.tensors()
    shapes = {tuple(one.shape) for one in tensors}
    found = {f"rank {one.dim()}" for one in tensors} | {f"{len(tensors)} tensors", f"{len(sample.args)} arguments"}
    found |= {f"{one.dtype}" for one in tensors}
    found |= {f"{name}={value}" if isinstance(value, PLAIN) else name for name, value in sample.kwargs.items()}
    found |= {f"{place}: {arg}" for place, arg in enumerate(sample.args) if isinstance(arg, PLAIN)}
    found |= {f"{place}: {type(arg).__name__}" for place, arg in enumerate(sample.args)}
    found.add(str([(name, value) for name, value in sample.kwargs.items() if isinstance(value, PLAIN)]))
    if any(one.numel() == 0 for one in tensors):
        found.add("zero-size")
    if any(one.layout == torch.strided and not one.is_contiguous() for one in tensors):
        found.add("strided")
    if len(shapes) > 1:
        found.add("shapes differ")
    if sample.broadcasts_input:
        found.add("broadcasts its input")
    return frozenset(found)


def _spread(features: list[frozenset[str]], most: int) -> list[int]:
    """Places of the samples to take: the first, then whichever brings most that is new, then evenly."""
    taken: list[int] = []
    seen: set[str] = set()
    while len(taken) < min(most, len(features)):
        new = [(len(one - seen), -place) for place, one in enumerate(features)]
        gain, place = max(new) if taken else (1, 0)
        if gain == 0:
            break
        taken.append(-place)
        seen |= features[-place]
    left = [place for place in range(len(features)) if place not in taken]
    wanted = min(most - len(taken), len(left))
    return sorted(taken + [left[number * len(left) // wanted] for number in range(wanted)])
