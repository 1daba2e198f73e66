"""What would need a real CUDA runtime is refused by name, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forebay.porting.shim.journal import note


def refusal(name: str, why: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        note(name, "refused")
        raise RuntimeError(f"{name} is not carried without a GPU: {why}")

    return refuse


def functions() -> dict[str, Any]:
    graphs = "nothing is queued here that could be captured and played again; run the captured part as it is"

    class _CUDAGraph:
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return refusal("torch.cuda.CUDAGraph", graphs)()

    ipc = "a card's memory is this process's own; send the tensor's cpu() copy"
    return {
        "_CUDAGraph": _CUDAGraph,
        "_graph_pool_handle": refusal("torch.cuda.graph_pool_handle", graphs),
        "_cuda_cudaHostAllocator": refusal("torch.cuda.memory._host_allocator", ipc),
        "_cuda_cudaCachingAllocator_raw_alloc": refusal("torch.cuda.caching_allocator_alloc", ipc),
        "_cuda_getStreamFromExternal": refusal("torch.cuda.get_stream_from_external", ipc),
        "_nccl_unique_id": refusal("torch.cuda.nccl.unique_id", "use torch.distributed"),
    }
