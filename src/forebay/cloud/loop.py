"""The cloud's loop: facts come in, the core decides, the journal is written, then everybody is told.

Asked:  in what order do things happen, and when is somebody answered?
Answer: one task takes what has come in, lets the core fold and decide it one by one, writes the whole batch in one
        transaction, and only then answers and publishes. While the disk is busy the next batch gathers: that is the group
        commit. No `if` about jobs lives here.
Limits: between deciding and the end of the write the state, and what is answered by a mere look at it, tells of a batch that is
        not yet safe; actions are published only after it, and `safe` waits for it. If the write fails the batch is refused and
        the state is read again from the journal; until that succeeds, all that comes in is refused. A journal that another cloud
        has taken over ends this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from forebay.cloud import logs
from forebay.cloud.clock import Clock
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.job import Run
from forebay.cloud.core.state import State
from forebay.cloud.counts import Counts
from forebay.cloud.journal import Answer, Journal
from forebay.errors import Conflict, ForebayError, Unavailable

log = logging.getLogger("forebay.cloud")

TICK_S = 1.0
_LOOK_S = 0.1  # how often those who come in are refused while the journal can't be read
AWAY_S = 60.0  # an agent's request for news hangs at most 20 s, and it asks again at least every 5 s when the link is broken
MOST_IN_A_BATCH = 512

Body = dict[str, Any]
Aside = Callable[..., Awaitable[Any]]
"""Calls a function that waits for the disk, and waits for it without holding up others."""
Make = Callable[[State, int], tuple["e.Event | Sequence[e.Event] | None", Body]]
"""Checks a request against the state and gives the fact with its time, and the answer.

No fact: nothing changes. Several: all of them happen, in order and in one transaction; they are checked before the first of them
is folded. Raises ForebayError.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked, with the idempotency key that they chose and the fingerprint of what they asked."""

    id: str
    fingerprint: str

    @classmethod
    def of(cls, who: str, key: str, what: str, body: Any) -> Request:
        text = json.dumps([what, body], sort_keys=True, default=str)
        return cls(f"{who} {key}", hashlib.sha256(text.encode()).hexdigest())


@dataclass(slots=True)
class _Ask:
    make: Make
    request: Request | None
    answer: asyncio.Future[Body]
    origin: str  # the id of the HTTP request that asks, for the log
    size: int  # how many facts, about


class Loop:
    """The one writer of the state. `tell` is its only door."""

    def __init__(
        self,
        journal: Journal,
        *,
        away_s: float = AWAY_S,
        tick_s: float = TICK_S,
        clock: Callable[[int], Clock] = Clock,
        aside: Aside = asyncio.to_thread,
    ) -> None:
        """`away_s`: after how long without a word a centre is away. `clock`: makes one that doesn't stand before a time.

        With a clock and an `aside` of its own a loop lives in simulated time (tests/simulation).
        """
        self.journal = journal
        self.counts = Counts()
        self._away_s = away_s
        self._tick_s = tick_s
        self._aside = aside
        self.state = journal.load()
        self.clock = clock(self.state.t.last_at_ns)
        if self.clock.behind_ns:
            log.warning(
                "the machine's clock stands %.0f s before the journal's last line; time goes on from that line",
                self.clock.behind_ns / 1e9,
            )
        self._list_wanted()
        self._heard: dict[str, float] = {}  # centre -> when its agent last said anything, in monotonic seconds
        self._began = self.clock.monotonic_s()
        self._began_ns = self.clock.now_ns()
        self._inbox: asyncio.Queue[_Ask] = asyncio.Queue()
        self._for_safety: list[asyncio.Future[None]] | None = None  # those who wait for it; None: the state is safe
        self._changed = asyncio.Event()
        journal.drop_old_answers(self.clock.now_ns())

    def _list_wanted(self) -> None:
        """Make anew what should run at the centres, from a state that was just read."""
        self._wanted: dict[str, dict[str, Run]] = {}  # by centre
        for run in self.state.live:
            self._want(self.state.t.runs[run])
        # The journal's line of the last change of a centre's list: its agent waits for a newer one. A line, and not a count from
        # zero, so that it only grows over restarts too, and an agent can tell an answer that has been overtaken.
        self._versions: dict[str, int] = {}
        self._first_version = self.journal.seq

    # What is wanted at a centre, as far as it is safe in the journal.

    def wanted(self, centre: str) -> list[Run]:
        return list(self._wanted.get(centre, {}).values())

    def version(self, centre: str) -> int:
        return self._versions.get(centre, self._first_version)

    # Whom we have heard of.

    def hear(self, centre: str) -> None:
        self._heard[centre] = self.clock.monotonic_s()

    def heard_s_ago(self, centre: str) -> float | None:
        heard = self._heard.get(centre)
        return None if heard is None else self.clock.monotonic_s() - heard

    @property
    def inbox_size(self) -> int:
        return self._inbox.qsize()

    async def tell(self, make: Make, request: Request | None = None, size: int = 1) -> Body:
        """Put a fact, or `size` facts, to the core; returns its answer when facts and decisions are safe on disk."""
        answer: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Ask(make, request, answer, logs.REQUEST.get(), size))
        return await answer

    def safe(self) -> asyncio.Future[None]:
        """Done when all that the state says now is in the journal. Unavailable when that couldn't be written, and isn't so.

        For whoever answers by a look at the state, and is believed: take it in the same breath as the look.
        """
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._for_safety is None:
            waits.set_result(None)
        else:
            self._for_safety.append(waits)
        return waits

    @property
    def next_change(self) -> asyncio.Event:
        """What `changed` waits for, to be taken before a look at the journal that others may run ahead of."""
        return self._changed

    async def changed(self, timeout_s: float, event: asyncio.Event | None = None) -> None:
        """Wait until something has been published, or the time is up."""
        event = event or self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # and not wait_for, which makes a task of each wait
                await event.wait()

    def wake(self) -> None:
        """Let those who wait in `changed` look again. For what isn't in the journal: log lines and progress."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled."""
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                batch = [await self._inbox.get()]
                size = batch[0].size
                while not self._inbox.empty() and size < MOST_IN_A_BATCH:
                    batch.append(self._inbox.get_nowait())
                    size += batch[-1].size
                await self._take(batch)
                self.counts.turned()
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            complaint = self.clock.complaint()
            if complaint:
                log.warning(complaint)
            try:
                for centre in self._silent():
                    silent_s = self.heard_s_ago(centre) or self.clock.monotonic_s() - self._began
                    await self.tell(partial(_gone_silent, centre, silent_s))
                await self.tell(lambda state, now_ns: (e.Tick(at_ns=now_ns, by="forebay", began_ns=self._began_ns), {}))
            except ForebayError as error:  # what was due can't be journaled now; the next tick decides it again
                log.warning("%s", str(error).replace("\n", " "))

    def _silent(self) -> list[str]:
        """The centres of which nothing was heard for too long, and that aren't known to be away."""
        before = self.clock.monotonic_s() - self._away_s
        return [
            centre.name
            for centre in self.state.t.centres.values()
            if centre.key_sha256 and not centre.away and self._heard.get(centre.name, self._began) < before
        ]

    async def _take(self, batch: list[_Ask]) -> None:
        waiting: list[asyncio.Future[None]] = []
        self._for_safety = waiting
        why: ForebayError | None = Unavailable("The cloud ended before this was safe.", hint="try again")
        try:
            why = await self._decide(batch)
        finally:
            self._for_safety = None
            for waits in waiting:
                if waits.done():
                    continue
                if why is None:
                    waits.set_result(None)
                else:
                    waits.set_exception(why)

    async def _decide(self, batch: list[_Ask]) -> ForebayError | None:
        """Decide, write and answer a batch, or refuse it and say why."""
        lines: list[e.Event] = []
        origins: list[str] = []  # of each line
        answers: dict[str, Answer] = {}
        good: list[tuple[_Ask, Body]] = []
        try:
            known = await self._answered([ask.request.id for ask in batch if ask.request])
            for ask in batch:
                try:
                    body = _repeated(ask, answers, known)
                    facts: Sequence[e.Event] = ()
                    if body is None:
                        made, body = ask.make(self.state, self.clock.now_ns())
                        facts = () if made is None else (made,) if isinstance(made, e.Event) else made
                        if ask.request:
                            answers[ask.request.id] = Answer(
                                request=ask.request.id, fingerprint=ask.request.fingerprint, body=body
                            )
                except ForebayError as error:
                    _give(ask, error)
                    continue
                for fact in facts:
                    with self.counts.deciding():
                        decisions = decide(self.state, fact)
                    lines += decisions if isinstance(fact, e.Tick) else [fact, *decisions]
                origins += [ask.origin] * (len(lines) - len(origins))
                good.append((ask, body))
            # A shared database is asked even if there is nothing to write: is it still ours? The tick's batch comes every second.
            if lines or answers or self.journal.is_shared:
                with self.counts.writing(len(lines)):
                    await self._aside(self.journal.append, lines, self.state, list(answers.values()))
        except Exception as error:
            if not isinstance(error, ForebayError):
                log.exception("a batch of %d was refused", len(batch))
                error = Unavailable(
                    "The cloud met an error of its own, so nothing of this was done.", found=repr(error), hint="tell the operator"
                )
            await self._read_again(batch, error)
            return error
        if lines:
            self._publish(lines)
            self.counts.journaled(lines, self.state)
            logs.journaled(lines, origins, self.state)
        for ask, body in good:
            if not ask.answer.done():
                ask.answer.set_result(body)
        return None

    async def _read_again(self, batch: list[_Ask], why: ForebayError) -> None:
        """Take the state from the journal, which doesn't have what couldn't be written; then refuse the batch.

        Until that succeeds nothing goes on, and whatever comes in is refused. Conflict when the journal is another cloud's now.
        """
        while True:
            try:
                self.state = await self._aside(self.journal.load)
                self._list_wanted()  # a disk that said no may have written all the same
                self.wake()
                return
            except Conflict as error:
                why = error
                raise
            except ForebayError as error:
                log.error("%s", str(error).replace("\n", " "))
            except Exception:
                log.exception("the journal can't be read")
            finally:
                for ask in batch:
                    _give(ask, why)
            batch = []
            for _ in range(round(TICK_S / _LOOK_S)):
                await asyncio.sleep(_LOOK_S)
                while not self._inbox.empty():
                    _give(self._inbox.get_nowait(), why)

    async def _answered(self, requests: list[str]) -> dict[str, Answer]:
        """What those that were answered before, here or in an earlier life, were answered."""
        if not requests:
            return {}
        if self.journal.is_shared:
            found: dict[str, Answer] = await self._aside(self.journal.answered_of, requests)
            return found
        return self.journal.answered_of(requests)  # quicker than another thread

    def _publish(self, lines: list[e.Event]) -> None:
        for event in lines:
            match event:
                case e.Launched(run=run_id) | e.StopAsked(run=run_id) if run_id in self.state.live:
                    self._want(self.state.t.runs[run_id])
                case e.Ended(run=run_id):
                    self._wanted.get(self.state.t.runs[run_id].allocation.centre, {}).pop(run_id, None)
                case _:
                    continue
            self._versions[self.state.t.runs[run_id].allocation.centre] = self.journal.seq
        self.wake()

    def _want(self, run: Run) -> None:
        self._wanted.setdefault(run.allocation.centre, {})[run.id] = run


def _gone_silent(centre: str, silent_s: float, state: State, now_ns: int) -> tuple[e.Event | None, Body]:
    if state.t.centres[centre].away:
        return None, {}
    return e.CentreAway(at_ns=now_ns, by="forebay", centre=centre, silent_s=round(silent_s, 1)), {}


def _repeated(ask: _Ask, in_this_batch: dict[str, Answer], before: dict[str, Answer]) -> Body | None:
    """The answer to a request that was answered already."""
    if not ask.request:
        return None
    known = in_this_batch.get(ask.request.id) or before.get(ask.request.id)
    if known is None:
        return None
    if known.fingerprint != ask.request.fingerprint:
        raise Conflict(
            "This idempotency key was used before, for another request.",
            asked=ask.request.id,
            hint="a new key for each new request",
        )
    return known.body


def _give(ask: _Ask, error: BaseException) -> None:
    if not ask.answer.done():
        ask.answer.set_exception(error)
