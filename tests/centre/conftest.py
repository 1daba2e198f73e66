"""A centre of two CPU cards in a temporary folder, and hands to work it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from forebay.centre import layout, leftovers
from forebay.centre.local import Local
from forebay.centre.order import Order
from forebay.centre.spec import Handle, Phase, Seen, Share, Spec
from forebay.chips.node import Card, Node
from forebay.codec import decode

CORES = sorted(os.sched_getaffinity(0))
NODES = (
    Node(name="here", chip="cpu", cards=tuple(Card(index=i, cores=(CORES[i % len(CORES)],)) for i in range(2))),
    Node(name="stand-in", chip="cpu", cards=tuple(Card(index=i) for i in range(4)), pretend=True),
)
# Compiled once a user, not once a test. The file's name holds the hash of its sources, so an old one is never taken for new.
SHIM = Path(os.environ.get("FOREBAY_TEST_SHIM_CACHE") or Path.home() / ".cache" / "forebay" / "shim")
ONE, TWO = (Share(node="here", cards=(0,)),), (Share(node="here", cards=(0, 1)),)


Entries = Mapping[str, str | bytes | tarfile.TarInfo]


def pack(entries: Entries) -> bytes:
    """A bundle: contents by name, or members made by hand."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        for name, content in entries.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            raw = content.encode() if isinstance(content, str) else content
            member.size, member.mode = len(raw), 0o644
            tar.addfile(member, io.BytesIO(raw))
    return body.getvalue()


class Centre:
    """An engine over a home, and the words of the tests about it."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.engine = self.open(**settings)

    def open(self, **settings: Any) -> Local:
        return Local(
            self.home, **{"nodes": NODES, "base": {"*": Path(sys.executable)}, "standby": False, "shim": SHIM, **settings}
        )

    def store(self, entries: Entries) -> str:
        body = pack(entries)
        sha256 = hashlib.sha256(body).hexdigest()
        layout.bundle(self.home, sha256).write_bytes(body)
        return sha256

    def spec(self, code: str | Entries, *, name: str = "j-1", entry: str = "main.py", **fields: Any) -> Spec:
        entries = {entry: code} if isinstance(code, str) else code
        given = {"job": name.split("-")[0], "organisation": "acme", "chip": "cpu", "shares": ONE, **fields}
        return Spec(name=name, bundle=self.store(entries), entry=entry, **given)

    def launch(self, code: str | Entries, **fields: Any) -> Handle:
        return self.engine.launch(self.spec(code, **fields))

    def run(self, code: str | Entries, **fields: Any) -> Seen:
        return self.end(self.launch(code, **fields))

    def end(self, handle: Handle) -> Seen:
        return until(lambda: seen if (seen := self.engine.look(handle)).phase is Phase.ENDED else None)

    def end_all(self) -> None:
        for handle in self.engine.handles().values():
            self.engine.stop(handle, 0)
            self.end(handle)

    def clear(self) -> None:
        """As if nothing had run here: the next test's runs may have the names of this one's. What was built stays."""
        self.end_all()
        for handle in self.engine.handles().values():
            self.engine.forget(handle)
        for job in layout.output(self.home, "j").parent.iterdir():
            shutil.rmtree(job)

    def lines(self, name: str = "j-1", stream: str | None = "stdout", rank: int | None = None) -> list[str]:
        piece = self.engine.read_log(Handle(str(layout.run(self.home, name))), {})
        lines = [json.loads(line) for line in piece.body.splitlines()] if piece else []
        return [line["text"] for line in lines if stream in (None, line["stream"]) and rank in (None, line["rank"])]

    def until_printed(self, text: str, name: str = "j-1") -> None:
        until(lambda: any(text in line for line in self.lines(name, None)))

    def processes(self, name: str = "j-1") -> set[int]:
        """Every living process of a run but its supervisor."""
        wanted = self.order(name)
        return leftovers.find(gid=wanted.run_gid, cookie=wanted.cookie)

    def order(self, name: str = "j-1") -> Order:
        return decode(Order, json.loads(layout.spec(layout.run(self.home, name)).read_text()))

    def supervisor(self, name: str = "j-1") -> int:
        """Its process id: the parent of the process whose children are the ranks."""
        handle = str(layout.run(self.home, name)).encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2:-1] == [handle]:
                    return int(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
        raise AssertionError(f"no supervisor of {name}")


def until(look: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it didn't come about in time")


@contextlib.contextmanager
def a_centre(**settings: Any) -> Iterator[Centre]:
    # Not pytest's tmp_path: that lies in a folder which other users may not enter.
    home = Path(tempfile.mkdtemp(prefix="forebay-centre-"))
    made = Centre(home, **settings)
    yield made
    made.end_all()
    made.engine.close()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def centre() -> Iterator[Centre]:
    with a_centre() as made:
        yield made


@pytest.fixture(scope="session")
def carried() -> None:
    """The carrier of CUDA's words is compiled before the clock of any test runs."""
    pytest.importorskip("torch")
    from forebay.porting.shim import carrier

    carrier.choose(SHIM)
