"""A journal of Forebay 0.1 (journal_0_1/, written at commit e968de6: a snapshot and lines after it) still means what it meant;
and the revisions that bring its tables to those of today.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from forebay.cloud import migrations
from forebay.cloud.access import sha256_of
from forebay.cloud.address import parse
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.meter import bill
from forebay.cloud.core.state import State
from forebay.cloud.journal import SCHEMA, Journal
from forebay.cloud.loop import Loop
from forebay.cloud.migrations import upgrade
from forebay.cloud.schema import FIRST, TABLES, make, revision
from forebay.cloud.serve import begin
from forebay.codec import encode

from .clouds import Cloud, torn_down

BEFORE = Path(__file__).parent / "journal_0_1"
S = 10**9


def meaning(state: State) -> dict[str, Any]:
    """What a person would say that the journal says, in the words in which 0.1 said it."""
    whole = bill(state, 100 * S)
    return {
        "jobs": {name: [s.phase.value, s.order, list(s.runs), s.reason] for name, s in state.t.jobs.items()},
        "live": list(state.live),
        "waiting": state.waiting,
        "free": {chip: state.free_cards(chip) for chip in sorted(state.total)},
        "held": {key: cards for key, cards in sorted(state.held.items()) if cards},
        "bill": {
            "cost_micro": whole.cost_micro,
            "card_ns": whole.card_ns,
            "lost_micro": whole.lost_micro,
            "lines": len(whole.lines),
        },
        "keys": state.keys_by_hash,
        "versions": sorted(state.t.versions),
        "runs": {r.id: [encode(r.allocation), r.outcome, r.held_ns, r.price_micro_per_card_s] for r in state.t.runs.values()},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.executescript((BEFORE / "journal.sql").read_text())
    db.close()
    return tmp_path


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    opened = Journal.open(folder)
    yield opened
    opened.close()


def test_it_opens_and_means_the_same(journal):
    assert meaning(journal.load()) == json.loads((BEFORE / "meaning.json").read_text())


def test_its_lines_alone_tell_the_same_as_its_snapshot_and_the_lines_after_it(journal):
    replayed = State()
    for _, event in journal.events():
        replayed.fold(event)
    assert meaning(replayed) == json.loads((BEFORE / "meaning.json").read_text())


def test_it_goes_on_with_the_events_of_today(journal):
    state = journal.load()
    run = next(iter(state.live))
    facts = [
        e.Drained(at_ns=200 * S, by="k", centre="local", node="a"),
        e.Ended(at_ns=201 * S, by="centre local", run=run, outcome="preempted", held_ns=5, artefact_bytes=7),
    ]
    journal.append([line for fact in facts for line in (fact, *decide(state, fact))], state)
    assert journal.load().t.runs[run].artefact_bytes == 7


def test_it_is_upgraded_in_place_after_a_copy_was_made(folder, journal):
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as db:
        assert db.execute("select version_num from alembic_version").fetchall() == [(revision(SCHEMA),)]
        assert ("answers_by_time",) in db.execute("select name from sqlite_master where type = 'index'").fetchall()
    copy = folder / "journal.sqlite.schema-1"
    assert copy.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(copy)) as db:
        before = sqlite3.connect(":memory:")
        before.executescript((BEFORE / "journal.sql").read_text())
        assert list(db.iterdump()) == list(before.iterdump())


def test_an_upgrade_that_is_cut_off_leaves_the_old_journal_and_is_made_at_the_next_start(folder):
    """Killed in the last moment before the new tables are safe."""
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_AN_UPGRADE, str(folder)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as db:
        assert db.execute("select value from meta where name = 'schema'").fetchone() == ("1",)
        assert ("alembic_version",) not in db.execute("select name from sqlite_master").fetchall()
    journal = Journal.open(folder)
    assert meaning(journal.load()) == json.loads((BEFORE / "meaning.json").read_text())
    journal.close()


KILLED_IN_AN_UPGRADE = """
import os, signal, sys
from pathlib import Path
from forebay.cloud import migrations
from forebay.cloud.journal import Journal
upgrade = migrations.upgrade
def and_die(db):
    upgrade(db)
    os.kill(os.getpid(), signal.SIGKILL)
migrations.upgrade = and_die
Journal.open(Path(sys.argv[1]))
"""


def test_opening_it_is_written_down_so_that_0_1_does_not_open_it_again(folder, journal):
    with sqlite3.connect(folder / "journal.sqlite") as db:
        assert db.execute("select value from meta where name = 'schema'").fetchone() == (str(SCHEMA),)


# Revisions.


def tables(engine: sa.Engine) -> dict[str, Any]:
    """Every table of a database with its columns, keys and indexes, as the database itself tells."""
    look = sa.inspect(engine)
    return {
        name: {
            "columns": sorted((c["name"], str(c["type"]), c["nullable"], c.get("default")) for c in look.get_columns(name)),
            "key": look.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(tuple(u["column_names"]) for u in look.get_unique_constraints(name)),
            "indexes": sorted((i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in look.get_indexes(name)),
        }
        for name in sorted(look.get_table_names())
    }


@pytest.fixture
def two_databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    if request.param == "sqlite":
        urls = [f"sqlite:///{tmp_path / name}" for name in ("made", "upgraded")]
    else:
        server = request.getfixturevalue("postgres")
        urls = [parse(server.database()) for _ in range(2)]
    made, upgraded = (sa.create_engine(url) for url in urls)
    yield made, upgraded
    made.dispose()
    upgraded.dispose()


@pytest.mark.parametrize("two_databases", ["sqlite", "postgresql"], indirect=True)
def test_all_revisions_together_make_the_tables_that_a_new_journal_gets(two_databases):
    made, upgraded = two_databases
    with made.begin() as db:
        make(db)
    with upgraded.begin() as db:
        upgrade(db)
    assert tables(made) == tables(upgraded)
    assert set(tables(made)) == {*TABLES, "alembic_version"}


def test_the_first_revision_makes_the_tables_of_0_1(tmp_path, folder):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'first'}")
    with engine.begin() as db:
        upgrade(db, FIRST)
    old = tables(sa.create_engine(f"sqlite:///{folder / 'journal.sqlite'}"))
    assert {name: table for name, table in tables(engine).items() if name != "alembic_version"} == old


def test_there_is_a_revision_for_each_schema_and_the_last_is_todays():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert [found.revision for found in script.walk_revisions()] == [revision(n) for n in range(SCHEMA, FIRST - 1, -1)]


def test_the_revisions_are_packages_and_so_in_the_wheel():
    folder = Path(migrations.__file__).parent
    assert [path for path in (folder, folder / "versions") if not (path / "__init__.py").exists()] == []


def test_a_start_without_an_upgrade_imports_no_alembic(tmp_path):
    start = (
        "import sys; from pathlib import Path; from forebay.cloud.journal import Journal; Journal.open(Path(sys.argv[1])).close()"
    )
    for _ in range(2):  # a new journal, and one that is current
        told = subprocess.run(
            [sys.executable, "-c", start + "; print('alembic' in sys.modules)", str(tmp_path)], capture_output=True, text=True
        )
        assert told.stdout == "False\n", told.stderr


# The cloud over it.


def test_the_local_centres_token_is_its_key_from_the_first_start_on(journal, folder):
    for _ in range(2):
        loop = Loop(journal)
        begin(loop, folder, "CNY")
        assert loop.state.centres_by_key == {"1" * 64: "local"}
    joined = [event for _, event in journal.events() if isinstance(event, e.CentreJoined)]
    assert [(event.centre, event.key_sha256) for event in joined] == [("local", "1" * 64)]


def test_an_agent_of_that_time_is_let_in_by_a_cloud_of_today():
    with torn_down(Cloud()) as cloud:
        with sqlite3.connect(cloud.data / "journal.sqlite") as db:
            script = (
                (BEFORE / "journal.sql").read_text().replace("1" * 64, sha256_of("fc_old")).replace("0" * 64, sha256_of("fb_old"))
            )
            db.executescript(script)
        db.close()
        cloud.serve()
        with cloud.http("fc_old") as agent:
            nodes = [{"name": "a", "chip": "cpu", "cards": [{"index": 0, "cores": []}], "island": "", "pretend": False}]
            assert agent.post("/agent/hello", json={"version": "0.1.0", "nodes": nodes}).status_code == 200
            told = agent.get("/agent/wanted", params={"after": -1, "wait_s": 0}).json()
            assert {run["spec"]["name"] for run in told["runs"]} == set(json.loads((BEFORE / "meaning.json").read_text())["live"])
        with cloud.client("fb_old") as operator:
            (centre,) = operator.centres()
            assert (centre["name"], centre["state"], centre["version"]) == ("local", "here", "0.1.0")
