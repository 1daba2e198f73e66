"""What lies behind the door of a run: a program with a terminal or pipes, or a port of the machine.

Asked:  what does a conversation reach, and when is it over?
Answer: an End. The door gives it what the visitor sends, reads the descriptors in `outs`, and asks whether it has ended.
Limits: programs run as the run does. What they leave running in the background is ended with the run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

from forebay.job import talk

# What the launcher says to the ranks of a program. Whoever works by hand starts programs of his own, which are no ranks of it.
_OF_A_RANK = re.compile(
    r"TORCHELASTIC_.*|TORCH_NCCL_ASYNC.*|MASTER_(ADDR|PORT)|(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|ROLE_RANK"
)
_OPENING = r"""PS1='[\[\e[1m\]{job}\[\e[0m\]] \w \$ '
if [ -f ~/.bashrc ]; then . ~/.bashrc; fi
"""


class End:
    """Where a conversation leads."""

    name = ""

    def __init__(self) -> None:
        self.inbox = bytearray()  # from the visitor, and not taken yet
        self.into: int | None = None  # where it goes
        self.outs: dict[int, bytes] = {}  # descriptors to read, and the kind of frame that what they give becomes
        self._no_more = False  # the visitor sends nothing after what is in the inbox

    def take_in(self, kind: bytes, body: bytes) -> None:
        if kind == talk.DATA and self.into is not None:
            self.inbox += body
        elif kind == talk.END:
            self._no_more = True
        elif kind == talk.SIZE:
            self.resize(talk.read(body))
        self.digest()

    def digest(self) -> None:
        """Hand on what is in the inbox, as far as it is taken now."""
        if self.into is None:
            return
        try:
            while self.inbox:
                del self.inbox[: os.write(self.into, self.inbox)]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self.inbox.clear()
            self.into = None
        if self._no_more:
            self.shut()

    def resize(self, size: dict[str, Any]) -> None:
        pass

    def shut(self) -> None:
        """Nothing more will come in."""
        self._no_more = False

    def ran_dry(self, descriptor: int) -> None:
        """Nothing more will come out of this descriptor."""
        del self.outs[descriptor]

    def ended(self) -> tuple[int | None, str] | None:
        """The exit code and why, once it is over."""
        return None

    def news(self) -> dict[str, Any] | None:
        """Something that the visitor should know, once."""
        return None

    def close(self) -> None:
        pass


class Program(End):
    """A shell or another program, with a terminal of its own or with three pipes."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__()
        argv = [str(word) for word in asked.get("argv") or []] or _shell()
        self.name = f"a program, {argv[0]}" if asked.get("argv") else "a shell"
        self._terminal: int | None = None
        if asked.get("terminal"):
            self._terminal, theirs = pty.openpty()
            _set_size(theirs, asked)
            try:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    argv,
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    preexec_fn=_own_terminal,  # the door has one thread
                    env=environment(str(asked.get("term") or "xterm")),
                )
            except BaseException:
                os.close(self._terminal)
                raise
            finally:
                os.close(theirs)
            self.into = self._terminal
            self.outs = {self._terminal: talk.DATA}
        else:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=environment("dumb"),
            )
            assert self._process.stdin and self._process.stdout and self._process.stderr
            self.into = self._process.stdin.fileno()
            self.outs = {self._process.stdout.fileno(): talk.DATA, self._process.stderr.fileno(): talk.ERRORS}
        for descriptor in (self.into, *self.outs):
            os.set_blocking(descriptor, False)

    def resize(self, size: dict[str, Any]) -> None:
        if self._terminal is not None:
            _set_size(self._terminal, size)  # the kernel tells the program

    def shut(self) -> None:
        super().shut()
        if self._terminal is None and self._process.stdin is not None:
            self.into = None
            self._process.stdin.close()

    def ended(self) -> tuple[int | None, str] | None:
        code = self._process.poll()
        return None if code is None else (code if code >= 0 else 128 - code, "")  # as a shell tells of a signal

    def close(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGHUP)
                os.killpg(self._process.pid, signal.SIGCONT)
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.into, self.outs = None, {}


class Port(End):
    """A connection to something that listens on this machine."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.name = f"port {port}"
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.connect(("127.0.0.1", port))  # on the same machine: at once, or refused
        self._sock.setblocking(False)
        self.into = self._sock.fileno()
        self.outs = {self.into: talk.DATA}

    def shut(self) -> None:
        super().shut()
        self.into = None
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def ended(self) -> tuple[int | None, str] | None:
        return (0, "") if self.into is None and not self.outs else None

    def close(self) -> None:
        self._sock.close()
        self.into, self.outs = None, {}


def environment(term: str) -> dict[str, str]:
    """The variables of a program that a visitor starts: those of the run, but for what makes a process one of its ranks."""
    env = {name: value for name, value in os.environ.items() if not _OF_A_RANK.fullmatch(name)}
    env.update(TERM=term, SHELL=_shell_path())
    return env


def show_seconds(seconds: float) -> str:
    """ "30 m", "1 h 05 m", "20 s"."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:g} s"
    if minutes < 60:
        return f"{minutes} m" + (f" {rest:02d} s" if rest else "")
    return f"{minutes // 60} h" + (f" {minutes % 60:02d} m" if minutes % 60 else "")


def _shell_path() -> str:
    return shutil.which("bash") or "/bin/sh"


def _shell() -> list[str]:
    """The shell, and what it reads first: a prompt that names the job, then the tenant's own."""
    path = _shell_path()
    if not path.endswith("bash"):
        return [path]
    opening = Path(os.environ.get("TMPDIR", ".")) / "bashrc"
    if not opening.exists():
        opening.write_text(_OPENING.format(job=os.environ.get("FOREBAY_JOB", "forebay")))
    return [path, "--noprofile", "--rcfile", str(opening)]


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _set_size(terminal: int, size: dict[str, Any]) -> None:
    rows, columns = int(size.get("rows") or 24), int(size.get("columns") or 80)
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOTTY):
            raise
