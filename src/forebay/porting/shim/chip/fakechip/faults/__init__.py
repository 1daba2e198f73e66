"""Planted faults: the fake chip made wrong in exactly one way, to see whether a measure of chips notices.

Asked:  FOREBAY_FAKECHIP_FAULT=sums-in-bfloat16: what does the fake chip compute then?
Answer: what it does otherwise, except that the operators of this fault run its kernel. Several names, with commas, plant several.
Limits: operators by aten's names, as they reach the chip: what torch takes apart before, layer by layer, is wrong by its parts.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import Any

import torch

from forebay.errors import BadInput
from forebay.porting.shim.chip.fakechip import kernels
from forebay.porting.shim.chip.fakechip.bytes import KEY
from forebay.porting.shim.chip.fakechip.call import on_host, wrong
from forebay.porting.shim.chip.fakechip.faults import (
    chance,
    endings,
    gradients,
    integers,
    later,
    layers,
    places,
    precision,
    shapes,
    values,
)
from forebay.porting.shim.chip.fakechip.faults.fault import Fault

VARIABLE = "FOREBAY_FAKECHIP_FAULT"
KINDS = (precision, values, places, integers, shapes, layers, gradients, chance, endings, later)
FAULTS: dict[str, Fault] = {fault.name: fault for module in KINDS for fault in module.FAULTS}

_libraries: list[Any] = []  # a library that is collected takes its kernels along


def named(names: str) -> tuple[Fault, ...]:
    """The faults of a list with commas. Raises BadInput."""
    words = [one.strip() for one in names.split(",") if one.strip()]
    unknown = next((one for one in words if one not in FAULTS), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, FAULTS, 3, 0.4)
        raise BadInput("The fake chip knows no such fault.", asked=f"{VARIABLE}={names}", found=unknown, hint=", ".join(near))
    return tuple(FAULTS[one] for one in words)


def plant(faults: Iterable[Fault]) -> None:
    """From now on the fake chip has these faults. Its kernels are registered already."""
    make: Any = torch.library.Library
    library = make("aten", "IMPL")
    _libraries.append(library)
    for fault in faults:
        for operator in fault.operators:
            overloads = dict(_overloads(operator))
            reaches = any(
                _reaches(full)
                for full in overloads
                if full.startswith((f"aten::{operator}.", f"aten::{operator}")) and "out" not in full
            )
            for full, op in overloads.items():
                if fault.whole:
                    _take_over(library, full, op, fault)
                    continue
                kernel: Any = functools.partial(fault.apply, wrong.get(op, op))
                kernel._schema, kernel._overloadname = op._schema, op._overloadname  # the next fault may stand on this one
                wrong[op] = kernel
                if not reaches and not _reaches(full):  # torch would take it apart before it comes here
                    library.impl(full[6:], functools.partial(on_host, op), KEY)


def _overloads(operator: str) -> Iterable[tuple[str, Any]]:
    """Of an operator and of its in-place form: ("aten::add_.Tensor", torch.ops.aten.add_.Tensor)."""
    for name in (operator, operator + "_"):
        packet = getattr(torch.ops.aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            full = f"aten::{name}" + (f".{overload}" if overload != "default" else "")
            if torch._C._dispatch_has_kernel(full):  # the others are TorchScript's
                yield full, getattr(packet, overload)


def _reaches(full: str) -> bool:
    """Whether the operator comes to the chip's fallback by itself; torch takes the others apart before."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    apart = ("CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CompositeImplicitAutograd")
    return full in kernels.own or not any(has(full, key) for key in apart)


def _take_over(library: Any, full: str, op: Any, fault: Fault) -> None:
    """A fault that gets the chip's own tensors stands in front of the kernel that was there."""
    if torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeImplicitAutograd"):
        apply = functools.partial(fault.apply, functools.partial(_taken_apart, op=op))
        library.impl(full[6:], apply, KEY)
        library.impl(full[6:], apply, "Autograd" + KEY)
    else:
        right = functools.partial(_right, kernels.own.get(full), op=op)
        library.impl(full[6:], functools.partial(fault.apply, right), KEY, allow_override=True)


def _right(own: Any, *args: Any, op: Any, **kwargs: Any) -> Any:
    return own(*args, **kwargs) if own is not None else on_host(op, *args, **kwargs)


def _taken_apart(*args: Any, op: Any, **kwargs: Any) -> Any:
    return op.decompose(*args, **kwargs)
