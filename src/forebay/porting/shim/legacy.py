"""Types and versions of the time before torch.device: torch.cuda.FloatTensor and its kin, torch.version.cuda.

Asked:  what do scripts get that name a card by a type?
Answer: classes of ours in torch.cuda, made for the simulated device: called, they make a tensor; isinstance, x.type(T) and
        x.type() know them by their names; set_default_tensor_type takes them. torch.version.cuda says a version to scripts, and
        to torch itself what its build says.
Limits: a default tensor type is kept as a default device and a default number format, so that torch.Tensor(2, 3), which is
        older than both, stays on the host.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from forebay.porting.shim.journal import note
from forebay.porting.shim.truth import VERSION, told_the_truth

CUDA_VERSION = "12.8"
FORMATS = {
    "BFloat16Tensor": "bfloat16",
    "BoolTensor": "bool",
    "ByteTensor": "uint8",
    "CharTensor": "int8",
    "DoubleTensor": "float64",
    "FloatTensor": "float32",
    "HalfTensor": "float16",
    "IntTensor": "int32",
    "LongTensor": "int64",
    "ShortTensor": "int16",
}


class _TypeOfTensors(type):
    """What is asked of the class itself. Its full name is dotted: Tensor.type(T) reads it."""

    dtype: Any
    short: str

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        return cls.short

    def __repr__(cls) -> str:
        return f"<class 'torch.cuda.{cls.short}'>"

    def __instancecheck__(cls, instance: Any) -> bool:
        import torch

        return isinstance(instance, torch.Tensor) and instance.is_cuda and instance.dtype == cls.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        import torch

        note(f"torch.cuda.{cls.short}", "emulated")
        return torch.empty(0, dtype=cls.dtype, device="cuda").new(*args, **kwargs)


def tensor_types(torch: Any) -> None:
    """Put our classes in the place of those that say that torch wasn't compiled with CUDA."""
    for name, dtype in FORMATS.items():
        body = {
            "__module__": "torch.cuda",
            "__qualname__": name,
            "short": name,
            "dtype": getattr(torch, dtype),
            "layout": torch.strided,
            "is_cuda": True,
            "is_sparse": False,
        }
        made = _TypeOfTensors(f"torch.cuda.{name}", (), body)
        setattr(torch.cuda, name, made)
        torch._tensor_classes.add(made)
    torch.set_default_tensor_type = _with_our_types(torch.set_default_tensor_type)


def _with_our_types(real: Callable[[Any], None]) -> Callable[[Any], None]:
    device_set = [False]

    @functools.wraps(real)
    def set_default_tensor_type(t: Any, /) -> None:
        import torch

        utils: Any = torch._utils
        wanted = utils._import_dotted_name(t) if isinstance(t, str) else t
        if isinstance(wanted, _TypeOfTensors):
            if not wanted.dtype.is_floating_point:
                raise TypeError("only floating-point types are supported as the default type")
            note("torch.set_default_tensor_type", "emulated")
            torch.set_default_dtype(wanted.dtype)
            torch.set_default_device("cuda")
            device_set[0] = True
            return
        if device_set[0]:
            torch.set_default_device(None)
            device_set[0] = False
        real(t)

    return set_default_tensor_type


def version(torch: Any) -> None:
    """Scripts see a version; torch's insides, which would look for CUDA's parts, see what the build says."""
    built = torch.version.cuda

    class Version(types.ModuleType):
        @property
        def cuda(self) -> Any:
            asking = str(sys._getframe(1).f_globals.get("__name__", ""))
            return built if told_the_truth(asking, VERSION) else built or CUDA_VERSION

        @cuda.setter
        def cuda(self, value: Any) -> None:
            nonlocal built
            built = value

    torch.version.__class__ = Version
