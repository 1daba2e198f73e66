"""Disks that fail, with a journal on each: they refuse a batch, die before or after a commit, or say no although they wrote.

Asked:  what has become safe when a cloud dies, and what does the next one read?
Answer: `OnSqlite` is the real journal. `InMemory` keeps the promise that it makes, without SQL: a batch is there whole when
        `append` returns, or not at all; a restart reads the newest snapshot and folds the lines after it. Both fail by the same
        dice, so that a seed gives one life on both (a test holds them against each other).
Limits: `InMemory` keeps events as they are, and not as text; it has no listing. What goes wrong in text and SQL is found in the
        tenth of the lives that are on SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.core.tables import Tables
from forebay.cloud.journal import Answer, Journal
from forebay.codec import decode, encode
from forebay.errors import Unavailable

if TYPE_CHECKING:
    from .world import World


class OnSqlite(Journal):
    """The real journal, in a file, on a disk that fails."""

    world: World

    def append(self, events: Sequence[e.Event], state: State, answers: Sequence[Answer] = ()) -> None:
        _fail_or(self.world, self.seq, super().append, events, state, answers)
        if events and not self._since_snapshot:
            self.world.snapshot_made(self, state)


@dataclass(slots=True)
class Kept:
    """What is on a disk, whoever dies."""

    lines: list[e.Event] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    snapshot: tuple[int, str] | None = None  # the number of its last line, and the tables as text


class InMemory(Journal):
    """A journal in a list that outlives its cloud, on a disk that fails."""

    world: World

    def __init__(self, kept: Kept, snapshot_every: int) -> None:
        self._kept, self._snapshot_every = kept, snapshot_every
        self.seq = self._since_snapshot = 0

    @property
    def is_shared(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""

    def load(self) -> State:
        seq, text = self._kept.snapshot or (0, "")
        state = State(decode(Tables, json.loads(text))) if text else State()
        for event in self._kept.lines[seq:]:
            state.fold(event)
        self.seq = len(self._kept.lines)
        self._since_snapshot = self.seq - seq
        return state

    def append(self, events: Sequence[e.Event], state: State, answers: Sequence[Answer] = ()) -> None:
        _fail_or(self.world, self.seq, self._append, events, state, answers)

    def _append(self, events: Sequence[e.Event], state: State, answers: Sequence[Answer] = ()) -> None:
        kept = self._kept
        if len(kept.lines) != self.seq:
            raise Unavailable("The journal has gone on without us.", found=f"line {len(kept.lines)} instead of {self.seq}")
        kept.lines += events
        kept.answers |= {answer.request: answer for answer in answers}
        self.seq += len(events)
        self._since_snapshot += len(events)
        if self._since_snapshot >= max(self._snapshot_every, len(state.t.jobs) // 2):
            kept.snapshot = (self.seq, json.dumps(encode(state.t)))
            self._since_snapshot = 0

    def answered_of(self, requests: Sequence[str]) -> dict[str, Answer]:
        return {request: self._kept.answers[request] for request in requests if request in self._kept.answers}

    def drop_old_answers(self, now_ns: int) -> None:
        """No life is that long."""

    def events(self) -> Iterator[tuple[int, e.Event]]:
        return enumerate(self._kept.lines, 1)


def _fail_or(world: World, before: int, append: Any, events: Sequence[e.Event], state: State, answers: Sequence[Answer]) -> None:
    """Write a batch, unless something happens before, and tell the world what has become safe."""
    if world.happens("disk", world.plan.disk_fails):
        raise Unavailable("The disk is full, in the simulation.")
    if events and world.happens("crash", world.plan.crash_in_write):
        world.note("the cloud dies before a commit")
        world.crash_cloud()
        raise Unavailable("The cloud died, in the simulation.")
    append(events, state, answers)
    if events:
        world.committed(events, state, before)
    if events and world.happens("crash", world.plan.crash_in_write):
        world.note("the cloud dies after a commit")
        world.crash_cloud()
        raise Unavailable("The cloud died, in the simulation.")
    if events and world.happens("disk", world.plan.disk_fails / 2):
        world.note("the disk said no, although it wrote")
        raise Unavailable("The disk said no, in the simulation.")
