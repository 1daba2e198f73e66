"""A chip's cards, as torch.cuda sees them: `Cards` over the plug-in's own module.

Asked:  how many cards, which is current, what do they hold?
Answer: current card and streams come from the chip's guard, through our library; memory and names from torch.<device>.
Limits: nothing touches the device before it is asked for. What a plug-in doesn't tell is 0.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from forebay.errors import RunFailed
from forebay.porting.shim.build import Torch
from forebay.porting.shim.cards import Cards, Memory
from forebay.porting.shim.chip.adapter import Adapter


class Chips(Cards):
    kind = "chip"
    of_torch = True

    def __init__(self, cards: int, library: Path, torch: Torch, adapter: Adapter) -> None:
        super().__init__(cards)
        self.adapter = adapter
        for name in ("libc10.so", "libtorch_cpu.so"):  # first, and for all to see: ours is linked against them
            ctypes.CDLL(str(torch.folder / "lib" / name), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.PyDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self.library.forebay_chip_stream.restype = ctypes.c_int64

    def module(self) -> Any:
        import torch

        return getattr(torch, self.adapter.device)

    def call(self, name: str, *args: Any, default: Any = None) -> Any:
        """A function of torch.<device> under its own name, or the default where there is none."""
        function = getattr(self.module(), self.adapter.calls.get(name, name), None)
        return default if function is None else function(*args)

    def count(self) -> int:
        return int(self.call("device_count", default=0))

    def visible(self) -> int:
        """How many of the cards that were asked for CUDA_VISIBLE_DEVICES leaves."""
        return super().count()

    def current(self) -> int:
        return int(self.library.forebay_chip_current())

    def exchange(self, card: int) -> int:
        if card < 0:
            return self.current()
        before = int(self.library.forebay_chip_exchange(self.checked(card)))
        if before < 0:
            raise RunFailed(f"{self.adapter.device}:{card} can't be made the current device.")
        return before

    def memory(self, card: int) -> Memory:
        self.checked(card)
        held = int(self.call("memory_allocated", card, default=0))
        reserved = int(self.call("memory_reserved", card, default=held))
        peak = int(self.call("max_memory_allocated", card, default=held))
        return Memory(
            held, peak, reserved, int(self.call("max_memory_reserved", card, default=max(peak, reserved))), 0, 0, 0, peak, 0
        )

    def reset_peak(self, card: int) -> None:
        self.call("reset_peak_memory_stats", self.checked(card))

    def reset_totals(self, card: int) -> None:
        self.checked(card)

    def empty_cache(self) -> None:
        self.call("empty_cache")

    def total_memory(self, card: int | None = None) -> int:
        free_and_total = self.call("mem_get_info", self.current() if card is None else card)
        return int(free_and_total[1]) if free_and_total else 0

    def stream(self, card: int) -> int:
        return int(self.library.forebay_chip_stream(self.checked(card)))

    def set_stream(self, card: int, stream: int) -> None:
        self.library.forebay_chip_set_stream(self.checked(card), ctypes.c_int64(stream))

    def default_generator(self, card: int) -> Any:
        import torch

        self.next_generator_is_default()
        return torch.Generator(device=torch.device("cuda", card))

    def next_generator_is_default(self) -> None:
        """The next torch.Generator that this thread makes for a card is the card's default one."""
        self.library.forebay_next_generator_is_default()
