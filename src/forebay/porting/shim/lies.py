"""What torch's Python says of cuda, to whom.

Asked:  who may believe that there is a GPU?
Answer: scripts and the libraries they use, by the table of truth.py: the lie is scoped by the module that asks. No torch
        builtin is replaced: each name here is a Python function of torch, and what takes its place is a function of its own.
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
from forebay.porting.shim.truth import told_the_truth


def tell(torch: Any, cards: Cards, knows: Callable[[str], bool] = told_the_truth) -> None:
    """Change torch after its import, for every carrier. `knows` says which module hears the truth."""
    torch.cuda.is_available = _scoped(torch.cuda.is_available, cards, knows)
    if hasattr(torch._C, "_jit_override_can_fuse_on_gpu"):
        torch._C._jit_override_can_fuse_on_gpu(False)  # TorchScript's fuser would write CUDA C
    warnings.filterwarnings("ignore", message="PyTorch was compiled without cuDNN")  # LSTM asks; the host's kernels serve
    if cards.of_torch:
        _untyped_storages(torch, cards)
        if isinstance(cards, Simulated) and find_torch().release < (2, 6):
            generators.construct(torch, cards)


def _untyped_storages(torch: Any, cards: Cards) -> None:
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
    if cards.kind != "chip":  # a plug-in resizes its storages through torch's own call
        storage.resize_ = resize_


def _scoped(real: Callable[[], bool], cards: Cards, knows: Callable[[str], bool]) -> Callable[[], bool]:
    @functools.wraps(real)
    def is_available() -> bool:
        asking = sys._getframe(1).f_globals.get("__name__", "")
        return cards.count() > 0 and not knows(asking)

    return is_available
