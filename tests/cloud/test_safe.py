"""What agents are answered is in the journal, also where the cloud looked at its state and found that it knew already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forebay.centre.spec import Outcome, Phase, Seen
from forebay.chips.node import Card, Node
from forebay.cloud.api import agents
from forebay.cloud.api.desk import Desk
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.job import Job, Option, Script
from forebay.cloud.journal import Journal
from forebay.cloud.loop import Loop
from forebay.cloud.store import Store
from forebay.codec import encode
from forebay.errors import ForebayError, Unavailable

BY = {"at_ns": 0, "by": "test"}
JOB = Job(
    id="j1",
    organisation="ada",
    project="p",
    name="",
    menu=(Option(chip="cpu", cards=1),),
    script=Script(bundle="b", entry="t.py"),
)
ENDED = Seen(name="j1-1", phase=Phase.ENDED, outcome=Outcome.SUCCEEDED, held_ns=5)


class Disk:
    """Takes its time: each call waits until it is let go."""

    def __init__(self) -> None:
        self.busy, self.go, self.full = asyncio.Event(), asyncio.Event(), False

    async def aside(self, call: Callable[..., Any], *given: Any) -> Any:
        if call.__name__ == "append":
            self.busy.set()
            await self.go.wait()
            if self.full:
                raise Unavailable("The disk is full.")
        return call(*given)


async def _reported_twice(folder: Path, *, full: bool) -> tuple[list[Any], list[str]]:
    """An end is reported, and again while the first report is being written. What both are answered; the journal's lines."""
    disk = Disk()
    journal = Journal.open(folder)
    loop = Loop(journal, tick_s=1000, away_s=1000, aside=disk.aside)
    facts: list[e.Event] = [
        e.CloudMade(**BY, currency="CNY", version="0"),
        e.OrganisationMade(**BY, name="ada"),
        e.ProjectMade(**BY, organisation="ada", name="p"),
        e.CentreMade(**BY, name="north", token_sha256="t"),
        e.CentreJoined(**BY, centre="north", key_sha256="k"),
        e.NodesSeen(**BY, centre="north", nodes=(Node(name="n", chip="cpu", cards=(Card(index=0),)),)),
        e.Submitted(**BY, job=JOB),
    ]
    lines = [line for fact in facts for line in (fact, *decide(loop.state, fact))]
    journal.append(lines, loop.state)
    assert loop.state.live
    desk = Desk(loop, Store(folder))
    serving = asyncio.create_task(loop.run())
    first = asyncio.create_task(agents.report({"seen": [encode(ENDED)]}, desk, "north"))
    await asyncio.wait_for(disk.busy.wait(), 60)
    assert not loop.state.live, "the state knows of the end, and the journal doesn't"
    second = asyncio.create_task(agents.report({"seen": [encode(ENDED)]}, desk, "north"))
    done, _ = await asyncio.wait((second,), timeout=0.2)
    assert not done, "it is answered before the end is safe"
    disk.full = full
    disk.go.set()
    answers = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 60)
    serving.cancel()
    await asyncio.wait((serving,))
    kinds = [type(event).__name__ for _, event in journal.events()]
    journal.close()
    return answers, kinds


def test_an_end_that_is_told_twice_is_acknowledged_when_it_is_safe(tmp_path):
    answers, kinds = asyncio.run(_reported_twice(tmp_path, full=False))
    assert not any(isinstance(answer, ForebayError) for answer in answers)
    assert kinds.count("Ended") == 1


def test_an_end_that_could_not_be_written_is_acknowledged_to_nobody(tmp_path):
    answers, kinds = asyncio.run(_reported_twice(tmp_path, full=True))
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert "Ended" not in kinds


def test_what_is_safe_is_safe_at_once(tmp_path):
    async def ask() -> bool:
        journal = Journal.open(tmp_path)
        safe = Loop(journal).safe().done()
        journal.close()
        return safe

    assert asyncio.run(ask())
