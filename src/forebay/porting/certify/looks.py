"""Look at what a call did beside its values: where its results lie, what it copied, overwrote, or shares memory with.

Asked:  did the chip's call behave as the reference chip's did?
Answer: each look compares one thing and puts what it sees into the tally: copies to the host, the results' places, what became
        of the arguments, which results are views of them, memory formats.
Limits: of sparse tensors only the places are looked at; a chip whose tensors have no storage isn't asked for views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from forebay.porting.certify.calls import Outcome, host
from forebay.porting.certify.compare import compare
from forebay.porting.certify.samples import Sample
from forebay.porting.certify.tally import Tally
from forebay.porting.certify.traffic import Traffic, device_of, is_fallback
from forebay.porting.certify.verdict import Word


def at_traffic(traffic: Traffic, mine: Sample, tally: Tally) -> None:
    tally.host_bytes += traffic.host_bytes
    sizes = [one.numel() * one.element_size() for one in mine.tensors() if one.layout == torch.strided]
    if is_fallback(traffic.copies, max(sizes, default=1)):
        tally.see(Word.HOST_FALLBACK, f"{traffic.host_bytes} bytes were copied to the host during the call")


def at_places(found: Outcome, reference: Outcome, place: Any, tally: Tally) -> None:
    kind = torch.device(place).type
    for one, its in zip(found.results, reference.results):
        if isinstance(one, torch.Tensor) and isinstance(its, torch.Tensor):
            where, there = device_of(one).type, device_of(its).type
            if where != (kind if there == "cpu" else there):
                tally.see(Word.WRONG, f"its result is on {where}, not on {kind}")


def at_arguments(mine: Sample, reference_input: Sample, sample: Sample, tally: Tally) -> None:
    """What the reference leaves alone, the chip leaves alone; what it changes, the chip changes likewise."""
    for number, (one, its, original) in enumerate(zip(mine.tensors(), reference_input.tensors(), sample.tensors())):
        if one.layout != torch.strided or its.layout != torch.strided:
            continue
        if _same(its.detach(), original.detach()):
            if not _same(host(one), original.detach()):
                tally.see(Word.WRONG, f"argument {number} was overwritten")
        else:
            tally.seen(compare([host(one)], [its.detach()], None, None), f"argument {number} after the call: ")


def at_aliases(mine: Sample, found: Outcome, its_input: Sample, reference: Outcome, tally: Tally) -> None:
    """A view of an argument on the reference chip is one on the chip, and what is none there is none here."""
    for one, its in zip(found.results, reference.results):
        if not (isinstance(one, torch.Tensor) and isinstance(its, torch.Tensor) and its.layout == torch.strided and its.numel()):
            continue
        try:
            here = any(_shares(one, argument) for argument in mine.tensors())
        except Exception:
            return  # a chip whose tensors have no storage: nothing can be said
        there = any(_shares(its, argument) for argument in its_input.tensors())
        if here != there:
            tally.see(
                Word.WRONG, "its result shares memory with an argument" if here else "its result isn't a view of its argument"
            )


def at_strides(found: Outcome, reference: Outcome, sample: Sample, tally: Tally) -> None:
    """Where the caller names a memory format, the result has it."""
    if isinstance(sample.kwargs.get("memory_format"), torch.memory_format):
        for one, its in zip(found.results, reference.results):
            if isinstance(its, torch.Tensor) and one.stride() != its.stride():
                tally.see(Word.WRONG, f"its strides are {one.stride()}, not {its.stride()}, for {sample.kwargs['memory_format']}")


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other))


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return bool(one == other) or one != one
    if (one.shape, one.dtype, one.layout) != (other.shape, other.dtype, other.layout):
        return False
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    if one.is_quantized:
        one, other = one.dequantize(), other.dequantize()
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _shares(one: Any, other: Any) -> bool:
    if other.layout != torch.strided or not other.numel():
        return False
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)
