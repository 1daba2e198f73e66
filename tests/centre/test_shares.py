"""A run whose shares are carried out by supervisors that don't know each other, as on several machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay import codec
from forebay.centre import files, isolation, layout, local, order
from forebay.centre.gang import combine
from forebay.centre.home import status
from forebay.centre.spec import Outcome, Phase, Seen, Share

from .conftest import Centre, Entries, until
from .test_environment import wheel

SHARES = (Share(node="here", cards=(0, 1)), Share(node="stand-in", cards=(3,)))
WHERE = """
import os
print(*(os.environ[name] for name in ("RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE")))
"""
ADDS = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
x = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(x)
print(int(x), os.environ["MASTER_ADDR"], os.environ["TORCHELASTIC_USE_AGENT_STORE"], flush=True)
"""


class Gang:
    """The shares of one run, each with a supervisor of its own."""

    def __init__(self, centre: Centre, code: str | Entries, **fields: object) -> None:
        spec = centre.spec(code, shares=SHARES, **fields)
        nodes = tuple(codec.decode(type(node), {**codec.encode(node), "pretend": False}) for node in centre.engine.nodes())
        whole = centre.engine._home.order(spec, nodes)
        self.run = layout.run(centre.home, spec.name)
        isolation.own_folder(self.run, 0o711)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.fates: list[int] = []
        for number in range(len(SHARES)):
            folder = isolation.own_folder(layout.share(self.run, number), 0o711)
            mine = order.for_share(whole, number, meeting=str(layout.meeting(self.run)))
            files.write_json(layout.spec(folder), codec.encode(mine))

    def start(self, number: int) -> None:
        reader, writer = os.pipe()
        folder = layout.share(self.run, number)
        command = local._supervisor([str(folder), str(reader)])
        self.processes.append(local._detached(command, layout.complaints(folder), (reader,)))
        os.close(reader)
        self.fates.append(writer)

    def seen(self) -> Seen:
        return combine(self.run.name, [status(layout.share(self.run, number)) for number in range(len(SHARES))])

    def end(self) -> Seen:
        return until(lambda: seen if (seen := self.seen()).phase is Phase.ENDED else None)

    def lines(self) -> list[str]:
        found = []
        for number in range(len(SHARES)):
            piece = local.read_share(layout.share(self.run, number), str(number), {}, 1 << 20)
            found += [json.loads(line)["text"] for line in piece.body.splitlines()] if piece else []
        return found


@pytest.fixture
def gangs(centre: Centre) -> Iterator[list[Gang]]:
    made: list[Gang] = []
    yield made
    for gang in made:
        for process in gang.processes:
            process.kill()
            process.wait()


def test_ranks_of_all_shares_count_through(centre: Centre, gangs: list[Gang]) -> None:
    gangs.append(gang := Gang(centre, WHERE))
    for number in (0, 1):
        gang.start(number)
    seen = gang.end()
    assert (seen.outcome, seen.reason) == (Outcome.SUCCEEDED, "Every rank ended well."), seen
    assert sorted(gang.lines()) == ["0 0 0 2 3 2", "1 1 0 2 3 2", "2 0 1 1 3 2"]
    assert max(process.wait() for process in gang.processes) == 0


def test_ranks_of_all_shares_meet_whoever_comes_first(centre: Centre, gangs: list[Gang], carried: None) -> None:
    gangs.append(gang := Gang(centre, ADDS, checked_s_ago=1.0))
    gang.start(1)  # it waits for the first share to say where
    until(lambda: status(layout.share(gang.run, 1)))
    gang.start(0)
    assert gang.end().outcome is Outcome.SUCCEEDED, gang.lines()
    assert gang.lines() == ["6 127.0.0.1 True"] * 3


def test_building_an_environment_opens_no_meeting(centre: Centre, gangs: list[Gang], carried: None) -> None:
    name, content = wheel("hydro", "1.0", "power = 42")
    gangs.append(gang := Gang(centre, {"main.py": ADDS, f"w/{name}": content}, requirements="w", checked_s_ago=1.0))
    for number in (1, 0):
        gang.start(number)
    assert gang.end().outcome is Outcome.SUCCEEDED, gang.lines()
    assert [line for line in gang.lines() if line.startswith("6")] == ["6 127.0.0.1 True"] * 3


def test_a_share_that_waits_for_the_others_can_be_stopped(centre: Centre, gangs: list[Gang]) -> None:
    gangs.append(gang := Gang(centre, WHERE))
    gang.start(1)
    until(lambda: status(layout.share(gang.run, 1)))
    files.write_json(layout.stop(layout.share(gang.run, 1)), {"grace_s": 0.0})
    seen = until(lambda: found if (found := status(layout.share(gang.run, 1))) and found.phase is Phase.ENDED else None)
    assert (seen.outcome, seen.reason) == (Outcome.STOPPED, "It was asked to stop before its ranks were started.")


def test_a_signal_from_the_machine_is_no_wish_of_ours(centre: Centre, gangs: list[Gang]) -> None:
    gangs.append(gang := Gang(centre, "import time\nprint('up', flush=True)\ntime.sleep(600)\n"))
    for number in (0, 1):
        gang.start(number)
    until(lambda: gang.lines().count("up") == 3)
    for process in gang.processes:
        process.send_signal(signal.SIGTERM)
    seen = gang.end()
    assert (seen.outcome, seen.reason) == (Outcome.PREEMPTED, "Its centre ended it (SIGTERM).")


def test_a_signal_that_the_ranks_have_first_is_the_machines_all_the_same(centre: Centre, gangs: list[Gang]) -> None:
    gangs.append(gang := Gang(centre, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"))
    for number in (0, 1):
        gang.start(number)
    until(lambda: len(gang.lines()) == 3)
    for pid in gang.lines():
        os.kill(int(pid), signal.SIGTERM)
    time.sleep(0.1)
    for process in gang.processes:
        process.send_signal(signal.SIGTERM)
    seen = gang.end()
    assert (seen.outcome, seen.reason) == (Outcome.PREEMPTED, "Its centre ended it (SIGTERM).")


def test_ranks_that_alone_are_ended_by_a_signal_have_failed(centre: Centre, gangs: list[Gang]) -> None:
    gangs.append(gang := Gang(centre, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"))
    for number in (0, 1):
        gang.start(number)
    until(lambda: len(gang.lines()) == 3)
    for pid in gang.lines():
        os.kill(int(pid), signal.SIGTERM)
    seen = gang.end()
    assert seen.outcome is Outcome.FAILED and "was killed by signal 15 (SIGTERM)" in seen.reason


def test_a_share_dies_with_whoever_started_it(centre: Centre, gangs: list[Gang]) -> None:
    gangs.append(gang := Gang(centre, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"))
    for number in (0, 1):
        gang.start(number)
    until(lambda: len(gang.lines()) == 3)
    pids = [int(line) for line in gang.lines()]
    for fate in gang.fates:
        os.close(fate)
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids))
    assert all(process.wait() == 1 for process in gang.processes)
