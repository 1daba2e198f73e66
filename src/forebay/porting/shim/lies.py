"""What torch's Python says of cuda, to whom.

Asked:  who may believe that there is a GPU?
Answer: scripts and the libraries they use. Torch's compilers and Triton get the truth, or they would look for a driver: the
        lie is scoped by the module that asks. torch.compile runs the model as it is. No torch builtin is replaced: each name
        here is a Python function of torch, and the one that takes its place is a function of its own.
Limits: the asking module is found by its global __name__ one frame up.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

from forebay.porting.shim import generators
from forebay.porting.shim.build import find_torch
from forebay.porting.shim.cards import Cards, Simulated
from forebay.porting.shim.journal import note

TRUTH = ("torch._inductor", "torch._dynamo", "torch._functorch", "torch._export", "torch.utils._triton", "triton", "torch._C")


def told_the_truth(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in TRUTH)


def tell(torch: Any, cards: Cards) -> None:
    """Change torch after its import. Works for the simulated and the mapped carrier."""
    torch.cuda.is_available = _scoped(torch.cuda.is_available, cards)
    torch.compile = _eager(torch.compile)
    if hasattr(torch._C, "_jit_override_can_fuse_on_gpu"):
        torch._C._jit_override_can_fuse_on_gpu(False)  # TorchScript's fuser would write CUDA C
    warnings.filterwarnings("ignore", message="PyTorch was compiled without cuDNN")  # LSTM asks; the host's kernels serve
    if isinstance(cards, Simulated):
        _untyped_storages(torch, cards)
        if find_torch().release < (2, 6):
            generators.construct(torch, cards)


def _untyped_storages(torch: Any, cards: Simulated) -> None:
    """Let torch.UntypedStorage be made and resized on the simulated device.

    Its constructor and resize_ know the devices that were compiled in. torch.load and FSDP need both. UntypedStorage is a
    Python class over the compiled one, so they are added to it; nothing compiled is replaced.
    """
    base = torch._C.StorageBase
    storage = torch.UntypedStorage

    def __new__(cls: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        if device is None or torch.device(device).type != "cuda":
            return base.__new__(cls, *args, **({} if device is None else {"device": device}), **kwargs)
        if args and not isinstance(args[0], int):  # a list of bytes
            return torch.tensor(list(args[0]), dtype=torch.uint8, device=device).untyped_storage()
        return torch.empty(args[0] if args else kwargs.get("size", 0), dtype=torch.uint8, device=device).untyped_storage()

    def resize_(self: Any, size: int) -> Any:
        if self.device.type != "cuda":
            return base.resize_(self, size)
        if not cards.resize_storage(self._cdata, size):
            raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to resize a storage to {size} bytes.")
        return self

    storage.__new__ = __new__
    storage.resize_ = resize_


def _scoped(real: Callable[[], bool], cards: Cards) -> Callable[[], bool]:
    @functools.wraps(real)
    def is_available() -> bool:
        asking = sys._getframe(1).f_globals.get("__name__", "")
        return cards.count() > 0 and not told_the_truth(asking)

    return is_available


def _eager(real: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile that returns what it got, in the wrapper that scripts expect of a module."""

    @functools.wraps(real)
    def compile(model: Any = None, **options: Any) -> Any:
        import torch

        if model is None:
            return lambda function: compile(function, **options)
        note("torch.compile", "emulated")
        if not isinstance(model, torch.nn.Module):
            return model
        from torch._dynamo.eval_frame import OptimizedModule, _NullDecorator

        return OptimizedModule(model, _NullDecorator())  # type: ignore[arg-type]

    return compile
