"""What the benchmarks share: the time that a command takes, and how a figure stands to its bar.

Asked:  what did a command cost, on a machine that also does other things?
Answer: its wall time, and the CPU seconds of it and of all its children, which a busy machine moves less. Sides are measured in
        turn, A B, B A, A B, so that what the others do falls on both.
Limits: the CPU seconds are of the children that the command itself has waited for; daemons that it leaves behind don't count.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spent:
    """What one command took."""

    wall_s: float
    cpu_s: float


def forebay(*words: str) -> list[str]:
    """The command `forebay` of this interpreter's environment, as a person would start it."""
    command = Path(sys.executable).with_name("forebay")
    return [str(command), *words] if command.exists() else [sys.executable, "-m", "forebay.cli", *words]


def compile_device() -> None:
    """Compile what carries CUDA's words here, once a machine, so that no figure is taken beside two compilers."""
    spent([sys.executable, "-m", "forebay.porting.shim", "build"])


def spent(argv: Sequence[str], *, env: Mapping[str, str] | None = None, output: Path | None = None) -> Spent:
    """Run a command to its end, with its output in a file or thrown away. A command that fails ends the benchmark."""
    with open(output or os.devnull, "wb") as words:
        began = time.perf_counter()
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=words, stderr=words)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            raise
        wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits for it a second time
    if process.returncode != 0:
        said = output.read_text(errors="replace").strip() if output else ""
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}: {said}")
    return Spent(wall_s, used.ru_utime + used.ru_stime)


def end_cleanly() -> None:
    """Let SIGTERM, as `timeout` sends it, run the `finally` clauses that stop what a benchmark started."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended by SIGTERM before there was a result"))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put SIGTERM off until the block is through, so that cleaning up isn't cut short."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            os.kill(os.getpid(), signal.SIGTERM)


def in_turn(sides: Sequence[str], rounds: int) -> Iterator[str]:
    """A B, B A, A B, …: each side once a round."""
    for number in range(rounds):
        yield from sides if number % 2 == 0 else reversed(sides)


def median(taken: Sequence[Spent]) -> Spent:
    return Spent(statistics.median(one.wall_s for one in taken), statistics.median(one.cpu_s for one in taken))


def verdict(figure: float, bar: float) -> str:
    """Whether a figure that should be small keeps to its bar, in words."""
    return "kept" if figure <= bar else "MISSED"


def machine() -> dict[str, float]:
    """How many cores there are, and how many processes want them: above the cores, wall times are longer than the work."""
    return {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2)}


def machine_line() -> str:
    here = machine()
    return f"machine         {here['cores']} cores, load {here['load']:.1f} (average of the last minute, this benchmark included)"
