"""The database's first sample, with each option of the operator set to what isn't its default.

Asked:  does a chip look at every option, when torch's samples try only some?
Answer: the options are read from the operator's signature, or from its schemas where it is built in: a truth value is turned
        around, a fraction becomes a larger one, a dimension is another. What the host refuses isn't asked of the chip.
Limits: one option at a time. Words, lists and tensors are left to the database.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch

LEFT_OUT = ("pin_memory", "non_blocking", "requires_grad", "sparse", "check_errors", "_stacklevel", "out_int32")


def optional(op: Any, first: Any) -> Iterator[Any]:
    from torch.testing._internal.opinfo import core

    sample_input: Any = core.SampleInput
    for name, default in options(op).items():
        other = _other(name, first.kwargs.get(name, default))
        if other is not None:
            yield sample_input(
                first.input,
                args=first.args,
                kwargs={**first.kwargs, name: other},
                output_process_fn_grad=first.output_process_fn_grad,
                broadcasts_input=first.broadcasts_input,
            )


def options(op: Any) -> dict[str, Any]:
    """The operator's options and their defaults, as far as these are truth values, fractions or dimensions."""
    try:
        found = {one.name: one.default for one in inspect.signature(op.op).parameters.values()}
    except (ValueError, TypeError):  # built in
        packet = getattr(torch.ops.aten, op.aten_name, None)
        overloads = packet.overloads() if packet is not None else ()
        arguments = [one for overload in overloads for one in getattr(packet, overload)._schema.arguments]
        found = {one.name: one.default_value for one in arguments if one.has_default_value()}
    return {name: value for name, value in found.items() if name not in LEFT_OUT and _other(name, value) is not None}


def _other(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value * 1.5 + 0.1
    if isinstance(value, int) and name in ("dim", "axis", "diagonal", "offset"):
        return -1 if value >= 0 else 0
    return None
