"""The cards: which is current, their properties, the start of torch.cuda, their default generators."""

from __future__ import annotations

import os
import time
from typing import Any

from forebay.porting.shim.cards import NAME, Cards
from forebay.porting.shim.journal import note, noted

CAPABILITY = (8, 0)  # bf16 and every operator class that scripts ask for; what most CUDA-like chips answer


def functions(cards: Cards) -> dict[str, Any]:
    sync_debug = [0]

    @noted("torch.cuda initialisation", "emulated")
    def init() -> None:
        import torch

        if cards.count() == 0:
            raise RuntimeError("No CUDA GPUs are available")
        setattr(torch.cuda, "_get_device_properties", properties)  # noqa: B010  # as the CUDA build's own start does
        torch.cuda.default_generators = tuple(cards.default_generator(card) for card in range(cards.count()))

    @noted("torch.cuda.set_device", "exact")
    def set_device(card: int) -> None:
        cards.exchange(int(card))

    @noted("torch.cuda.synchronize", "exact")
    def synchronize() -> None:
        """Everything is done when the call that asked for it returns."""
        if cards.capturing():
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing (torch.cuda.synchronize)")

    def set_sync_debug_mode(mode: int) -> None:
        note("torch.cuda.set_sync_debug_mode", "no-op")
        sync_debug[0] = mode

    @noted("torch.cuda._sleep", "emulated")
    def sleep(cycles: int) -> None:
        time.sleep(cycles / 1.41e9)  # an A100's boost clock, by NVIDIA's data sheet of 2020

    @noted("torch.cuda.get_device_properties", "emulated")
    def properties(card: int | None = None) -> Any:
        return _CudaDeviceProperties(cards, cards.checked(cards.current() if card is None else int(card)))

    return {
        "_CudaDeviceProperties": _CudaDeviceProperties,
        "_cuda_init": init,
        "_cuda_getDeviceCount": cards.count,
        "_cuda_getDevice": cards.current,
        "_cuda_setDevice": set_device,
        "_cuda_exchangeDevice": cards.exchange,
        "_cuda_maybeExchangeDevice": lambda card: cards.exchange(card),  # Dynamo takes one function under two names for a mistake
        "_cuda_isInBadFork": lambda: False,  # nothing in a card's state is lost by a fork
        "_cuda_synchronize": synchronize,
        "_cuda_canDeviceAccessPeer": lambda one, other: cards.checked(one) != cards.checked(other),
        "_cuda_set_sync_debug_mode": set_sync_debug_mode,
        "_cuda_get_sync_debug_mode": lambda: sync_debug[0],
        "_cuda_sleep": sleep,
    }


class _CudaDeviceProperties:
    """What torch.cuda.get_device_properties answers. The name says what it is; memory and processors are the host's."""

    def __init__(self, cards: Cards, card: int) -> None:
        self.name = NAME[cards.kind]
        self.major, self.minor = CAPABILITY
        self.total_memory = cards.total_memory()
        self.multi_processor_count = os.cpu_count() or 1
        self.warp_size = 32
        self.max_threads_per_multi_processor = 2048
        self.max_threads_per_block = 1024
        self.regs_per_multiprocessor = 65536
        self.shared_memory_per_block = 49152
        self.shared_memory_per_block_optin = 166912
        self.shared_memory_per_multiprocessor = 167936
        self.L2_cache_size = 0
        self.clock_rate = 0
        self.memory_clock_rate = 0
        self.memory_bus_width = 0
        self.is_integrated = 1
        self.is_multi_gpu_board = 0
        self.pci_bus_id, self.pci_device_id, self.pci_domain_id = card, 0, 0
        self.gcnArchName = self.name
        self.uuid = f"forebay-{cards.kind}-{card}"

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, multi_processor_count={self.multi_processor_count})"
        )
