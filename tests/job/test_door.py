"""The door by itself: who may talk to it, what breaks, and who waits for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forebay.job import door, rooms, talk
from forebay.job.talk import DATA, EXIT, OPEN, Reader, Talk

PROGRAM = Path(door.__file__)


def until(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


class House:
    """A run's folder, deeper than a socket's name may be long, and its door."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ("deep" * 20) / ("deeper" * 10) / "tmp"
        self.folder.mkdir(parents=True)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, idle_s: float = 30, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(idle_s)],
            env={"PATH": os.environ["PATH"], "TMPDIR": str(self.folder), "HOME": str(self.folder), **more},
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def knock(self) -> socket.socket:
        deadline = time.monotonic() + 20
        while True:
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            folder = os.open(self.folder, os.O_PATH)
            try:
                line.connect(f"/proc/self/fd/{folder}/door")
                line.settimeout(20)
                return line
            except OSError:
                line.close()
                if time.monotonic() > deadline:
                    raise
            finally:
                os.close(folder)
            time.sleep(0.02)


class Visitor:
    """One end of a conversation over a plain socket."""

    def __init__(self, house: House, called: str = "c" * 32, **opening: object) -> None:
        self.house = house
        self.talk = Talk(called)
        if opening:
            self.talk.say(OPEN, json.dumps(opening).encode())
        self.come()

    def come(self) -> None:
        self.line, self.reader = self.house.knock(), Reader()
        self.heard: list[tuple[bytes, bytes]] = []  # and not asked for yet
        self.talk.connected()

    def hear_until(self, kind: bytes, content: bytes = b"") -> bytes:
        """All bodies up to the first frame of this kind with this in it."""
        bodies = b""
        while True:
            while self.heard:
                found, body = self.heard.pop(0)
                bodies += body
                if found == kind and content in bodies:
                    return bodies
            while self.talk.talkative:
                self.line.sendall(self.talk.take())
            chunk = self.line.recv(65536)
            assert chunk, f"the door hung up after {bodies!r}"
            self.heard += [frame for frame in self.reader.feed(chunk) if self.talk.hear(*frame)]


@pytest.fixture
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        made = House(Path(folder))
        try:
            yield made
        finally:
            made.close()


def test_a_program_talks_through_the_door_and_its_code_comes_back(house):
    house.start()
    visitor = Visitor(house, what="shell", argv=["sh", "-c", "read word; echo got $word; exit 9"])
    visitor.talk.say(DATA, b"this\n")
    assert visitor.hear_until(DATA) == b"got this\n"
    assert json.loads(visitor.hear_until(EXIT)) == {"code": 9, "why": ""}


def test_a_conversation_goes_on_over_another_connection(house):
    house.start()
    visitor = Visitor(house, what="shell", argv=["sh", "-c", "echo $$; read word; echo $$"])
    first = visitor.hear_until(DATA)
    visitor.line.close()
    visitor.talk.say(DATA, b"go on\n")
    visitor.come()
    assert visitor.hear_until(DATA) == first  # the same process


def test_a_second_connection_takes_the_place_of_one_that_hangs(house):
    house.start()
    visitor = Visitor(house, what="shell", argv=["sh", "-c", "echo one; read word; echo two"])
    visitor.hear_until(DATA, b"one")
    old = visitor.line
    visitor.talk.say(DATA, b"\n")
    visitor.come()
    assert visitor.hear_until(DATA, b"two") == b"two\n"
    assert old.recv(100) == b""
    old.close()


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", talk.frame(DATA, b"x"), talk.told(talk.HELLO), b"H\0\0\0\1["])
def test_whoever_speaks_otherwise_is_hung_up_on_and_harms_nobody(house, noise):
    house.start()
    stranger = house.knock()
    stranger.sendall(noise)
    assert stranger.recv(100) == b""
    stranger.close()
    assert Visitor(house, what="shell", argv=["echo", "well"]).hear_until(DATA) == b"well\n"


def test_a_conversation_that_the_door_does_not_know_is_over(house):
    house.start()
    line = house.knock()
    line.sendall(talk.told(talk.HELLO, conversation="of yesterday", heard=3))
    ((kind, body),) = Reader().feed(line.recv(65536))
    assert (kind, json.loads(body)["over"]) == (talk.HELLO, True)
    line.close()


@pytest.mark.parametrize("kind, body", [(talk.SIZE, b"[]"), (talk.SIZE, b"{"), (talk.SIZE, b'{"rows": "many"}')])
def test_a_visitor_who_sends_nonsense_ends_only_his_own_conversation(house, kind, body):
    house.start()
    visitor = Visitor(house, what="shell", argv=["sleep", "100"], terminal=True)
    visitor.talk.say(kind, body)
    assert "no sense" in json.loads(visitor.hear_until(EXIT))["why"]
    assert Visitor(house, "another", what="shell", argv=["echo", "well"]).hear_until(DATA) == b"well\n"


def test_a_first_request_that_is_no_table_is_told_of(house):
    house.start()
    visitor = Visitor(house)
    visitor.talk.say(OPEN, b"[]")
    assert "no table" in json.loads(visitor.hear_until(EXIT))["why"]


@pytest.mark.parametrize(
    "opening, told",
    [
        ({"what": "shell", "argv": ["no-such-program"]}, "no-such-program"),
        ({"what": "port", "port": 1}, "refused"),
        ({"what": "tea"}, "knows no tea"),
    ],
    ids=lambda value: value["what"] if isinstance(value, dict) else "",
)
def test_what_can_not_be_had_is_told(house, opening, told):
    house.start()
    about = json.loads(Visitor(house, **opening).hear_until(EXIT))
    assert about["code"] == 127 and told in about["why"]


def test_a_port_of_the_machine_is_reached_and_half_closed(house):
    house.start()
    with socket.create_server(("127.0.0.1", 0)) as server:
        visitor = Visitor(house, what="port", port=server.getsockname()[1])
        visitor.talk.say(DATA, b"question")
        visitor.talk.say(talk.END)
        while visitor.talk.talkative or not visitor.talk._greeted:
            if visitor.talk.talkative:
                visitor.line.sendall(visitor.talk.take())
            for kind, body in visitor.reader.feed(visitor.line.recv(65536) if not visitor.talk._greeted else b""):
                visitor.talk.hear(kind, body)
        there, _ = server.accept()
        with there:
            got = b""
            while chunk := there.recv(100):
                got += chunk
            there.sendall(got + b" answered")
        assert visitor.hear_until(DATA) == b"question answered"
        visitor.hear_until(EXIT)


def test_the_door_closes_after_the_idle_time_with_exit_code_0(house):
    process = house.start(idle_s=0.5)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (
        0,
        "the door is open\nthe door closes: not a byte in either direction for 0.5 s\n",
    )


def test_a_door_that_is_stopped_hangs_up_on_its_programs(house):
    process = house.start()
    visitor = Visitor(house, what="shell", argv=["sh", "-c", "echo $$; sleep 100"])
    pid = int(visitor.hear_until(DATA))
    process.send_signal(signal.SIGTERM)
    assert json.loads(visitor.hear_until(EXIT)) == {"code": 143, "why": "the job was stopped"}
    visitor.line.sendall(visitor.talk.take())  # the acknowledgement: it waits no longer
    assert process.wait(20) == 143
    assert until(lambda: is_gone(pid))


def is_gone(pid: int) -> bool:
    """Whether a process has ended; it may not have been waited for."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b""
    except OSError:
        return True


@pytest.mark.parametrize("group", ["0", "1"], ids=["on the same machine", "on another"])
def test_the_other_ranks_end_when_the_first_does(house, group):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    of_both = {
        "WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "2" if group == "1" else "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    folder = house.folder if group == "0" else house.folder / "elsewhere"  # another machine doesn't see the first one's
    folder.mkdir(exist_ok=True)
    second = house.start(RANK="1", GROUP_RANK=group, **of_both, TMPDIR=str(folder))
    first = house.start(RANK="0", GROUP_RANK="0", **of_both)
    Visitor(house, what="shell", argv=["echo", "up"]).hear_until(DATA)
    assert group == "0" or until(lambda: is_met(port))
    assert second.poll() is None
    first.terminate()
    assert (first.wait(20), second.wait(20)) == (143, 0)


def is_met(port: str) -> bool:
    """Whether somebody is connected to this port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(remote.endswith(f":{int(port):04X}") and state == "01" for _, _, remote, state, *_ in lines)


@pytest.mark.parametrize(
    "seconds, shown", [(0.5, "0.5 s"), (20, "20 s"), (90, "1 m 30 s"), (1800, "30 m"), (3600, "1 h"), (5400, "1 h 30 m")]
)
def test_a_length_of_time_is_shown_as_people_say_it(seconds, shown):
    assert rooms.show_seconds(seconds) == shown
