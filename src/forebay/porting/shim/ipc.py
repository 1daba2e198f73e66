"""Tensors of a simulated card that go to another process.

Asked:  what does a queue of torch.multiprocessing send when it is given a cuda tensor?
Answer: what a card sends: a handle to its memory, so that both processes see the same bytes. The card's storage moves to shared
        host memory the first time that it is sent, and the handle is that memory's, by torch's own means for host tensors.
Limits: the sender needn't keep the tensor alive, where on a card it must. Events can't be sent.
"""

from __future__ import annotations

import importlib
from typing import Any

from forebay.porting.shim.cards import Simulated
from forebay.porting.shim.journal import note


def carry(torch: Any, cards: Simulated) -> None:
    """Give torch.UntypedStorage, a Python class, the methods that torch.multiprocessing calls for cuda."""
    storages = torch.UntypedStorage

    def _share_cuda_(self: Any, *args: Any) -> tuple[Any, ...]:
        reductions: Any = importlib.import_module("torch.multiprocessing.reductions")
        note("torch.multiprocessing CUDA IPC", "emulated")
        host = getattr(self, "_forebay_host", None)
        if host is None:
            host = storages._new_shared(self.nbytes())
            _rest(torch, cards, self, host, copy=True)
        return self.device.index, reductions.reduce_storage(host), self.nbytes(), 0, b"", 0, b"", False

    def _new_shared_cuda(cls: Any, card: int, handle: Any, *args: Any) -> Any:
        rebuild, words = handle
        storage = storages(0, device=torch.device("cuda", card))
        _rest(torch, cards, storage, rebuild(*words), copy=False)
        return storage

    def _release_ipc_counter_cuda(cls: Any, *args: Any, **kwargs: Any) -> None:
        """Shared memory counts its own users."""

    storages._share_cuda_ = _share_cuda_
    storages._new_shared_cuda = classmethod(_new_shared_cuda)
    storages._release_ipc_counter_cuda = classmethod(_release_ipc_counter_cuda)


def _rest(torch: Any, cards: Simulated, storage: Any, host: Any, *, copy: bool) -> None:
    if not cards.rest_on(storage._cdata, host._cdata, copy=copy):
        raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to share {host.nbytes()} bytes.")
    storage._forebay_host = host  # the object lives as long as the storage does
