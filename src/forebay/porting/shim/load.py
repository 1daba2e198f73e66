"""Make torch.cuda live, before torch is imported.

Asked:  a process will run a script written for CUDA: what must happen before its `import torch`?
Answer: `install(carrier, cards=n)`. It imports nothing of torch: it waits for the import, and then loads the compiled device
        ahead of torch's own text, adds what torch._C lacks, and changes the few Python functions that must answer otherwise.
        A warm parent may install, import torch and fork: no thread is started, and `set_cards` and `set_memory_limit`
        work again in each child.
Limits: torch that is imported already can't be carried any more.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Any

from forebay.errors import BadInput, Conflict, RunFailed
from forebay.porting.shim import groups, imports, ipc, journal, legacy, lies, mapped, sensors, torch_c
from forebay.porting.shim.build import find_torch, verify
from forebay.porting.shim.cards import MOST, Cards, Mapped, Simulated
from forebay.porting.shim.carrier import Carrier

VARIABLE = "FOREBAY_SHIM"
BOOT = Path(__file__).resolve().parent / "boot"

_carrier: Carrier | None = None
_cards: Cards | None = None
_wanted: dict[str, int] = {"cards": 1, "memory_limit": 0}


def install(carrier: Carrier, *, cards: int) -> None:
    """Arrange that `import torch`, by whoever comes first, brings a torch.cuda with this many cards."""
    global _carrier
    _check_cards(cards)
    if _carrier is not None:
        if carrier != _carrier:
            raise Conflict("Another carrier is installed already.", asked=carrier.kind, found=_carrier.kind)
        set_cards(cards)
        return
    if carrier.kind != "native":
        if "torch" in sys.modules:
            raise Conflict(
                "torch is imported already, so its cuda device can't be changed any more.",
                asked=f"the {carrier.kind} carrier",
                hint="call install before the first import of torch",
            )
        if carrier.library is not None:
            verify(carrier.library)
        watch = imports.Watch()
        watch.on("torch", after=_after_torch)
        watch.on("torch._C", before=_open_cards, after=lambda module: torch_c.fill(module, _live()))
        watch.on("torch.distributed.distributed_c10d", after=groups.carry_nccl)
        watch.on("torch.distributed", after=groups.name_nccl)
        sys.meta_path.insert(0, watch)
    _carrier = carrier
    _wanted["cards"] = cards
    atexit.register(lambda: journal.write(report()))


def set_cards(cards: int) -> None:
    """How many cards torch.cuda has from now on, in this process and in what it forks."""
    _check_cards(cards)
    _wanted["cards"] = cards
    if _cards is not None:
        _cards.set_cards(cards)
        torch = sys.modules["torch"]
        if torch.cuda.is_initialized():  # what torch.cuda remembers of its start is made again
            torch.cuda._cached_device_count = None
            torch._C._cuda_init()


def set_memory_limit(limit: int) -> None:
    """Bytes that each card holds before torch.cuda.OutOfMemoryError; 0 for no limit. The mapped carrier can't hold to it."""
    if limit < 0:
        raise BadInput("A memory limit is a number of bytes, or 0 for none.", found=str(limit))
    _wanted["memory_limit"] = limit
    if _cards is not None:
        _cards.set_memory_limit(limit)


def child_environment(carrier: Carrier, cards: int) -> dict[str, str]:
    """The variables with which a Python process, and each that it starts, has this carrier."""
    if carrier.kind == "native":
        return {}
    rest = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place and Path(place) != BOOT]
    return {
        VARIABLE: json.dumps({"carrier": carrier.to_json(), "cards": cards, "memory_limit": _wanted["memory_limit"]}),
        "PYTHONPATH": os.pathsep.join([str(BOOT), *rest]),
    }


def install_from_environment() -> None:
    """What boot/sitecustomize.py calls in every child."""
    text = os.environ.get(VARIABLE)
    if not text:
        return
    try:
        body = json.loads(text)
        carrier, cards, limit = Carrier.from_json(body["carrier"]), int(body["cards"]), int(body.get("memory_limit", 0))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"The variable {VARIABLE} can't be read.", found=repr(error)) from error
    install(carrier, cards=cards)
    set_memory_limit(limit)


def report() -> dict[str, Any]:
    """Which carrier a run had and what it used of it."""
    if _carrier is None:
        return {"carrier": None}
    operators = _cards.operators() if _cards is not None else {}
    return {
        "carrier": _carrier.kind,
        "why": _carrier.why,
        "cards": _wanted["cards"],
        "limits": mapped.LIMITS if _carrier.kind == "mapped" else [],
        "uses": dict(sorted(journal.uses.items())),
        "operators": {"class": "exact", "names": len(operators), "calls": sum(operators.values()), "of": operators},
    }


def _check_cards(cards: int) -> None:
    if not 0 <= cards <= MOST:
        raise BadInput(f"A process has 0 to {MOST} cards.", found=str(cards))


def _live() -> Cards:
    if _cards is None:
        raise RunFailed("The cards were asked for before torch was imported.")
    return _cards


def _open_cards() -> None:
    """Just before torch's compiled part is loaded: load the device, so that torch finds its hooks registered."""
    global _cards
    assert _carrier is not None
    os.environ["TORCH_DISABLE_NATIVE_JIT"] = "1"  # torch 2.12 and newer: its own Triton kernels would be put over ours
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or a CUDA build's profiler writes that it found no driver
    if _carrier.library is not None:
        _cards = Simulated(_wanted["cards"], _carrier.library, find_torch())
    else:
        _cards = Mapped(_wanted["cards"])
    _cards.set_memory_limit(_wanted["memory_limit"])


def _after_torch(torch: Any) -> None:
    cards = _live()
    lies.tell(torch, cards)
    legacy.version(torch)
    if isinstance(cards, Simulated):
        legacy.tensor_types(torch)
        ipc.carry(torch, cards)
    sensors.answer(torch, cards)
    if isinstance(cards, Mapped):
        mapped.apply(torch)
