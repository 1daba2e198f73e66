"""Copies between cards, by which torch.nn.DataParallel works."""

from __future__ import annotations

from typing import Any

from forebay.porting.shim.journal import noted


def functions() -> dict[str, Any]:
    """What torch.nn.DataParallel calls: plain copies."""

    @noted("torch.nn.parallel.comm", "exact")
    def scatter(tensor: Any, devices: Any, chunk_sizes: Any = None, dim: int = 0, streams: Any = None) -> Any:
        chunks = tensor.split(chunk_sizes, dim) if chunk_sizes else tensor.chunk(len(devices), dim)
        return [chunk.to(f"cuda:{devices[i]}", copy=True) for i, chunk in enumerate(chunks)]

    @noted("torch.nn.parallel.comm", "exact")
    def gather(tensors: Any, dim: int, destination: int | None = None) -> Any:
        import torch

        place = "cpu" if destination == -1 else "cuda" if destination is None else f"cuda:{destination}"
        return torch.cat([tensor.to(place) for tensor in tensors], dim)

    @noted("torch.nn.parallel.comm", "exact")
    def broadcast(tensor: Any, devices: Any) -> Any:
        return [tensor.to(f"cuda:{card}") for card in devices]

    def broadcast_coalesced(tensors: Any, devices: Any, buffer_size: int) -> Any:
        return [[tensor.to(f"cuda:{card}") for tensor in tensors] for card in devices]

    return {
        "_scatter": scatter,
        "_gather": gather,
        "_broadcast": broadcast,
        "_broadcast_coalesced": broadcast_coalesced,
    }


# ---------------------------------------------------------------- classes
