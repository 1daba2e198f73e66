"""What ran live over a real journal, and what a replay says of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from forebay.cloud.core import events as e
from forebay.cloud.journal import Journal
from forebay.cloud.loop import Loop
from forebay.cloud.replay import readers, site
from forebay.cloud.replay.again import differences
from forebay.cloud.replay.live import Live, Told
from forebay.cloud.replay.run import replay
from forebay.cloud.replay.trace import Settings, Tenant

from .jobs import job


def run_live(folder: Path, jobs, cards: str, tenants=()) -> Told:
    async def go() -> Told:
        journal = Journal.open(folder)
        loop = Loop(journal)
        serving = asyncio.create_task(loop.run())
        try:
            live = Live(loop, jobs, site.parse(cards), tenants=tenants, settings=Settings(restart_s=0.0))
            return await asyncio.wait_for(live.run(), 100)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            journal.close()

    return asyncio.run(go())


def journal_of(folder: Path) -> list[e.Event]:
    journal = Journal.open(folder)
    try:
        return [event for _, event in journal.events()]
    finally:
        journal.close()


def test_a_thousand_jobs_live_and_in_replay_are_launched_alike(tmp_path):
    jobs = [
        job(f"j{i:04}", i * 0.002, 1 + i * 7 % 5, 0.005 + i * 13 % 29 / 1000, organisation=f"o{i % 3}", priority=i % 2)
        for i in range(1000)
    ]
    tenants = [Tenant(name="o0", cards=8, borrow=8)]
    told = run_live(tmp_path, jobs, "4x8:h", tenants)
    assert sum(len(waits) for waits in told.admitted_s.values()) == 1000
    events = journal_of(tmp_path)
    assert sum(isinstance(event, e.Launched) for event in events) >= 1000
    assert differences(events) == []


def test_a_decision_that_was_not_made_is_noticed(tmp_path):
    run_live(tmp_path, [job("a", 0, 1, 0.01), job("b", 0, 1, 0.01)], "1x1:h")
    events = journal_of(tmp_path)
    launched = next(i for i, event in enumerate(events) if isinstance(event, e.Launched))
    assert any("only the replay decided" in line for line in differences(events[:launched] + events[launched + 1 :][:1]))


def test_our_own_journal_is_a_trace(tmp_path):
    run_live(tmp_path, [job("a", 0, 2, 0.2), job("b", 0.01, 1, 0.1, organisation="else")], "1x2:h")
    trace = readers.read(tmp_path)
    assert trace.format == "journal"
    assert [(one.id, one.organisation, one.lines[0].cards) for one in trace.jobs] == [("a", "everybody", 2), ("b", "else", 1)]
    assert 0.19 < trace.jobs[0].lines[0].seconds < 5
    assert site.cards(trace.nodes) == {"h": 2}
    figures = replay(trace, site.parse("1x4:h"), "forebay", Settings()).figures
    assert figures.finished == 2 and figures.wait_mean_s == 0
