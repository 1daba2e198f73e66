"""A worker: the process that touches the chip, one operator at a time.

Asked:  how does one operator's crash or hang cost one verdict?
Answer: a worker gets an operator and its cases on a pipe, says which case it begins and what the verdict is, and nothing else.
        Whoever started it (crew.py) sees which case was running when it ended or fell silent. It tries the chip when it starts
        and after each error: when the chip doesn't answer it says so and ends.
        It is forked by a process that has the database, or started as a process of its own where a fork can't use the chip:
        python -m forebay.porting.certify.worker READ WRITE DEVICE MODE [MODULE ...]
Limits: what a kernel prints goes to the standard error that it was given.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PR_SET_PDEATHSIG = 1


def serve(reading: int, writing: int, entries: Mapping[str, Any], device: str, imports: Sequence[str], mode: str) -> None:
    """Answer on these pipes until the reading one ends. Returns early when the chip doesn't answer."""
    from forebay.porting.certify.measure import measure
    from forebay.porting.certify.target import healthy, open_device
    from forebay.porting.certify.verdict import Case, Word

    def tell(**line: Any) -> None:
        os.write(writing, (json.dumps(line) + "\n").encode())

    try:
        place = open_device(device, imports)
    except BaseException as error:
        tell(refused=f"{type(error).__name__}: {str(error).strip()[:500]}")
        return
    import torch

    torch.set_num_threads(1)
    tell(opened=True)
    with os.fdopen(reading, "r") as lines:
        for line in lines:
            asked = json.loads(line)
            for form, direction in asked["cases"]:
                case = Case(asked["operator"], form, direction)
                tell(begin=[form, direction])
                verdict = measure(entries[case.operator], case, place, mode)
                if verdict.word is Word.ERROR and (lost := _lost(healthy, place)):
                    tell(lost=lost, verdict=verdict.to_json())
                    return
                tell(verdict=verdict.to_json())
            tell(done=asked["operator"])


def _lost(healthy: Callable[[Any], None], place: Any) -> str:
    try:
        healthy(place)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip()[:500]}"
    return ""


def die_with_parent(parent: int) -> None:
    """A worker that hangs in a kernel mustn't outlive a parent that was killed. Linux only; elsewhere the pipe's end does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def main(words: Sequence[str]) -> None:
    from forebay.porting.certify.database import load

    reading, writing, device, mode, *imports = words
    serve(int(reading), int(writing), load(), device, imports, mode)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # a chip's plug-in may hang at exit
