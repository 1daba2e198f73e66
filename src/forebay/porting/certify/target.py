"""The device that is measured, in the process that measures it.

Asked:  how does a worker get at the chip, and is the chip still there?
Answer: `open_device` imports what brings the device and tries it; `healthy` copies a few numbers there and back, with an
        addition between.
Limits: whether the numbers are right isn't asked here: a chip that computes wrongly is there.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    side(torch.device(place)).wait()
    (there + 1).cpu()


@dataclass(frozen=True)
class Side:
    """Where calls run: the host, or the chip. Not what they compute."""

    place: Any
    wait: Callable[[], Any]  # returns when the chip has done what it was given
    seed: Callable[[int], Any]  # of the numbers drawn there, and on the host


@functools.cache
def side(place: Any) -> Side:
    module = getattr(torch, torch.device(place).type, None) if torch.device(place).type != "cpu" else None
    seed_chip = getattr(module, "manual_seed_all", None) or getattr(module, "manual_seed", None)

    def seed(number: int) -> None:
        """torch.manual_seed, without its seeds for devices that aren't measured: those cost more than most operators."""
        torch.default_generator.manual_seed(number)
        if seed_chip is not None:
            seed_chip(number)

    return Side(torch.device(place), getattr(module, "synchronize", None) or (lambda: None), seed)


HOST = side(torch.device("cpu"))
