"""Where kernels meet the shim: what is watched for when a simulated card carries a run.

Asked:  when do extensions and Triton get their stand-ins?
Answer: when the script imports them, and not before: torch.utils.cpp_extension gets a toolkit, Triton its interpreter.
Limits: only for the simulated carrier. On a card, and on a chip, nothing here is done: the vendor's Triton is left alone.
"""

from __future__ import annotations

from pathlib import Path

from forebay.porting.kernels import extensions, triton_host
from forebay.porting.shim.imports import Watch


def watch_for_kernels(watch: Watch, library: Path) -> None:
    """`library` is the compiled device: the toolkit lies beside it."""
    watch.on("torch.utils.cpp_extension", after=lambda module: extensions.carry(module, library.parent))
    watch.on("triton", before=triton_host.switch_on, after=triton_host.give_driver)
    watch.on("triton.runtime.interpreter", after=triton_host.complete_interpreter)
    for name in ("triton.language.extra.libdevice", "triton.language.extra.cuda.libdevice"):
        watch.on(name, after=triton_host.give_libdevice)
    watch.on("torch._library.triton", after=triton_host.launch_as_it_is)
