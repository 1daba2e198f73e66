"""Count what a chip's operators silently copy to the host.

Asked:  did an operator compute on the chip, or did it take its inputs to the host?
Answer: while a Traffic is open, every copy of torch's dispatcher from a chip's tensor to the host's is counted, however deep in
        a kernel, whether the kernel is C++ or Python, in autograd's threads too. A dispatch key above all others, which torch
        keeps free for its own tests, sees the few operators that move bytes and lets every other pass, so it costs nothing.
Rule:   a fallback is a copy of a floating tensor of more than one element, or of any tensor as large as the largest input: a
        meaning that needs a number on the host (item(), the size of nonzero()'s result, lengths) takes less.
Limits: a kernel that copies behind the dispatcher's back (the vendor's own memcpy) isn't seen.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

COPIES = ("_to_copy", "copy_", "_copy_from", "_copy_from_and_resize", "_to_cpu", "_local_scalar_dense")
device_of: Any = torch._C.TensorBase.device.__get__  # the truth, whatever an identity layer tells scripts


@dataclass(frozen=True)
class Copied:
    """One copy to the host. It isn't a transfer that the caller asked for: those are made outside."""

    count: int  # elements
    size: int  # bytes
    floating: bool


class Traffic:
    """The copies to the host between `with` and its end."""

    def __init__(self) -> None:
        self.copies: list[Copied] = []

    @property
    def host_bytes(self) -> int:
        return sum(one.size for one in self.copies)

    def __enter__(self) -> Traffic:
        _arm()
        _open.append(self)
        guard: Any = torch._C._IncludeDispatchKeyGuard
        self._guard = guard(_key)
        self._guard.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._guard.__exit__(*error)
        _open.remove(self)


def is_fallback(copies: Iterable[Copied], largest_input: int) -> bool:
    """Whether an operator was computed on the host, by what it copied there; `largest_input` in bytes."""
    return any(one.count > 1 and (one.floating or one.size >= largest_input) for one in copies)


_key: Any = torch._C._dispatch_key_parse("TESTING_ONLY_GenericMode")
_open: list[Traffic] = []
_libraries: list[Any] = []  # one that is collected takes its kernels along
_within = threading.local()


def _arm() -> None:
    """Register the watchers, once. Without an open Traffic the key is in no call's set, so nothing reaches them."""
    if _libraries:
        return
    library: Any = torch.library.Library
    anything, aten = library("_", "IMPL"), library("aten", "IMPL")
    anything.fallback(torch.library.fallthrough_kernel, "TESTING_ONLY_GenericMode")
    for name in COPIES:
        aten.impl(name, _watcher(getattr(torch.ops.aten, name).default), "TESTING_ONLY_GenericMode", with_keyset=True)
    _libraries.extend((anything, aten))


def _watcher(op: Any) -> Any:
    below = torch._C._dispatch_keyset_full_after(_key)
    alone = torch._C.DispatchKeySet(_key)
    tensors = sum("Tensor" in str(argument.type) for argument in op._schema.arguments)  # these come first

    def watched(keyset: Any, *args: Any, **kwargs: Any) -> Any:
        if not all(isinstance(one, (torch.Tensor, list, tuple)) for one in args[:tensors]):
            with torch._C._ExcludeDispatchKeyGuard(alone):  # a number in a tensor's place: only a plain call takes it
                return op(*args, **kwargs)
        depth = getattr(_within, "depth", 0)
        _within.depth = depth + 1
        try:
            result = op.redispatch(keyset & below, *args, **kwargs)
        finally:
            _within.depth = depth
        if depth == 0:  # a copy that is part of a copy was counted with it
            _note(args, result)
        return result

    return watched


def _note(args: Any, result: Any) -> None:
    sources = [one for arg in args for one in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(one, torch.Tensor)]
    if all(device_of(one).type == "cpu" for one in sources):
        return
    if isinstance(result, torch.Tensor):
        results = [result]
    elif isinstance(result, (list, tuple)):
        results = list(result)
    else:  # a number
        results = []
        noted = [Copied(1, sources[0].element_size(), sources[0].is_floating_point())]
    if results:
        noted = [
            Copied(one.numel(), one.numel() * one.element_size(), one.is_floating_point() or one.is_complex())
            for one in results
            if device_of(one).type == "cpu"
        ]
    for traffic in _open:
        traffic.copies.extend(noted)
