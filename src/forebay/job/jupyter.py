"""Jupyter behind the door of a run.

Asked:  how does a visitor get the Jupyter of the run's own environment?
Answer: whichever is installed there is started when it is first asked for, on 127.0.0.1 with a token that no other user of the
        machine can see; whoever asks is told port and token, and reaches it as any port (`rooms.Port`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from forebay.job.rooms import End, environment

# The first of these that the environment has is started: the module, and the page on which it opens.
JUPYTERS = (("jupyterlab", "lab"), ("notebook", "tree"), ("jupyter_server", "api/status"))


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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
