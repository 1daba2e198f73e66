"""The fake chip's kernels: what is registered under its dispatch key.

Asked:  which operators need more than the fallback?
Answer: what makes and moves tensors; views, which torch's own kernel makes for any device; what torch would take apart for a
        device that it doesn't know (convolution, attention, recurrent layers, _foreach_*); collectives, which go to gloo.
Limits: recurrent layers are made of plain operators, so they are slow.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.bytes import (
    KEY,
    NAME,
    ON_HOST,
    current_device,
    device_of,
    ledgers,
    on_chip,
    to_chip,
    to_host,
)
from forebay.porting.shim.chip.fakechip.call import generators, on_host, set_tensor

VIEWS = ("view", "as_strided", "unfold", "_reshape_alias", "view_as_real", "view_as_complex")


def empty(
    size: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None, memory_format: Any = None
) -> Any:
    ledgers[_index(device)].make_room(torch.Size(size).numel() * (dtype or torch.get_default_dtype()).itemsize)
    made = torch.empty(size, dtype=dtype, layout=layout, device="cpu", memory_format=memory_format or torch.contiguous_format)
    return to_chip(made, _index(device))


def empty_strided(
    size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
) -> Any:
    return to_chip(torch.empty_strided(size, stride, dtype=dtype, layout=layout, device="cpu"), _index(device))


def zeros(size: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None) -> Any:
    """torch's zeros without bytes, which autograd makes, have bytes here: DLPack carries no others."""
    return to_chip(torch.zeros(size, dtype=dtype, device="cpu"), _index(device))


def _index(device: Any) -> int:
    index: int = current_device() if device is None or device.index is None else device.index
    if index >= len(generators):
        raise RuntimeError(f"invalid device ordinal (asked for {index}; there are {len(generators)} cards)")
    return index


def copy(tensor: Any, source: Any, non_blocking: bool = False) -> Any:
    target = to_host(tensor) if on_chip(tensor) else tensor
    target.copy_(to_host(source) if on_chip(source) else source)
    return tensor


def resize(tensor: Any, size: Any, memory_format: Any = None) -> Any:
    need = torch.Size(size).numel() * tensor.element_size()
    source = tensor
    if need > tensor.untyped_storage().nbytes():
        grown = torch.empty(size, dtype=tensor.dtype, device="cpu")
        kept = min(tensor.numel(), grown.numel())
        grown.view(-1)[:kept] = to_host(tensor).reshape(-1)[:kept]
        source = to_chip(grown, device_of(tensor).index)
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


own: dict[str, Any] = {}  # what isn't the fallback, by operator: "aten::copy_"

_libraries: list[Any] = []  # a library that is collected takes its kernels along


def register() -> None:
    library: Any = torch.library.Library
    aten = library("aten", "IMPL")
    anything = library("_", "IMPL")
    c10d = library("c10d", "IMPL")
    _libraries.extend((aten, anything, c10d))
    anything.fallback(on_host, KEY)
    kernels: dict[str, Any] = {
        "empty.memory_format": empty,
        "empty_strided": empty_strided,
        "_efficientzerotensor": zeros,
        "copy_": copy,  # and not _copy_from, before which torch would take a conjugate apart, by copy_
        "resize_": resize,
        "convolution_overrideable": convolution,
        "convolution_backward_overrideable": convolution_backward,
        "_fused_sdp_choice": lambda *args, **kwargs: 0,  # the one that is made of plain operators
        "record_stream": lambda tensor, stream: None,
    }
    for name in VIEWS:
        kernels[name] = _bound(set_tensor, getattr(torch.ops.aten, name).default)
    for overload in ("source_Storage", "source_Storage_storage_offset", "source_Tensor"):
        kernels[f"set_.{overload}"] = _bound(set_tensor, getattr(torch.ops.aten.set_, overload))
    kernels["set_"] = lambda tensor: set_tensor(torch.ops.aten.set_.source_Tensor, tensor, empty([0], tensor.dtype))
    _register_recurrent(aten)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that kernels of its own are replaced: they would give gloo our tensors
        for full in torch._C._dispatch_get_registrations_for_dispatch_key("CPU"):
            if full.startswith("c10d::"):
                c10d.impl(full[6:], _bound(on_host, _operator(full)), KEY, allow_override=True)
    listed, has = torch._C._dispatch_get_registrations_for_dispatch_key, torch._C._dispatch_has_kernel_for_dispatch_key
    whole = listed("CompositeExplicitAutograd")
    for full in (*whole, *listed("CompositeExplicitAutogradNonFunctional")):  # torch would take them apart
        if full.startswith("aten::") and has(full, "CPU") and not has(full, KEY):
            kernels[full[6:]] = _bound(on_host, _operator(full))
    for name, kernel in kernels.items():
        aten.impl(name, kernel, KEY)
        own[f"aten::{name}"] = kernel


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
