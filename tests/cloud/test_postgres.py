"""A journal in PostgreSQL: who may write it, what a lost connection does and doesn't do, and where its password never is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from world import job, submitted

from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.state import State
from forebay.cloud.journal import Answer, Journal
from forebay.codec import encode
from forebay.errors import Conflict, Refused, Unavailable

from .clouds import NODES, Cloud, torn_down, until
from .servers import Server

MADE = e.CloudMade(at_ns=1, by="forebay", currency="CNY", version="0")


def fold(state: State, *facts: e.Event) -> list[e.Event]:
    return [line for fact in facts for line in (fact, *decide(state, fact))]


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.database()


@pytest.fixture
def journal(tmp_path: Path, url: str) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "data", url)
    state = opened.load()
    opened.append(fold(state, MADE), state)
    yield opened
    opened.close()


@pytest.fixture
def cloud(url: str) -> Iterator[Cloud]:
    with torn_down(Cloud(url)) as made:
        made.serve()
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
        yield made


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text("print('hello')\n")
    return path


# One cloud a journal.


def test_a_second_cloud_with_a_folder_of_its_own_is_refused(journal, url, tmp_path):
    with pytest.raises(Conflict, match="Another cloud already works on this database"):
        Journal.open(tmp_path / "other", url)


def test_a_database_whose_cloud_is_gone_is_still_only_its_own_folders(journal, url, tmp_path):
    journal.close()
    with pytest.raises(Refused, match="belongs to another data folder"):
        Journal.open(tmp_path / "other", url)
    again = Journal.open(tmp_path / "data")  # the folder knows where its journal is
    assert again.load().t.currency == "CNY"
    again.close()


def test_a_folder_is_refused_with_another_database(journal, tmp_path, postgres):
    journal.close()
    with pytest.raises(Refused, match="journal isn't in that database"):
        Journal.open(tmp_path / "data", postgres.database())


def test_a_folder_with_a_journal_of_its_own_is_refused_with_a_database(tmp_path, url):
    Journal.open(tmp_path).close()
    with pytest.raises(Refused, match="journal in a file"):
        Journal.open(tmp_path, url)


def test_a_start_that_was_cut_off_before_the_first_line_can_be_made_again(tmp_path, url):
    Journal.open(tmp_path / "killed", url).close()  # the tables are there, and nothing in them
    Journal.open(tmp_path / "data", url).close()


# A lost connection.


def test_a_batch_whose_connection_was_lost_is_written_over_a_new_one(journal, url, postgres):
    state = journal.load()
    for name in ("j1", "j2"):
        postgres.cut(url)
        answer = Answer(request=name, fingerprint="f", body={"id": name})
        journal.append(fold(state, submitted(1, job(name, ("cpu", 1)))), state, [answer])
    assert list(journal.load().t.jobs) == ["j1", "j2"]
    assert set(journal.answered_of(["j1", "j2"])) == {"j1", "j2"}


def test_a_batch_that_arrived_when_its_connection_was_lost_is_not_written_twice(journal, url, postgres, monkeypatch):
    """The server has committed; the word of it never comes."""
    state = journal.load()
    commit = psycopg.Connection.commit

    def and_lose(connection: psycopg.Connection[Any]) -> None:
        commit(connection)
        monkeypatch.undo()
        postgres.cut(url)
        connection.execute("select 1")

    monkeypatch.setattr(psycopg.Connection, "commit", and_lose)
    journal.append(fold(state, submitted(1, job("j1", ("cpu", 1)))), state)
    journal.append(fold(state, submitted(2, job("j2", ("cpu", 1)))), state)
    assert list(journal.load().t.jobs) == ["j1", "j2"]
    assert [seq for seq, _ in journal.events()] == list(range(1, journal.seq + 1))


def test_when_nobody_can_say_whether_a_batch_arrived_the_error_says_so(journal, url, postgres, monkeypatch):
    state = journal.load()
    name = url.partition("?")[0].rpartition("/")[2]
    commit = psycopg.Connection.commit

    def and_lose(connection: psycopg.Connection[Any]) -> None:
        commit(connection)
        monkeypatch.undo()
        postgres.sql(postgres.url("postgres"), f"alter database {name} with allow_connections false")
        postgres.cut(url)
        connection.execute("select 1")

    monkeypatch.setattr(psycopg.Connection, "commit", and_lose)
    with pytest.raises(Unavailable, match="isn't known"):
        journal.append(fold(state, submitted(1, job("j1", ("cpu", 1)))), state)
    with pytest.raises(Unavailable, match="can't be read"):
        journal.load()
    postgres.sql(postgres.url("postgres"), f"alter database {name} with allow_connections true")
    assert list(journal.load().t.jobs) == ["j1"]


def test_reading_goes_on_over_a_lost_connection(journal, url, postgres):
    assert journal.jobs() == []
    postgres.cut(url)
    assert journal.jobs() == []


def test_a_cloud_that_another_took_the_place_of_meanwhile_writes_no_more(journal, url, postgres, tmp_path):
    """The first one's session is cut, and before it says another word a second cloud has come and gone."""
    state = journal.load()
    postgres.cut(url)
    os.rename(tmp_path / "data", tmp_path / "moved")  # as if the same folder were mounted on a second machine too
    second = Journal.open(tmp_path / "moved", lock_of_another_machine(tmp_path / "moved", url))
    second.close()
    with pytest.raises(Conflict, match="taken this journal over"):
        journal.append(fold(state, submitted(1, job("late", ("cpu", 1)))), state)
    for _ in range(2):
        with pytest.raises(Conflict, match="taken this journal over"):
            journal.load()
        with pytest.raises(Conflict, match="taken this journal over"):
            journal.append([], state)
    assert postgres.sql(url, "select count(*) from events") == [(1,)]


def lock_of_another_machine(folder: Path, url: str) -> str:
    """The lock of the folder holds on one machine only: another one would not see it."""
    (folder / "journal.lock").unlink()
    return url


def test_while_another_holds_the_lock_nothing_is_written_and_afterwards_it_goes_on(journal, url, postgres):
    """Our own lost session, which the server takes for alive, is such another."""
    ((pid,),) = postgres.sql(url, "select pid from pg_locks where locktype = 'advisory'")
    key = postgres.sql(url, "select classid::bigint, objid::bigint from pg_locks where locktype = 'advisory'")[0]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, str(key[0]), str(key[1] - (1 << 32) if key[1] >= 1 << 31 else key[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin and holder.stdout
    postgres.sql(url, f"select pg_terminate_backend({pid}, 10000)")
    assert holder.stdout.readline() == "held\n"
    state = State()
    for _ in range(2):
        with pytest.raises(Unavailable):
            journal.load()
    with pytest.raises(Unavailable):
        journal.append([], state)
    holder.communicate("\n", timeout=30)
    assert until(lambda: loads(journal))


HOLD = """
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as db:
    db.execute("select pg_advisory_lock(%s::int, %s::int)", (int(sys.argv[2]), int(sys.argv[3])))
    print("held", flush=True)
    sys.stdin.readline()
"""


def loads(journal: Journal) -> bool:
    try:
        return journal.load().t.currency == "CNY"
    except Unavailable:
        return False


def test_commits_wait_for_the_disk_whatever_the_server_was_told(url, tmp_path, postgres):
    name = url.partition("?")[0].rpartition("/")[2]
    postgres.sql(
        url, f"alter database {name} set synchronous_commit = off", f"alter database {name} set idle_session_timeout = 500"
    )
    journal = Journal.open(tmp_path, url)
    try:
        with journal._db.writing() as db:
            assert db.exec_driver_sql("show synchronous_commit").scalar() == "on"
            time.sleep(1.0)
            assert db.exec_driver_sql("show idle_session_timeout").scalar() == "0"
    finally:
        journal.close()


# The whole cloud.


def test_a_cloud_works_on_over_lost_connections(cloud, url, postgres, script):
    with cloud.client(cloud.tenant("acme")) as member:
        before = member.run(script)["id"]
        for _ in range(3):
            postgres.cut(url)
            assert [row["id"] for row in member.jobs()] == [before]
        postgres.cut(url)
        after = until(lambda: submitted_to(member, script), 30)
        cloud.kill("cloud")
        cloud.serve()
        assert {row["id"] for row in member.jobs()} == {before, after}


def submitted_to(member: Any, script: Path) -> str:
    try:
        return str(member.run(script)["id"])
    except Unavailable:
        return ""


@pytest.mark.slow
def test_without_its_database_a_cloud_refuses_and_with_it_again_it_goes_on(cloud, url, postgres, script):
    with cloud.client(cloud.tenant("acme"), patience_s=1.0) as member:
        before = member.run(script, time_limit=1.0)["id"]
        postgres.stop()
        try:
            for _ in range(3):
                asked = time.monotonic()
                with pytest.raises(Unavailable):
                    member.run(script, name="lost")
                with pytest.raises(Unavailable):
                    member.jobs()
                assert time.monotonic() - asked < 15  # and not only when the database is back
            assert cloud.pid("cloud")
        finally:
            postgres.start()
        after = until(lambda: submitted_to(member, script), 60)
        assert {row["id"] for row in member.jobs()} == {before, after}
        assert "Traceback" not in (cloud.data / "cloud.log").read_text()


def test_a_cloud_that_was_overtaken_ends(cloud, url, postgres):
    pid = cloud.pid("cloud")
    postgres.sql(url, "update meta set value = 'another' where name = 'writer'")
    assert until(lambda: cloud.pid("cloud") is None, 30), f"{pid} lives on"
    assert "taken this journal over" in (cloud.data / "cloud.log").read_text()


def test_a_cloud_whose_connections_break_while_it_starts_starts_all_the_same(cloud, url, postgres):
    """At each start its first session is cut, a little later each time: when it connects, reads, or is about to write."""
    name = url.partition("?")[0].rpartition("/")[2]
    cut = "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity where datname = %s"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as watcher:
        for pause_s in (0.0, 0.03):
            cloud.kill("cloud")
            assert until(lambda: not postgres.sessions(url), 30), "a session outlives its cloud"
            cloud.serve()
            assert until(lambda: postgres.sessions(url), 30), cloud.last_words("cloud")
            time.sleep(pause_s)
            watcher.execute(cut, [name])
            with cloud.client(patience_s=60.0) as operator:
                assert operator.about(), cloud.last_words("cloud")


# The password.


SECRET = "tell-nobody%40"  # as it stands in an address; as a password it ends in an @


@pytest.fixture
def guarded(postgres: Server) -> Iterator[str]:
    """A database whose owner must show a password."""
    rules = postgres.folder / "pg_hba.conf"
    before = rules.read_text()
    name = f"guarded{os.getpid()}"
    root = postgres.url("postgres")
    postgres.sql(root, f"create role {name} login password 'tell-nobody@'", f"create database {name} owner {name}")
    with rules.open("r+") as file:  # its owner stays who it is
        file.write(f"local {name} {name} scram-sha-256\n" + before)
    postgres.sql(root, "select pg_reload_conf()")
    url = postgres.url(name, name, SECRET)
    assert until(lambda: asks_for_it(postgres, postgres.url(name, name)))
    yield url
    with rules.open("r+") as file:
        file.truncate(0)
        file.write(before)
    postgres.sql(root, "select pg_reload_conf()", f"drop database {name} with (force)", f"drop role {name}")


def asks_for_it(postgres: Server, url: str) -> bool:
    try:
        postgres.sql(url, "select 1")
        return False
    except Exception as error:
        return "no password" in str(error)


def test_a_password_is_in_no_file_no_argument_and_no_message(guarded, postgres):
    with torn_down(Cloud(guarded)) as cloud:
        cloud.serve()
        pid = cloud.pid("cloud")
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        with cloud.client() as operator:
            operator.make_organisation("acme")
        postgres.cut(guarded)
        time.sleep(1.5)  # it comes back, and says so
        cloud.stop()
        written = {path: path.read_bytes() for path in cloud.data.rglob("*") if path.is_file()}
        assert json.loads(written[cloud.data / "database"])["url"].startswith("postgresql://guarded")
        for secret in (b"tell-nobody", b"tell%2Dnobody"):
            assert secret not in arguments
            assert [path for path, content in written.items() if secret in content] == []


@pytest.mark.parametrize("part, wrong", [(SECRET, "wrong-secret"), ("guarded", "nobody"), ("?host=/", "?host=/nowhere/")])
def test_an_error_names_the_place_and_not_the_password(guarded, tmp_path, part, wrong):
    url = guarded.replace(part, wrong)
    command = [sys.executable, "-m", "forebay.cloud.serve", "--data", str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"FOREBAY_DATABASE": url})
    told = json.loads(ended.stderr.splitlines()[-1])["error"]
    assert (ended.returncode, told["kind"], told["text"]) == (6, "Unavailable", "The database can't be used.")
    assert told["asked"].startswith("postgresql://") and told["found"]
    assert "tell-nobody" not in ended.stderr and "wrong-secret" not in ended.stderr


def test_a_password_on_the_command_line_is_refused(guarded, tmp_path):
    for command in (["forebay.cloud.serve"], ["forebay.cli", "up"]):
        ended = subprocess.run(
            [sys.executable, "-m", *command, "--data", str(tmp_path / "data"), "--database", guarded],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 2, ended.stderr
        assert "FOREBAY_DATABASE" in ended.stderr and "tell-nobody" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_what_a_cloud_starts_does_not_inherit_the_address(cloud):
    """The worker that reads programs, for instance."""
    with cloud.client(cloud.tenant("acme")) as member:
        (cloud.data / "train.py").write_text("print('hello')\n")
        member.run(cloud.data / "train.py")
    others = {pid: line for pid, line in cloud.processes().items() if pid != cloud.pid("cloud")}
    assert others
    for pid in others:
        assert b"FOREBAY_DATABASE" not in Path(f"/proc/{pid}/environ").read_bytes()
