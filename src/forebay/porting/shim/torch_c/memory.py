"""Memory figures in the form of CUDA's caching allocator, raw allocations, and the settings of an allocator that isn't here."""

from __future__ import annotations

import itertools
from typing import Any

from forebay.porting.shim.cards import Cards
from forebay.porting.shim.journal import note, noted


def functions(cards: Cards) -> dict[str, Any]:
    fraction: dict[int, float] = {}

    @noted("torch.cuda memory figures", "emulated")
    def memory_stats(card: int) -> dict[str, Any]:
        return _memory_stats(cards, card)

    @noted("torch.cuda.reset_peak_memory_stats", "emulated")
    def reset_peak(card: int) -> None:
        cards.reset_peak(card)

    @noted("torch.cuda.empty_cache", "no-op")
    def empty_cache() -> None:
        cards.empty_cache()

    def set_fraction(value: float, card: int) -> None:
        note("torch.cuda.set_per_process_memory_fraction", "no-op")
        fraction[card] = value

    return {
        "_cuda_memoryStats": memory_stats,
        "_cuda_resetPeakMemoryStats": reset_peak,
        "_cuda_resetAccumulatedMemoryStats": cards.reset_totals,
        "_cuda_emptyCache": empty_cache,
        "_cuda_setMemoryFraction": set_fraction,
        "_cuda_getMemoryFraction": lambda card: fraction.get(card, 1.0),
        "_cuda_getAllocatorBackend": lambda: "native",
        **_snapshots(cards),
        **_raw(cards),
        **_pools(),
        "_cuda_hostMemoryStats": lambda: dict(_HOST_STATS),
        "_cuda_resetAccumulatedHostMemoryStats": lambda: note("torch.cuda.host_memory_stats", "no-op"),
        "_cuda_resetPeakHostMemoryStats": lambda: note("torch.cuda.host_memory_stats", "no-op"),
        "_cuda_ipc_collect": lambda: note("torch.cuda.ipc_collect", "no-op"),
        "_host_emptyCache": lambda: note("torch.cuda.empty_cache", "no-op"),
        "_cuda_cudaCachingAllocator_enable": lambda on: note("torch.cuda.caching_allocator_enable", "no-op"),
        "_cuda_cudaCachingAllocator_is_enabled": lambda: True,
    }


# Pinned memory is ordinary memory here, and isn't counted.
_NOTHING = {"current": 0, "peak": 0, "allocated": 0, "freed": 0}
_HOST_STATS: dict[str, Any] = {
    **{name: dict(_NOTHING) for name in ("allocation", "segment", "active", "allocated_bytes", "reserved_bytes", "active_bytes")},
    **{name: {"total": 0, "max": 0, "min": 0, "count": 0, "avg": 0} for name in ("host_alloc_time", "host_free_time")},
    "num_host_alloc": 0,
    "num_host_free": 0,
}


def _snapshots(cards: Cards) -> dict[str, Any]:
    metadata = [""]

    def snapshot(*args: Any, **kwargs: Any) -> dict[str, Any]:
        note("torch.cuda.memory_snapshot", "no-op")
        traces: list[list[Any]] = [[] for _ in range(cards.count())]
        return {"segments": [], "device_traces": traces, "allocator_settings": {}, "external_annotations": []}

    def record(*args: Any, **kwargs: Any) -> None:
        note("torch.cuda.memory._record_memory_history", "no-op")

    def set_metadata(text: str) -> None:
        metadata[0] = text

    return {
        "_cuda_memorySnapshot": snapshot,
        "_cuda_record_memory_history": record,
        "_cuda_record_memory_history_legacy": record,
        "_cuda_isHistoryEnabled": lambda: False,
        "_cuda_allocationTraceback": lambda address: None,
        "_cuda_setMemoryMetadata": set_metadata,
        "_cuda_getMemoryMetadata": lambda: metadata[0],
        "_cuda_attach_out_of_memory_observer": lambda observer: note("torch.cuda out-of-memory observers", "no-op"),
    }


def _raw(cards: Cards) -> dict[str, Any]:
    """Allocations known by their address: each is the memory of a tensor that is kept here."""
    kept: dict[int, Any] = {}

    @noted("torch.cuda.caching_allocator_alloc", "emulated")
    def allocate(size: int, stream: int) -> int:
        import torch

        tensor = torch.empty(max(1, size), dtype=torch.uint8, device=f"cuda:{cards.current()}")
        kept[tensor.data_ptr()] = tensor
        return int(tensor.data_ptr())

    def delete(address: int) -> None:
        kept.pop(address, None)

    return {"_cuda_cudaCachingAllocator_raw_alloc": allocate, "_cuda_cudaCachingAllocator_raw_delete": delete}


def _pools() -> dict[str, Any]:
    numbers = itertools.count(1)

    class _MemPool:
        """A pool is a number: there is one allocator, and it keeps nothing back."""

        def __init__(self, allocator: Any = None, is_user_created: bool = True, *options: bool) -> None:
            note("torch.cuda.MemPool", "no-op")
            self.allocator = allocator
            self._number = next(numbers)

        @property
        def id(self) -> tuple[int, int]:
            return 0, self._number

        def use_count(self) -> int:
            return 1

    def nothing(*args: Any) -> None:
        note("torch.cuda.use_mem_pool", "no-op")

    names = ("beginAllocateToPool", "beginAllocateCurrentThreadToPool", "beginAllocateCurrentStreamToPool", "endAllocateToPool")
    return {"_MemPool": _MemPool, "_cuda_releasePool": nothing, **{f"_cuda_{name}": nothing for name in names}}


def _memory_stats(cards: Cards, card: int) -> dict[str, Any]:
    """In the form of CUDA's caching allocator, as if every block came from its large pool."""
    m = cards.memory(card)

    def pools(current: int, peak: int, ever: int, freed: int) -> dict[str, dict[str, int]]:
        full = {"current": current, "peak": peak, "allocated": ever, "freed": freed}
        return {"all": full, "large_pool": dict(full), "small_pool": dict.fromkeys(full, 0)}

    blocks = pools(m.blocks, m.blocks_peak, m.blocks_ever, m.blocks_ever - m.blocks)
    held = pools(m.held, m.peak, m.bytes_ever, m.bytes_ever - m.held)
    reserved = pools(m.reserved, m.reserved_peak, m.reserved_peak, m.reserved_peak - m.reserved)
    nothing = pools(0, 0, 0, 0)
    return {
        "allocation": blocks,
        "segment": blocks,
        "active": blocks,
        "inactive_split": nothing,
        "allocated_bytes": held,
        "requested_bytes": held,
        "active_bytes": held,
        "reserved_bytes": reserved,
        "inactive_split_bytes": nothing,
        "num_alloc_retries": m.refused,
        "num_ooms": m.refused,
        "num_sync_all_streams": 0,
        "num_device_alloc": m.blocks_ever,
        "num_device_free": m.blocks_ever - m.blocks,
        "max_split_size": -1,
        "oversize_allocations": nothing["all"],
        "oversize_segments": nothing["all"],
    }
