"""Decide what carries a script that was written for CUDA on this machine.

Asked:  native, a chip with a name of its own, simulated or mapped?
Answer: a chip where its card and its plug-in are here, or where it is asked for by name. Native where there is a GPU and a
        torch that drives it: nothing is changed. Simulated where there isn't, and our library is built or can be: cuda is a
        device of its own, over host memory. Mapped otherwise: the word cuda means cpu. Each comes with its reason, and the
        report of a run repeats it.
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
from forebay.porting.shim.chip.adapter import Adapter, named, present, ready, speaker, version_of

KINDS = ("native", "simulated", "mapped", "chip")
DRIVERS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Carrier:
    """What stands behind the word "cuda" in a run.

    It is no card: how many there are, and how much they hold, is for the launcher to say.
    """

    kind: str  # one of KINDS
    why: str
    library: Path | None = None  # the compiled device, or a chip's identity layer
    chip: str = ""  # the adapter's name, or its module; only when a chip

    def __post_init__(self) -> None:
        compiled = self.kind in ("simulated", "chip")
        if self.kind not in KINDS or compiled != (self.library is not None) or (self.kind == "chip") != bool(self.chip):
            raise BadInput(
                "A carrier is native, simulated (with a library), mapped, or a chip (with a library and an adapter).",
                found=f"{self.kind}, {self.library}, {self.chip}",
            )

    def to_json(self) -> dict[str, Any]:
        library = str(self.library) if self.library else None
        return {"kind": self.kind, "why": self.why, "library": library, **({"chip": self.chip} if self.chip else {})}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Carrier:
        library = body.get("library")
        return cls(str(body["kind"]), str(body["why"]), Path(library) if library else None, str(body.get("chip", "")))


def choose(cache: Path, say: Callable[[str], None] = lambda line: None, chip: str = "") -> Carrier:
    """The most faithful carrier that this machine has, or the chip that is named. May compile (see `build`)."""
    torch = find_torch()
    chip = chip or os.environ.get("FOREBAY_CHIP", "")
    if chip:
        return _on(named(chip), chip, "it was asked for by name", cache, say)
    here = present(torch)
    if here is not None:
        return _on(here[0], here[0].name, f"its card is here ({here[1]})", cache, say)
    driver = next((path for path in DRIVERS if os.path.exists(path)), None)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if driver and torch.gpu and not hidden:
        whose = speaker(torch)
        traps = f"; {whose.vendor}: {'; '.join(whose.traps)}" if whose else ""
        return Carrier("native", f"a GPU's driver is here ({driver}) and torch {torch.version} is built for it{traps}")
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


def _on(adapter: Adapter, name: str, why: str, cache: Path, say: Callable[[str], None]) -> Carrier:
    """The chip's carrier: nothing changes where it speaks CUDA's names, else its identity layer. Raises when it can't be used."""
    ready(adapter, find_torch())
    version = version_of(adapter)
    plugin = f"{adapter.package} {version}".rstrip()
    if adapter.speaks_cuda:
        return Carrier("native", f"{adapter.vendor} speaks CUDA's names through {plugin}; {why}; {'; '.join(adapter.traps)}")
    return Carrier(
        "chip",
        f"cuda is {adapter.vendor}'s {adapter.device} through {plugin}; {why}",
        build(cache, say, adapter.recipe()),
        name,
    )
