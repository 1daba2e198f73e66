"""A job's way through cloud, agent and supervisor, as `forebay up` starts them; also when one of them is killed on the way."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forebay.centre.agent import Agent
from forebay.centre.link import Link, News
from forebay.centre.local import Local
from forebay.chips.node import Condition, Node, NodeState
from forebay.client import Client
from forebay.codec import decode
from forebay.errors import Stale, Unavailable

from .clouds import Cloud, until

COUNT = """
import os, sys, time
rank, many = os.environ["RANK"], int(sys.argv[1])
with open(f"out/starts-{rank}", "a") as starts:
    starts.write(f"{os.getpid()}\\n")
for i in range(many):
    print(f"{rank}: line {i}", flush=True)
    time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def acme(pool: Cloud) -> str:
    secret = pool.tenant("acme")
    with pool.client() as operator:
        operator.set_price("cpu", "0.5")
    return secret


@pytest.fixture
def member(pool: Cloud, acme: str) -> Iterator[Client]:
    with pool.client(acme) as client:
        yield client


def submit(member: Client, folder: Path, program: str, *argv: str, **more: Any) -> str:
    script = folder / "work.py"
    script.write_text(program)
    return str(member.run(script, argv, **more)["id"])


def printed(member: Client, job: str, *, follow: bool = False) -> list[str]:
    return [line["text"] for line in member.logs(job, follow=follow) if line["rank"] >= 0]


def until_printed(member: Client, job: str, text: str) -> None:
    assert until(lambda: text in printed(member, job), 30), printed(member, job)


def kinds(member: Client, job: str) -> list[str]:
    """What happened, but for the keeping of small outputs, which comes when it comes."""
    return [event["kind"] for event in member.story(job) if event["kind"] != "OutputKept"]


def starts(pool: Cloud, job: str) -> list[str]:
    """The process id of each start of rank 0."""
    return (pool.data / "centre" / "outputs" / job / "starts-0").read_text().split()


# The way.


def test_a_job_goes_from_its_script_to_its_bill(pool, member, tmp_path):
    program = COUNT + "open('out/result.txt', 'w').write('42\\n') if rank == '0' else None\n"
    job = submit(member, tmp_path, program, "10", cards=2, name="small")
    followed = printed(member, job, follow=True)  # ends when the job does
    for rank in (0, 1):
        assert [line for line in followed if line.startswith(f"{rank}:")] == [f"{rank}: line {i}" for i in range(10)]
    assert printed(member, job) == followed

    over = member.wait(job, timeout_s=30)
    (run,) = over["runs"]
    assert (over["phase"], run["outcome"], run["exit_code"]) == ("succeeded", "succeeded", 0)
    sizes = {file["path"]: file["size_bytes"] for file in over["artefacts"]}
    assert sizes["result.txt"] == 3 and {"starts-0", "starts-1"} < sizes.keys()

    assert kinds(member, job) == ["Submitted", "Launched", "Started", "Ended", "Finished"]
    assert [kind for kind, _ in member.events(job)][-1] == "end"

    bill = member.bill(job=job)
    (line,) = bill["lines"]
    held_ns = run["held_ns"]
    assert 10 * 10**8 <= held_ns <= run["ended_at_ns"] - run["launched_at_ns"] + 10**8  # ten lines, each followed by 0.1 s
    assert (line["cards"], line["held_ns"], line["card_ns"], line["open"]) == (2, held_ns, 2 * held_ns, False)
    assert bill["cost_micro"] == line["cost_micro"] == round(2 * held_ns / 10**9 * 500_000)
    assert [card["held_by"] for node in member.pool()["centres"][0]["nodes"] for card in node["cards"]] == [None, None]


def test_the_output_of_one_job_is_the_input_of_the_next(member, tmp_path):
    first = submit(member, tmp_path, "open('out/x', 'w').write('from the first')\n")
    assert member.wait(first, timeout_s=30)["phase"] == "succeeded"
    second = submit(member, tmp_path, "print(open('given/x').read())\n", inputs={first: "given"})
    assert printed(member, second, follow=True) == ["from the first"]


# Ends.


def test_a_cancelled_job_is_asked_first_and_its_cards_are_free_again(pool, member, tmp_path):
    program = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
    program += "print('ready', flush=True)\ntime.sleep(60)\n"
    job = submit(member, tmp_path, program)
    until_printed(member, job, "ready")
    member.cancel(job)
    member.cancel(job)  # twice is once
    over = member.wait(job, timeout_s=30)
    assert (over["phase"], over["runs"][0]["outcome"]) == ("cancelled", "stopped")
    assert printed(member, job) == ["ready", "saved"]
    told = [kind for kind in kinds(member, job) if kind != "Started"]  # whose report may cross the wish to cancel
    assert told == ["Submitted", "Launched", "Cancelled", "StopAsked", "Ended", "Finished"]


def test_a_job_is_stopped_when_its_time_limit_has_passed(member, tmp_path):
    job = submit(member, tmp_path, COUNT, "600", time_limit="1s", grace_s=1.0)
    over = member.wait(job, timeout_s=30)
    assert (over["phase"], over["reason"]) == ("failed", "its time limit of 1.00 s passed")
    assert 10**9 <= over["runs"][0]["held_ns"] < 40 * 10**9  # the program alone would take 60 s


def test_a_program_that_ends_badly_by_itself_is_not_tried_again(member, tmp_path):
    job = submit(member, tmp_path, "import sys\nprint('oh no')\nsys.exit(3)\n", retries=3)
    over = member.wait(job, timeout_s=30)
    assert (over["phase"], [run["exit_code"] for run in over["runs"]]) == ("failed", [3])
    assert over["reason"].startswith("Rank 0 ended with exit code 3; not tried again")
    assert printed(member, job) == ["oh no"]


def test_a_program_that_is_killed_is_tried_again_and_finds_what_it_left(member, tmp_path):
    program = "import os\nif os.path.exists('out/x'): print('second')\nelse: open('out/x', 'w'); os.kill(os.getpid(), 9)\n"
    job = submit(member, tmp_path, program, retries=1)
    over = member.wait(job, timeout_s=30)
    assert (over["phase"], [run["outcome"] for run in over["runs"]]) == ("succeeded", ["failed", "succeeded"])
    assert printed(member, job) == ["second"]
    assert {line["run"] for line in member.bill(job=job)["lines"]} == {f"{job}-1", f"{job}-2"}


def test_a_wait_that_takes_too_long_says_how_the_job_stands(member, tmp_path):
    job = submit(member, tmp_path, COUNT, "600")
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="isn't over yet"):
        member.wait(job, timeout_s=1.0)
    assert time.monotonic() - begun < 30  # the job alone would take 60 s
    member.cancel(job)
    member.wait(job, timeout_s=30)


# Kills.


def killed_in_the_middle(pool: Cloud, member: Client, job: str, kill: Any) -> dict[str, Any]:
    """Follow a job from its first line, `kill` something, and see it end. Returns the job."""
    followed: list[str] = []
    with pool.client(member_key(member)) as other:
        follower = threading.Thread(target=lambda: followed.extend(printed(other, job, follow=True)), daemon=True)
        follower.start()
        until_printed(member, job, "0: line 5")
        pid = starts(pool, job)
        kill()
        over = member.wait(job, timeout_s=60)
        follower.join(30)
    assert over["phase"] == "succeeded"
    assert [run["outcome"] for run in over["runs"]] == ["succeeded"]
    assert starts(pool, job) == pid  # the same process, from the first line to the last
    assert followed == printed(member, job) == [f"0: line {i}" for i in range(40)]
    assert kinds(member, job) == ["Submitted", "Launched", "Started", "Ended", "Finished"]
    return over


def member_key(member: Client) -> str:
    return member._http.headers["Authorization"].removeprefix("Bearer ")


def test_a_run_goes_on_when_the_agent_is_killed_and_is_found_by_the_next(pool, member, tmp_path):
    def kill() -> None:
        pool.kill("agent")
        time.sleep(1.0)  # lines are printed that nobody reads
        pool.start_agent()

    killed_in_the_middle(pool, member, submit(member, tmp_path, COUNT, "40"), kill)


def test_a_run_goes_on_when_the_cloud_is_killed_and_is_found_by_the_next(pool, member, tmp_path):
    def kill() -> None:
        pool.kill("cloud")
        pool.serve()

    killed_in_the_middle(pool, member, submit(member, tmp_path, COUNT, "40"), kill)


def test_a_run_that_ends_while_the_cloud_is_away_is_told_of_later(pool, member, tmp_path):
    def kill() -> None:
        pool.kill("cloud")
        time.sleep(6.0)  # longer than what is left of the run
        pool.serve()

    over = killed_in_the_middle(pool, member, submit(member, tmp_path, COUNT, "40"), kill)
    assert 4 * 10**9 <= over["runs"][0]["held_ns"] < 9 * 10**9  # held is what the supervisor measured, not until it was told


def test_a_run_that_ends_while_the_agent_is_away_is_told_of_by_the_next(pool, member, tmp_path):
    def kill() -> None:
        pool.kill("agent")
        time.sleep(6.0)
        pool.start_agent()

    killed_in_the_middle(pool, member, submit(member, tmp_path, COUNT, "40"), kill)


def test_a_link_that_hangs_for_some_seconds_loses_and_doubles_nothing(pool, member, tmp_path):
    def kill() -> None:
        pool.kill("cloud", signal.SIGSTOP)
        time.sleep(3.0)
        pool.kill("cloud", signal.SIGCONT)

    killed_in_the_middle(pool, member, submit(member, tmp_path, COUNT, "40"), kill)


class LateNews(Link):
    """A link on which an answer to `wanted` may be long under way."""

    def __init__(self, cloud: str, token: str) -> None:
        super().__init__(cloud, token)
        self.arrives = threading.Event()
        self.arrives.set()

    def wanted(self, after: int, generation: int | None = None) -> News:
        answer = super().wanted(after, generation)
        self.arrives.wait()
        return answer


def test_news_that_was_overtaken_by_the_end_of_a_run_does_not_start_it_again(pool, member, tmp_path, caplog):
    pool.kill("agent")
    home = pool.data / "centre"
    nodes = tuple(decode(Node, node) for node in json.loads((home / "nodes.json").read_text()))
    link = LateNews(pool.url, (pool.data / "centre.token").read_text().strip())
    agent = Agent(home, Local(home, nodes=nodes, base=pool.bases, standby=False), link)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()
    try:
        first = submit(member, tmp_path, COUNT, "15")
        until_printed(member, first, "0: line 1")
        link.arrives.clear()
        second = submit(member, tmp_path, COUNT, "1")  # the news of it names the first run too, and comes when that is over
        assert member.wait(first, timeout_s=30)["phase"] == "succeeded"
        time.sleep(0.5)
        link.arrives.set()
        assert member.wait(second, timeout_s=30)["phase"] == "succeeded"
        assert len(starts(pool, first)) == 1
        assert "is not wanted by the cloud" not in caplog.text  # nor was it begun and stopped
    finally:
        agent.stop()
        working.join(10)
        pool.start_agent()


class NewsFromBefore(Link):
    """A link whose agent was cut off after it had been told what is wanted, and is heard of again in the next generation."""

    def __init__(self, cloud: str, token: str) -> None:
        super().__init__(cloud, token)
        self.told: list[str] = []

    def wanted(self, after: int, generation: int | None = None) -> News:
        news = super().wanted(after, generation)
        assert news.generation is not None
        return news if generation is not None else replace(news, generation=news.generation - 1)

    def report(self, *said: Any) -> tuple[int, list[str]]:
        try:
            answer = super().report(*said)
        except Stale:
            self.told.append("stale")
            raise
        self.told.append("taken down")
        return answer


def test_an_agent_whose_report_is_stale_asks_anew_and_its_runs_go_on(pool, member, tmp_path):
    job = submit(member, tmp_path, COUNT, "40")
    until_printed(member, job, "0: line 1")
    pool.kill("agent")
    home = pool.data / "centre"
    nodes = tuple(decode(Node, node) for node in json.loads((home / "nodes.json").read_text()))
    link = NewsFromBefore(pool.url, (pool.data / "centre.token").read_text().strip())
    agent = Agent(home, Local(home, nodes=nodes, base=pool.bases, standby=False), link)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()
    try:
        assert member.wait(job, timeout_s=60)["phase"] == "succeeded"
        assert len(starts(pool, job)) == 1
        assert link.told[0] == "stale" and set(link.told[link.told.index("taken down") :]) == {"taken down"}
    finally:
        agent.stop()
        working.join(10)
        pool.start_agent()


class Overtaken(Link):
    """A link on which the first report of a node that is down arrives once more, after the report that it is up again."""

    late: tuple[Any, ...] | None = None
    arrived = False

    def report(self, *said: Any) -> tuple[int, list[str]]:
        answer, states = super().report(*said), said[2]
        if states and self.late is None:
            self.late = said
        elif states == () and self.late is not None and not self.arrived:
            super().report(*self.late)
            self.arrived = True
        return answer


class Failing(Local):
    """An engine whose node can fail."""

    condition = Condition.UP

    def states(self) -> tuple[NodeState, ...]:
        up = self.condition is Condition.UP
        return () if up else (NodeState(name="here", condition=self.condition, reason="in a test"),)


def test_a_report_that_was_overtaken_is_set_right(pool, monkeypatch):
    monkeypatch.setattr("forebay.centre.link.WAIT_S", 0.5)
    pool.kill("agent")
    home = pool.data / "centre"
    nodes = tuple(decode(Node, node) for node in json.loads((home / "nodes.json").read_text()))
    link = Overtaken(pool.url, (pool.data / "centre.token").read_text().strip())
    engine = Failing(home, nodes=nodes, base=pool.bases, standby=False)
    agent = Agent(home, engine, link)
    working = threading.Thread(target=agent.run, daemon=True)
    working.start()

    def out() -> str:
        with pool.client() as operator:
            (node,) = [node for one in operator.pool()["centres"] for node in one["nodes"] if node["name"] == "here"]
            return str(node["out"])

    try:
        engine.condition = Condition.DOWN
        assert until(lambda: "in a test" in out())
        engine.condition = Condition.UP
        assert until(lambda: link.arrived)
        assert until(lambda: not out()), "the cloud believes the older report"
    finally:
        agent.stop()
        working.join(10)
        pool.start_agent()


def test_after_all_that_no_process_of_any_run_is_left(pool):
    runs = str(pool.data / "centre" / "runs")
    assert until(lambda: not [command for command in pool.processes().values() if runs in command])
    assert list((pool.data / "centre" / "runs").iterdir()) == []
