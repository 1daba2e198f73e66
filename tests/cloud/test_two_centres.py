"""Two centres with real agents and the local engine, joined to one cloud: a job that loses its place goes on at the other one."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay import __version__
from forebay.centre import settings
from forebay.centre.settings import Settings
from forebay.chips.node import Card, Node
from forebay.cli import daemons
from forebay.client import Client
from forebay.codec import encode
from forebay.units import MIB

from .clouds import Cloud, torn_down, until

pytestmark = pytest.mark.slow

COUNTS = """
import os, sys, time
at = int(open("out/at.txt").read()) if os.path.exists("out/at.txt") else 0
print("from", at, flush=True)
for step in range(at + 1, int(sys.argv[1]) + 1):
    time.sleep(0.1)
    with open("out/at.tmp", "w") as file:
        file.write(str(step))
    os.rename("out/at.tmp", "out/at.txt")
    print("step", step, flush=True)
"""


class Centre:
    """A centre with an agent of its own on this machine."""

    def __init__(self, cloud: Cloud, operator: Client, name: str, bases: dict[str, Path]) -> None:
        self.name, self.home = name, cloud.data / name
        self.home.mkdir(mode=0o711)
        _, token = operator.make_centre(name)
        key = "fa_" + secrets.token_urlsafe(24)
        (self.home / settings.KEY).write_text(key)
        with cloud.http(token) as joining:
            body = {"key_sha256": hashlib.sha256(key.encode()).hexdigest(), "version": __version__}
            joining.post("/agent/join", json=body).raise_for_status()
        settings.write(self.home, Settings(cloud=cloud.url, name=name, base={chip: str(p) for chip, p in bases.items()}))
        node = Node(name=f"{name}-1", chip="h100-sxm", cards=(Card(index=0),), pretend=True)
        (self.home / "nodes.json").write_text(json.dumps([encode(node)]))
        self.start()

    def start(self) -> None:
        argv = ["-m", "forebay.centre.agent", "--home", str(self.home), "--nodes", str(self.home / "nodes.json")]
        daemons.start("agent", self.home, argv)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with torn_down(Cloud()) as made:
        made.up(cards=1)
        yield made


@pytest.fixture(scope="module")
def two(cloud: Cloud) -> Iterator[tuple[Centre, Centre]]:
    with cloud.client() as operator:
        made = tuple(Centre(cloud, operator, name, cloud.bases) for name in ("north", "south"))
        joined = lambda: all(centre["nodes"] for centre in operator.pool()["centres"])  # noqa: E731
        assert until(joined, 30), [(centre.home / "agent.log").read_text() for centre in made]
        yield made  # type: ignore[misc]
        for centre in made:
            daemons.stop("agent", centre.home)


@pytest.fixture
def member(cloud: Cloud) -> Iterator[Client]:
    with cloud.client(cloud.tenant("acme")) as client:
        yield client


def submit(member: Client, *argv: str, **more: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "work.py"
        script.write_text(COUNTS)
        return str(member.run(script, argv, chips=["h100-sxm"], **more)["id"])


def printed(member: Client, job: str) -> list[str]:
    return [line["text"] for line in member.logs(job) if line["rank"] >= 0]


def where(member: Client, job: str) -> list[str]:
    return [run["allocation"]["centre"] for run in member.job(job)["runs"]]


def test_a_job_that_loses_its_centre_goes_on_at_the_other_with_what_it_had_left(cloud, two, member, tmp_path):
    job = submit(member, "60")
    assert until(lambda: "step 20" in printed(member, job), 60), printed(member, job)
    first = where(member, job)[0]
    with cloud.client() as operator:
        operator.drain(first, "it is to be moved")
        home = cloud.data / first
        for pid in _of_the_run(home, f"{job}-1"):
            os.kill(pid, signal.SIGKILL)
        assert member.wait(job, timeout_s=90)["phase"] == "succeeded"
        operator.undrain(first)
    assert where(member, job) == [first, "south" if first == "north" else "north"]
    starts = [int(line.split()[1]) for line in printed(member, job) if line.startswith("from")]
    assert starts[0] == 0 and starts[1] >= 20
    left = member.output(job, tmp_path / "got", timeout_s=30)
    assert left["run"] == f"{job}-2" and (tmp_path / "got" / "at.txt").read_text() == "60"
    kinds = [event["kind"] for event in member.story(job)]
    assert kinds.count("OutputKept") == 2  # what the first left, for the second; and what the second left, for its owner


def test_a_job_reads_what_another_left_at_the_other_centre(cloud, two, member):
    left = submit(member, "3")
    assert member.wait(left, timeout_s=60)["phase"] == "succeeded"
    (home,) = where(member, left)
    with cloud.client() as operator, tempfile.TemporaryDirectory() as folder:
        operator.drain(home)
        script = Path(folder) / "read.py"
        script.write_text("print('read', open('input/at.txt').read())\n")
        reader = member.run(script, chips=["h100-sxm"], inputs={left: "input"})["id"]
        assert member.wait(reader, timeout_s=60)["phase"] == "succeeded", printed(member, reader)
        operator.undrain(home)
    assert printed(member, reader) == ["read 3"] and where(member, reader) != [home]


def test_a_job_goes_where_its_data_has_been_brought_and_the_way_there_was_measured(cloud, two, member, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "text.bin").write_bytes(os.urandom(40 * MIB))
    version = member.make_data("corpus", corpus)["version"]
    with cloud.client() as operator:
        rates = lambda: {centre["name"]: centre["rate"] for centre in operator.centres()}  # noqa: E731
        assert rates()["south"] == {"bytes_per_s": 125_000_000, "source": "assumed"}
        operator.drain("north")
        first = reads(member, version)
        operator.undrain("north")
        assert where(member, first) == ["south"]
        (started,) = [event for event in member.story(first) if event["kind"] == "Started"]
        assert started["body"]["fetched_bytes"] == 40 * MIB
        assert rates()["south"]["source"] == "measured" and 0.1 * MIB < rates()["south"]["bytes_per_s"] < 10_000 * MIB
        operator.set_centre_rate("north", "1 GB/s")
        assert rates()["north"] == {"bytes_per_s": 10**9, "source": "said"}
    second = reads(member, version)  # north would come first, by its name
    assert where(member, second) == ["south"]
    (launched,) = [event for event in member.story(second) if event["kind"] == "Launched"]
    assert launched["body"]["transfer_s"] == 0.0
    (launched,) = [event for event in member.story(first) if event["kind"] == "Launched"]
    assert "bringing its data there takes about" in launched["text"]


def reads(member: Client, version: str) -> str:
    """A job that reads a version of a data set, when it is over."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "read.py"
        script.write_text("import os\nprint('read', os.path.getsize('data/corpus/text.bin'))\n")
        job = str(member.run(script, chips=["h100-sxm"], data={version: "data/corpus"})["id"])
    assert member.wait(job, timeout_s=90)["phase"] == "succeeded", printed(member, job)
    assert printed(member, job) == [f"read {40 * MIB}"]
    return job


def test_a_run_of_a_revoked_centre_is_given_up_and_its_job_goes_on_elsewhere(cloud, two, member):
    job = submit(member, "40")
    assert until(lambda: "step 5" in printed(member, job), 60), printed(member, job)
    (first,) = where(member, job)
    with cloud.client() as operator:
        assert operator.revoke_centre(first)["runs"] == [f"{job}-1"]
        assert member.job(job)["phase"] == "running"
        operator.revoke_centre(first, give_up=True)
        assert member.wait(job, timeout_s=90)["phase"] == "succeeded"
    assert len(set(where(member, job))) == 2


def _of_the_run(home: Path, run: str) -> list[int]:
    """Its supervisor, and so its ranks: they die with it."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if pid != os.getpid() and (any(f"{home}/runs/{run}" in word for word in words) or f"FOREBAY_RUN={run}\0" in environment):
            found.append(pid)
    assert found
    return found
