"""Let torch.utils.cpp_extension build for the host where cuda is simulated.

Asked:  what must torch's builder of extensions believe?
Answer: that CUDA_HOME is the stand-in toolkit. Its own code does the rest: load, load_inline, CUDAExtension with setup.py, with
        ninja or without. What was launched is noted at exit, with the line of each launch.
Limits: an extension that was built for a card (by nvcc) isn't loaded: its libraries need a driver.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
from pathlib import Path
from typing import Any

from forebay.porting.kernels.nvcc import RELEASE
from forebay.porting.kernels.toolkit import toolkit
from forebay.porting.shim import journal


def carry(module: Any, cache: Path) -> None:
    """Called with torch.utils.cpp_extension when it has been imported."""
    release = getattr(module.torch.version, "cuda", None) or RELEASE
    home = toolkit(cache, release)
    module.CUDA_HOME = str(home)
    module.CUDNN_HOME = None
    os.environ["CUDA_HOME"] = str(home)  # for a setup.py that asks for it there, and what it starts
    module.include_paths = _ours_first(module.include_paths, str(home / "include"))
    module.CUDAExtension = _new_enough(module.CUDAExtension, _standard(module.torch))
    module.CppExtension = _new_enough(module.CppExtension, _standard(module.torch))
    module._get_cuda_arch_flags = _no_card
    module._check_cuda_version = _any_compiler
    atexit.register(note_launches)


def _ours_first(real: Any, include: str) -> Any:
    """Our headers before torch's own for CUDA, which need a toolkit's."""

    @functools.wraps(real)
    def include_paths(*args: Any, **kwargs: Any) -> Any:
        paths = real(*args, **kwargs)
        return [include, *(path for path in paths if path != include)] if include in paths else paths

    return include_paths


def _standard(torch: Any) -> str:
    """The C++ that torch's headers ask for."""
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    return "c++20" if (major, minor) >= (2, 10) else "c++17"


def _new_enough(real: Any, standard: str) -> Any:
    """CUDAExtension that raises an older -std in the project's flags: this torch's headers don't compile with it anywhere."""

    def raised(flags: Any) -> Any:
        if isinstance(flags, dict):
            return {key: raised(value) for key, value in flags.items()}
        old = [flag for flag in flags if flag in ("-std=c++11", "-std=c++14", "--std=c++11", "--std=c++14")]
        if old:
            journal.note(f"{old[0]} raised to {standard}", "emulated")
        return [f"-std={standard}" if flag in old else flag for flag in flags]

    @functools.wraps(real)
    def extension(*args: Any, **kwargs: Any) -> Any:
        if "extra_compile_args" in kwargs:
            kwargs["extra_compile_args"] = raised(kwargs["extra_compile_args"])
        return real(*args, **kwargs)

    return extension


def _no_card(cflags: Any = None) -> list[str]:
    """For torch's _get_cuda_arch_flags: there is no card to choose code for."""
    return []


def _any_compiler(name: str, version: Any) -> None:
    """For torch's _check_cuda_version: no compiler is too new for this nvcc."""


def note_launches() -> None:
    """Put each launch of a carried kernel into the journal: where it stands, and how often it was done."""
    for name, file, line, launches in launched():
        entry = journal.uses.setdefault(f"kernel {name}", {"class": "emulated", "calls": 0, "sites": {}})
        entry["sites"][f"{file}:{line}"] = launches
        entry["calls"] = sum(entry["sites"].values())


def launched() -> list[tuple[str, str, int, int]]:
    """Kernel, file, line and launches, from every library of this process that was built for the host by our nvcc."""
    found: dict[tuple[str, str, int], int] = {}
    for path in _libraries():
        try:
            ask = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY).forebay_kernel_launches
        except (OSError, AttributeError):
            continue
        ask.restype, ask.argtypes = ctypes.c_size_t, [ctypes.c_char_p, ctypes.c_size_t]
        text = ctypes.create_string_buffer(ask(None, 0))
        ask(text, len(text))
        for row in text.value.decode(errors="replace").splitlines():
            name, file, line, launches = row.rsplit("\t", 3)
            key = (name, file, int(line))
            found[key] = found.get(key, 0) + int(launches)  # once for each type that a template was launched with
    return [(*key, launches) for key, launches in found.items()]


def _libraries() -> list[str]:
    """The shared libraries of this process that hold our launcher: by the name of its symbol, in the file."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(None, 5)[5].strip() for line in maps if ".so" in line}
    except OSError:
        return []
    ours = []
    for path in sorted(paths):
        if not path.startswith("/usr/") and "/torch/lib/" not in path and os.path.exists(path):
            ours.append(path)
    return ours
