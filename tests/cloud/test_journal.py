"""The journal keeps what was acknowledged: state comes back from its lines, one cloud holds it, and a full disk loses nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from world import S, ended, job, node, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Key, Role
from forebay.cloud.journal import SCHEMA, Answer, Journal
from forebay.codec import encode
from forebay.errors import Conflict, Refused, Unavailable

from .clouds import NODES, Cloud, torn_down, until


def everything(state: State) -> dict[str, Any]:
    """The tables and the indexes, in a form that can be compared."""
    return {
        "tables": encode(state.t),
        "lanes": {str(lane): sorted(queue) for lane, queue in state.queue.lanes.items()},
        "waiting": state.waiting,
        "live": list(state.live),
        "held": {key: cards for key, cards in state.held.items() if cards},
        "rooms": {f"{centre}/{node}": encode(room) for (centre, node), room in sorted(state.rooms.by_node.items())},
        "free": {
            (chip, key): (island.free, island.total, island.by_free)
            for chip, islands in state.rooms.islands.items()
            for key, island in islands.items()
        },
        "ends": state.ends.by_island,
        "unsent": {centre: list(runs) for centre, runs in state.unsent.items() if runs},
        "bad": state.bad_cards,
        "keys": state.keys_by_hash,
        "centres": (state.centres_by_key, state.centres_by_token),
    }


def life(seed: int) -> Iterator[Callable[[State], e.Event]]:
    """A long, mixed life of a small cloud: each item makes the next fact from the state."""
    dice = random.Random(seed)
    yield lambda _: e.CloudMade(at_ns=0, by="forebay", currency="CNY", version="0")
    yield lambda _: e.CentreMade(at_ns=0, by="forebay", name="here", token_sha256="t")
    yield lambda _: e.NodesSeen(at_ns=0, by="centre here", centre="here", nodes=(node("a", "cpu", 2), node("b", "h100-sxm", 4)))
    yield lambda _: e.OrganisationMade(at_ns=0, by="k", name="acme")
    yield lambda _: e.KeyMade(at_ns=0, by="k", key=Key(id="k1", secret_sha256="s", role=Role.MEMBER, organisation="acme"))
    for i in range(150):
        chip, cards = dice.choice((("cpu", 1), ("cpu", 2), ("h100-sxm", 3)))
        yield lambda _, i=i, chip=chip, cards=cards: submitted(i, job(f"j{i}", (chip, cards), retries=1))
        if i % 7 == 0:
            yield lambda _, i=i: e.PriceSet(at_ns=i * S, by="k", chip="cpu", micro_per_card_s=i)
        if i % 11 == 0:
            yield lambda _, i=i: e.QuotaSet(at_ns=i * S, by="k", organisation="acme", chip="cpu", cards=dice.choice((None, 1, 2)))
        if i % 13 == 0:
            yield lambda state, i=i: e.Cancelled(at_ns=i * S, by="k1", job=dice.choice(list(state.t.jobs)))
        if i % 2:
            outcome = dice.choice(("succeeded", "succeeded", "failed", "lost"))
            yield (
                lambda state, i=i, outcome=outcome: (
                    ended(i, dice.choice(list(state.live)), outcome) if state.live else e.Tick(at_ns=i * S, by="forebay")
                )
            )


def live(journal: Journal, seed: int = 1) -> State:
    state = journal.load()
    for make in life(seed):
        fact = make(state)
        decisions = decide(state, fact)
        journal.append(decisions if isinstance(fact, e.Tick) else [fact, *decisions], state)
    return state


@contextlib.contextmanager
def opened(folder: Path, database: str = "", **settings: Any) -> Iterator[Journal]:
    journal = Journal.open(folder, database, **settings)
    try:
        yield journal
    finally:
        journal.close()


def sql(folder: Path, database: str, statement: str) -> list[tuple[Any, ...]]:
    """What stands in the journal's tables, past our own code."""
    url = sa.make_url(database).set(drivername="postgresql+psycopg") if database else f"sqlite:///{folder / 'journal.sqlite'}"
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.begin() as db:
        result = db.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.mark.parametrize("seed", range(3))
def test_what_is_loaded_is_what_was_lived(tmp_path, database, seed):
    with opened(tmp_path, database) as journal:
        lived = everything(live(journal, seed))
    with opened(tmp_path, database) as journal:
        assert everything(journal.load()) == lived


def test_a_snapshot_and_the_lines_after_it_tell_the_same_as_all_lines(tmp_path, database):
    with opened(tmp_path, database, snapshot_every=60) as journal:
        live(journal)
    ((at, last),) = sql(tmp_path, database, "select (select seq from snapshots), (select max(seq) from events)")
    assert 0 < at < last  # there is one, and a tail after it
    with opened(tmp_path, database) as journal:
        from_snapshot = everything(journal.load())
        replayed = State()
        for _, event in journal.events():
            replayed.fold(event)
    assert from_snapshot == everything(replayed)


def test_the_listing_agrees_with_the_state(tmp_path, database):
    with opened(tmp_path, database) as journal:
        state = live(journal)
        listed = {row["id"]: (row["phase"], row["attempts"], row["place"]) for row in journal.jobs(most=1000)}
    assert listed == {name: (s.phase.value, len(s.runs), s.order) for name, s in state.t.jobs.items()}


def test_an_answer_is_kept_with_its_batch(tmp_path, database):
    answer = Answer(request="k1 once", fingerprint="f", body={"id": "j1"})
    with opened(tmp_path, database) as journal:
        journal.append([e.CloudMade(at_ns=1, by="forebay", currency="CNY", version="0")], State(), [answer])
    with opened(tmp_path, database) as journal:
        assert journal.answered("k1 once") == answer
        assert journal.answered("k2 once") is None
        assert journal.answered_of(["k1 once", "k2 once"]) == {"k1 once": answer}


def test_any_text_that_a_person_or_program_can_write_is_kept(tmp_path, database):
    odd = "null \0, quote ' \" \\, %s :x, 中文 and \U0001f30a"
    with opened(tmp_path, database) as journal:
        state = journal.load()
        for fact in (
            submitted(1, replace(job("j1", ("cpu", 1)), name=odd)),
            e.PriceSet(at_ns=2, by=odd, chip="cpu", micro_per_card_s=1),
        ):
            journal.append([fact, *decide(state, fact)], state)
    with opened(tmp_path, database) as journal:
        assert journal.load().t.jobs["j1"].job.name == odd
        assert journal.jobs()[0]["name"] == odd.replace("\0", "\ufffd")


# One cloud a journal, and no newer one's.


def test_a_second_opener_is_refused_while_the_first_lives_and_not_after(tmp_path, database):
    opener = "import sys; from pathlib import Path; from forebay.cloud.journal import Journal; Journal.open(Path(sys.argv[1]))"
    with opened(tmp_path, database):
        second = subprocess.run([sys.executable, "-c", opener, str(tmp_path)], capture_output=True, text=True)
        assert "Conflict: Another cloud already works on this data folder." in second.stderr
        with pytest.raises(Conflict):
            Journal.open(tmp_path, database)
    assert subprocess.run([sys.executable, "-c", opener, str(tmp_path)]).returncode == 0


def test_a_writer_that_was_overtaken_writes_and_loads_no_more(tmp_path, database):
    """However it lost the lock: what counts is who left a mark in the journal last."""
    with opened(tmp_path, database) as journal:
        state = live(journal)
        before = sql(tmp_path, database, "select count(*) from events")
        sql(tmp_path, database, "update meta set value = 'another' where name = 'writer'")
        fact = submitted(1000, job("late", ("cpu", 1)))
        with pytest.raises(Conflict, match="taken this journal over"):
            journal.append([fact, *decide(state, fact)], state)
        with pytest.raises(Conflict, match="taken this journal over"):
            journal.load()
        assert sql(tmp_path, database, "select count(*) from events") == before


def test_lines_that_nobody_here_wrote_are_not_written_over(tmp_path, database):
    with opened(tmp_path, database) as journal:
        state = live(journal)
        sql(tmp_path, database, "insert into events select max(seq) + 1, 0, 'Tick', '', '{}' from events")
        fact = submitted(1000, job("late", ("cpu", 1)))
        with pytest.raises(Unavailable, match="has gone on"):
            journal.append([fact, *decide(state, fact)], state)


def test_a_newer_schema_is_refused_and_its_file_is_not_touched(tmp_path):
    with opened(tmp_path) as journal:
        live(journal)
    sql(tmp_path, "", f"update meta set value = '{SCHEMA + 1}' where name = 'schema'")
    sql(tmp_path, "", "drop table answers")  # a newer Forebay may keep them elsewhere
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Refused) as told:
        Journal.open(tmp_path)
    assert told.value.found == f"schema {SCHEMA + 1}; this Forebay reads up to {SCHEMA}"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_newer_schema_is_refused_and_its_database_is_not_touched(tmp_path, postgres):
    url = postgres.database()
    with opened(tmp_path, url) as journal:
        live(journal)
    sql(tmp_path, url, f"update meta set value = '{SCHEMA + 1}' where name = 'schema'")
    before = sorted(sql(tmp_path, url, "select * from meta"))
    with pytest.raises(Refused, match="newer Forebay"):
        Journal.open(tmp_path, url)
    assert sorted(sql(tmp_path, url, "select * from meta")) == before


def test_a_damaged_file_is_told_and_kept(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"This is no database. " * 100)
    with pytest.raises(Unavailable, match="can't be opened"):
        Journal.open(tmp_path)
    assert (tmp_path / "journal.sqlite").read_bytes().startswith(b"This is no database.")


# A full disk.


class SmallDisk:
    """A cloud's data folder on a disk of its own that can be filled and cleared."""

    def __init__(self, cloud: Cloud) -> None:
        self._filler = cloud.data / "filler"

    def fill(self) -> None:
        with contextlib.suppress(OSError), open(self._filler, "wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    def clear(self) -> None:
        self._filler.unlink()


class NoMoreFiles:
    """Where no disk can be mounted: the system lets the cloud's process write no byte into any file."""

    def __init__(self, cloud: Cloud) -> None:
        self._pid = cloud.pid("cloud") or 0
        self._before = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, self._before[1]))

    def clear(self) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, self._before)


@pytest.fixture(params=["a full disk", "a limit on files"])
def full_disk(request: pytest.FixtureRequest) -> Iterator[tuple[Cloud, SmallDisk | NoMoreFiles]]:
    cloud = Cloud()
    mounted = request.param == "a full disk"
    if mounted:
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0711", "tmpfs", str(cloud.data)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            cloud.data.rmdir()
            pytest.skip("no disk can be mounted here")
    try:
        with torn_down(cloud):
            cloud.serve()
            with cloud.centre() as agent:
                agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
            yield cloud, SmallDisk(cloud) if mounted else NoMoreFiles(cloud)
            if mounted:
                cloud.stop()
                subprocess.run(["umount", str(cloud.data)], check=True)
    finally:
        if cloud.data.is_mount():
            subprocess.run(["umount", "--lazy", str(cloud.data)], check=True)


def test_on_a_full_disk_nothing_is_acknowledged_and_the_cloud_goes_on_once_there_is_room(full_disk, tmp_path):
    cloud, disk = full_disk
    script = tmp_path / "train.py"
    script.write_text("print('hello')\n")
    with cloud.client(cloud.tenant("acme")) as member, cloud.centre() as agent:
        before = member.run(script, time_limit=2.0)["id"]
        seen = {"name": f"{before}-1", "phase": "running", "started_at_ns": 1, "running_at_ns": 2}
        agent.post("/agent/report", json={"seen": [seen]}).raise_for_status()
        runs_s = time.monotonic()

        disk.fill()
        for _ in range(3):
            with pytest.raises(Unavailable) as told:
                member.run(script, name="lost")
            assert told.value.text == "The journal can't be written, so nothing of this was done."
        with pytest.raises(Unavailable):  # the files beside the journal
            (tmp_path / "other.py").write_text("print('other')\n")
            member.run(tmp_path / "other.py")
        refused = agent.post(f"/agent/runs/{before}-1/log", params={"offset": 0}, content=b"x" * 10_000)
        assert refused.status_code == 503 and refused.json()["error"]["kind"] == "Unavailable"
        time.sleep(max(0.0, runs_s + 3.5 - time.monotonic()))  # the time limit passes, and its decision can't be written
        assert [row["id"] for row in member.jobs()] == [before]
        assert [run["stop"] for run in wanted(agent)] == [""]

        disk.clear()
        after = member.run(script, name="kept")["id"]
        assert until(lambda: all(run["stop"] for run in wanted(agent) if run["spec"]["name"] == f"{before}-1"))
        cloud.kill("cloud")
        cloud.serve()
        assert {row["id"]: row["name"] for row in member.jobs()} == {before: "train", after: "kept"}


def test_a_cloud_that_starts_on_a_full_disk_says_so(tmp_path):
    command = [sys.executable, "-m", "forebay.cloud.serve", "--data", str(tmp_path / "data")]
    no_byte = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # noqa: E731
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, preexec_fn=no_byte)
    told = json.loads(ended.stderr.splitlines()[-1])["error"]
    assert (ended.returncode, told["kind"]) == (6, "Unavailable")


def wanted(agent: httpx.Client) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = agent.get("/agent/wanted").json()["runs"]
    return runs
