"""Look at the health of cards: memory, arithmetic, and one collective between them. In under ten seconds.

Asked:  can a run be put on these cards, or was it a card that broke the last one?
Answer: a process a card. It writes a pattern and its inverse into the card's memory and reads them back there; it multiplies
        matrices of small whole numbers, whose product is exact in every format that holds them, twice, and compares with the
        host's own. If all are well, they add up ones together. A card that answers wrongly, not at all, or with an error is bad.
Limits: a part of the memory, one operator, the cards of one machine. A collective that fails is held against all its cards,
        since nobody can say whose link it was. Certifying a chip is porting/certify's work, not this.

Works on Python 3.9 and later with torch 2.4 and later.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

PATIENCE_S = 9.0  # for all cards together
_MEMORY_BYTES = {"cpu": 32 << 20}  # looked at; where a chip isn't named, `_MOST_BYTES` or an eighth of what is free
_MOST_BYTES = 1 << 30
_SIDE = 384  # of the matrices
_SKIPPED = "skipped: "  # opens a line that says why nothing is known
_LARGEST = 4  # of their entries: sums stay below 2**13, and exact in bf16 inputs with fp32 sums


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """Check cards from a process that may fork. `asked`: {"cards": [3, 5], "device": "cuda", "visible": "CUDA_VISIBLE_DEVICES" or
    None, "backend": "nccl", "fork": true}.

    Returns {"bad": {"3": "why"}, "took_s": 0.4, "skipped": ""}.
    """
    begun = time.monotonic()
    folder = tempfile.mkdtemp(prefix="check-")
    lookers: list[_Looker] = []
    try:
        for rank, card in enumerate(asked["cards"]):
            lookers.append(_Looker({**asked, "rank": rank, "card": card, "store": os.path.join(folder, "store")}))
        told = _gather(lookers, begun + PATIENCE_S)
        if len(lookers) > 1 and not any(told.values()):  # a good card would wait for a bad one, and look as bad
            for looker in lookers:
                looker.go()
            told = _gather(lookers, begun + PATIENCE_S)
    finally:
        for looker in lookers:
            looker.end()
        shutil.rmtree(folder, ignore_errors=True)
    skipped = next((why[len(_SKIPPED) :] for why in told.values() if why.startswith(_SKIPPED)), "")
    bad = {} if skipped else {str(card): why for card, why in told.items() if why}
    return {"bad": bad, "took_s": round(time.monotonic() - begun, 3), "skipped": skipped}


class _Looker:
    """The process that looks at one card. It says a line after each of its two looks: empty, or what is wrong."""

    def __init__(self, mine: dict[str, Any]) -> None:
        self.card = mine["card"]
        self.reader, told = os.pipe()
        hears, self._writer = os.pipe()
        self._left = b""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.reader)
                os.close(self._writer)
                _in_child(mine, hears, told)
            finally:
                os._exit(1)
        os.close(told)
        os.close(hears)

    def go(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._writer, b"g")

    def hear(self) -> str | None:
        """Its next line, if it has said one; when it has ended instead, how."""
        if b"\n" not in self._left:
            part = os.read(self.reader, 65536)
            if not part:
                return self._how_it_ended()
            self._left += part
        if b"\n" not in self._left:
            return None
        line, _, self._left = self._left.partition(b"\n")
        return str(json.loads(line))

    def end(self) -> None:
        for descriptor in (self.reader, self._writer):
            os.close(descriptor)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _how_it_ended(self) -> str:
        _, status = os.waitpid(self.pid, 0)
        if os.WIFSIGNALED(status):
            return f"the process that looked at it was killed by signal {os.WTERMSIG(status)}"
        return f"the process that looked at it ended with exit code {os.WEXITSTATUS(status)}"


def _gather(lookers: list[_Looker], deadline: float) -> dict[int, str]:
    """What each says next: card -> empty, or what is wrong."""
    told: dict[int, str] = {}
    waiting = {looker.reader: looker for looker in lookers}
    while waiting and (left := deadline - time.monotonic()) > 0:
        for reader in select.select(list(waiting), [], [], left)[0]:
            line = waiting[reader].hear()
            if line is not None:
                told[waiting.pop(reader).card] = line
    for looker in waiting.values():
        told[looker.card] = f"it gave no answer within {PATIENCE_S:g} s"
    return told


def _in_child(mine: dict[str, Any], hears: int, told: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if mine["visible"]:
        os.environ[mine["visible"]] = ",".join(map(str, mine["cards"]))
    os.environ["FOREBAY_CHECK_CARD"] = str(mine["card"])
    if mine["fork"]:
        _tell(mine, hears, told)
    for descriptor in (hears, told):
        os.set_inheritable(descriptor, True)
    os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), str(hears), str(told), json.dumps(mine)])


def _tell(mine: dict[str, Any], hears: int, told: int) -> None:
    """Look at the card alone, then, when told to go on, with the others. Doesn't return."""
    os.write(told, json.dumps(_alone(mine)).encode() + b"\n")
    if os.read(hears, 1):
        os.write(told, json.dumps(_together(mine)).encode() + b"\n")
    os._exit(0)  # a driver's threads may hang at the end of the interpreter


def _alone(mine: dict[str, Any]) -> str:
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return _SKIPPED + "the base environment has no torch"
    torch.set_num_threads(1)
    kind = mine["device"]
    backend = getattr(torch, kind, None) if kind != "cpu" else None
    if kind != "cpu" and (backend is None or _simulated(torch)):
        return f"{_SKIPPED}the base environment's torch drives no {kind} card"
    try:
        if backend is not None and backend.device_count() <= mine["rank"]:
            return f"torch finds {backend.device_count()} {kind} cards, and not this one"
        device = _device(torch, mine)
        return _memory(torch, device) or _arithmetic(torch, device)
    except Exception as error:
        return _in_words(error)


def _together(mine: dict[str, Any]) -> str:
    torch: Any = importlib.import_module("torch")
    try:
        return _collective(torch, _device(torch, mine), mine)
    except Exception as error:
        return _in_words(error)


def _device(torch: Any, mine: dict[str, Any]) -> Any:
    return torch.device("cpu") if mine["device"] == "cpu" else torch.device(mine["device"], mine["rank"])


def _in_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no words'}"


def _simulated(torch: Any) -> bool:
    """Whether `cuda` is Forebay's own device over processor cores, whose health is the processor's."""
    return (
        "forebay.porting.shim.load" in sys.modules
        and getattr(torch.version, "cuda", None) is None
        and not getattr(torch.version, "hip", None)
    )


def _memory(torch: Any, device: Any) -> str:
    size = _MEMORY_BYTES.get(device.type, 0)
    if not size:
        module = getattr(torch, device.type)
        free = module.mem_get_info(device)[0] if hasattr(module, "mem_get_info") else 8 * _MOST_BYTES
        size = min(free // 8, _MOST_BYTES)
    pattern = torch.arange(size // 4, dtype=torch.int32, device=device)
    for word in (0x5A5A5A5A, 0x25A5A5A5):  # a pattern and its inverse, within the positive numbers
        written = torch.bitwise_xor(pattern, word)
        wrong = int((torch.bitwise_xor(written, word) != pattern).sum())
        if wrong:
            return f"{wrong} of {size // 4} words in its memory read back differently"
    return ""


def _arithmetic(torch: Any, device: Any) -> str:
    dice = torch.Generator().manual_seed(7)
    a, b = (torch.randint(-_LARGEST, _LARGEST + 1, (_SIDE, _SIDE), generator=dice).float() for _ in range(2))
    truth = (a.double() @ b.double()).float()
    for dtype in (torch.float32, torch.bfloat16) if device.type != "cpu" else (torch.float32,):
        for _ in range(2):
            product = a.to(device, dtype) @ b.to(device, dtype)
            found = product.float().cpu()
            wanted = truth.to(dtype).float()
            wrong = int((found != wanted).sum())
            if wrong:
                return f"{wrong} of {_SIDE * _SIDE} entries of a product of whole numbers in {str(dtype)[6:]} are wrong"
    return ""


def _collective(torch: Any, device: Any, mine: dict[str, Any]) -> str:
    world = len(mine["cards"])
    dist = importlib.import_module("torch.distributed")
    from datetime import timedelta

    if device.type != "cpu":
        getattr(torch, device.type).set_device(device)
    backend = mine["backend"] if device.type != "cpu" else "gloo"
    store = dist.FileStore(mine["store"], world)
    dist.init_process_group(backend, store=store, rank=mine["rank"], world_size=world, timeout=timedelta(seconds=PATIENCE_S - 1))
    ones = torch.ones(4096, device=device)
    dist.all_reduce(ones)
    wrong = int((ones != world).sum())
    return f"{wrong} of 4096 sums over its {world} cards are wrong" if wrong else ""


if __name__ == "__main__":
    _tell(json.loads(sys.argv[3]), int(sys.argv[1]), int(sys.argv[2]))
