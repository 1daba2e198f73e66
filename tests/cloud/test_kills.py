"""Whatever is killed, and whenever: no job is lost, none runs twice, nothing is left over, the bill is what was held."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from forebay.cloud.core import events as e
from forebay.cloud.core.meter import bill
from forebay.cloud.journal import Journal
from forebay.units import NS_PER_S

from .clouds import Cloud, torn_down, until
from .servers import Server

# Says when it began and ended, on the machine's monotonic clock, once in its output and once on stdout.
WORK = """
import os, sys, time
begun = time.monotonic_ns()
with open(f"out/rank-{os.environ['RANK']}", "a", buffering=1) as told:
    told.write(f"begin {os.getpid()} {begun}\\n")
    for step in range(5):
        print(f"step {step}", flush=True)
        time.sleep(float(sys.argv[1]) / 5)
    told.write(f"end {os.getpid()} {time.monotonic_ns()}\\n")
"""
CARDS = 3
PATIENCE_S = 180.0  # with a cloud that starts again on a machine that has much else to do


@pytest.fixture
def pool_of_three() -> Iterator[Cloud]:
    with torn_down(Cloud()) as made:
        made.up(cards=CARDS)
        yield made


@pytest.fixture
def pool_on_postgres(postgres: Server) -> Iterator[Cloud]:
    with torn_down(Cloud(postgres.database())) as made:
        made.up(cards=CARDS)
        yield made


class Customer(threading.Thread):
    """Submits jobs without a pause, but never lets more than a few wait."""

    def __init__(self, cloud: Cloud, script: Path, seed: int) -> None:
        super().__init__(name="customer", daemon=True)
        self._client = cloud.client(cloud.tenant("acme"), patience_s=PATIENCE_S)
        self._script = script
        self._dice = random.Random(seed)
        self._enough = threading.Event()
        self.acknowledged: dict[str, int] = {}  # job -> its cards
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._enough.is_set():
                cards, seconds = self._dice.choice((1, 1, 1, 2)), self._dice.uniform(0.0, 1.5)
                job = self._client.run(self._script, [f"{seconds:.2f}"], cards=cards, retries=0)
                self.acknowledged[job["id"]] = cards
                while len(self._client.jobs(phase="waiting")) > 3 and not self._enough.is_set():
                    time.sleep(0.2)
        except BaseException as problem:
            self.problem = problem

    def enough(self) -> None:
        self._enough.set()
        self.join(PATIENCE_S)
        assert not self.is_alive(), "the customer still waits for an answer"
        if self.problem:
            raise self.problem


@dataclass(frozen=True)
class Interval:
    """When one rank of a job ran, as it said itself."""

    job: str
    rank: int
    begin_ns: int
    end_ns: int


def intervals(cloud: Cloud, job: str) -> list[Interval]:
    """Every start of every rank of a job. A start without an end is one that was cut off."""
    found = []
    for path in sorted((cloud.data / "centre" / "outputs" / job).glob("rank-*")):
        words = [line.split() for line in path.read_text().splitlines()]
        ends = {pid: int(at) for what, pid, at in words if what == "end"}
        rank = int(path.name.removeprefix("rank-"))
        for what, pid, at in words:
            if what == "begin":
                found.append(Interval(job, rank, int(at), ends.get(pid, int(at))))
    return found


def kill_and_check(
    cloud: Cloud,
    folder: Path,
    *,
    kills: int,
    longest_pause_s: float,
    seed: int,
    also: Callable[[], None] = lambda: None,
) -> None:
    """`also` is done at some other moment before each kill."""
    dice = random.Random(seed)
    script = folder / "work.py"
    script.write_text(WORK)
    customer = Customer(cloud, script, seed)
    customer.start()
    for _ in range(kills):
        if dice.random() < 0.5:  # else it may be killed while it still starts
            with cloud.client(patience_s=PATIENCE_S) as operator:
                operator.about()
        time.sleep(dice.uniform(0, longest_pause_s))
        also()
        time.sleep(dice.uniform(0, longest_pause_s) if dice.random() < 0.3 else 0)
        victims = dice.choice((("cloud",), ("agent",), ("cloud", "agent"), ("agent", "cloud")))
        for victim in victims:
            assert cloud.pid(victim), f"the {victim} ended by itself: {cloud.last_words(victim)}"
            cloud.kill(victim)
        for victim in sorted(victims, reverse=dice.random() < 0.5):
            cloud.serve() if victim == "cloud" else cloud.start_agent()
    customer.enough()
    with cloud.client(patience_s=PATIENCE_S) as operator:
        for job in customer.acknowledged:
            operator.wait(job, timeout_s=PATIENCE_S)
        found = {job["id"]: operator.job(job["id"]) for job in operator.jobs(most=1000)}
        told = operator.bill()
        printed = {job: [(line["rank"], line["text"]) for line in operator.logs(job)] for job in found}

    # No acknowledged job is lost, and none was made that nobody knows of.
    print(f"{kills} kills in the life of {len(found)} jobs")
    assert len(found) >= kills / 5, "too few to say anything"
    assert {job: body["phase"] for job, body in found.items()} == dict.fromkeys(customer.acknowledged, "succeeded")

    # None ran twice: each rank of each job began once and ended once, and printed each line once.
    for job, cards in customer.acknowledged.items():
        assert [(i.rank, i.end_ns > i.begin_ns) for i in intervals(cloud, job)] == [(rank, True) for rank in range(cards)], job
        lines = [line for line in printed[job] if line[0] >= 0]
        assert sorted(lines) == [(rank, f"step {step}") for rank in range(cards) for step in range(5)], job

    # No card was given to two runs at a time: the ranks that used it did so one after another.
    on_card = defaultdict(list)
    for job, body in found.items():
        cards_of_job = [card for part in body["runs"][0]["allocation"]["parts"] for card in part["cards"]]
        for interval in intervals(cloud, job):
            on_card[cards_of_job[interval.rank]].append(interval)
    for card, used in on_card.items():
        used.sort(key=lambda i: i.begin_ns)
        for earlier, later in pairwise(used):
            assert earlier.end_ns < later.begin_ns, (card, earlier, later)

    # What was held encloses what the ranks used, and lies within the time that the cloud gave the cards for.
    for job, body in found.items():
        (run,) = body["runs"]
        used_ns = max(i.end_ns for i in intervals(cloud, job)) - min(i.begin_ns for i in intervals(cloud, job))
        assert used_ns <= run["held_ns"] <= run["ended_at_ns"] - run["launched_at_ns"] + NS_PER_S // 10, job

    # No process is left over.
    cloud.stop()
    assert until(lambda: not cloud.processes(), 10), cloud.processes()

    # The journal tells each thing once, and the bill that anyone can make from it again is the one that was told.
    journal = Journal.open(cloud.data)
    try:
        events = [event for _, event in journal.events()]
        state = journal.load()
    finally:
        journal.close()
    ended = {event.run: event.held_ns for event in events if isinstance(event, e.Ended)}
    for kind in (e.Submitted, e.Launched, e.Ended, e.Finished):
        assert sum(isinstance(event, kind) for event in events) == len(found), kind
    held = sum(ended[f"{job}-1"] * cards for job, cards in customer.acknowledged.items())
    assert (told["card_ns"], bill(state, state.t.last_at_ns).card_ns) == (held, held)


def test_a_few_kills_in_the_middle_of_a_stream_of_jobs_lose_and_double_nothing(pool_of_three, tmp_path):
    kill_and_check(pool_of_three, tmp_path, kills=6, longest_pause_s=2.0, seed=20)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_and_cut_connections_lose_and_double_nothing_on_postgres(pool_on_postgres, postgres, tmp_path):
    seed = int(os.environ.get("FOREBAY_TESTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"again with: FOREBAY_TESTS_SEED={seed}")  # shown when it fails
    cut = partial(postgres.cut, pool_on_postgres.database)
    kill_and_check(pool_on_postgres, tmp_path, kills=20, longest_pause_s=3.0, seed=seed, also=cut)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_kills_in_the_middle_of_a_stream_of_jobs_lose_and_double_nothing(pool_of_three, tmp_path):
    seed = int(os.environ.get("FOREBAY_TESTS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"again with: FOREBAY_TESTS_SEED={seed}")  # shown when it fails
    kill_and_check(pool_of_three, tmp_path, kills=100, longest_pause_s=3.0, seed=seed)
