"""The cards as NVIDIA's monitor would show them, for pynvml and nvidia-smi.

Asked:  which cards does this run have, and how full are they?
Answer: the launcher's number and limit, as torch.cuda's are; the bytes that this process holds, where torch is loaded. What
        nobody measures here (temperature, power, clocks, fans) is None, and said to be unsupported, as of a card without
        the sensor.
Limits: load is the host's: its run queue by its processors. Bytes that other processes hold are not known.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from forebay.porting.shim.cards import NAME

DRIVER = "570.26"  # the oldest that CUDA 12.8 takes, by NVIDIA's release notes: scripts compare it
VARIABLE = "FOREBAY_SHIM"


@dataclass(frozen=True)
class Board:
    """One card, from outside. It is no Card of the catalogue: a monitor's view of what carries this run."""

    index: int
    name: str
    uuid: str
    total: int  # bytes
    used: int  # bytes that this process holds
    busy: int  # percent

    @property
    def bus(self) -> str:
        return f"00000000:{self.index + 1:02X}:00.0"


def boards_of(environment: Mapping[str, str]) -> list[Board]:
    """All cards, whatever CUDA_VISIBLE_DEVICES hides: the monitor doesn't look at it. None: no run of ours is here."""
    text = environment.get(VARIABLE)
    if not text:
        return []
    body = json.loads(text)
    kind = body["carrier"]["kind"]
    total = int(body.get("memory_limit", 0)) or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    held = _held_here(environment.get("CUDA_VISIBLE_DEVICES"))
    busy = min(100, round(100 * os.getloadavg()[0] / (os.cpu_count() or 1)))
    name = NAME.get(kind, f"Forebay {kind} CUDA device")
    return [Board(i, name, f"GPU-forebay-{kind}-{i}", total, held.get(i, 0), busy) for i in range(int(body["cards"]))]


def _held_here(visible: str | None) -> dict[int, int]:
    """Bytes of each card, by the monitor's numbers: torch counts the visible ones only."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return {}
    cards = range(torch.cuda.device_count())
    numbers = [int(word) for word in visible.split(",")[: len(cards)]] if visible else list(cards)
    return {number: int(torch.cuda.memory_allocated(card)) for number, card in zip(numbers, cards)}  # noqa: B905
