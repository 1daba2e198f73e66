"""Decide what carries a script that was written for CUDA on this machine.

Asked:  native, simulated or mapped?
Answer: native where there is a GPU and a torch that drives it: nothing is changed. Simulated where there isn't, and our
        library is built or can be: cuda is a device of its own, over host memory. Mapped otherwise: the word cuda means cpu.
        Each comes with its reason, and the report of a run repeats it.
Limits: a GPU is seen by its driver's files, without importing torch; whether it works is for torch to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.errors import BadInput, ForebayError
from forebay.porting.shim.build import build, find_torch

KINDS = ("native", "simulated", "mapped")
DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Carrier:
    """What stands behind the word "cuda" in a run.

    It is no card: how many there are, and how much they hold, is for the launcher to say.
    """

    kind: str  # "native", "simulated" or "mapped"
    why: str
    library: Path | None = None  # the compiled device; only when simulated

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind == "simulated") != (self.library is not None):
            raise BadInput("A carrier is native, simulated (with a library) or mapped.", found=f"{self.kind}, {self.library}")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "why": self.why, "library": str(self.library) if self.library else None}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Carrier:
        library = body.get("library")
        return cls(str(body["kind"]), str(body["why"]), Path(library) if library else None)


def choose(cache: Path, say: Callable[[str], None] = lambda line: None) -> Carrier:
    """The most faithful carrier that this machine has. May compile (see `build`)."""
    torch = find_torch()
    driver = next((path for path in DRIVERS if os.path.exists(path)), None)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if driver and torch.gpu and not hidden:
        return Carrier("native", f"a GPU's driver is here ({driver}) and torch {torch.version} is built for it")
    if not driver:
        lack = "there is no GPU"
    elif torch.gpu:
        lack = "CUDA_VISIBLE_DEVICES hides the GPU"
    else:
        lack = f"torch {torch.version} is a CPU build, so it can't use the GPU"
    try:
        library = build(cache, say)
    except ForebayError as error:
        return Carrier("mapped", f"{lack}. {error.text} So cuda means cpu here.")
    over = ", in place of the one of the CUDA build" if torch.gpu else ""
    return Carrier("simulated", f"{lack}: cuda is a simulated device over host memory{over}", library)
