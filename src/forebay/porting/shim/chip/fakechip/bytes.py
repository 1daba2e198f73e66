"""The fake chip's bytes: a chip's tensor and the host's over the same memory, and what each card holds.

Asked:  how is a tensor on "fakechip" made without C++?
Answer: DLPack's capsule names a device. Written otherwise, it gives torch an ordinary tensor under the spare key PrivateUse1,
        with a real storage over the host's bytes, and the other way round.
Limits: strided tensors only.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import Any

import torch

NAME = "fakechip"
KEY = "PrivateUse1"
TOTAL_MEMORY = 16 * 2**30  # what it says it has
ON_HOST = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
DL_CPU, DL_OTHER = 1, 12  # kDLCPU and kDLExtDev of DLPack's header

_capsule = ctypes.pythonapi.PyCapsule_GetPointer
_capsule.restype, _capsule.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _Place(ctypes.Structure):
    """How a DLTensor begins."""

    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


def _renamed(tensor: Any, device_type: int, index: int) -> Any:
    """A tensor over the same bytes, which DLPack's capsule says to be elsewhere."""
    flags = tensor.is_conj(), tensor.is_neg()
    if any(flags):
        tensor = torch._conj(tensor) if flags[0] else tensor
        tensor = torch._neg_view(tensor) if flags[1] else tensor
    capsule = torch._C._to_dlpack(tensor)
    place = _Place.from_address(_capsule(capsule, b"dltensor"))
    place.device_type, place.device_id = device_type, index
    made = torch._C._from_dlpack(capsule)
    if made.stride() != tensor.stride():  # DLPack writes its own for dimensions of one
        made = torch.ops.aten.as_strided.default.redispatch(ON_HOST, made, tensor.shape, tensor.stride(), 0)
    if any(flags):
        made = torch._conj(made) if flags[0] else made
        made = torch._neg_view(made) if flags[1] else made
    return made


def to_host(tensor: Any) -> Any:
    return _renamed(tensor, DL_CPU, 0)


def to_chip(tensor: Any, index: int) -> Any:
    ledgers[index].charge(tensor)
    return _renamed(tensor, DL_OTHER, index)


def on_chip(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and device_of(value).type == NAME


device_of = torch._C.TensorBase.device.__get__  # the truth, whatever a script is told


class Ledger:
    """Bytes that one card holds."""

    def __init__(self) -> None:
        self.held = self.peak = 0
        self._lock = threading.Lock()
        self._alive: dict[int, Any] = {}

    def make_room(self, size: int) -> None:
        if self.held + size > TOTAL_MEMORY:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. {NAME} has a total capacity of "
                f"{TOTAL_MEMORY / 2**20:.2f} MiB, of which {(TOTAL_MEMORY - self.held) / 2**20:.2f} MiB is free."
            )

    def charge(self, tensor: Any) -> None:
        storage = tensor.untyped_storage()
        size = (storage.nbytes() + 511) // 512 * 512
        with self._lock:
            self.held += size
            self.peak = max(self.peak, self.held)
        key = id(storage)
        self._alive[key] = weakref.ref(storage, lambda gone: self._free(key, size))

    def _free(self, key: int, size: int) -> None:
        with self._lock:
            self.held -= size
        self._alive.pop(key, None)


ledgers = [Ledger() for _ in range(64)]


def current_device() -> int:
    return int(torch.Stream(device=NAME).device_index)
