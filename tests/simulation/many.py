"""Many lives, one after the other or on several processes.

Asked:  how are a million steps made, and what is told of a life that breaks a promise, or never ends?
Answer: each life is a process's for itself, so lives are lived in any order with the same outcome. What goes wrong in one becomes
        its text, and the others go on. A process that dies (out of memory, for instance) ends all of it with an error.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from types import FrameType

from .plan import steps_of
from .world import Failed, Life, live

LONGEST_S = 900.0  # of a life, in seconds of this machine: a core that goes round for ever is told too


@dataclass(frozen=True, slots=True)
class Wanted:
    seed: int
    steps: int
    on_sqlite: bool | None = None  # None: as the seed says


@dataclass(frozen=True, slots=True)
class Lived:
    wanted: Wanted
    life: Life | None
    broken: str  # what was; empty: nothing
    cpu_s: float


def together(first_seed: int, steps: int) -> list[Wanted]:
    """The lives from a seed on that make so many steps together, each as long as its seed says."""
    wanted: list[Wanted] = []
    while steps > 0:
        wanted.append(Wanted(first_seed, steps_of(first_seed)))
        steps -= wanted[-1].steps
        first_seed += 1
    return wanted


def lived(wanted: Sequence[Wanted], processes: int = 1) -> Iterator[Lived]:
    """How they went, as they end. No `processes`: one a core."""
    if processes == 1:
        yield from map(_lived, wanted)
        return
    pool = ProcessPoolExecutor(processes or len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn"))
    try:
        for done in as_completed([pool.submit(_lived, one) for one in wanted]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _lived(wanted: Wanted) -> Lived:
    began_s, life, broken = time.process_time(), None, ""
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        life = live(wanted.seed, wanted.steps, on_sqlite=wanted.on_sqlite)
    except Failed as failed:
        broken = str(failed)
    except Exception as error:
        again = f"python -m tests.simulation --seed {wanted.seed} --steps {wanted.steps}"
        broken = f"seed {wanted.seed} failed: {error!r}\nagain: {again}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return Lived(wanted, life, broken, time.process_time() - began_s)


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"a life lasts for more than {LONGEST_S:.0f} seconds of this machine")
