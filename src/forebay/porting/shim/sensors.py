"""What NVIDIA's management library would answer through torch.cuda.

Asked:  what do torch.cuda.utilization(), temperature() and their kin say without a GPU?
Answer: the memory in use is counted, so it is told. How busy a card is, torch asks pynvml, which is a stand-in of ours and tells
        the host's load. A temperature or a clock can't be made up: refused, by name.
Limits: torch.cuda.list_gpu_processes names this process alone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from forebay.porting.shim.cards import Cards
from forebay.porting.shim.journal import note
from forebay.porting.shim.torch_c.refusals import refusal

REFUSED = ("temperature", "power_draw", "clock_rate")


def answer(torch: Any, cards: Cards) -> None:
    """Change the Python functions of torch.cuda that ask NVIDIA's library."""
    for name in REFUSED:
        if hasattr(torch.cuda, name):
            real = getattr(torch.cuda, name)
            setattr(torch.cuda, name, functools.wraps(real)(refusal(f"torch.cuda.{name}", "there is no sensor to read")))
    if hasattr(torch.cuda, "device_memory_used"):
        torch.cuda.device_memory_used = _memory_used(torch.cuda.device_memory_used, cards)
    listed = _processes(torch.cuda.list_gpu_processes, cards)
    torch.cuda.list_gpu_processes = listed
    torch.cuda.memory.list_gpu_processes = listed


def _memory_used(real: Callable[..., int], cards: Cards) -> Callable[..., int]:
    @functools.wraps(real)
    def device_memory_used(device: Any = None) -> int:
        note("torch.cuda.device_memory_used", "emulated")
        return cards.memory(_card(device)).held

    return device_memory_used


def _processes(real: Callable[..., str], cards: Cards) -> Callable[..., str]:
    @functools.wraps(real)
    def list_gpu_processes(device: Any = None) -> str:
        note("torch.cuda.list_gpu_processes", "emulated")
        card = _card(device)
        used = cards.memory(card).held / 2**20
        return f"GPU:{card}\nprocess {os.getpid():>10d} uses {used:>12.3f} MB GPU memory"

    return list_gpu_processes


def _card(device: Any) -> int:
    from torch.cuda._utils import _get_device_index

    return int(_get_device_index(device, optional=True))
