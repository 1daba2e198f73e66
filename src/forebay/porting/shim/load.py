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
import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from forebay.errors import BadInput, Conflict, RunFailed
from forebay.porting.kernels.hook import watch_for_kernels
from forebay.porting.shim import compiled, counted, groups, imports, ipc, journal, legacy, lies, mapped, sensors, torch_c, vision
from forebay.porting.shim.build import find_torch, verify
from forebay.porting.shim.cards import MOST, Cards, Mapped, Simulated
from forebay.porting.shim.carrier import Carrier
from forebay.porting.shim.chip import live
from forebay.porting.shim.chip.adapter import named
from forebay.porting.shim.chip.cards import Chips
from forebay.porting.shim.standins.finder import standins_wanted

VARIABLE = "FOREBAY_SHIM"
BOOT = Path(__file__).resolve().parent / "boot"
TOOLS = Path(__file__).resolve().parent / "standins" / "bin"

_carrier: Carrier | None = None
_cards: Cards | None = None
_wanted: dict[str, int] = {"cards": 1, "memory_limit": 0}
_of_parent: dict[str, int] = {}  # operators that were carried before a fork: they are in the parent's report
_forked = False
_began = time.monotonic()


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
        compiled.choice()  # said at once rather than in the middle of an import
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
        watch.on("torch._C", before=_open_cards, after=_fill)
        watch.on("torch.distributed.distributed_c10d", after=_carry_nccl)
        watch.on("torch.distributed", after=groups.name_nccl)
        watch.on("torch._dynamo.backends.cudagraphs", after=compiled.carry_cudagraphs)
        if carrier.library is not None:
            watch_for_kernels(watch, carrier.library)
        watch.on("torchvision.extension", after=vision.declare)
        watch.on("torch._dynamo.convert_frame", after=compiled.carry_conversion)
        sys.meta_path[:0] = [watch, standins_wanted()]
    _carrier = carrier
    _wanted["cards"] = cards
    atexit.register(_at_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


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
    tools = [place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(place) != TOOLS]
    return {
        VARIABLE: _described(carrier, cards),
        "PYTHONPATH": os.pathsep.join([str(BOOT), *rest]),
        "PATH": os.pathsep.join([str(TOOLS), *tools]),
    }


def described() -> str:
    """This process's carrier, cards and limit as FOREBAY_SHIM says them; "" where nothing is carried."""
    carried = _carrier is not None and _carrier.kind != "native"
    return _described(_carrier, _wanted["cards"]) if _carrier is not None and carried else ""


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
    carried = (_cards.operators() if _cards is not None else {}) or counted.calls()
    operators = {name: calls - _of_parent.get(name, 0) for name, calls in carried.items() if calls > _of_parent.get(name, 0)}
    return {
        "carrier": _carrier.kind,
        "why": _carrier.why,
        "chip": _carrier.chip,
        "cards": _wanted["cards"],
        "seconds": round(time.monotonic() - _began, 3),
        "ended_by": journal.ended_by(),
        "limits": mapped.LIMITS if _carrier.kind == "mapped" else [],
        "processes": 1,
        "uses": journal.told(),
        "operators": {"class": "exact", "names": len(operators), "calls": sum(operators.values()), "of": operators},
        **({"operator_seconds": counted.seconds()} if counted.wanted() else {}),
    }


def _described(carrier: Carrier, cards: int) -> str:
    return json.dumps({"carrier": carrier.to_json(), "cards": cards, "memory_limit": _wanted["memory_limit"]})


def _at_exit() -> None:
    written = report()
    if not _forked or written["uses"] or written["operators"]["calls"]:  # a worker that used nothing has nothing to say
        journal.write(written)


def _after_fork() -> None:
    """A child reports what it did itself. One of multiprocessing's ends without atexit: it has finalizers of its own."""
    global _forked, _of_parent, _began
    _forked, _began = True, time.monotonic()
    counted.forget()
    journal.uses.clear()
    _of_parent = _cards.operators() if _cards is not None else {}
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        processes.register_after_fork(journal, lambda _: processes.Finalize(None, _at_exit, exitpriority=0))


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
    if _carrier.library is not None and _carrier.kind == "chip":
        _cards = Chips(_wanted["cards"], _carrier.library, find_torch(), named(_carrier.chip))
        live.visible_cards(_cards.adapter)
    elif _carrier.library is not None:
        _cards = Simulated(_wanted["cards"], _carrier.library, find_torch())
    else:
        _cards = Mapped(_wanted["cards"])
    _cards.set_memory_limit(_wanted["memory_limit"])


def _carry_nccl(c10d: Any) -> None:
    cards = _live()
    if isinstance(cards, Chips):
        groups.carry_nccl(c10d, cards.adapter.device, cards.adapter.backend or "gloo")
    else:
        groups.carry_nccl(c10d)


def _fill(torch_c_module: Any) -> None:
    cards = _live()
    torch_c.fill(torch_c_module, cards)
    if isinstance(cards, Chips):
        live.fill(torch_c_module, cards)


def _after_torch(torch: Any) -> None:
    cards = _live()
    if isinstance(cards, Chips):
        live.after_torch(torch, cards)
        lies.tell(torch, cards, functools.partial(live.knows_the_chip, cards.adapter))
    else:
        lies.tell(torch, cards)
    compiled.carry(torch, mapped=isinstance(cards, Mapped))
    if counted.wanted():
        counted.start()
    legacy.version(torch)
    if isinstance(cards, (Simulated, Chips)):
        legacy.tensor_types(torch)
    if isinstance(cards, Simulated):
        ipc.carry(torch, cards)
    sensors.answer(torch, cards)
    if isinstance(cards, Mapped):
        mapped.apply(torch)
