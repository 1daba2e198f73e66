"""People at terminals: `forebay` driven through a real pty."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

from .clouds import MARK, Cloud

PROMPT = r"\[j\w+\S*\] \S+ [$#] "


def variables(cloud: Cloud, key: str) -> dict[str, str]:
    nowhere = str(cloud.data / "nowhere")
    told = {"FOREBAY_URL": cloud.url, "FOREBAY_KEY": key, "FOREBAY_DATA": nowhere, "XDG_CONFIG_HOME": nowhere}
    return {**os.environ, **told, "FOREBAY_TESTS_MARK": MARK, "TERM": "xterm"}


def piped(cloud: Cloud, key: str, *words: str, typed: bytes = b"", seconds: float = 100) -> subprocess.CompletedProcess[bytes]:
    """`forebay …` with pipes, from its start to its end."""
    argv = [sys.executable, "-m", "forebay.cli", *words]
    return subprocess.run(argv, input=typed, capture_output=True, timeout=seconds, env=variables(cloud, key))


class Person:
    """Somebody who has typed `forebay …` into a terminal of 24 rows and 80 columns."""

    def __init__(self, cloud: Cloud, key: str, *words: str) -> None:
        self.screen = b""  # all that it has shown
        self._looked = 0
        self.terminal, self.theirs = pty.openpty()
        self.resize(24, 80, tell=False)
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "forebay.cli", *words],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env=variables(cloud, key),
            preexec_fn=_own_terminal,
        )

    def resize(self, rows: int, columns: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def sees(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until something new on the screen fits; what came before it counts as looked at."""
        deadline = time.monotonic() + seconds
        while True:
            plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]\r?", "", self.screen.decode(errors="replace"))  # colours and the like
            if found := re.compile(pattern).search(plain, self._looked):
                self._looked = found.end()
                return found
            if time.monotonic() > deadline or not self._read(deadline):
                raise AssertionError(f"never saw {pattern!r}; on the screen: {plain[-2000:]!r}")

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.terminal], [], [], max(deadline - time.monotonic(), 0))
        if ready:
            try:
                chunk = os.read(self.terminal, 65536)
            except OSError:
                return False
            self.screen += chunk
            return bool(chunk)
        return True

    def ends(self, seconds: float = 90) -> int:
        """The exit code, once it has ended."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(min(deadline, time.monotonic() + 0.05))
        while select.select([self.terminal], [], [], 0)[0] and self._read(time.monotonic()):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 10))

    @property
    def job(self) -> str:
        found = re.search(rb"job (j[a-z0-9]{7})", self.screen)
        assert found, self.screen
        return found[1].decode()

    def terminal_is_whole(self) -> bool:
        return bool(termios.tcgetattr(self.theirs) == self.before)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self.terminal, self.theirs):
            os.close(descriptor)


@contextlib.contextmanager
def sits_down(cloud: Cloud, key: str, *words: str) -> Iterator[Person]:
    person = Person(cloud, key, *words)
    try:
        yield person
    finally:
        person.close()


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
