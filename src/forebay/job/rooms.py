"""What lies behind the door of a run: a program with a terminal or pipes, a port of the machine, or Jupyter.

Asked:  what does a conversation reach, and when is it over?
Answer: an End. The door gives it what the visitor sends, reads the descriptors in `outs`, and asks whether it has ended.
Limits: programs run as the run does. What they leave running in the background is ended with the run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import pty
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

from forebay.job import talk

# What the launcher says to the ranks of a program. Whoever works by hand starts programs of his own, which are no ranks of it.
_OF_A_RANK = re.compile(
    r"TORCHELASTIC_.*|TORCH_NCCL_ASYNC.*|MASTER_(ADDR|PORT)|(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|ROLE_RANK"
)
_OPENING = r"""PS1='[\[\e[1m\]{job}\[\e[0m\]] \w \$ '
[ -f ~/.bashrc ] && . ~/.bashrc
"""
# The first of these that the environment has is started: the module, and the page on which it opens.
JUPYTERS = (("jupyterlab", "lab"), ("notebook", "tree"), ("jupyter_server", "api/status"))


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
            self.resize(json.loads(body))
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


class Jupyter:
    """The Jupyter of this run: started when it is first asked for, and only once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "jupyter"
        self.about: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = False

    @property
    def starting(self) -> bool:
        return self._process is not None and not self._answers and self._process.poll() is None

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        found = next(((module, page) for module, page in JUPYTERS if importlib.util.find_spec(module)), None)
        if found is None:
            raise ValueError(
                "there is no Jupyter in this environment; add `jupyterlab` to your requirements.txt and give it with "
                "`forebay shell --jupyter --code FOLDER --requirements requirements.txt`"
            )
        self.about = {"program": found[0], "page": found[1], "port": _free_port(), "token": secrets.token_hex(24)}
        self._answers = False
        self.folder.mkdir(mode=0o700, exist_ok=True)
        env = environment("dumb")
        env.update(JUPYTER_TOKEN=self.about["token"], JUPYTER_RUNTIME_DIR=str(self.folder))  # `ps` shows arguments to everybody
        options = [f"--ServerApp.port={self.about['port']}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"]
        options += ["--no-browser"] + (["--allow-root"] if os.geteuid() == 0 else [])
        with (self.folder / "jupyter.log").open("ab") as told:
            self._process = subprocess.Popen(
                [sys.executable, "-m", found[0], *options],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
                env=env,
            )

    def answers(self) -> bool:
        """Whether it listens by now."""
        if not self._answers and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.about["port"]), timeout=1):
                self._answers = True
        return self._answers

    def death(self) -> str | None:
        """Why it is gone, if it is."""
        if self._process is None or self._process.poll() is None:
            return None
        lines = (self.folder / "jupyter.log").read_text(errors="replace").strip().splitlines()[-3:]
        return f"{self.about['program']} ended with exit code {self._process.returncode}: {' '.join(lines)}"

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


class Visit(End):
    """A visitor who came for Jupyter: is told where it listens, and hears of its end."""

    name = "Jupyter"

    def __init__(self, jupyter: Jupyter) -> None:
        super().__init__()
        self._jupyter = jupyter
        self._told = False
        jupyter.start()

    def news(self) -> dict[str, Any] | None:
        if self._told or not self._jupyter.answers():
            return None
        self._told = True
        return self._jupyter.about

    def ended(self) -> tuple[int | None, str] | None:
        death = self._jupyter.death()
        return None if death is None else (1, death)


def open_end(asked: dict[str, Any], jupyter: Jupyter) -> End:
    """What a visitor asked for. OSError or ValueError when it can't be had."""
    if asked["what"] == "shell":
        return Program(asked)
    if asked["what"] == "port":
        return Port(int(asked["port"]))
    if asked["what"] == "jupyter":
        return Visit(jupyter)
    raise ValueError(f"this door knows no {asked['what']}")


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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
