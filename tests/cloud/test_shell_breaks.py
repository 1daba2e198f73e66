"""A shell goes on while what lies between person and card is killed, cut off or frozen."""

from __future__ import annotations

import contextlib
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from forebay.client import Client

from .clouds import Cloud, until
from .people import PROMPT, Person, sits_down

pytestmark = pytest.mark.slow

COUNT = "for i in $(seq 60); do echo line $i; sleep 0.1; done; echo through\r"


class Cable:
    """A relay in front of the cloud, whose connections can be cut and which can refuse new ones."""

    def __init__(self, to: str) -> None:
        host, _, port = to.rpartition("/")[2].partition(":")
        self._to = host, int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.whole = False
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs = []

    def mend(self) -> None:
        self.whole = True

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                if not self.whole:
                    here.close()
                    continue
                there = socket.create_connection(self._to)
                self._pairs.append((here, there))
                threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), here, there:
            while True:
                for ready in select.select([here, there], [], [])[0]:
                    chunk = ready.recv(65536)
                    if not chunk:
                        return
                    (there if ready is here else here).sendall(chunk)


@pytest.fixture(scope="module")
def acme(pool: Cloud) -> str:
    return pool.tenant("acme")


@pytest.fixture
def member(pool: Cloud, acme: str) -> Iterator[Client]:
    with pool.client(acme) as client:
        yield client


@pytest.fixture
def person(pool: Cloud, acme: str) -> Iterator[Person]:
    with sits_down(pool, acme, "shell") as person:
        person.sees(PROMPT)
        yield person


def goes_on(person: Person, member: Client) -> None:
    """Every line came once, in order; and the same shell still does what is typed."""
    person.sees("through\r\n", 60)
    shown = person.screen.decode().partition("echo through")[2]  # after the echo of what was typed
    assert re.findall(r"line (\d+)\r\n", shown) == [str(i) for i in range(1, 61)]
    person.type("echo $before; exit 4\r")
    person.sees("yes\r\n")
    assert person.ends() == 4
    about = member.wait(person.job, timeout_s=90)
    assert (about["phase"], [run["outcome"] for run in about["runs"]]) == ("succeeded", ["succeeded"])


def counting(person: Person) -> None:
    person.type("before=yes\r")
    person.sees(PROMPT)
    person.type(COUNT)
    person.sees("line 5\r\n")


def test_when_the_agent_is_killed(pool, person, member):
    counting(person)
    pool.kill("agent")
    time.sleep(1.0)  # lines are printed that nobody reads
    person.type("# typed meanwhile\r")
    pool.start_agent()
    goes_on(person, member)
    assert b"the link is broken; trying again" in person.screen and b"the link is back" in person.screen


def test_when_the_cloud_is_killed(pool, person, member):
    counting(person)
    pool.kill("cloud")
    time.sleep(1.0)
    pool.serve()
    goes_on(person, member)
    assert b"the link is broken; trying again" in person.screen and b"the link is back" in person.screen


def test_when_cloud_and_agent_are_killed_one_after_the_other(pool, person, member):
    counting(person)
    for _ in range(2):
        pool.kill("agent")
        pool.kill("cloud")
        pool.serve()
        pool.start_agent()
        time.sleep(0.5)
    goes_on(person, member)


def test_when_the_cloud_is_frozen_for_seconds(pool, person, member):
    counting(person)
    pool.kill("cloud", signal.SIGSTOP)
    time.sleep(3.0)
    pool.kill("cloud", signal.SIGCONT)
    goes_on(person, member)


def test_when_the_persons_link_is_cut_again_and_again(pool, acme, member, monkeypatch):
    cable = Cable(pool.url)
    monkeypatch.setattr(Cloud, "url", cable.url)
    try:
        with sits_down(pool, acme, "shell") as person:
            person.sees(PROMPT)
            counting(person)
            for _ in range(3):
                cable.cut()
                time.sleep(0.5)
                cable.mend()
                time.sleep(0.7)
            monkeypatch.undo()
            goes_on(person, member)
    finally:
        cable.close()


def test_a_person_whose_link_never_comes_back_leaves_by_tilde_and_the_job_ends_by_idleness(pool, acme, member, monkeypatch):
    cable = Cable(pool.url)
    monkeypatch.setattr(Cloud, "url", cable.url)
    with sits_down(pool, acme, "shell", "--idle", "8s") as person:
        person.sees(PROMPT)
        cable.close()
        person.sees("the link is broken")
        person.type("\r~.")
        person.ends(60)
        assert person.terminal_is_whole()
    monkeypatch.undo()
    about = member.wait(person.job, timeout_s=60)
    assert (about["phase"], about["runs"][0]["outcome"]) == ("succeeded", "succeeded")


def test_a_program_that_prints_without_end_waits_for_its_reader_and_nobody_grows(pool, acme, member):
    """`yes` fills the window, the buffers and no memory, while its reader stands still."""
    with sits_down(pool, acme, "shell", "--", "yes") as person:
        person.sees("y\r\ny\r\n")
        time.sleep(3.0)  # nobody reads the terminal
        before = {name: resident_kib(pool.pid(name)) for name in ("cloud", "agent")}
        time.sleep(3.0)
        after = {name: resident_kib(pool.pid(name)) for name in ("cloud", "agent")}
        assert {name: after[name] - before[name] < 4096 for name in before} == {"cloud": True, "agent": True}
        person.process.send_signal(signal.SIGKILL)
    member.cancel(person.job)
    assert member.wait(person.job, timeout_s=90)["phase"] == "cancelled"


def resident_kib(pid: int | None) -> int:
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])  # type: ignore[index]


def test_after_all_that_nothing_is_left_over(pool):
    runs = pool.data / "centre" / "runs"
    assert until(lambda: not [command for command in pool.processes().values() if str(runs) in command], 10)
    assert until(lambda: list(runs.iterdir()) == [], 10)
