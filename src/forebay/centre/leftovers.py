"""Find and end every process of a run, daemons included.

Asked:  which processes belong to a run, when some of them have changed session, parent and name?
Answer: the descendants of its supervisor, to which orphans fall back; those in the run's own group, which no tenant can leave;
        and those whose environment began with the run's cookie.
Limits: Linux's /proc. Not as root, after the supervisor's death, a process that was started with an empty environment can hide.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable


def find(*, gid: int | None = None, cookie: str = "", ancestor: int | None = None) -> set[int]:
    """The living processes of a run, in one pass over /proc. Never the caller itself."""
    me = os.getpid()
    parents: dict[int, int] = {}
    found: set[int] = set()
    mark = f"FOREBAY_COOKIE={cookie}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == me:
            continue
        pid = int(name)
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                status = file.read()
            if b"\nState:\tZ" in status or b"\nState:\tX" in status:
                continue
            parents[pid] = int(_field(status, b"PPid"))
            if gid is not None and str(gid).encode() in _field(status, b"Groups").split():
                found.add(pid)
            elif cookie:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.add(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    if ancestor is not None:
        found |= {pid for pid in parents if _descends(pid, ancestor, parents)}
    return found


def end(look: Callable[[], set[int]], *, reap: Callable[[], None] = lambda: None) -> bool:
    """Kill until none is left. True when there was any. Doesn't return while one lives: its cards are held."""
    any_left = False
    pause_s = 0.002
    while left := look():
        any_left = True
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # ends stopped processes too
        reap()
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.5)  # one that sleeps in the kernel may take long
    reap()
    return any_left


def reap(*, but: int = 0) -> None:
    """Collect the ended children of this process that it didn't start itself: orphans of the run. `but` is the one that it
    did start.
    """
    while True:
        try:
            about = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if about is None or about.si_pid == but:
            return
        os.waitpid(about.si_pid, os.WNOHANG)


def _field(status: bytes, name: bytes) -> bytes:
    start = status.index(b"\n" + name + b":") + len(name) + 2
    return status[start : status.index(b"\n", start)]


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    for _ in range(len(parents)):
        parent = parents.get(pid)
        if parent is None:
            return False
        if parent == ancestor:
            return True
        pid = parent
    return False
