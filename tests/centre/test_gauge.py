"""How busy a run's cards are, measured on real processes and on a monitor that prints what one would."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forebay.centre import gang, gauge
from forebay.centre.gauge import Gauge, cpu_ns
from forebay.centre.spec import Phase, Progress, Seen, Use

S = 10**9


class Held:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def until(gauged: Gauge, measured_ns: int, seconds: float = 30) -> Use:
    deadline = time.monotonic() + seconds
    while gauged.read().measured_ns < measured_ns and time.monotonic() < deadline:
        gauged.look()
        time.sleep(0.02)
    return gauged.read()


def test_cpu_time_counts_children_that_live_grandchildren_and_those_that_have_ended():
    before = cpu_ns()
    burn = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    ended = cpu_ns() - before
    assert 0.35 * S < ended < 5 * S
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('through', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"through\n"
        assert cpu_ns() - before > ended + 0.35 * S
        child.communicate(b"\n")
    assert cpu_ns() - before > ended + 0.35 * S


def test_on_cores_the_time_at_work_is_that_of_the_processes_and_never_more_than_was_held():
    held = Held()
    gauged = Gauge((0, 1), monitor="", on_cpu=True, held_ns=held)
    held.ns = 3 * S
    gauged.begin()
    burn = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    held.ns = 13 * S
    gauged.end()
    use = gauged.read()
    assert (use.held_ns, use.measured_ns) == (26 * S, 26 * S)
    assert 0.45 * S < use.active_ns < 6 * S
    quick = Gauge((0,), monitor="", on_cpu=True, held_ns=held)
    quick.begin()
    subprocess.run([sys.executable, "-c", burn], check=True)
    held.ns += S // 10
    quick.end()
    assert quick.read().active_ns == S // 10


@pytest.fixture
def monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is found under the name of a vendor's monitor."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setattr(gauge, "_PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gauge, "SAMPLE_S", 0.05)
    return program


def answers(program: Path, body: str) -> None:
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_a_monitors_word_is_taken_to_hold_since_it_was_last_asked(monitor):
    held = Held()
    gauged = Gauge((1, 2), monitor="nvidia-smi", on_cpu=False, held_ns=held)
    held.ns = 5 * S
    gauged.begin()
    held.ns = 15 * S
    answers(monitor, "printf '0, 100\\n1, 50\\n2, 0\\n'")
    use = until(gauged, 30 * S)
    assert (use.held_ns, use.measured_ns, use.active_ns) == (30 * S, 30 * S, 5 * S)  # the five seconds before it began are idle
    gauged.end()


@pytest.mark.parametrize("body", ["printf '1, 50\\n'", "exit 9", "printf '1, [N/A]\\n2, [N/A]\\n'"])
def test_a_monitor_that_does_not_speak_of_all_cards_measures_nothing(monitor, body):
    held = Held()
    gauged = Gauge((1, 2), monitor="nvidia-smi", on_cpu=False, held_ns=held)
    gauged.begin()
    answers(monitor, body)
    for _ in range(40):
        held.ns += S
        gauged.look()
        time.sleep(0.02)
    gauged.end()
    assert gauged.read().measured_ns == 0 and gauged.read().held_ns > 0


def test_a_monitor_that_hangs_is_given_up_and_asked_again(monitor, monkeypatch):
    monkeypatch.setattr(gauge, "PATIENCE_S", 0.2)
    held = Held()
    gauged = Gauge((0,), monitor="nvidia-smi", on_cpu=False, held_ns=held)
    gauged.begin()
    answers(monitor, "exec sleep 60")
    held.ns = 10 * S
    deadline = time.monotonic() + 20
    while (gauged._looked_ns != 10 * S or gauged._asked is not None) and time.monotonic() < deadline:
        gauged.look()
        if gauged._looked_ns == 10 * S:
            gauged._next_s = math.inf  # one that was asked again meanwhile is given up too, before its successor answers
        time.sleep(0.02)
    answers(monitor, "echo 0, 100")
    monkeypatch.setattr(gauge, "PATIENCE_S", 20.0)  # on a busy machine an answer may take more than 0.2 s
    gauged._next_s = 0.0
    held.ns = 30 * S
    use = until(gauged, 20 * S)
    gauged.end()
    assert (use.measured_ns, use.active_ns) == (20 * S, 20 * S)  # of the first ten nothing is known


def test_where_no_monitor_is_nothing_is_measured():
    held = Held()
    for name in ("", "no-such-smi", "nvidia-smi"):
        gauged = Gauge((0,), monitor=name, on_cpu=False, held_ns=held)
        gauged.begin()
        held.ns += S
        gauged.look()
        gauged.end()
        assert gauged.read().measured_ns == 0


def test_productive_is_the_time_from_step_to_step_and_saved_is_what_a_checkpoint_covers():
    held = Held()
    gauged = Gauge((0, 1), monitor="", on_cpu=True, held_ns=held)

    def prints(at_s: int, step: int | None, loss: float | None = None) -> None:
        held.ns = at_s * S
        gauged.note(Progress(step=step, loss=loss))

    for at_s, step in ((10, 1), (20, 2), (25, 2), (40, 3)):
        prints(at_s, step)
    assert (gauged.read().productive_ns, gauged.read().saved_ns) == (30 * S, 0)
    gauged.saved()
    prints(70, 4)
    assert (gauged.read().productive_ns, gauged.read().saved_ns) == (60 * S, 30 * S)


def test_of_a_run_over_several_machines_cards_add_up_and_steps_are_everybodys():
    shares = [
        Seen(name="a-1", phase=Phase.RUNNING, use=Use(held_ns=10, measured_ns=10, active_ns=7, productive_ns=5, saved_ns=2)),
        Seen(name="a-1", phase=Phase.RUNNING, use=Use(held_ns=20)),
        Seen(name="a-1", phase=Phase.RUNNING),
    ]
    told = gang.combine("a-1", shares)
    assert told.use == Use(held_ns=30, measured_ns=10, active_ns=7, productive_ns=5, saved_ns=2)
