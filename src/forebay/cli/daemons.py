"""Start and stop the processes of a cloud on this machine, and know whether they live."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from forebay.errors import ForebayError, Unavailable, from_json


def start(name: str, folder: Path, argv: list[str], env: Mapping[str, str] | None = None) -> int:
    """Start a Python module as a process of its own session; its output goes to NAME.log and its identity to NAME.pid.

    It inherits our environment, but not where a journal's database is, which may hold a password: `env` is what it gets beside.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "FOREBAY_DATABASE"}
    with open(os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *argv],
            env=inherited | {key: value for key, value in (env or {}).items() if value},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            close_fds=True,
        )
    (folder / f"{name}.pid").write_text(json.dumps({"pid": process.pid, "started": _started(process.pid)}))
    return process.pid


def alive(name: str, folder: Path) -> int | None:
    """The process id, if the process that NAME.pid names still lives. A number that was given to another process since
    doesn't count.
    """
    try:
        known = json.loads((folder / f"{name}.pid").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return known["pid"] if known["started"] and _started(known["pid"]) == known["started"] else None


def stop(name: str, folder: Path, patience_s: float = 10.0) -> bool:
    """End a process, by force after `patience_s`. False when there was none."""
    pid = alive(name, folder)
    if pid is None:
        return False
    until = time.monotonic() + patience_s
    with contextlib.suppress(ProcessLookupError):  # it may end between a look and a signal
        os.kill(pid, signal.SIGTERM)
        while alive(name, folder) is not None:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    (folder / f"{name}.pid").unlink(missing_ok=True)
    return True


def why_it_ended(name: str, folder: Path) -> ForebayError:
    """What a process that ended by itself said last."""
    lines = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "nothing"
    if last.startswith('{"error"'):
        return from_json(json.loads(last)["error"])
    return Unavailable(f"The {name} ended by itself.", found=last, hint=f"its log is {folder / name}.log")


def _started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when there is none (proc(5), stat fields 3 and 22).

    A zombie is none, unless some of its threads are still dying: until they are through it has its files, locks and ports.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        is_gone = fields[0] == "Z" and len(os.listdir(f"/proc/{pid}/task")) < 2
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if is_gone else int(fields[19])
