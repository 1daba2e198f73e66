"""Run Triton kernels on the host, through Triton's own interpreter.

Asked:  what does Triton need to believe, so that a kernel written for a card runs where there is none?
Answer: that it interprets (its own switch, set before it is imported), that there is a driver (a few look-ups: device, target,
        properties, a benchmarker that calls once), and that libdevice exists (torch's functions on the same bytes).
Limits: a kernel's programs run one after the other in Python: results, not speed. Autotuning takes any configuration, as
        times mean nothing here. inline_asm and tensor descriptors of a card are refused by the interpreter itself.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from forebay.porting.shim import journal

CAPABILITY = 80  # what the simulated card says of itself


def switch_on() -> None:
    """Before Triton is imported: its functions are then made for the interpreter."""
    os.environ["TRITON_INTERPRET"] = "1"


def give_driver(triton: Any) -> None:
    """After Triton's import."""
    triton.runtime.driver.set_active(HostDriver())


class HostDriver:
    """What Triton asks of the device that it runs on, answered for the simulated card."""

    def __init__(self) -> None:
        self.utils = _Utilities()

    @classmethod
    def is_active(cls) -> bool:
        return True

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", CAPABILITY, 32)

    def get_current_device(self) -> int:
        return int(_torch().cuda.current_device())

    def set_current_device(self, device: int) -> None:
        _torch().cuda.set_device(device)

    def get_current_stream(self, device: Any = None) -> int:
        return 0

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return divmod(CAPABILITY, 10)

    def get_active_torch_device(self) -> Any:
        return _torch().device("cuda", self.get_current_device())

    def get_device_interface(self) -> Any:
        return _torch().cuda

    def get_benchmarker(self) -> Callable[..., Any]:
        return benchmark

    def get_empty_cache_for_benchmark(self) -> Any:
        return _torch().empty(1, dtype=_torch().int32, device="cuda")

    def clear_cache(self, cache: Any) -> None:
        cache.zero_()

    def map_python_to_cpp_type(self, kind: str) -> str:
        return {"fp32": "float", "fp64": "double"}.get(kind, "void*" if kind.startswith("*") else "int64_t")


class _Utilities:
    def get_device_properties(self, device: int) -> dict[str, int]:
        """Under the names of Triton's CUDA driver."""
        known = _torch().cuda.get_device_properties(device)
        return {
            "max_shared_mem": 101376,  # what a card of capability 8.6 and 8.9 gives a block: tiles that fit there fit everywhere
            "max_num_regs": 65536,
            "multiprocessor_count": known.multi_processor_count,
            "warpSize": 32,
            "sm_clock_rate": 1000000,
            "mem_clock_rate": 1000000,
            "mem_bus_width": 64,
        }

    def set_printf_fifo_size(self, size: int) -> None:
        """Prints of the interpreter go straight to stdout."""


def benchmark(call: Callable[[], Any], quantiles: Any = None, **settings: Any) -> Any:
    """One call by the host's clock, in milliseconds: the interpreter's time says nothing of a card's."""
    journal.note("triton benchmark", "emulated")
    start = time.perf_counter()
    call()
    spent = (time.perf_counter() - start) * 1000
    return [spent] * len(quantiles) if quantiles is not None else spent


def complete_interpreter(interpreter: Any) -> None:
    """After the import of triton.runtime.interpreter: launches are noted, and a float argument is a tensor, as compiled."""
    _numbers_as_tensors(interpreter)
    real = interpreter.GridExecutor.__call__

    def launch(self: Any, *args: Any, **kwargs: Any) -> Any:
        journal.note(f"triton kernel {getattr(self.fn, '__name__', 'unknown')}", "emulated")
        return real(self, *args, **kwargs)

    interpreter.GridExecutor.__call__ = launch


def give_libdevice(module: Any) -> None:
    """After the import of one of Triton's libdevice modules: functions that the interpreter can call."""
    for name in list(vars(module)):
        function = _meaning(name)
        if function is not None:
            setattr(module, name, _for_interpreter(name, function))


def _numbers_as_tensors(interpreter: Any) -> None:
    """A compiled kernel gets a Python float as an fp32 scalar, with methods such as .to(); the interpreter leaves it a float."""
    real = getattr(interpreter, "_implicit_cvt", None)
    if real is None:
        return

    def convert(value: Any) -> Any:
        if type(value) is not float:
            return real(value)
        tl = interpreter.tl
        return tl.tensor(
            interpreter.TensorHandle(interpreter.np.array([value], dtype=interpreter.np.float32), tl.float32), tl.float32
        )

    interpreter._implicit_cvt = convert


_RENAMED = {
    "fabs": "abs", "rint": "round", "nearbyint": "round", "fmax": "fmax", "fmin": "fmin", "max": "maximum", "min":
    "minimum", "fast_expf": "exp", "fast_logf": "log", "fast_log2f": "log2", "fast_log10f": "log10", "fast_sinf": "sin",
    "fast_cosf": "cos", "fast_tanf": "tan", "fast_tanhf": "tanh", "fast_powf": "pow", "fast_dividef": "div",
    "fast_fdividef": "div", "div_rn": "div", "sqrt_rn": "sqrt", "rsqrt_rn": "rsqrt", "rcp_rn": "reciprocal", "isinf":
    "isinf", "isnan": "isnan", "finitef": "isfinite", "isfinited": "isfinite", "j0": "special.bessel_j0", "j1":
    "special.bessel_j1", "cyl_bessel_i0": "special.i0", "cyl_bessel_i1": "special.i1", "normcdf": "special.ndtr",
    "normcdfinv": "special.ndtri",
}  # fmt: skip
_SAME = {
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cos", "cosh", "erf", "erfc",
    "erfinv", "exp", "exp2", "expm1", "floor", "fmod", "hypot", "lgamma", "log", "log10", "log1p", "log2", "pow",
    "round", "rsqrt", "signbit", "sin", "sinh", "sqrt", "tan", "tanh", "trunc", "nextafter",
}  # fmt: skip


def _meaning(name: str) -> Callable[..., Any] | None:
    """The function of torch with the meaning of this one of libdevice, if there is one."""
    if name == "fma":
        return lambda a, b, c: (a.double() * b.double() + c.double()).to(a.dtype)
    word = name if name in _SAME else _RENAMED.get(name)
    if word is None:
        return None
    found: Any = _torch()
    for part in word.split("."):
        found = getattr(found, part, None)
    return found  # type: ignore[no-any-return]


def _for_interpreter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*values: Any, _semantic: Any = None, **_: Any) -> Any:
        import triton.language as tl
        from triton.runtime.interpreter import TensorHandle

        torch = _torch()
        lead = next(value for value in values if isinstance(value, tl.tensor))
        shape = getattr(lead.handle.data, "shape", ())
        whole = torch.from_numpy(lead.handle.data.copy().reshape(shape))
        operands = [
            torch.from_numpy(value.handle.data.copy())
            if isinstance(value, tl.tensor)
            else torch.as_tensor(value, dtype=whole.dtype)
            for value in values
        ]
        result = function(*operands)
        kind = tl.int1 if result.dtype == torch.bool else lead.dtype
        type_ = lead.type if kind == lead.dtype else (tl.block_type(kind, lead.shape) if len(shape) else kind)
        return tl.tensor(TensorHandle(result.numpy(), kind), type_)

    call.__name__ = call.__qualname__ = name
    return call


def launch_as_it_is(module: Any) -> None:
    """After the import of torch._library.triton: older torch takes compiled kernels only in wrap_triton."""
    real = module.wrap_triton

    def wrap_triton(triton_kernel: Any) -> Any:
        """As torch's; a kernel of the interpreter is launched as it is."""
        inner = getattr(triton_kernel, "fn", triton_kernel)
        if "Interpreted" in type(triton_kernel).__name__ + type(inner).__name__:
            return triton_kernel
        return real(triton_kernel)

    module.wrap_triton = wrap_triton


def _torch() -> Any:
    """Torch, which Triton's user has imported."""
    return sys.modules.get("torch") or __import__("torch")
