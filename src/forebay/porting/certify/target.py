"""The device that is measured, in the process that measures it.

Asked:  how does a worker get at the chip, and is the chip still there?
Answer: `open_device` imports what brings the device and tries it; `healthy` copies a few numbers there and back, with an
        addition between.
Limits: whether the numbers are right isn't asked here: a chip that computes wrongly is there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from forebay.porting.certify.traffic import device_of


def open_device(device: str, imports: Sequence[str]) -> Any:
    """The torch.device, after a first use. What goes wrong is raised as the plug-in raises it."""
    for module in imports:
        importlib.import_module(module)
    place = torch.device(device)
    healthy(place)
    return place


def healthy(place: Any) -> None:
    """Raise whatever the chip raises when it is asked for the least."""
    numbers = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    there = numbers.to(place)
    if device_of(there).type != torch.device(place).type:
        raise RuntimeError(f"a tensor that was sent to {place} is on {device_of(there)}")
    waiting(place)()
    (there + 1).cpu()


def waiting(place: Any) -> Callable[[], Any]:
    """A function that returns when the chip has done what it was given."""
    module = getattr(torch, torch.device(place).type, None)
    found = getattr(module, "synchronize", None)
    return found if callable(found) and torch.device(place).type != "cpu" else lambda: None
