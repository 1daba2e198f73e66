"""Make cuda mean the chip, once torch and the plug-in are imported.

Asked:  what changes in Python, beyond what the compiled library does in torch's dispatcher?
Answer: the plug-in is imported, the getters of place (tensor.device, is_cuda, storages, generators) answer by caller, autocast
        for cuda switches the chip's on too, and torch.cuda's properties, events and waiting are the chip's own.
Limits: a script that switches autocast on by torch.set_autocast_enabled alone, not by torch.autocast, gets no casts.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import os
import sys
from typing import Any

from forebay.errors import RunFailed
from forebay.porting.shim import truth
from forebay.porting.shim.chip.adapter import Adapter
from forebay.porting.shim.chip.cards import Chips
from forebay.porting.shim.journal import note, noted
from forebay.porting.shim.torch_c.devices import CAPABILITY

# Torch's own modules that handle the device itself, not its name in a script. The rest of torch hears cuda as scripts do.
TRUTH = (
    "torch._tensor",  # DLPack's device
    "torch.multiprocessing",  # shares a storage by the way that its device has
    "torch._subclasses",
    "torch._prims",
    "torch._prims_common",
    "torch._refs",
    "torch._decomp",
    "torch._meta_registrations",
    "torch._library",
    "torch.fx",
    "torch.accelerator",
    "torch.utils.backend_registration",
    "torch.utils.data",
    "forebay.porting.shim.chip",
)


def visible_cards(adapter: Adapter) -> None:
    """CUDA_VISIBLE_DEVICES under the chip's own name, before anybody looks."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None and adapter.visible:
        os.environ.setdefault(adapter.visible, wanted)


def knows_the_chip(adapter: Adapter, module: str) -> bool:
    """Whether code of this module is told the chip's true name: by truth.py's table, by TRUTH, or because it knows this chip.

    The table names libraries that know several chips. Whether they know this one is for its adapter to say.
    """
    rule = truth.rule_for(module)
    if rule is not None and module.partition(".")[0] in ("torch", "triton"):
        return rule.chip == truth.TRUTH
    names = (*TRUTH, *adapter.libraries, *([] if adapter.plugin == "torch" else [adapter.plugin]))
    return any(module == name or module.startswith(name + ".") for name in names)


def after_torch(torch: Any, cards: Chips) -> None:
    adapter = cards.adapter
    if adapter.python_only:
        cards.library.forebay_stand_in(cards.visible())
    plugin = importlib.import_module(adapter.plugin) if adapter.plugin != "torch" else torch
    if adapter.python_only:
        plugin.start(plugin, cards.visible(), cards.next_generator_is_default)
    cards.library.forebay_chip_ready(int(adapter.plain_tensors))
    _places(torch, cards)
    _generators(torch, cards)
    _autocast(torch, adapter)
    _accelerator(torch, adapter)
    _kernels(torch, adapter)


def _kernels(torch: Any, adapter: Adapter) -> None:
    """An operator that a script implements for CUDA is the chip's too: the chip's tensors are what it will get."""
    cls = torch.library.Library
    real = cls.impl

    @functools.wraps(real)
    def impl(self: Any, op_name: Any, fn: Any, dispatch_key: str = "", **options: Any) -> Any:
        if (dispatch_key or self.dispatch_key) == "CUDA":
            note("torch.library for CUDA", "exact")
            real(self, op_name, fn, adapter.key, **options)
        return real(self, op_name, fn, dispatch_key, **options)

    cls.impl = impl


# ---------------------------------------------------------------- places


def _places(torch: Any, cards: Chips) -> None:
    library, adapter = cards.library, cards.adapter
    devices = [torch.device("cuda", index) for index in range(64)] + [torch.device("cuda")]
    array = (ctypes.py_object * len(devices))(*devices)
    library.forebay_names.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.py_object]
    table = functools.partial(knows_the_chip, adapter)
    if library.forebay_names(array, object.__basicsize__, table) != 0:
        raise RunFailed("This torch keeps its devices otherwise than the identity layer expects.", found=torch.__version__)
    make = library.forebay_getter
    make.restype, make.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int]
    base, storage = torch._C.TensorBase, torch._C.StorageBase
    for owner, original in ((torch.Tensor, base.device), (torch.UntypedStorage, storage.device)):
        owner.device = make(owner, original, type(original), 0)
    torch.Tensor.is_cuda = make(torch.Tensor, base.device, type(base.device), 1)
    method = library.forebay_type_method
    method.restype, method.argtypes = ctypes.py_object, [ctypes.py_object] * 4
    torch.Tensor.type = method(torch.Tensor, base.type, f"torch.{adapter.device}.", "torch.cuda.")
    generator = torch._C.Generator
    _set_in(generator, "device", make(generator, generator.device, type(generator.device), 0))


def _set_in(cls: Any, name: str, value: Any) -> None:
    """Set an attribute of a class that Python holds for immutable. Its dictionary is the one object that its proxy refers to."""
    (words,) = (one for one in gc.get_referents(cls.__dict__) if isinstance(one, dict))
    words[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))


# ---------------------------------------------------------------- torch.cuda


class _Properties:
    """What torch.cuda.get_device_properties answers: the plug-in's own fields, and CUDA's others as far as they are known."""

    def __init__(self, cards: Chips, card: int) -> None:
        self._of_chip = cards.call("get_device_properties", card)
        self.name = str(getattr(self._of_chip, "name", "") or cards.call("get_device_name", card, default=cards.adapter.vendor))
        self.major, self.minor = CAPABILITY
        self.total_memory = int(getattr(self._of_chip, "total_memory", 0) or cards.total_memory(card))
        self.multi_processor_count = int(getattr(self._of_chip, "multi_processor_count", 0) or 1)
        self.warp_size = cards.adapter.warp
        self.gcnArchName = self.name
        self.is_integrated = self.is_multi_gpu_board = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_chip, name)

    def __repr__(self) -> str:
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, multi_processor_count={self.multi_processor_count})"
        )


def fill(torch_c: Any, cards: Chips) -> None:
    """The names of torch._C that differ from the simulated device's: where there is something to wait for."""
    start = torch_c._cuda_init

    def init() -> None:
        import torch

        getattr(cards.module(), "_lazy_init", lambda: None)()
        start()
        setattr(torch.cuda, "_get_device_properties", lambda card: _Properties(cards, cards.checked(int(card))))  # noqa: B010

    @noted("torch.cuda.synchronize", "exact")
    def synchronize() -> None:
        cards.call("synchronize")

    class _CudaEventBase(torch_c.Event):  # type: ignore[name-defined,misc]
        def __new__(
            cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
        ) -> Any:
            note("torch.cuda.Event", "exact")
            made = super().__new__(cls, f"cuda:{cards.current()}", enable_timing=enable_timing, blocking=blocking)
            made.timer = torch_c.Event(f"cuda:{cards.current()}", enable_timing=True) if enable_timing else None
            made.recorded = False
            return made

        def record(self, stream: Any = None) -> None:
            self.recorded = True
            torch_c.Event.record(self, stream)
            if self.timer is not None:
                self.timer.record(stream)

        def elapsed_time(self, end: Any) -> float:
            """By an event of torch's own class, the only one that its C++ measures between."""
            if self.timer is None or end.timer is None:
                raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
            if not (self.recorded and end.recorded):
                raise RuntimeError("Both events must be recorded before calculating elapsed time.")
            return float(self.timer.elapsed_time(end.timer))

        @property
        def cuda_event(self) -> int:
            return int(self.event_id)

    torch_c._cuda_init, torch_c._cuda_synchronize, torch_c._CudaEventBase = init, synchronize, _CudaEventBase


def _generators(torch: Any, cards: Chips) -> None:
    """A plug-in may keep its own default generators in Python: those are the ones that its kernels use."""
    own = getattr(cards.module(), "default_generators", None)
    if own:
        torch.cuda.default_generators = tuple(own)


# ---------------------------------------------------------------- autocast and torch.accelerator


def _autocast(torch: Any, adapter: Adapter) -> None:
    """torch.autocast("cuda") switches on the chip's autocast, whose lists are CUDA's, as well as cuda's own state."""
    cls = torch.amp.autocast_mode.autocast
    enter, leave = cls.__enter__, cls.__exit__

    @functools.wraps(enter)
    def __enter__(self: Any) -> Any:
        got = enter(self)
        if self.device == "cuda" and not torch._jit_internal.is_scripting():
            self._forebay_before = torch.is_autocast_enabled(adapter.device), torch.get_autocast_dtype(adapter.device)
            torch.set_autocast_enabled(adapter.device, self._enabled)
            torch.set_autocast_dtype(adapter.device, self.fast_dtype)
        return got

    @functools.wraps(leave)
    def __exit__(self: Any, *error: Any) -> Any:
        if self.device == "cuda" and not torch._jit_internal.is_scripting():
            enabled, dtype = self._forebay_before
            torch.set_autocast_enabled(adapter.device, enabled)
            torch.set_autocast_dtype(adapter.device, dtype)
        return leave(self, *error)

    cls.__enter__, cls.__exit__ = __enter__, __exit__


def _accelerator(torch: Any, adapter: Adapter) -> None:
    """torch.accelerator says cuda to scripts, since they hand its answer to torch.device."""
    module = getattr(torch, "accelerator", None)
    if module is None:
        return
    real = module.current_accelerator

    @functools.wraps(real)
    def current_accelerator(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        asking = str(sys._getframe(1).f_globals.get("__name__", ""))
        if found is None or asking.startswith("torch.") or knows_the_chip(adapter, asking):
            return found
        return torch.device("cuda")

    module.current_accelerator = current_accelerator
