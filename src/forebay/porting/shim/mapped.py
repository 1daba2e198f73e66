"""The mapped carrier: the word cuda means cpu.

Asked:  how does a script written for CUDA run where our device can't be compiled, or where torch is a build for GPUs?
Answer: torch.cuda answers as torch_c makes it; a TorchFunctionMode turns cuda into cpu in the arguments of every torch
        call; the few classes that it can't see (autocast, GradScaler, Generator, DataParallel and its like, torch.load) get the
        same change in their Python text. Every thread enters the mode, which torch leaves to the thread that entered.
Limits: LIMITS, which the report of each run repeats. It passes scripts; what they mean may change.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from forebay.porting.shim.journal import note

LIMITS: list[str] = [
    "tensors say device cpu and is_cuda False; comparing their device with cuda fails",
    "tensors of host and card mix without an error, and numpy() works on both",
    "autocast follows the CPU's list of operators, not CUDA's: result types differ for some",
    "one random generator serves host and cards",
    "memory figures are the process's; a memory limit isn't held to",
    "each torch call costs one to two microseconds more",
]


def apply(torch: Any) -> None:
    """Change torch after its import."""
    if hasattr(torch._C, "_accelerator_getAccelerator"):  # torch 2.6 and newer; a CUDA build would name its own
        torch._C._accelerator_getAccelerator = lambda: None
    _classes(torch)
    _loading(torch)
    mode = _mode(torch)
    mode.__enter__()  # for this thread, and never left
    _threads(mode)


def on_host(torch: Any, value: Any) -> Any:
    """The value with cpu where it says cuda: a device, its name, a tuple or a dictionary of them."""
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    if isinstance(value, str):
        return "cpu" if value == "cuda" or (value.startswith("cuda:") and value[5:].isdigit()) else value
    return value


def _mode(torch: Any) -> Any:
    from torch.overrides import TorchFunctionMode

    tensor = torch.Tensor
    copies = {tensor.to, tensor.cuda}

    class CudaMeansCpu(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if function in copies:
                return self.move(function, args, kwargs)
            if function is tensor.pin_memory:
                note("Tensor.pin_memory", "no-op")
                return args[0]
            if function is tensor.is_pinned:
                return False
            if "device" in kwargs:
                kwargs = {**kwargs, "device": self.place(kwargs["device"])}
            if kwargs.get("pin_memory"):
                kwargs = {**kwargs, "pin_memory": False}
            return function(*args, **kwargs)

        def place(self, device: Any) -> Any:
            if isinstance(device, int) and not isinstance(device, bool):
                return "cpu"
            return on_host(torch, device)

        def move(self, function: Any, args: Any, kwargs: Any) -> Any:
            """A copy, as a move to a card makes one: writing to the host's tensor afterwards must not change it."""
            if function is tensor.cuda:
                note("Tensor.cuda", "emulated")
                return tensor.to(args[0], "cpu", copy=True)
            places = [self.place(value) if i == 1 else on_host(torch, value) for i, value in enumerate(args[1:], 1)]
            changed = {name: self.place(value) if name == "device" else value for name, value in kwargs.items()}
            moved = places != list(args[1:]) or changed != kwargs
            if moved:
                note("Tensor.to", "emulated")
                changed["copy"] = True
            return tensor.to(args[0], *places, **changed)

    return CudaMeansCpu()


def _classes(torch: Any) -> None:
    torch.Tensor.record_stream = lambda self, stream: note("Tensor.record_stream", "no-op")  # it refuses a stream of ours
    torch.UntypedStorage.cuda = lambda self, device=None, non_blocking=False: self
    torch.TypedStorage.cuda = lambda self, device=None, non_blocking=False: self
    _first_argument(torch, torch.autocast, "device_type", "torch.autocast")
    torch.Generator = _host_generator(torch)
    ddp = torch.nn.parallel.DistributedDataParallel
    real = ddp.__init__

    @functools.wraps(real)
    def without_devices(self: Any, module: Any, device_ids: Any = None, output_device: Any = None, *a: Any, **k: Any) -> None:
        note("DistributedDataParallel(device_ids)", "emulated")
        real(self, module, None, None, *a, **k)

    ddp.__init__ = without_devices
    torch.nn.DataParallel.__init__ = _on_one_device(torch.nn.Module, torch.nn.DataParallel.__init__)
    module = torch.nn.Module
    module.cuda = _module_cuda
    module.to = _module_to(module.to)
    torch.set_default_device = _default_device(torch, torch.set_default_device)


def _on_one_device(module_class: Any, real: Any) -> Any:
    """DataParallel with nothing to spread over: torch's own text then calls the module as it is."""

    @functools.wraps(real)
    def __init__(self: Any, module: Any, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        note("DataParallel", "emulated")
        module_class.__init__(self)
        self.module, self.device_ids, self.output_device, self.dim = module, [], None, dim

    return __init__


def _module_cuda(self: Any, device: Any = None) -> Any:
    """Its parameters are where they belong: a module moves in place, so there is nothing to copy."""
    note("Module.cuda", "emulated")
    return self


def _module_to(real: Any) -> Any:
    """A card by its number: torch's parser would look for an accelerator."""

    @functools.wraps(real)
    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args and type(args[0]) is int:
            args = ("cpu", *args[1:])
        if type(kwargs.get("device")) is int:
            kwargs = {**kwargs, "device": "cpu"}
        return real(self, *args, **kwargs)

    return to


def _first_argument(torch: Any, cls: Any, name: str, known_as: str) -> None:
    real = cls.__init__

    @functools.wraps(real)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if args:
            args = (on_host(torch, args[0]), *args[1:])
        elif name in kwargs:
            kwargs[name] = on_host(torch, kwargs[name])
        note(known_as, "emulated")
        real(self, *args, **kwargs)

    cls.__init__ = __init__


def _host_generator(torch: Any) -> Any:
    real = torch.Generator

    class Meta(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, real)

        def __call__(cls, device: Any = "cpu") -> Any:
            return real(device=on_host(torch, device))

    return Meta("Generator", (), {"__doc__": real.__doc__, "__module__": "torch"})


def _default_device(torch: Any, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def set_default_device(device: Any) -> None:
        real(on_host(torch, device))

    return set_default_device


def _loading(torch: Any) -> None:
    """Files saved on cuda, and map_location to cuda, come to the host. Torch asks its list of places in order."""

    def tag(storage: Any) -> None:
        return None

    def place(storage: Any, location: str) -> Any:
        return storage if on_host(torch, location) != location else None

    torch.serialization.register_package(-1, tag, place)


def _threads(mode: Any) -> None:
    real = threading.Thread.run

    @functools.wraps(real)
    def run(self: Any) -> None:
        with mode:
            real(self)

    threading.Thread.run = run  # type: ignore[method-assign]
