"""A journal of Forebay 0.1 (journal_0_1/, written at commit e968de6: a snapshot and lines after it) still means what it meant."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cloud.access import sha256_of
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.meter import bill
from forebay.cloud.core.state import State
from forebay.cloud.journal import SCHEMA, Journal
from forebay.cloud.loop import Loop
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


def test_opening_it_is_written_down_so_that_0_1_does_not_open_it_again(folder, journal):
    with sqlite3.connect(folder / "journal.sqlite") as db:
        assert db.execute("select value from meta where name = 'schema'").fetchone() == (str(SCHEMA),)


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
