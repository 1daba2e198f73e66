"""Memory figures in the form of CUDA's caching allocator, and the settings of an allocator that isn't here."""

from __future__ import annotations

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
        "_cuda_memorySnapshot": lambda *args: {"segments": [], "device_traces": []},
        "_cuda_record_memory_history": lambda *args, **kwargs: note("torch.cuda.memory._record_memory_history", "no-op"),
        "_cuda_ipc_collect": lambda: note("torch.cuda.ipc_collect", "no-op"),
        "_host_emptyCache": lambda: note("torch.cuda.empty_cache", "no-op"),
        "_cuda_cudaCachingAllocator_enable": lambda on: note("torch.cuda.caching_allocator_enable", "no-op"),
        "_cuda_cudaCachingAllocator_is_enabled": lambda: True,
    }


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
