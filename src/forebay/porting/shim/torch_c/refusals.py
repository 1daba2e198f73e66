"""What would need a real CUDA runtime is refused by name, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forebay.porting.shim.journal import note


def refusal(name: str, why: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        line = note(name, "refused")
        raise RuntimeError(f"{name} is not carried without a GPU: {why} (called at {line})")

    return refuse


def functions() -> dict[str, Any]:
    allocator = "tensors lie in the host's memory, which no CUDA allocator hands out"
    gds = "GPUDirect Storage moves bytes between a disk and a GPU; use torch.load and torch.save"

    class _cuda_CUDAAllocator:
        """Named in annotations; none can be made."""

        __new__ = refusal("torch.cuda.memory.CUDAPluggableAllocator", allocator)

    refused = {
        "_cuda_cudaHostAllocator": ("torch.cuda.memory._host_allocator", allocator),
        "_cuda_customAllocator": ("torch.cuda.memory.CUDAPluggableAllocator", allocator),
        "_cuda_changeCurrentAllocator": ("torch.cuda.change_current_allocator", allocator),
        "_cuda_getAllocator": ("torch.cuda.memory._get_current_allocator", allocator),
        "_cuda_jiterator_compile_and_launch_kernel": (
            "torch.cuda.jiterator",
            "it compiles CUDA C for a GPU; write it in PyTorch",
        ),
        "_nccl_unique_id": ("torch.cuda.nccl.unique_id", "use torch.distributed"),
        "_nccl_init_rank": ("torch.cuda.nccl.init_rank", "use torch.distributed"),
        **{
            f"_gds_{name}": (f"torch.cuda.gds ({name})", gds)
            for name in (
                "register_buffer",
                "deregister_buffer",
                "register_handle",
                "deregister_handle",
                "load_storage",
                "save_storage",
            )
        },
    }
    return {"_cuda_CUDAAllocator": _cuda_CUDAAllocator, **{name: refusal(*why) for name, why in refused.items()}}
