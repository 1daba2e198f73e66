"""A chip that isn't there: a plug-in of torch in Python alone, for tests and for those who write an adapter.

Asked:  how does a device called "fakechip" come to torch without a compiler and without a vendor?
Answer: its tensors are ordinary ones of torch under the spare key PrivateUse1, with real storages whose bytes lie in host
        memory (made through DLPack, whose capsule names the device). One fallback runs torch's CPU kernel over the same
        bytes. What only looks at shapes runs torch's own kernel for views.
Limits: some 20 microseconds a call. Streams, generators and the current device come from stand_in.cpp, since torch takes
        those from C++ only. torch 2.10 or newer. Not a simulation of any chip: results are the CPU's.
"""

from __future__ import annotations

import ctypes
import threading
import warnings
import weakref
from typing import Any

import torch

NAME = "fakechip"
KEY = "PrivateUse1"
TOTAL_MEMORY = 16 * 2**30  # what it says it has
ON_HOST = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
DL_CPU, DL_OTHER = 1, 12  # kDLCPU and kDLExtDev of DLPack's header

# ---------------------------------------------------------------- bytes: the same ones under two names

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
    _ledgers[index].charge(tensor)
    return _renamed(tensor, DL_OTHER, index)


def on_chip(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and _device(value).type == NAME


_device = torch._C.TensorBase.device.__get__  # the truth, whatever a script is told


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


_ledgers = [Ledger() for _ in range(64)]

# ---------------------------------------------------------------- operators

MIXED = ("aten::index", "aten::_index_put_impl_", "aten::_unsafe_index", "aten::_foreach_", "aten::_fused_", "aten::_ctc_loss")
VIEWS = ("view", "as_strided", "unfold", "_reshape_alias", "view_as_real", "view_as_complex")
WHOLE = ("aten::_foreach_", "aten::_fused_adam", "aten::_fused_sgd", "aten::_fused_adagrad")  # not one tensor at a time


class _Call:
    """The tensors of one call and their host aliases."""

    def __init__(self, op: Any) -> None:
        self.name = op._schema.name
        self.index: int | None = None
        self.aliases: dict[int, tuple[Any, Any]] = {}
        self.host_tensor = False

    def enter(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if not on_chip(value):
                self.host_tensor |= value.dim() > 0
                return value
            place = _device(value).index
            if self.index is None:
                self.index = place
            elif self.index != place and not self.name.startswith(MIXED):
                self._refuse(f"{NAME}:{self.index}", f"{NAME}:{place}")
            alias = to_host(value)
            self.aliases[id(alias)] = (alias, value)
            return alias
        if isinstance(value, (list, tuple)):
            return type(value)(self.enter(one) for one in value)
        if isinstance(value, torch.device):
            if value.type == NAME:
                self.index = current_device() if value.index is None else value.index
            return torch.device("cpu")
        return value

    def check(self) -> None:
        if self.host_tensor and self.index is not None and not self.name.startswith((*MIXED, "c10d::")):
            self._refuse(f"{NAME}:{self.index}", "cpu")

    def _refuse(self, one: str, other: str) -> None:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{one} and {other}! (when checking the arguments of {self.name})"
        )

    def leave(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if on_chip(value):
                return value
            known = self.aliases.get(id(value))
            if known is not None:
                return known[1]
            if value.layout != torch.strided:
                raise NotImplementedError(f"{NAME} carries strided tensors only; {self.name} made a {value.layout} one")
            storage = value.untyped_storage()
            for alias, mine in self.aliases.values():
                if storage.nbytes() and alias.untyped_storage()._cdata == storage._cdata:
                    return _as_view(mine, value)
            return to_chip(value, current_device() if self.index is None else self.index)
        if isinstance(value, (list, tuple)):
            return type(value)(self.leave(one) for one in value)
        return value


def _as_view(owner: Any, shape_of: Any) -> Any:
    """The owner's storage in another shape. DLPack's tensors begin at the alias's own first byte."""
    offset = owner.storage_offset() + shape_of.storage_offset()
    return torch.ops.aten.as_strided.default.redispatch(ON_HOST, owner, shape_of.shape, shape_of.stride(), offset)


def on_host(op: Any, *args: Any, **kwargs: Any) -> Any:
    """The fallback: any operator, by torch's CPU kernel over the same bytes."""
    call = _Call(op)
    args = tuple(call.enter(one) for one in args)
    given = kwargs
    kwargs = {name: call.enter(one) for name, one in kwargs.items()}
    call.check()
    with _HostDice(op, kwargs, args, call.index) as dice:
        try:
            with torch._C._DisableAutocast():  # it has cast for this chip already; the host's own isn't meant
                return call.leave(op(*dice.args, **dice.kwargs))  # a plain call: it takes numbers for tensors
        except RuntimeError as error:
            if not _outs(op) or "resize storage" not in str(error):
                raise
        fresh = {name: torch.empty(0, dtype=given[name].dtype) for name in _outs(op)}
        made = op(*dice.args, **{**dice.kwargs, **fresh})
    for name, one in fresh.items():
        set_tensor(torch.ops.aten.set_.source_Tensor, given[name], to_chip(one, _device(given[name]).index))
        call.aliases[id(one)] = (one, given[name])
    return call.leave(made)


_out_names: dict[Any, tuple[str, ...]] = {}


def _outs(op: Any) -> tuple[str, ...]:
    names = _out_names.get(op)
    if names is None:
        names = tuple(argument.name for argument in op._schema.arguments if argument.is_out and str(argument.type) == "Tensor")
        _out_names[op] = names
    return names


_place_of_generator = torch._C.Generator.device.__get__


class _HostDice:
    """While it is open, random numbers come from the card's generator: the host's has its state."""

    def __init__(self, op: Any, kwargs: dict[str, Any], args: tuple[Any, ...], index: int | None) -> None:
        self.kwargs, self.args = kwargs, args
        self._mine: Any = None
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Generator)]
        if given:
            self._mine = given[0]
            if _place_of_generator(self._mine).type == "cpu" and index is not None:
                raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
        elif torch.Tag.nondeterministic_seeded in op.tags:
            self._mine = default_generator(current_device() if index is None else index)

    def __enter__(self) -> _HostDice:
        if self._mine is not None:
            self._host = torch.Generator()
            self._host.set_state(self._mine.get_state())
            self.args = tuple(self._host if isinstance(one, torch.Generator) else one for one in self.args)
            self.kwargs = {name: self._host if isinstance(one, torch.Generator) else one for name, one in self.kwargs.items()}
            self._before = torch.default_generator.get_state()
            torch.default_generator.set_state(self._mine.get_state())
            self._start = torch.default_generator.get_state()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._mine is not None:
            used = torch.default_generator.get_state()
            self._mine.set_state(self._host.get_state() if torch.equal(used, self._start) else used)
            torch.default_generator.set_state(self._before)


def empty(
    size: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None, memory_format: Any = None
) -> Any:
    _ledgers[_index(device)].make_room(torch.Size(size).numel() * (dtype or torch.get_default_dtype()).itemsize)
    made = torch.empty(size, dtype=dtype, layout=layout, device="cpu", memory_format=memory_format or torch.contiguous_format)
    return to_chip(made, _index(device))


def empty_strided(
    size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
) -> Any:
    return to_chip(torch.empty_strided(size, stride, dtype=dtype, layout=layout, device="cpu"), _index(device))


def _index(device: Any) -> int:
    index = current_device() if device is None or device.index is None else device.index
    if index >= device_count():
        raise RuntimeError(f"invalid device ordinal (asked for {index}; there are {device_count()} cards)")
    return index


def copy(tensor: Any, source: Any, non_blocking: bool = False) -> Any:
    target = to_host(tensor) if on_chip(tensor) else tensor
    target.copy_(to_host(source) if on_chip(source) else source)
    return tensor


def set_tensor(op: Any, tensor: Any, *source: Any) -> Any:
    """Views and set_: only the shape and the storage change, which torch's own kernel does for any device."""
    return op.redispatch(ON_HOST, tensor, *source)


def resize(tensor: Any, size: Any, memory_format: Any = None) -> Any:
    need = torch.Size(size).numel() * tensor.element_size()
    source = tensor
    if need > tensor.untyped_storage().nbytes():
        grown = torch.empty(size, dtype=tensor.dtype, device="cpu")
        kept = min(tensor.numel(), grown.numel())
        grown.view(-1)[:kept] = to_host(tensor).reshape(-1)[:kept]
        source = to_chip(grown, _device(tensor).index)
    strides = torch.empty(size, device="meta", memory_format=memory_format or torch.contiguous_format).stride()
    torch.ops.aten.set_.source_Storage_storage_offset.redispatch(
        ON_HOST, tensor, source.untyped_storage(), tensor.storage_offset() if source is tensor else 0, size, strides
    )
    return tensor


def convolution(x: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    return on_host(torch.ops.aten.convolution.default, x, weight, bias, *rest)


def convolution_backward(grad: Any, x: Any, weight: Any, *rest: Any) -> Any:
    *shape, mask = rest
    return on_host(
        torch.ops.aten.convolution_backward.default, grad, x, weight, [weight.shape[-1]] if mask[2] else None, *shape, mask
    )


_libraries: list[Any] = []  # a library that is collected takes its kernels along


def _register() -> None:
    aten = torch.library.Library("aten", "IMPL")
    anything = torch.library.Library("_", "IMPL")
    c10d = torch.library.Library("c10d", "IMPL")
    _libraries.extend((aten, anything, c10d))
    anything.fallback(on_host, KEY)
    kernels = {
        "empty.memory_format": empty,
        "empty_strided": empty_strided,
        "copy_": copy,  # and not _copy_from, before which torch would take a conjugate apart, by copy_
        "resize_": resize,
        "convolution_overrideable": convolution,
        "convolution_backward_overrideable": convolution_backward,
        "_fused_sdp_choice": lambda *args, **kwargs: 0,  # the one that is made of plain operators
        "record_stream": lambda tensor, stream: None,
    }
    for name, kernel in kernels.items():
        aten.impl(name, kernel, KEY)
    for name in VIEWS:
        aten.impl(name, _bound(set_tensor, getattr(torch.ops.aten, name).default), KEY)
    for overload in ("source_Storage", "source_Storage_storage_offset", "source_Tensor"):
        aten.impl(f"set_.{overload}", _bound(set_tensor, getattr(torch.ops.aten.set_, overload)), KEY)
    aten.impl("set_", lambda tensor: set_tensor(torch.ops.aten.set_.source_Tensor, tensor, empty([0], tensor.dtype)), KEY)
    _register_recurrent(aten)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that kernels of its own are replaced: they would give gloo our tensors
        for full in torch._C._dispatch_get_registrations_for_dispatch_key("CPU"):
            if full.startswith("c10d::"):
                c10d.impl(full[6:], _bound(on_host, _operator(full)), KEY, allow_override=True)
    listed, has = torch._C._dispatch_get_registrations_for_dispatch_key, torch._C._dispatch_has_kernel_for_dispatch_key
    whole = [full for full in listed("CompositeExplicitAutograd") if full.startswith(WHOLE)]
    for full in (*whole, *listed("CompositeExplicitAutogradNonFunctional")):  # torch would take them apart
        if full.startswith("aten::") and has(full, "CPU") and not has(full, KEY):
            aten.impl(full[6:], _bound(on_host, _operator(full)), KEY)


def _register_recurrent(aten: Any) -> None:
    """LSTM and GRU as plain operators: torch would take its fused cells for any device that isn't the CPU."""
    from torch._decomp import decompositions

    kernels = {
        "lstm.input": decompositions.lstm_impl,
        "lstm.data": decompositions.lstm_data_impl,
        "gru.input": decompositions.gru_impl,
        "gru.data": decompositions.gru_impl_data,
    }
    for name, kernel in kernels.items():
        for key in ("AutogradPrivateUse1", KEY):
            aten.impl(name, _cast_whole(kernel), key)


def _cast_whole(kernel: Any) -> Any:
    """Under autocast a recurrent layer is cast as a whole, as CUDA's is."""

    def narrowed(value: Any, dtype: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(dtype) if value.dtype == torch.float32 else value
        return [narrowed(one, dtype) for one in value] if isinstance(value, (list, tuple)) else value

    def recurrent(*args: Any) -> Any:
        if not torch.is_autocast_enabled(NAME):
            return kernel(*args)
        dtype = torch.get_autocast_dtype(NAME)
        return kernel(*(narrowed(one, dtype) for one in args))

    return recurrent


def _operator(full: str) -> Any:
    scope, name = full.split("::")
    packet, _, overload = name.partition(".")
    return getattr(getattr(getattr(torch.ops, scope), packet), overload or "default")


def _bound(kernel: Any, op: Any) -> Any:
    def bound(*args: Any, **kwargs: Any) -> Any:
        return kernel(op, *args, **kwargs)

    return bound


# ---------------------------------------------------------------- torch.fakechip: the names that an adapter stands on

_count = 1
_generators: dict[int, Any] = {}


def is_available() -> bool:
    return _count > 0


def is_initialized() -> bool:
    return True


def _is_in_bad_fork() -> bool:
    return False


def device_count() -> int:
    return _count


def current_device() -> int:
    return int(torch.Stream(device=NAME).device_index)


def set_device(index: Any) -> None:
    place = torch.device(NAME, index) if isinstance(index, int) else torch.device(index)
    torch._C._accelerator_setDeviceIndex(0 if place.index is None else place.index)


def synchronize(device: Any = None) -> None:
    """Work is done when its call returns."""


def default_generator(index: int) -> Any:
    return _generators[index]


def manual_seed_all(seed: int) -> None:
    for generator in _generators.values():
        generator.manual_seed(seed)


def manual_seed(seed: int) -> None:
    _generators[current_device()].manual_seed(seed)


def get_rng_state(device: Any = None) -> Any:
    return _generators[_place(device)].get_state()


def set_rng_state(state: Any, device: Any = None) -> None:
    _generators[_place(device)].set_state(state)


def memory_allocated(device: Any = None) -> int:
    return _ledgers[_place(device)].held


def max_memory_allocated(device: Any = None) -> int:
    return _ledgers[_place(device)].peak


def reset_peak_memory_stats(device: Any = None) -> None:
    ledger = _ledgers[_place(device)]
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
    global _count
    _count = cards
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, module)
    torch.utils.generate_methods_for_privateuse1_backend()
    for index in range(cards):
        next_is_default()
        _generators[index] = torch.Generator(device=torch.device(NAME, index))
    _register()


__all__ = ["NAME", "start"]
