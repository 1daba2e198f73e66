"""The other ways to call an operator: with out=, and in place.

Asked:  does a chip write all of a result where it is told to?
Answer: out= gets a tensor full of poison, and an empty one that must grow; the in-place method must return its own tensor. Both
        are tried on the host first, and only what works there is asked of the chip.
Limits: strides of a tensor that out= made grow aren't looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from forebay.porting.certify.calls import host
from forebay.porting.certify.samples import Sample, carried
from forebay.porting.certify.target import HOST, Side


def variants(
    op: Any, sample: Sample, operator: str, side: Side, seed: int, reference: Sequence[Any]
) -> Iterator[tuple[str, list[Any] | str]]:
    """What each other way left, on the host, to be compared as the plain call's results; or what was wrong with it at once."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        tensors = all(isinstance(one, torch.Tensor) and one.layout == torch.strided for one in reference)
        if tensors and reference:  # the database's supports_out is too modest: sum has none there
            for how in ("out= full of poison", "out= of no size"):
                if _into(op, sample, operator, HOST, seed, reference, how, check=True) is not None:
                    left = _into(op, sample, operator, side, seed, reference, how)
                    yield how, [host(one) for one in left or ()]
        able = op.inplace_variant is not None and not sample.broadcasts_input and tensors and len(reference) == 1
        if able and isinstance(_in_place(op, sample, operator, HOST, seed, reference, check=True), list):
            yield "in place", _in_place(op, sample, operator, side, seed, reference) or []


def _into(
    op: Any, sample: Sample, operator: str, side: Side, seed: int, reference: Sequence[Any], how: str, check: bool = False
) -> list[Any] | None:
    """The tensors that out= was given, after the call. With `check`, None where the host refuses or gives something else."""
    outs = [_poison(one) if how.endswith("poison") else torch.empty(0, dtype=one.dtype) for one in reference]
    outs = [one.to(side.place) for one in outs]
    at = carried(sample, operator, side.place)
    try:
        side.seed(seed)
        op(*at.args, **at.kwargs, out=outs[0] if len(outs) == 1 else tuple(outs))
    except Exception:
        if check:
            return None
        raise
    return outs if not check or _equal(outs, reference) else None


def _in_place(
    op: Any, sample: Sample, operator: str, side: Side, seed: int, reference: Sequence[Any], check: bool = False
) -> list[Any] | str | None:
    at = carried(sample, operator, side.place)
    try:
        side.seed(seed)
        made = op.inplace_variant(*at.args, **at.kwargs)
    except Exception:
        if check:
            return None
        raise
    if check:
        return [at.args[0]] if _equal([at.args[0]], reference) else None
    return [host(at.args[0])] if made is at.args[0] else "it doesn't return the tensor that it was called on"


def _poison(like: Any) -> Any:
    if like.dtype == torch.bool:
        return ~like.detach().clone()
    value = float("nan") if like.dtype.is_floating_point or like.dtype.is_complex else 77
    return torch.full_like(like.detach(), value)


def _equal(found: Sequence[Any], reference: Sequence[Any]) -> bool:
    return all(
        one.shape == its.shape and one.dtype == its.dtype and bool(((one == its) | ((one != one) & (its != its))).all())
        for one, its in zip(found, reference)
    )
