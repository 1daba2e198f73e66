"""How busy the cards of a run are, as its supervisor can tell.

Asked:  of the time that a run held its cards here, how much were they at work, and how much is covered by steps that count?
Answer: *active*: on processor cores, the CPU time of the run's own processes, a core at work counting its card as at work; on
        accelerators, what the vendor's monitor says (`chips/monitor.py`), asked every quarter of a minute and taken to hold since
        it was last asked. *Productive*: from one line that names a step to the next that names another. What comes after the
        newest checkpoint isn't *saved*, and is taken off when the run ends without success.
Limits: where no monitor is, nothing is measured, and that is what is said. A monitor is read in passing: it never keeps a run
        waiting. A program that prints no steps is productive in nobody's eyes. While code is laid out, cards aren't at work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence

from forebay.centre.spec import Progress, Use
from forebay.chips.monitor import MONITORS, busy
from forebay.units import KIB, NS_PER_S

SAMPLE_S = 15.0
PATIENCE_S = 10.0  # for a monitor that hangs on a sick card
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rocm/bin:/opt/hyhal/bin:/opt/mxdriver/bin"
_MOST = 256 * KIB  # of a monitor's answer


class Gauge:
    """Adds up what a run's cards do. Made when its cards are taken."""

    def __init__(self, cards: Sequence[int], *, monitor: str, on_cpu: bool, held_ns: Callable[[], int]) -> None:
        """`held_ns`: how long the cards have been held. `monitor`: the vendor's, empty where there is none."""
        self._cards = tuple(cards)
        self._on_cpu = on_cpu
        self._monitor = MONITORS.get(monitor)
        self._name = monitor
        self._held_ns = held_ns
        self._looked_ns: int | None = None  # up to when is measured; None: the ranks haven't been started
        self._cpu_ns = 0
        self._asked: tuple[subprocess.Popen[bytes], int, int, float] | None = None  # process, its answer, held then, since
        self._next_s = 0.0
        self._before_ns = 0  # card-time before the ranks were started; measured if anything is
        self._measured_ns = 0
        self._active_ns = 0
        self._step: object = None
        self._step_ns = 0
        self._productive_ns = 0
        self._saved_ns = 0

    def begin(self) -> None:
        """The ranks have been started. Before that the cards weren't at work."""
        self._looked_ns = self._held_ns()
        self._before_ns = len(self._cards) * self._looked_ns
        self._next_s = time.monotonic() + SAMPLE_S
        if self._on_cpu:
            self._cpu_ns = cpu_ns()

    def look(self) -> None:
        """Called often: looks when it is time to."""
        if self._asked is not None:
            self._hear()
        if self._looked_ns is not None and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + SAMPLE_S
            self._sample()

    def note(self, progress: Progress) -> None:
        """The run printed how far it is."""
        step = progress.step if progress.step is not None else progress.loss
        if step == self._step:
            return
        now_ns = self._held_ns()
        if self._step is not None:
            self._productive_ns += max(0, now_ns - self._step_ns)
        self._step, self._step_ns = step, now_ns

    def saved(self) -> None:
        """A checkpoint is complete: what was done before it isn't lost any more."""
        self._saved_ns = self._productive_ns

    def end(self) -> None:
        """No process of the run is left."""
        if self._on_cpu and self._looked_ns is not None:
            self._sample()
        if self._asked is not None:
            self._forget()

    def read(self) -> Use:
        held_ns = len(self._cards) * max(0, self._held_ns())
        measured_ns = min(self._measured_ns, held_ns)
        return Use(
            held_ns=held_ns,
            measured_ns=measured_ns,
            active_ns=min(self._active_ns, measured_ns),
            productive_ns=self._productive_ns,
            saved_ns=self._saved_ns,
        )

    def _sample(self) -> None:
        if self._on_cpu:
            now = cpu_ns()
            self._add(self._held_ns(), now - self._cpu_ns)
            self._cpu_ns = now
        elif self._monitor is not None and self._asked is None:
            self._ask(self._monitor.ask)

    def _add(self, until_ns: int, active_ns: float) -> None:
        """Up to a moment the cards were at work for so long, summed."""
        assert self._looked_ns is not None
        most_ns = len(self._cards) * max(0, until_ns - self._looked_ns)
        self._measured_ns += most_ns + self._before_ns
        self._before_ns = 0
        self._active_ns += min(max(0, int(active_ns)), most_ns)
        self._looked_ns = max(until_ns, self._looked_ns)

    def _ask(self, command: Sequence[str]) -> None:
        program = shutil.which(command[0], path=_PATH)
        if program is None:
            self._looked_ns = self._held_ns()  # until now nothing is known
            return
        answer = os.memfd_create("monitor")
        try:
            process = subprocess.Popen(
                [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.DEVNULL, cwd="/"
            )
        except OSError:
            os.close(answer)
            self._looked_ns = self._held_ns()
            return
        self._asked = (process, answer, self._held_ns(), time.monotonic())

    def _hear(self) -> None:
        """Take in a monitor's answer, if it has one now."""
        assert self._asked is not None and self._looked_ns is not None
        process, answer, asked_ns, since_s = self._asked
        if process.poll() is None:
            if time.monotonic() - since_s > PATIENCE_S:
                self._forget()
                self._looked_ns = max(asked_ns, self._looked_ns)
            return
        found = busy(self._name, os.pread(answer, _MOST, 0).decode("utf-8", "replace"))
        if all(card in found for card in self._cards):
            lasted_ns = max(0, asked_ns - self._looked_ns)
            self._add(asked_ns, sum(found[card] for card in self._cards) * lasted_ns)
        else:
            self._looked_ns = max(asked_ns, self._looked_ns)
        self._forget()

    def _forget(self) -> None:
        assert self._asked is not None
        process, answer, _, _ = self._asked
        if process.poll() is None:
            process.kill()
            process.poll()
        os.close(answer)
        self._asked = None


def cpu_ns(root: str = "/proc") -> int:
    """CPU time of all that this process ever started, and of what they started: living, and waited for by somebody of them."""
    times = os.times()
    total = times.children_user + times.children_system
    tick = os.sysconf("SC_CLK_TCK")
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    for name in os.listdir(root):
        if not name.isdigit():
            continue
        try:
            with open(f"{root}/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        parents[int(name)] = int(fields[1])
        spent[int(name)] = sum(int(field) for field in fields[11:15])  # its own, and its children's that it has waited for
    ours = {os.getpid()}
    more = True
    while more:  # children mostly have larger numbers than their parents, so once or twice
        found = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours |= found
        more = bool(found)
    return int(total * NS_PER_S) + sum(spent[pid] for pid in ours if pid != os.getpid()) * NS_PER_S // tick
