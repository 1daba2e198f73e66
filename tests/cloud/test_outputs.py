"""What a job left gets to where it is needed: to the cloud, to another centre, to its owner; in pieces, and once.

The agents here speak with the real Link; what they send lies in memory.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from world import node

from forebay import __version__
from forebay.centre.link import Link
from forebay.chips.node import Node
from forebay.client import Client
from forebay.codec import encode
from forebay.data.fetch import fetch_output
from forebay.data.manifest import PIECE_BYTES, Chunk, File, Manifest
from forebay.data.store import pack_chunks, unpack_chunks
from forebay.errors import Conflict, Unavailable, Unknown

from .clouds import Cloud, until

CHIP = "mi300x"


class Agent:
    """A centre's agent, as far as it is words."""

    def __init__(self, cloud: Cloud, operator: Client, *nodes: Node) -> None:
        self.name = "c" + secrets.token_hex(4)
        _, token = operator.make_centre(self.name)
        key = "fa_" + secrets.token_urlsafe(24)
        with cloud.http(token) as joining:
            body = {"key_sha256": hashlib.sha256(key.encode()).hexdigest(), "version": __version__}
            joining.post("/agent/join", json=body).raise_for_status()
        self.http = cloud.http(key)
        self.link = Link(cloud.url, key)
        self.link.hello("slurm", nodes)

    def asked_to_send(self) -> tuple[str, ...]:
        return self.link.wanted(-1).send

    def brings(self, run: str) -> tuple[str, ...]:
        return self.link.wanted(-1).runs[run].spec.brings

    def tell(self, run: str, **seen: Any) -> None:
        self.http.post("/agent/report", json={"seen": [{"name": run, **seen}]}).raise_for_status()

    def runs(self, run: str, files: dict[str, bytes], *, outcome: str = "succeeded", **more: Any) -> None:
        """Tell of a run's whole life, and of the files that it left."""
        left = [{"path": path, "size_bytes": len(body), "modified_ns": 1} for path, body in files.items()]
        seen = {"outcome": outcome, "running_at_ns": 5, "held_ns": 5, "ended_at_ns": 9, "artefacts": left, **more}
        self.tell(run, phase="ended", **seen)

    def send(self, run: str, files: dict[str, bytes]) -> None:
        manifest, chunks = manifest_of(files)
        missing = self.link.missing(run, manifest)
        if missing:
            self.link.send_chunks(run, pack_chunks({sha256: chunks[sha256] for sha256 in missing}))
        self.link.keep_output(run, manifest)


def manifest_of(files: dict[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    chunks: dict[str, bytes] = {}
    listed = []
    for path, body in sorted(files.items()):
        pieces = [body[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)]
        named = [(hashlib.sha256(piece).hexdigest(), piece) for piece in pieces]
        chunks |= dict(named)
        parts = tuple(Chunk(sha256=sha256, size_bytes=len(piece)) for sha256, piece in named)
        listed.append(File(path=path, size_bytes=len(body), chunks=parts))
    return Manifest(files=tuple(listed)), chunks


@pytest.fixture
def operator(cloud: Cloud) -> Iterator[Client]:
    with cloud.client() as client:
        yield client


@pytest.fixture
def member(cloud: Cloud) -> Iterator[Client]:
    with cloud.client(cloud.tenant("acme")) as client:
        yield client


@pytest.fixture
def two(cloud: Cloud, operator: Client) -> Iterator[tuple[Agent, Agent]]:
    """Two centres of one card each, of a chip that nobody else has."""
    agents = tuple(Agent(cloud, operator, node(f"m{i}", CHIP, 1)) for i in range(2))
    yield tuple(sorted(agents, key=lambda agent: agent.name))  # type: ignore[misc]
    for agent in agents:
        operator.revoke_centre(agent.name, give_up=True)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text("print('hello')\n")
    return path


FILES = {"a.txt": b"one", "deep/model.pt": b"weights" * 1000, "empty": b""}


def test_a_small_output_is_sent_when_its_run_has_ended_and_can_be_fetched(two, member, script, tmp_path):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    run = f"{job}-1"
    first.runs(run, FILES)
    assert first.asked_to_send() == (run,)
    first.send(run, FILES)
    assert first.asked_to_send() == ()
    told: list[tuple[str, int, int]] = []
    left = member.output(job, tmp_path / "got", said=lambda *words: told.append(words))
    assert left["run"] == run and left["whole"]
    assert {p: (tmp_path / "got" / p).read_bytes() for p in FILES} == FILES
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == [".forebay-output", "a.txt", "deep", "empty"]
    assert told[-1] == ("fetching", 7003, 7003)
    (kept,) = [event for event in member.story(job) if event["kind"] == "OutputKept"]
    assert kept["text"].startswith("what it left was kept: 3 files, 7 kB")


def test_a_large_output_is_sent_only_when_somebody_asks(two, member, script):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    run = f"{job}-1"
    first.tell(run, phase="ended", outcome="succeeded", running_at_ns=5,
               artefacts=[{"path": "model.pt", "size_bytes": 10**9, "modified_ns": 1}])  # fmt: skip
    assert first.asked_to_send() == ()
    with pytest.raises(Unavailable, match=f"is being brought from centre {first.name}"):
        member.output(job, "unused", timeout_s=0)
    assert first.asked_to_send() == (run,)


def test_an_agent_that_waits_for_news_hears_at_once_that_somebody_asks(two, member, script):
    import threading

    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    first.tell(f"{job}-1", phase="ended", outcome="succeeded", running_at_ns=5,
               artefacts=[{"path": "model.pt", "size_bytes": 10**9, "modified_ns": 1}])  # fmt: skip
    version = first.link.wanted(-1).version
    heard: list[tuple[str, ...]] = []
    asking = threading.Thread(target=lambda: heard.append(first.link.wanted(version).send), daemon=True)
    asking.start()
    with pytest.raises(Unavailable):
        member.output(job, "unused", timeout_s=0)
    asking.join(15)  # news are waited for twice as long
    assert heard == [(f"{job}-1",)]


def test_a_job_that_left_nothing_and_anothers_job_have_no_output(cloud, two, member, script):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    first.runs(f"{job}-1", {})
    with pytest.raises(Unknown, match="has left nothing"):
        member.output(job, "unused")
    with cloud.client(cloud.tenant("rival")) as rival, pytest.raises(Unknown, match="no such job"):
        rival.output(job, "unused")


def test_a_fetch_that_was_cut_off_goes_on_where_it_was(tmp_path):
    files = {f"{i}.bin": secrets.token_bytes(100) for i in range(6)} | {"big.bin": secrets.token_bytes(PIECE_BYTES + 5)}
    manifest, chunks = manifest_of(files)
    left = {"run": "j-1", "version": manifest.id, "manifest": encode(manifest)}
    asked: list[list[str]] = []

    def link(wanted: Sequence[str]) -> bytes:
        """One chunk a message, and the third is lost."""
        asked.append(list(wanted))
        if len(asked) == 3:
            raise Unavailable("The link broke.")
        return pack_chunks({wanted[0]: chunks[wanted[0]]})

    with pytest.raises(Unavailable, match="The link broke"):
        fetch_output(left, tmp_path, link, lambda *_: None)
    fetch_output(left, tmp_path, link, lambda *_: None)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.bin")} == files
    assert asked[3] == asked[2]  # what had arrived wasn't asked for again
    fetch_output(left, tmp_path, link, lambda *_: None)
    assert len(asked) == 1 + len(chunks)  # and once all is there, nothing is


def test_a_folder_that_holds_something_else_is_left_alone(two, member, script, tmp_path):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    first.runs(f"{job}-1", FILES)
    first.send(f"{job}-1", FILES)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Conflict, match="something else in that folder"):
        member.output(job, tmp_path)


def test_an_output_whose_chunks_are_not_all_there_is_not_kept(two, member, script):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    first.runs(f"{job}-1", FILES)
    manifest, _ = manifest_of({"a": secrets.token_bytes(10)})
    with pytest.raises(Conflict, match="doesn't have all chunks"):
        first.link.keep_output(f"{job}-1", manifest)


def test_a_centre_sends_only_for_runs_of_its_own(two, member, script):
    first, second = two
    job = member.run(script, chips=[CHIP])["id"]
    manifest, _ = manifest_of(FILES)
    for ask in (lambda: second.link.missing(f"{job}-1", manifest), lambda: second.link.keep_output(f"{job}-1", manifest)):
        with pytest.raises(Unknown, match="no such run at this centre"):
            ask()
    first.runs(f"{job}-1", {})


# To another centre.


def test_a_retry_at_another_centre_brings_what_the_job_left_and_waits_for_it(operator, two, member, script):
    first, second = two
    job = member.run(script, chips=[CHIP])["id"]
    operator.drain(first.name)
    first.runs(f"{job}-1", FILES, outcome="lost")
    assert member.job(job)["runs"][-1]["allocation"]["centre"] == second.name
    assert second.brings(f"{job}-2") == (f"{job}-1",)
    with pytest.raises(Unavailable, match=f"is being brought from centre {first.name}"):
        second.link.output(f"{job}-2", f"{job}-1")
    assert first.asked_to_send() == (f"{job}-1",)
    first.send(f"{job}-1", FILES)
    manifest = second.link.output(f"{job}-2", f"{job}-1")
    message = second.link.output_chunks(f"{job}-2", f"{job}-1", list(manifest.chunks()))
    assert dict(unpack_chunks(message)) == manifest_of(FILES)[1]
    with pytest.raises(Unknown, match="no such run at this centre"):
        first.link.output(f"{job}-2", f"{job}-1")
    second.runs(f"{job}-2", FILES)


def test_a_retry_where_the_output_lies_brings_nothing(two, member, script):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    first.runs(f"{job}-1", FILES, outcome="lost")
    assert member.job(job)["runs"][-1]["allocation"]["centre"] == first.name
    assert first.brings(f"{job}-2") == ()
    assert first.asked_to_send() == ()  # it goes on with it: there will be something newer to send
    first.runs(f"{job}-2", FILES)


def test_what_a_job_left_can_be_mounted_at_another_centre_but_not_be_had_by_a_stranger(operator, two, member, script):
    first, second = two
    left = member.run(script, chips=[CHIP])["id"]
    first.runs(f"{left}-1", FILES)
    first.send(f"{left}-1", FILES)
    operator.drain(first.name)
    reader = member.run(script, chips=[CHIP], inputs={left: "input"})["id"]
    assert second.brings(f"{reader}-1") == (f"{left}-1",)
    assert second.link.output(f"{reader}-1", f"{left}-1") == manifest_of(FILES)[0]
    second.runs(f"{reader}-1", {})
    stranger = member.run(script, chips=[CHIP])["id"]
    with pytest.raises(Unknown, match="nothing to do with that one"):
        second.link.output(f"{stranger}-1", f"{left}-1")
    second.runs(f"{stranger}-1", {})


# While it goes on.


def test_a_new_checkpoint_of_a_run_that_goes_on_is_sent_and_its_owner_can_have_it(two, member, script, tmp_path):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    run = f"{job}-1"
    left = [{"path": "a.txt", "size_bytes": 3, "modified_ns": 1}]
    first.tell(run, phase="running", started_at_ns=1, running_at_ns=5)
    assert first.asked_to_send() == ()
    first.tell(run, phase="running", started_at_ns=1, running_at_ns=5, checkpoint_at_ns=9, artefacts=left)
    assert first.asked_to_send() == (run,)
    first.send(run, {"a.txt": b"one"})
    first.tell(run, phase="running", started_at_ns=1, running_at_ns=5, checkpoint_at_ns=20, artefacts=left)
    assert first.asked_to_send() == ()  # not more than once a minute
    assert not member.output(job, tmp_path / "got")["whole"]
    first.runs(run, FILES)
    assert first.asked_to_send() == (run,)  # the last one is what counts
    first.send(run, FILES)
    assert member.output(job, tmp_path / "got")["whole"]
    assert (tmp_path / "got" / "deep" / "model.pt").read_bytes() == FILES["deep/model.pt"]


def test_a_sending_that_was_surveyed_before_the_end_is_not_the_last(two, member, script):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    run = f"{job}-1"
    manifest, chunks = manifest_of(FILES)
    first.tell(run, phase="running", running_at_ns=5)
    first.link.send_chunks(run, pack_chunks({sha256: chunks[sha256] for sha256 in first.link.missing(run, manifest)}))
    first.runs(run, FILES)
    first.link.keep_output(run, manifest)
    assert first.asked_to_send() == (run,)
    first.send(run, FILES)
    assert first.asked_to_send() == ()


def test_whoever_fetches_an_older_sending_may_finish_it(two, member, script):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    run = f"{job}-1"
    first.tell(run, phase="running", running_at_ns=5)
    first.send(run, {"old": b"old"})
    old = hashlib.sha256(b"old").hexdigest()
    first.send(run, {"new": b"new"})
    assert dict(unpack_chunks(member._chunks(f"/jobs/{job}/output", [old]))) == {old: b"old"}
    with pytest.raises(Unknown, match="no such chunk"):
        member._chunks(f"/jobs/{job}/output", ["0" * 64])
    first.runs(run, {})


def test_outputs_survive_kill_9(cloud, two, member, script, tmp_path):
    first, _ = two
    job = member.run(script, chips=[CHIP])["id"]
    first.runs(f"{job}-1", FILES)
    first.send(f"{job}-1", FILES)
    cloud.kill("cloud")
    cloud.serve()
    assert until(lambda: _answers(member))
    member.output(job, tmp_path / "got")
    assert (tmp_path / "got" / "a.txt").read_bytes() == b"one"


def _answers(member: Client) -> bool:
    try:
        return bool(member.about())
    except (Unavailable, httpx.TransportError):
        return False
