"""Count the operators of a run in Python, where nothing compiled counts them.

Asked:  on a chip, operators go to its plug-in without passing through us. Which did a run call, how often, how long?
Answer: with FOREBAY_SHIM_COUNT=1 in the environment, a dispatch mode over the main thread counts each operator and the host's
        seconds in it. The report has them; `forebay chips gaps` ranks by them.
Limits: about 5 us a call, so it is off unless asked for. Seconds are the host's: on a chip that works behind the host's back they
        are those of launching. Other threads aren't counted, nor is backward where torch gives it a thread of its own.
"""

from __future__ import annotations

import os
import time
from typing import Any

VARIABLE = "FOREBAY_SHIM_COUNT"
_found: dict[str, list[float]] = {}  # operator -> calls, seconds
_running: list[Any] = []


def wanted() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0")


def calls() -> dict[str, int]:
    return {name: int(entry[0]) for name, entry in sorted(_found.items())}


def seconds() -> dict[str, float]:
    return {name: round(entry[1], 6) for name, entry in sorted(_found.items())}


def forget() -> None:
    """In a forked child: what the parent counted is in the parent's report."""
    _found.clear()


def start() -> None:
    """Count from now on, in this thread. Torch is imported by now."""
    from torch.utils import _python_dispatch

    modes: Any = _python_dispatch

    class Counting(modes.TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **(kwargs or {}))
            finally:
                entry = _found.setdefault(str(function._schema.name) + _overload(function), [0.0, 0.0])
                entry[0] += 1
                entry[1] += time.perf_counter() - begin

    mode: Any = Counting()  # type: ignore[no-untyped-call]
    mode.__enter__()
    _running.append(mode)


def _overload(function: Any) -> str:
    """As the compiled library writes names: "aten::add.Tensor", "aten::mm"."""
    name = str(function._schema.overload_name)
    return f".{name}" if name else ""
