"""The supervisor's end of the wire to the parent of the ranks (`job/parent.py`).

Asked:  how does a supervisor start ranks in another Python, follow what they print, and learn how they end?
Answer: it starts the base environment's Python on `job/__main__.py` with a socket of packets, and hands each rank's pipes over
        that socket.
Limits: one crew starts one run, or one step of preparing one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forebay.centre import layout
from forebay.units import MIB

_TOLD_BYTES = 4_000
_TORCH = {"import": ["--carry", "--import"], "carry": ["--carry"], "none": []}


class Crew:
    """A process that starts ranks when told to, and its socket."""

    def __init__(self, home: Path, base: str, cookie: str, *, shim: str, torch: str, cards: int) -> None:
        """`torch`: "import" it, so that ranks can be forked; only "carry" CUDA's words for those who may import it; or
        "none" of both.
        """
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
        self._told = os.memfd_create("crew")  # what it says outside any rank: of interest only when it fails
        arguments = ["--wire", str(theirs.fileno()), "--shim", shim, "--cards", str(cards), "--parent", str(os.getpid())]
        with theirs:
            self.process = subprocess.Popen(
                [base, str(layout.job_program(home)), *arguments, *_TORCH[torch]],
                pass_fds=[theirs.fileno()],
                env=_environment(cookie),
                stdin=subprocess.DEVNULL,
                stdout=self._told,
                stderr=self._told,
                cwd="/",
            )
        self.about: dict[str, Any] | None = None  # its "ready"

    def begin(self, packet: Mapping[str, Any], ranks: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, str]]:
        """Start a run. Returns the reading ends of the ranks' pipes: descriptor -> (rank, stream)."""
        self.socket.send(json.dumps(packet).encode())
        pipes: dict[int, tuple[int, str]] = {}
        for mine in ranks:
            out, out_end = os.pipe()
            err, err_end = os.pipe()
            socket.send_fds(self.socket, [json.dumps(mine).encode()], [out_end, err_end])
            os.close(out_end)
            os.close(err_end)
            pipes[out] = (mine["rank"], "stdout")
            pipes[err] = (mine["rank"], "stderr")
        return pipes

    def ask(self, packet: Mapping[str, Any]) -> None:
        """Ask something that is answered by a packet."""
        with contextlib.suppress(OSError):  # the crew is gone: whoever waits hears it hang up
            self.socket.send(json.dumps(packet).encode())

    def hurry(self, now: bool) -> None:
        """Import at low priority while nobody waits, where we may raise it again later: as root."""
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, self.process.pid, 0 if now else 10)

    def signal(self, number: int) -> None:
        """Send a signal to every rank that hasn't ended."""
        self.ask({"say": "signal", "number": number})

    def receive(self) -> dict[str, Any] | None:
        """The next packet. None: the crew has hung up."""
        try:
            body = self.socket.recv(MIB)
        except OSError:
            return None
        packet: dict[str, Any] | None = json.loads(body) if body else None
        if packet is not None and packet["say"] == "ready":
            self.about = packet
        return packet

    def hang_up(self) -> int:
        """End it, if it hasn't. Returns its exit code. May be said twice."""
        self.socket.close()
        try:
            return self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def told(self) -> str:
        """The last of what it said outside any rank."""
        size = os.fstat(self._told).st_size
        return os.pread(self._told, _TOLD_BYTES, max(size - _TOLD_BYTES, 0)).decode("utf-8", "replace").strip()


def _environment(cookie: str) -> dict[str, str]:
    """From nothing. A base whose vendor wants more (LD_LIBRARY_PATH, say) is a wrapper script that sets it; ranks inherit it
    from there.
    """
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "FOREBAY_COOKIE": cookie,
        # One thread while it waits, because it is going to fork; each rank sets its own number.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
