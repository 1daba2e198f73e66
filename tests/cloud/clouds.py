"""Clouds to test: real processes, a real journal, real HTTP on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from forebay.chips import detect
from forebay.chips.node import Card, Node
from forebay.cli import daemons, up
from forebay.client import Client

NODES = (
    Node(name="here", chip="cpu", cards=tuple(Card(index=i) for i in range(64))),
    Node(name="rehearsed", chip="ascend-910b", cards=tuple(Card(index=i) for i in range(8)), pretend=True),
)
MARK = f"tests-{secrets.token_hex(8)}"  # inherited by what a test starts, so that a process left over can be told by it


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer; after `seconds`, whatever the answer is."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def free_every_card(member: Client) -> None:
    """End what waits or runs: a test that fails leaves its job behind, which would take the next one's cards."""
    for job in member.jobs():
        if job["phase"] in ("waiting", "running"):
            member.cancel(job["id"])
            member.wait(job["id"], timeout_s=30)


class Cloud:
    """The processes of one cloud, on a data folder of its own."""

    def __init__(self, database: str = "") -> None:
        """`database`: the address of the journal's PostgreSQL, if it isn't in the data folder."""
        self.database = database
        # Not pytest's tmp_path: that lies in a folder which other users, and so the tenants' programs, may not enter.
        self.data = Path(tempfile.mkdtemp(prefix="forebay-cloud-"))
        self.data.chmod(0o711)
        self.port = 0
        self.bases: dict[str, Path] = {}

    # Processes.

    def serve(self) -> None:
        """Start the cloud's process, on the port that it had before."""
        before = self.pid("cloud")
        assert before is None, f"the cloud still lives as {before}"
        argv = ["-m", "forebay.cloud.serve", "--data", str(self.data), "--port", str(self.port)]
        with _marked():
            daemons.start("cloud", self.data, argv, {"FOREBAY_DATABASE": self.database})
        if not self.port:
            assert until(lambda: (self.data / "address").exists() and self.url), (self.data / "cloud.log").read_text()
            self.port = int(self.url.rpartition(":")[2])

    def up(self, cards: int) -> None:
        """Start cloud and agent as `forebay up` does, with a base environment that has nothing but Python."""
        python = self.data / "python"
        venv.create(python, symlinks=True, with_pip=False)
        self.bases = {"*": python / "bin" / "python"}
        with _marked():
            up.start(
                self.data,
                host="127.0.0.1",
                port=0,
                nodes=(Node(name="here", chip="cpu", cards=detect.cpu_cards(cards)),),
                bases=self.bases,
                currency="CNY",
                trust_all=False,
                tls=None,
                trusted_network=False,
                database=self.database,
            )
        self.port = int(self.url.rpartition(":")[2])

    def start_agent(self) -> None:
        with _marked():
            up.start_agent(self.data, self.bases, trust_all=False)

    def pid(self, name: str) -> int | None:
        return daemons.alive(name, self.data)

    def last_words(self, name: str) -> str:
        return "\n".join((self.data / f"{name}.log").read_text(errors="replace").splitlines()[-5:])

    def kill(self, name: str, sign: int = signal.SIGKILL) -> None:
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, sign)
            if sign == signal.SIGKILL:
                assert until(lambda: self.pid(name) is None)

    def stop(self) -> None:
        for name in ("agent", "cloud"):
            daemons.stop(name, self.data)

    def processes(self) -> dict[int, str]:
        """Every living process that belongs to this cloud, with its command line."""
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                about = Path(f"/proc/{pid}")
                command, environment = (about / "cmdline").read_bytes(), (about / "environ").read_bytes()
                where = str(self.data).encode()
                if pid != os.getpid() and command and (where in command or where in environment or MARK.encode() in environment):
                    found[pid] = command.replace(b"\0", b" ").decode()
        return found

    # Talking to it.

    @property
    def url(self) -> str:
        return (self.data / "address").read_text().strip()

    @property
    def operator_key(self) -> str:
        return (self.data / "operator.key").read_text().strip()

    def client(self, key: str | None = None, patience_s: float = 30.0) -> Client:
        return Client(self.url, self.operator_key if key is None else key, patience_s=patience_s)

    def http(self, key: str | None = None) -> httpx.Client:
        """Bare HTTP, for what the SDK would never send."""
        secret = self.operator_key if key is None else key
        return httpx.Client(
            base_url=self.url + "/api/v1", headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=30.0
        )

    def centre(self) -> httpx.Client:
        """Bare HTTP with the local centre's token, as its agent speaks."""
        return self.http((self.data / "centre.token").read_text().strip())

    def tenant(self, organisation: str, project: str = "research", role: str = "member") -> str:
        """The secret of a key of an organisation, which is made if it is new."""
        with self.client() as cloud:
            if organisation not in [known["name"] for known in cloud.organisations()]:
                cloud.make_organisation(organisation)
            if project not in next(o for o in cloud.organisations() if o["name"] == organisation)["projects"]:
                cloud.make_project(organisation, project)
            return cloud.make_key(f"{organisation}/{project}", role=role)[1]


@contextlib.contextmanager
def _marked() -> Iterator[None]:
    os.environ["FOREBAY_TESTS_MARK"] = MARK
    try:
        yield
    finally:
        del os.environ["FOREBAY_TESTS_MARK"]


@contextlib.contextmanager
def torn_down(cloud: Cloud) -> Iterator[Cloud]:
    """Afterwards nothing of the cloud is left, whatever the test did."""
    try:
        yield cloud
    finally:
        for name in ("agent", "cloud"):
            cloud.kill(name, signal.SIGCONT)
        cloud.stop()
        for pid in cloud.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(cloud.data, ignore_errors=True)
