"""A backup has all that was acknowledged before it, a restored cloud goes on from there, and nothing is ever half in place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.centre.spec import Artefact
from forebay.cloud.archive import ABOUT
from forebay.cloud.backup import backup
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.journal import Journal
from forebay.cloud.restore import restore
from forebay.cloud.store import Store
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, ForebayError, Refused, Unavailable, Unknown

from .clouds import NODES, Cloud, torn_down, until
from .test_journal import everything, life, opened

CHUNK = b"what a bundle would hold" * 1000


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest) -> str:
    """Where it is restored to."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres").database()


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    """A data folder that has lived."""
    return lived(tmp_path / "data", database)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return lived(tmp_path / "data", "")


def lived(folder: Path, database: str) -> Path:
    folder.mkdir()
    with opened(folder, database) as journal:
        state, lines = journal.load(), []
        for make in life(1):
            fact = make(state)
            decisions = decide(state, fact)
            lines += decisions if isinstance(fact, e.Tick) else [fact, *decisions]
        journal.append(lines, state)
    store = Store(folder)
    store.bundles("acme").put(CHUNK, sha256(CHUNK))
    store.keep_manifest("acme", "v@1", {"files": []})
    store.keep_artefacts("j0-1", [Artefact(path="model.pt", size_bytes=3, modified_ns=1)])
    store.add_log("j0-1", 0, b'{"text": "hello"}\n')
    for name in ("operator.key", "centre.token"):
        (folder / name).write_text(f"secret of {name}\n")
        (folder / name).chmod(0o600)
    (folder / "cloud.log").write_text("not ours to keep\n")
    (folder / "chunks" / ".draft-x").parent.mkdir(exist_ok=True)
    (folder / "chunks" / ".draft-x").write_text("half of something")
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def state_of(folder: Path) -> dict[str, Any]:
    with opened(folder) as journal:
        return everything(journal.load()) | {"jobs": journal.jobs(most=1000), "events": list(journal.events())}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("journal.", "database"))
    }


def test_a_backup_of_either_database_restores_into_either(folder, database, other, tmp_path):
    before = state_of(folder)
    made, damaged = backup(folder, "", tmp_path / "backup.zip")
    assert damaged == []
    assert (tmp_path / "backup.zip").stat().st_mode & 0o777 == 0o600
    restore(tmp_path / "backup.zip", tmp_path / "again", other)
    assert state_of(tmp_path / "again") == before
    kept = files_of(folder)
    del kept["cloud.log"], kept["chunks/.draft-x"]
    assert files_of(tmp_path / "again") == kept
    assert (tmp_path / "again" / "operator.key").stat().st_mode & 0o777 == 0o600
    assert made.lines == len(before["events"])


def test_a_journal_of_an_older_forebay_is_kept_and_restored_and_upgraded_when_it_starts(tmp_path, other):
    folder = tmp_path / "data"
    folder.mkdir()
    with sqlite3.connect(folder / "journal.sqlite") as db:
        db.executescript((Path(__file__).parent / "journal_0_1" / "journal.sql").read_text())
    db.close()
    made, _ = backup(folder, "", tmp_path / "backup.zip")
    assert made.schema == 1
    restore(tmp_path / "backup.zip", tmp_path / "again", other)
    assert state_of(tmp_path / "again") == state_of(folder)


# A cloud that works meanwhile.


@pytest.fixture
def cloud(database: str) -> Any:
    with torn_down(Cloud(database)) as made:
        made.serve()
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
        yield made


@pytest.mark.parametrize(
    "database, other",
    [("sqlite", "postgresql")]
    + [
        pytest.param(*pair, marks=pytest.mark.slow)
        for pair in (("sqlite", "sqlite"), ("postgresql", "sqlite"), ("postgresql", "postgresql"))
    ],
    indirect=True,
)
def test_what_was_acknowledged_before_a_backup_is_in_it_and_the_restored_cloud_goes_on(cloud, other, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("print('hello')\n")
    key = cloud.tenant("acme")
    acknowledged: list[str] = []
    enough = threading.Event()

    def submit() -> None:
        with cloud.client(key) as member:
            while not enough.is_set() and len(acknowledged) < 900:  # as many as one page of jobs holds
                acknowledged.append(member.run(script)["id"])

    customer = threading.Thread(target=submit, daemon=True)
    customer.start()
    assert until(lambda: len(acknowledged) >= 5)
    before = list(acknowledged)
    command = [sys.executable, "-m", "forebay.cli", "backup", str(tmp_path / "b.zip"), "--data", str(cloud.data), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"FOREBAY_DATABASE": cloud.database})
    enough.set()
    customer.join(30)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["damaged"] == []
    with torn_down(Cloud(other)) as again:
        command = [sys.executable, "-m", "forebay.cli", "restore", str(tmp_path / "b.zip"), "--data", str(again.data)]
        told = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"FOREBAY_DATABASE": other})
        assert told.returncode == 0, told.stderr
        assert "Next: forebay up --data" in told.stdout
        again.serve()
        with again.client(key) as member:
            kept = [row["id"] for row in member.jobs(most=1000)]
            assert kept[::-1][: len(before)] == before  # oldest first
            assert set(kept) <= set(acknowledged)
            assert [line["kind"] for line in member.story(before[0])][:1] == ["Submitted"]
            assert member.run(script)["id"] not in acknowledged  # its code is there


# What is refused.


def test_no_file_is_written_over(plain, tmp_path):
    (tmp_path / "b.zip").write_text("something")
    with pytest.raises(Conflict):
        backup(plain, "", tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_text() == "something"


def test_a_folder_without_a_journal_has_no_backup(tmp_path):
    with pytest.raises(Unknown):
        backup(tmp_path, "", tmp_path / "b.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_chunk_is_kept_as_it_is_and_told(plain, tmp_path):
    (chunk,) = [path for path in (plain / "bundles").rglob("*") if path.is_file()]
    chunk.chmod(0o644)
    chunk.write_bytes(CHUNK[:-1] + b"?")
    command = [sys.executable, "-m", "forebay.cli", "backup", str(tmp_path / "b.zip"), "--data", str(plain)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == Unavailable.exit_code and str(chunk.relative_to(plain)) in told.stderr
    assert (tmp_path / "b.zip").exists()


def test_nothing_is_restored_into_what_is_there(plain, tmp_path, postgres):
    backup(plain, "", tmp_path / "b.zip")
    with pytest.raises(Conflict, match="something in that folder"):
        restore(tmp_path / "b.zip", plain, "")
    url = postgres.database()
    lived(tmp_path / "other", url)
    with pytest.raises(Conflict, match="has a journal already"):
        restore(tmp_path / "b.zip", tmp_path / "again", url)
    with opened(tmp_path / "other"), pytest.raises(Conflict, match="A cloud works on this database"):
        restore(tmp_path / "b.zip", tmp_path / "again", url)
    assert not (tmp_path / "again").exists() and not (tmp_path / "again.restoring").exists()
    assert state_of(tmp_path / "other")["tables"] == state_of(plain)["tables"]


def flipped(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4, 0.6, 0.8, 0.99, "cut"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(plain, tmp_path, postgres, share):
    path = tmp_path / "b.zip"
    backup(plain, "", path)
    size = path.stat().st_size
    os.truncate(path, size // 2) if share == "cut" else flipped(path, int(size * share))
    url = postgres.database()
    for database in ("", url):
        try:
            restore(path, tmp_path / "again", database)
        except ForebayError as error:
            assert isinstance(error, (BadInput, Refused)), error
            assert sorted(left.name for left in tmp_path.iterdir()) == ["b.zip", "data"]
            assert postgres.sql(url, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]
        else:  # a byte that means nothing, as the time of an entry
            assert state_of(tmp_path / "again") == state_of(plain)
            shutil.rmtree(tmp_path / "again")


@pytest.mark.parametrize("what, at", [("version", 6), ("flags", 8), ("method", 10), ("offset", 44), ("name", 46)])
def test_a_backup_whose_directory_is_damaged_is_refused_in_the_same_words(plain, tmp_path, what, at):
    path = tmp_path / "b.zip"
    backup(plain, "", path)
    entry = path.read_bytes().index(b"PK\x01\x02")  # the directory's first
    flipped(path, entry + at)
    with pytest.raises(BadInput, match="damaged"):
        restore(path, tmp_path / "again", "")
    assert sorted(left.name for left in tmp_path.iterdir()) == ["b.zip", "data"]


def repacked(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """The backup as somebody else would have made it."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(content.pop(ABOUT))
    change(about, content)
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, body in content.items():
            archive.writestr(name, body)
        archive.writestr(ABOUT, json.dumps(about))
    return changed


@pytest.mark.parametrize(
    "place", ["files/../../escaped", "files//escaped", "files/logs/../../escaped", "journal/users.jsonl", "x"]
)
def test_a_path_that_leads_elsewhere_is_refused(plain, tmp_path, place):
    backup(plain, "", tmp_path / "b.zip")

    def lead_out(about: dict[str, Any], content: dict[str, bytes]) -> None:
        content[place] = b"[]"
        about["entries"].append({"path": place, "size_bytes": 2, "sha256": sha256(b"[]"), "mode": 0o644})

    with pytest.raises(BadInput, match="doesn't belong there"):
        restore(repacked(tmp_path / "b.zip", lead_out), tmp_path / "again", "")
    assert sorted(left.name for left in tmp_path.iterdir()) == ["b.zip", "changed.zip", "data"]


def test_a_line_that_was_changed_is_noticed_by_its_sum(plain, tmp_path):
    backup(plain, "", tmp_path / "b.zip")

    def change(about: dict[str, Any], content: dict[str, bytes]) -> None:
        content["journal/events.jsonl"] = content["journal/events.jsonl"].replace(b"CNY", b"USD")

    with pytest.raises(BadInput, match="damaged"):
        restore(repacked(tmp_path / "b.zip", change), tmp_path / "again", "")
    assert not (tmp_path / "again").exists()


def test_a_newer_backup_is_refused(plain, tmp_path):
    backup(plain, "", tmp_path / "b.zip")
    for field in ("format", "schema"):
        with pytest.raises(Refused, match="Forebay"):
            newer = repacked(tmp_path / "b.zip", lambda about, _, field=field: about.update({field: about[field] + 1}))
            restore(newer, tmp_path / "again", "")


# Killed in the middle.

KILL = """
import os, signal, sys
from pathlib import Path
from forebay.cloud import archive, backup, restore
what, when, folder, file, database = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if when == "files":
    said = lambda what, done, of: die() if what == "files" and done else None
else:
    said = lambda *_: None
    setattr(os, when, die)
if what == "backup":
    backup.backup(Path(folder), database, Path(file), said)
else:
    restore.restore(Path(file), Path(folder), database, said)
"""


def killed(what: str, when: str, folder: Path, file: Path, database: str = "") -> None:
    """Say it in a process that is killed when the first byte of a file is through, or in place of a system call."""
    command = [sys.executable, "-c", KILL, what, when, str(folder), str(file), database]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("when", ["files", "fsync", "link"])
def test_a_killed_backup_leaves_no_backup_and_is_made_again(plain, tmp_path, when):
    killed("backup", when, plain, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()
    backup(plain, "", tmp_path / "b.zip")
    assert sorted(left.name for left in tmp_path.iterdir()) == ["b.zip", "data"]
    restore(tmp_path / "b.zip", tmp_path / "again", "")


@pytest.mark.parametrize("when", ["files", "sync", "rename"])
def test_a_killed_restore_leaves_no_cloud_and_is_made_again(plain, tmp_path, other, when):
    """`rename`: the database has everything then, and only the folder's name is missing."""
    backup(plain, "", tmp_path / "b.zip")
    killed("restore", when, tmp_path / "again", tmp_path / "b.zip", other)
    assert not (tmp_path / "again").exists()
    if other and when == "rename":
        with pytest.raises(Refused, match="restore into this database didn't come to its end"):
            Journal.open(tmp_path / "new", other)
        shutil.rmtree(tmp_path / "new")
    restore(tmp_path / "b.zip", tmp_path / "again", other)
    assert sorted(left.name for left in tmp_path.iterdir()) == ["again", "b.zip", "data"]
    with pytest.raises(Conflict):  # it is through, though nothing was started on it yet
        restore(tmp_path / "b.zip", tmp_path / "third", other) if other else restore(tmp_path / "b.zip", tmp_path / "again", "")
    assert state_of(tmp_path / "again") == state_of(plain)


def test_two_restores_at_a_time_are_one(plain, tmp_path):
    backup(plain, "", tmp_path / "b.zip")
    seen: list[ForebayError] = []

    def again(what: str, done: int, of: int) -> None:
        if what == "files" and not seen:
            with pytest.raises(Conflict) as told:
                restore(tmp_path / "b.zip", tmp_path / "again", "")
            seen.append(told.value)

    restore(tmp_path / "b.zip", tmp_path / "again", "", again)
    assert seen and state_of(tmp_path / "again") == state_of(plain)
