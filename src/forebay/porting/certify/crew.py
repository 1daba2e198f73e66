"""The crew: workers that are given operators, watched, and replaced when they end or fall silent.

Asked:  how do all cases get their verdict, whatever the chip does to the processes that ask it?
Answer: each worker has one operator at a time. When it ends, the case that was running has crashed; when it is silent for longer
        than `patience_s`, it is killed and the case timed out; the rest of the operator goes on in a fresh worker. A crash, a
        timeout, or an error after which the chip doesn't answer is believed only when a fresh worker finds the chip alive: else
        the chip is gone, the run stops with one error, and none of those verdicts is kept. The next run asks them again.
Limits: a chip that is there for a fresh process and gone in the next moment, again and again, gets crashes for verdicts.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from forebay.errors import Unavailable
from forebay.porting.certify import worker
from forebay.porting.certify.verdict import Case, Verdict, Word

START_S = 180.0  # for a worker to import what brings the chip, and the database where it can't be forked
TRIES = 2  # fresh workers that must fail before the chip counts as gone


@dataclass(frozen=True)
class Work:
    """One operator and those of its cases that have no verdict yet."""

    operator: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Hiring:
    """All that is needed to start a worker."""

    entries: Mapping[str, Any]
    device: str
    imports: tuple[str, ...]
    mode: str
    fork: bool
    log: BinaryIO  # what workers print


@dataclass
class _Worker:
    """One process, and what it was given and has said."""

    pid: int
    reading: int  # what it tells us
    writing: int  # what we ask it
    text: bytes = b""
    opened: bool = False
    work: Work | None = None
    left: list[Case] = field(default_factory=list)
    running: Case | None = None
    got: list[Verdict] = field(default_factory=list)  # of this work, not yet handed on
    heard: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[bytes] | None = None
    refused: str = ""
    lost: str = ""


def run(
    works: Iterable[Work],
    hiring: Hiring,
    *,
    jobs: int,
    patience_s: float,
    keep: Callable[[Sequence[Verdict]], None],
) -> None:
    """Hand on every verdict, an operator's together. Raises Unavailable when the chip can't be used, or can't any more."""
    crew = _Crew(deque(works), hiring, patience_s, keep)
    try:
        crew.work(jobs)
    finally:
        crew.dismiss()


class _Crew:
    def __init__(self, works: deque[Work], hiring: Hiring, patience_s: float, keep: Callable[[Sequence[Verdict]], None]) -> None:
        self.works, self.hiring, self.patience_s, self.keep = works, hiring, patience_s, keep
        self.workers: list[_Worker] = []
        self.doubtful: list[Verdict] = []  # believed when a fresh worker finds the chip alive
        self.failed = 0  # fresh workers in a row that didn't
        self.why = ""
        self.alive_once = False

    def work(self, jobs: int) -> None:
        while self.works or self.doubtful or any(one.work for one in self.workers):
            wanted = min(jobs, len(self.works) + sum(one.work is not None for one in self.workers))
            while len(self.workers) < wanted or (self.doubtful and all(one.opened for one in self.workers)):
                self.workers.append(_hire(self.hiring, [other for one in self.workers for other in (one.reading, one.writing)]))
                if not self.alive_once:
                    break  # the first tells whether there is a chip at all
            self._listen()
            for one in self.workers:
                if one.opened and one.work is None and self.works and not one.lost:
                    _give(one, self.works.popleft())

    def _listen(self) -> None:
        waits = [one.heard + self._patience(one) - time.monotonic() for one in self.workers if one.work or not one.opened]
        ready, _, _ = select.select([one.reading for one in self.workers], [], [], max(0.0, min(waits, default=0.0)))
        for one in list(self.workers):
            if one.reading in ready:
                part = os.read(one.reading, 1 << 16)
                if not part:
                    self._ended(one, None)
                    continue
                one.heard = time.monotonic()
                *lines, one.text = (one.text + part).split(b"\n")
                for line in lines:
                    self._hear(one, json.loads(line))
            elif (one.work or not one.opened) and time.monotonic() - one.heard > self._patience(one):
                self._ended(one, f"silent for {self._patience(one):.0f} s")

    def _patience(self, one: _Worker) -> float:
        return self.patience_s if one.opened else max(START_S, self.patience_s)

    def _hear(self, one: _Worker, said: dict[str, Any]) -> None:
        if "opened" in said:
            one.opened = self.alive_once = True
            self.failed = 0
            self.keep(self.doubtful)
            self.doubtful = []
        elif "refused" in said:
            one.refused = said["refused"]
        elif "begin" in said:
            form, direction = said["begin"]
            one.running = next(case for case in one.left if (case.format, case.direction) == (form, direction))
        elif "verdict" in said:
            verdict = Verdict.from_json(said["verdict"])
            one.left.remove(verdict.case)
            one.running = None
            if "lost" in said:
                one.lost = said["lost"]
                self.doubtful.append(verdict)
            else:
                one.got.append(verdict)
        else:
            self.keep(one.got)
            one.got, one.work = [], None

    def _ended(self, one: _Worker, silent: str | None) -> None:
        """A worker is no more. What it was doing is doubtful; the rest of its operator goes back to the others."""
        self.workers.remove(one)
        how = _end(one, kill=silent is not None)
        if not one.opened:
            self._no_chip(one.refused or silent or f"the worker's process ended ({how}) while it opened the chip")
            return
        self.keep(one.got)
        if one.running is not None:
            word = Word.TIMEOUT if silent else Word.CRASH
            self.doubtful.append(_lost_verdict(one.running, word, silent or how))
            one.left.remove(one.running)
        if one.left and one.work is not None:
            self.works.appendleft(Work(one.work.operator, tuple(one.left)))

    def _no_chip(self, why: str) -> None:
        self.failed += 1
        if self.failed < (TRIES if self.alive_once else 1):
            return
        device = self.hiring.device
        for one in self.workers:  # what the others had finished stands: after each error they had tried the chip
            self.keep(one.got)
            one.got = []
        if not self.alive_once:
            raise no_chip(device, why)
        raise Unavailable(
            "The chip vanished in the middle of the certification. Nothing that it did while it went was kept as a verdict.",
            asked=f"torch device {device}",
            found=why,
            hint="bring it back, and give the same command again: it goes on where it stopped",
        )

    def dismiss(self) -> None:
        for one in self.workers:
            _end(one, kill=True)
        self.workers = []


def no_chip(device: str, why: str) -> Unavailable:
    """What is said of a chip that never answered."""
    hint = "is its plug-in installed in this Python, and is a card free? Name the plug-in's module with --import"
    return Unavailable("The chip can't be used.", asked=f"torch device {device}", found=why, hint=hint)


def _lost_verdict(case: Case, word: Word, how: str) -> Verdict:
    return Verdict(operator=case.operator, format=case.format, direction=case.direction, word=word, samples=0, detail=how)


def _give(one: _Worker, work: Work) -> None:
    one.work, one.left, one.running, one.heard = work, list(work.cases), None, time.monotonic()
    asked = {"operator": work.operator, "cases": [[case.format, case.direction] for case in work.cases]}
    with contextlib.suppress(BrokenPipeError):  # it has ended: its pipe says so next
        os.write(one.writing, (json.dumps(asked) + "\n").encode())


def _hire(hiring: Hiring, others: Sequence[int]) -> _Worker:
    ask_read, ask_write = os.pipe()
    tell_read, tell_write = os.pipe()
    parent = os.getpid()
    if not hiring.fork:
        words = [sys.executable, "-m", worker.__name__, str(ask_read), str(tell_write), hiring.device, hiring.mode]
        process = subprocess.Popen(
            [*words, *hiring.imports],
            pass_fds=[ask_read, tell_write],
            stdin=subprocess.DEVNULL,
            stdout=hiring.log,
            stderr=hiring.log,
            start_new_session=True,
        )
        os.close(ask_read)
        os.close(tell_write)
        return _Worker(process.pid, tell_read, ask_write, process=process)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(ask_read)
        os.close(tell_write)
        return _Worker(pid, tell_read, ask_write)
    try:
        os.setsid()
        worker.die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for end in (*others, tell_read, ask_write):  # an end that stays open here would hide another worker's end
            os.close(end)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(hiring.log.fileno(), 1)
        os.dup2(hiring.log.fileno(), 2)
        worker.serve(ask_read, tell_write, hiring.entries, hiring.device, hiring.imports, hiring.mode)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _end(one: _Worker, kill: bool) -> str:
    """How it ended, in words."""
    os.close(one.writing)
    os.close(one.reading)
    if kill:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(one.pid, signal.SIGKILL)
    if one.process is not None:
        code = one.process.wait()
    else:
        _, status = os.waitpid(one.pid, 0)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
