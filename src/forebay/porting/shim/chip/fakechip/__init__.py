"""A chip that isn't there: a plug-in of torch in Python alone, for tests and for those who write an adapter.

Asked:  how does a device called "fakechip" come to torch without a compiler and without a vendor?
Answer: its tensors are ordinary ones of torch under the spare key PrivateUse1, with real storages whose bytes lie in host
        memory (made through DLPack, whose capsule names the device). One fallback runs torch's CPU kernel over the same
        bytes. What only looks at shapes runs torch's own kernel for views.
Limits: some 20 microseconds a call. Streams, generators and the current device come from stand_in.cpp, since torch takes
        those from C++ only. torch 2.10 or newer. Not a simulation of any chip: results are the CPU's.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.utils import backend_registration

from forebay.porting.shim.chip.fakechip import faults, kernels
from forebay.porting.shim.chip.fakechip.bytes import NAME, TOTAL_MEMORY, current_device, ledgers
from forebay.porting.shim.chip.fakechip.call import generators

__all__ = ["NAME", "current_device", "start"]


def is_available() -> bool:
    return device_count() > 0


def is_initialized() -> bool:
    return True


def _is_in_bad_fork() -> bool:
    return False


def device_count() -> int:
    return len(generators)


def set_device(index: Any) -> None:
    place = torch.device(NAME, index) if isinstance(index, int) else torch.device(index)
    torch._C._accelerator_setDeviceIndex(0 if place.index is None else place.index)


def synchronize(device: Any = None) -> None:
    """Work is done when its call returns."""


def default_generator(index: int) -> Any:
    return generators[index]


def manual_seed_all(seed: int) -> None:
    for generator in generators.values():
        generator.manual_seed(seed)


def manual_seed(seed: int) -> None:
    generators[current_device()].manual_seed(seed)


def get_rng_state(device: Any = None) -> Any:
    return generators[_place(device)].get_state()


def set_rng_state(state: Any, device: Any = None) -> None:
    generators[_place(device)].set_state(state)


def memory_allocated(device: Any = None) -> int:
    return ledgers[_place(device)].held


def max_memory_allocated(device: Any = None) -> int:
    return ledgers[_place(device)].peak


def reset_peak_memory_stats(device: Any = None) -> None:
    ledger = ledgers[_place(device)]
    ledger.peak = ledger.held


def mem_get_info(device: Any = None) -> tuple[int, int]:
    return TOTAL_MEMORY - memory_allocated(device), TOTAL_MEMORY


def empty_cache() -> None:
    """Nothing is kept back."""


def get_amp_supported_dtype() -> list[Any]:
    return [torch.float16, torch.bfloat16]


def _place(device: Any) -> int:
    if device is None:
        return current_device()
    index = device if isinstance(device, int) else torch.device(device).index
    return current_device() if index is None else index


def start(module: Any, cards: int, next_is_default: Any) -> None:
    """Give torch the device. The stand-in guard for `cards` cards is registered already."""
    backend_registration.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, module)  # type: ignore[no-untyped-call]
    backend_registration.generate_methods_for_privateuse1_backend()
    for index in range(cards):
        next_is_default()
        generators[index] = torch.Generator(device=torch.device(NAME, index))
    kernels.register()
    if os.environ.get(faults.VARIABLE):
        faults.plant(faults.named(os.environ[faults.VARIABLE]))
