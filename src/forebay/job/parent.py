"""The parent of the ranks.

Asked:  who starts the ranks of a run, so that the start costs no import, and a rank's end is known at once?
Answer: one process that imports torch while it waits, and forks a rank a card when it is told to. It watches its children and
        passes on signals. Programs that don't want torch are started by the same process without the import, so there is one
        way in.
Limits: forks only while it has a single thread and the chip's driver is untouched; otherwise each rank is a new interpreter
        ("fresh"). It starts one run in its life.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from forebay.errors import ForebayError
from forebay.job import check, confine, keeper, rank
from forebay.job.wire import Begin, Rank, read, receive, send

# What training scripts import as a rule; each costs a rank nothing when the parent has it.
_IMPORTED = (
    "torch",
    "torch.distributed",
    "torch.nn.parallel",
    "torch.optim",
    "torch.utils.data",
    "torch.amp",
    "torch.distributed.rendezvous",
)

Script = Callable[[], None]


class Torch:
    """The imported torch and its carrier of CUDA's words, or their absence."""

    def __init__(self) -> None:
        self.carrier: Any = None
        self.kind = ""
        self.why = ""

    def choose(self, shim: str) -> None:
        """Say what carries CUDA's words here. May compile, the first time on a machine."""
        try:
            from forebay.porting.shim import carrier as carriers
        except ImportError:
            self.why = "this installation has no shim"
            return
        try:
            self.carrier = carriers.choose(Path(shim))
        except ForebayError as error:
            self.why = str(error)
            return
        self.kind, self.why = self.carrier.kind, self.carrier.why

    def load(self, cards: int) -> None:
        """Lay the carrier under torch, and import torch."""
        if self.carrier is not None:
            from forebay.porting.shim import load as loader

            loader.install(self.carrier, cards=cards)
        for name in _IMPORTED:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()  # so that collections in the ranks leave the shared pages alone

    def environment(self, cards: int) -> dict[str, str]:
        """The variables by which new interpreters, the rank's own children among them, find the carrier."""
        if self.carrier is None:
            return {}
        from forebay.porting.shim import load as loader

        return loader.child_environment(self.carrier, cards)


def serve(sock: socket.socket, torch: Torch) -> Script | None:
    """Wait for a run, start it, see it end. In a forked rank it returns what the rank has to do; in the parent, None."""
    send(sock, {"say": "ready", **_about(), "carrier": torch.kind, "why": torch.why})
    packet, _ = receive(sock)
    while packet is not None and packet["say"] == "check":
        send(sock, {"say": "checked", **check.look(packet)})
        packet, _ = receive(sock)
    if packet is None:
        return None
    begin = read(Begin, packet)
    places: list[tuple[Rank, list[int]]] = []
    for _ in range(begin.ranks):
        packet, streams = receive(sock, descriptors=2)
        if packet is None:
            return None
        places.append((read(Rank, packet), streams))
    try:
        confine.enter(begin.view)
    except OSError as error:
        covers = ", ".join(begin.view["covers"])
        reason = f"{error.filename}: {error.strerror} (folders in the way of the organisation's user: {covers})"
        send(sock, {"say": "refused", "reason": reason})
        return None
    if begin.start == "fork" and (len(os.listdir("/proc/self/task")) > 1 or _shadows(begin.packages)):
        begin = replace(begin, start="fresh")
    return _Family(sock, begin, torch).start(places)


def _about() -> dict[str, Any]:
    return {
        "executable": sys.executable,
        "prefixes": sorted({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}),
        "path": [path for path in sys.path if path],
        "version": sys.version.split()[0],
        "torch": _version("torch"),
    }


def _version(package: str) -> str:
    """The version that is installed, without importing it; empty when there is none."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


class _Family:
    """The parent's children: the ranks, and the keeper of the store."""

    def __init__(self, sock: socket.socket, begin: Begin, torch: Torch) -> None:
        self.sock = sock
        self.begin = begin
        self.torch = torch
        self.pid = os.getpid()
        self.ranks: dict[int, int] = {}  # pid -> rank
        self.keeper = 0
        self.woken, self.wake = os.pipe()

    def start(self, places: list[tuple[Rank, list[int]]]) -> Script | None:
        os.set_blocking(self.wake, False)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        port = self.begin.port if self.begin.port is not None else self._open_meeting()
        where = dict(keeper.variables(self.begin.address, port, kept=self.begin.store))
        for mine, streams in places:
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                # `settle` closes it with the other descriptors; the object must not, later, close what has its number by then.
                self.sock.detach()
                return _born(self.begin, mine, streams, {**self.begin.env, **mine.env, **where}, self.torch, self.pid)
            self.ranks[pid] = mine.rank
        for _, streams in places:
            os.close(streams[0])
            os.close(streams[1])
        send(self.sock, {"say": "started", "pids": list(self.ranks)})
        self._watch()
        return None

    def _open_meeting(self) -> int:
        port = self._open_store() if self.begin.store else keeper.free_port(self.begin.address)
        send(self.sock, {"say": "meeting", "port": port})
        return port

    def _open_store(self) -> int:
        listening = keeper.listen(self.begin.address)
        port = int(listening.getsockname()[1])
        self.keeper = os.fork()
        if self.keeper == 0:
            try:
                os.setsid()
                self.sock.close()
                signal.set_wakeup_fd(-1)
                confine.become(self.begin.uid, self.begin.gid, self.begin.groups, self.pid)
                keeper.keep(listening)
            finally:
                os._exit(1)
        listening.close()
        return port

    def _watch(self) -> None:
        """Until every rank has ended and the supervisor has hung up."""
        while True:
            ready, _, _ = select.select([self.sock.fileno(), self.woken], [], [])
            if self.woken in ready:
                os.read(self.woken, 4096)
                self._reap()
            if self.sock.fileno() in ready:
                packet, _ = receive(self.sock)
                if packet is None:
                    break
                for pid in list(self.ranks):
                    os.kill(pid, int(packet["number"]))  # not reaped yet, so the number is still its own
        for pid in [*self.ranks, *([self.keeper] if self.keeper else [])]:
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.keeper:
                self.keeper = 0
            if pid in self.ranks:
                code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                send(self.sock, {"say": "exit", "rank": self.ranks.pop(pid), "code": code})


def _born(begin: Begin, mine: Rank, streams: list[int], env: dict[str, str], torch: Torch, parent: int) -> Script:
    """In the new rank: take its place, then say what is left to do once our own functions have returned."""
    try:
        rank.settle(begin, mine, streams, parent)
        env = _layered(dict(os.environ), torch.environment(mine.cards), env)
        if begin.start == "exec":
            rank.execute(begin.argv, env)
        if begin.start == "fresh":
            opening = ["--rank", str(mine.cards), str(mine.threads), begin.packages or "", begin.entry]
            rank.execute([begin.python, os.path.join(os.path.dirname(__file__), "__main__.py"), *opening, *begin.argv], env)
        rank.take_over(env, mine.threads, mine.cards, begin.packages, begin.python)
    except BaseException as error:
        os.write(2, f"the rank could not be set up: {error!r}\n".encode())
        os._exit(125)
    return lambda: rank.run_script(begin.entry, begin.argv, ours())


def _layered(wrapper: dict[str, str], carrier: dict[str, str], ours: dict[str, str]) -> dict[str, str]:
    """What a base's wrapper script set stays, the carrier's boot folder comes before the tenant's own, and the rest is the
    launcher's.
    """
    folders = [env["PYTHONPATH"] for env in (carrier, ours if "PYTHONPATH" in ours else wrapper) if env.get("PYTHONPATH")]
    env = {**wrapper, **carrier, **ours}
    if folders:
        env["PYTHONPATH"] = os.pathsep.join(folders)
    return env


def _shadows(packages: str | None) -> bool:
    """True where the tenant brings another copy of a module that the parent has imported already."""
    if packages is None:
        return False
    brought = {name.split(".")[0] for name in os.listdir(packages) if not name.endswith((".dist-info", ".pth"))}
    return not brought.isdisjoint(name.split(".")[0] for name in sys.modules)


def ours() -> str:
    """The folder on the path in which the package forebay lies."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
