"""A run's lock: who carries the run out holds it for life, and leaves his last sign of life in it.

Asked:  does whoever began this run still live, and if not, until when did he?
Answer: the kernel lets go of a lock when its holder dies, however he dies. What stands in the file is when the run was taken and
        when its supervisor last looked about, by the machine's monotonic clock.
Limits: one machine, or a file system whose locks all machines see.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from forebay.centre import layout


def wait_for_lock(run_dir: Path) -> int | None:
    """The lock of a run that nobody has begun. None when somebody has: he is at it, or he died, and that is for look() to say."""
    while True:
        lock = take_lock(run_dir)
        if layout.status(run_dir).exists():
            if lock is not None:
                os.close(lock)
            return None
        if lock is not None:
            return lock
        time.sleep(0.005)  # a look() holds it for a moment, or another supervisor that is about to write the status


def take_lock(run_dir: Path) -> int | None:
    """The run's lock, or None while somebody else lives who holds it."""
    descriptor = os.open(layout.lock(run_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@dataclass(frozen=True, slots=True)
class Beat:
    """A supervisor's last sign of life, in its lock file. Monotonic times count only within one boot of the machine."""

    boot: str
    taken_ns: int
    last_ns: int


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
