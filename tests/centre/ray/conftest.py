"""A Ray cluster of three nodes with two kinds of chips, and a centre that has joined it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forebay.centre import layout
from forebay.centre.ray.engine import Ray
from forebay.centre.settings import RaySettings, Settings
from forebay.centre.spec import Handle, Phase, Seen, Share, Spec

from ..conftest import SHIM, Centre, until
from .cluster import Cluster, Host

CHIPS = {"NPU": "ascend-910b", "mlu_370": "mlu370-x4"}
HOSTS = (
    Host(name="a1", resources={"NPU": 8}, labels={"rack": "r1"}),
    Host(name="a2", resources={"NPU": 8}, labels={"rack": "r2"}),
    Host(name="m1", resources={"mlu_370": 4}),
)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "ray[default]"')
    folder = Path(tempfile.mkdtemp(prefix="fbr"))
    folder.chmod(0o755)
    made = Cluster(folder, HOSTS)
    yield made
    made.end()
    shutil.rmtree(folder, ignore_errors=True)


class RayCentre(Centre):
    """A centre that has joined a cluster."""

    def __init__(self, home: Path, cluster: Cluster, **told: Any) -> None:
        self.cluster = cluster
        self.told = settings(cluster, **told)
        super().__init__(home)
        until(self.engine.nodes)

    def open(self, **more: Any) -> Ray:  # type: ignore[override]
        return Ray(self.home, self.told, shim=SHIM)

    def reopen(self) -> None:
        self.engine.close()
        self.engine = self.open()

    def spec(self, code: Any, *, name: str = "j-1", on: str = "a1", cards: int = 2, **fields: Any) -> Spec:
        """`on`: nodes, with commas. Each has this many cards of the run."""
        shares = tuple(Share(node=node, cards=tuple(range(cards))) for node in on.split(","))
        given = {"chip": "mlu370-x4" if on.startswith("m") else "ascend-910b", "shares": shares, "pretend": self.told.pretend}
        return super().spec(code, name=name, **{**given, **fields})

    def launch(self, code: Any, **fields: Any) -> Handle:
        return self.engine.launch(self.spec(code, **fields))

    def end(self, handle: Handle, seconds: float = 100) -> Seen:
        return self.seen(handle, lambda seen: seen.phase is Phase.ENDED, seconds)

    def seen(self, handle: Handle, wanted: Callable[[Seen], Any], seconds: float = 60) -> Seen:
        """The first sight that is as wanted."""
        last: list[Seen] = []

        def look() -> Seen | None:
            last[:] = [self.engine.look(handle)]
            return last[0] if wanted(last[0]) else None

        try:
            return until(look, seconds)
        except AssertionError:
            raise AssertionError(f"last seen: {last}\n{self.hand_log()}") from None

    def lines(self, name: str = "j-1", stream: str | None = "stdout", rank: int | None = None) -> list[str]:
        found: list[str] = []
        marks: dict[str, int] = {}
        while (piece := self.engine.read_log(Handle(str(layout.run(self.home, name))), marks, 2**20)) is not None:
            marks[piece.share] = piece.end
            lines = [json.loads(line) for line in piece.body.splitlines()]
            found += [line["text"] for line in lines if stream in (None, line["stream"]) and rank in (None, line["rank"])]
        return found

    def ranks(self, name: str = "j-1") -> set[int]:
        """The living ranks of a run of this centre, on any node."""
        wanted = str(layout.run(self.home, name))
        return {
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if wanted in _environment(pid).get("TMPDIR", "")
        }

    def launchers(self, name: str = "j-1") -> dict[int, int]:
        """Share -> process id of its launcher: the parent of its supervisor."""
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            words = _read(pid, "cmdline").split(b"\0")
            folder = next(
                (word.decode() for word in words if word.startswith(b"/") and f"/runs/{name}/share-".encode() in word), ""
            )
            if folder and b"forebay.centre.supervisor" in b" ".join(words):
                found[int(folder.rpartition("-")[2])] = int(_read(pid, "stat").rpartition(b")")[2].split()[1])
        return found

    def hand(self) -> int:
        """The process id of the hand."""
        return int(until(lambda: self.engine._hand).pid)

    def hand_log(self) -> str:
        path = self.home / "ray" / "hand.log"
        return path.read_text()[-3000:] if path.exists() else ""


def settings(cluster: Cluster, **told: Any) -> Settings:
    more = told.pop("ray", {})
    given = Settings(
        engine="ray",
        name="t",
        base={"*": sys.executable},
        pretend=True,
        check="never",
        ray=RaySettings(address=cluster.address, chips=CHIPS, **more),
    )
    return replace(given, **told)


@pytest.fixture
def make(cluster: Cluster) -> Iterator[Callable[..., RayCentre]]:
    """Make a centre; all are cleared away in the end."""
    made: list[RayCentre] = []

    def one(**told: Any) -> RayCentre:
        home = Path(tempfile.mkdtemp(prefix="forebay-ray-"))
        home.chmod(0o711)
        made.append(RayCentre(home, cluster, **told))
        return made[-1]

    yield one
    for centre in made:
        for handle in centre.engine.handles().values():
            centre.engine.stop(handle, 0)
            centre.end(handle)
        centre.engine.close()
        shutil.rmtree(centre.home, ignore_errors=True)


@pytest.fixture
def site(make: Callable[..., RayCentre]) -> RayCentre:
    return make()


@pytest.fixture
def other(cluster: Cluster) -> Iterator[Callable[[str], None]]:
    """Another user of the cluster: runs a program of Ray's, which stays until the end of the test."""
    programs: list[subprocess.Popen[str]] = []

    def run(code: str) -> None:
        head = cluster.address.partition(":")[0]
        opening = f"import ray, sys\nray.init(address={cluster.address!r}, _node_ip_address={head!r}, log_to_driver=False)\n"
        program = subprocess.Popen(
            [sys.executable, "-c", opening + code + "\nprint('ready', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
        programs.append(program)
        assert program.stdout is not None
        assert "ready" in program.stdout.readline()

    yield run
    for program in programs:
        program.kill()
        program.wait()


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if _read(pid, "cmdline")}


def _environment(pid: int) -> dict[str, str]:
    pairs = (pair.split("=", 1) for pair in _read(pid, "environ").decode(errors="replace").split("\0") if "=" in pair)
    return dict(pairs)  # type: ignore[arg-type]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


__all__ = ["CHIPS", "HOSTS", "RayCentre", "alive", "settings", "until"]
