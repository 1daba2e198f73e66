"""Copies between cards, by which torch.nn.DataParallel works, and the collectives of torch.cuda.nccl within one process."""

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
        **_collectives(),
        "_scatter": scatter,
        "_gather": gather,
        "_broadcast": broadcast,
        "_broadcast_coalesced": broadcast_coalesced,
    }


# ---------------------------------------------------------------- classes


def _collectives() -> dict[str, Any]:
    """torch.cuda.nccl: one process, a tensor on each of its cards."""

    def reduced(inputs: Any, op: int) -> Any:
        import torch

        stacked = torch.stack([tensor.to(inputs[0].device) for tensor in inputs])
        if op == 4:  # the numbers are NCCL's: ncclSum, ncclProd, ncclMax, ncclMin, ncclAvg
            return stacked.sum(0) / len(inputs)
        return (stacked.sum, stacked.prod, stacked.amax, stacked.amin)[op](0)

    @noted("torch.cuda.nccl", "exact")
    def all_reduce(inputs: Any, outputs: Any, op: int, streams: Any, comms: Any) -> None:
        total = reduced(inputs, op)
        for output in outputs:
            output.copy_(total)

    @noted("torch.cuda.nccl", "exact")
    def reduce(inputs: Any, output: Any, root: int, op: int, streams: Any, comms: Any) -> None:
        output.copy_(reduced(inputs, op))

    @noted("torch.cuda.nccl", "exact")
    def broadcast(inputs: Any, root: int, streams: Any, comms: Any) -> None:
        for tensor in inputs:
            tensor.copy_(inputs[root])

    @noted("torch.cuda.nccl", "exact")
    def all_gather(inputs: Any, outputs: Any, streams: Any, comms: Any) -> None:
        import torch

        whole = torch.cat([tensor.reshape(-1).to(inputs[0].device) for tensor in inputs])
        for output in outputs:
            output.copy_(whole.view_as(output))

    @noted("torch.cuda.nccl", "exact")
    def reduce_scatter(inputs: Any, outputs: Any, op: int, streams: Any, comms: Any) -> None:
        for i, chunk in enumerate(reduced(inputs, op).reshape(-1).chunk(len(outputs))):
            outputs[i].copy_(chunk.view_as(outputs[i]))

    return {
        "_nccl_all_reduce": all_reduce,
        "_nccl_reduce": reduce,
        "_nccl_broadcast": broadcast,
        "_nccl_all_gather": all_gather,
        "_nccl_reduce_scatter": reduce_scatter,
    }
