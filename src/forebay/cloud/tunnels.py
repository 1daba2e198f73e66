"""Tunnels: bytes between a tenant's program and the door of a run, each side asking the cloud.

Asked:  how do two who can both only dial out talk to each other, through proxies that know nothing but requests?
Answer: a tunnel is two streams. A stream is addressed by offsets: who sends says where its bytes belong, who reads says from
        where on, and by that what it has had. So a request whose answer was lost is made again, and nothing is lost or doubled.
        What is under way is kept in memory, no more than LARGEST a stream: a sender who is faster than the reader waits.
Limits: nothing is written to disk. A restart of the cloud, or of the agent, ends the tunnels; the conversation in them goes on
        over new ones (`job/talk.py`). No HTTP here, and no clock: times come from the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from forebay.errors import Conflict, Unknown
from forebay.units import KIB

LARGEST = 512 * KIB  # kept of one stream
A_RUN = 64  # tunnels at most
SILENCE_S = 60.0  # of one side, who asks at least every 20 s: then it is gone
REMEMBERED_S = 60.0  # how long a closed one can still say why
LOOK_S = 1.0  # between two looks at what wakes nobody: that the run has ended


class Stream:
    """One direction: bytes by offset, from the first that the reader may still ask for."""

    def __init__(self) -> None:
        self.start = 0
        self._kept = bytearray()

    @property
    def end(self) -> int:
        return self.start + len(self._kept)

    def add(self, offset: int, body: bytes) -> int:
        """Take in as much as there is room for; returns the new end. What was taken before is not taken again."""
        if offset > self.end:
            raise Conflict("Bytes are missing before these.", asked=str(offset), found=str(self.end), hint="send from there")
        new = body[self.end - offset :]
        self._kept += new[: LARGEST - len(self._kept)]
        return self.end

    def get(self, offset: int, most: int = LARGEST) -> bytes:
        """What is there from `offset` on. What lies before it is dropped: the reader has it."""
        if not self.start <= offset <= self.end:
            raise Conflict("That part of the stream isn't here.", asked=str(offset), found=f"{self.start} to {self.end}")
        del self._kept[: offset - self.start]
        self.start = offset
        return bytes(self._kept[:most])


@dataclass(slots=True)
class Tunnel:
    """Two streams, and what is known of the two sides."""

    id: str
    run: str
    centre: str
    key: str  # whose it is: one member of an organisation has no business in another's
    heard_s: float  # when the visitor last said anything
    taken_by: str = ""  # which life of the centre's agent carries it
    agent_heard_s: float = 0.0
    closed: str = ""  # why
    closed_s: float = 0.0
    up: Stream = field(default_factory=Stream)  # to the run
    down: Stream = field(default_factory=Stream)  # from it
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self) -> None:
        """Let all who wait for this tunnel look again."""
        self.moved.set()
        self.moved = asyncio.Event()


class Tunnels:
    """The tunnels of this life of the cloud."""

    def __init__(self, now_s: Callable[[], float], changed: Callable[[], None]) -> None:
        """`changed` is called whenever a tunnel was opened or closed."""
        self._now_s = now_s
        self._all: dict[str, Tunnel] = {}
        self._changed = changed

    def open(self, tunnel: str, *, run: str, centre: str, key: str) -> Tunnel:
        """A new tunnel; the same name for the same run again gives the same one."""
        self.sweep()
        known = self._all.get(tunnel)
        if known is not None:
            if (known.run, known.key, known.closed) != (run, key, ""):
                raise Conflict("There was a tunnel of that name.", asked=tunnel)
            return known
        if sum(other.run == run and not other.closed for other in self._all.values()) >= A_RUN:
            raise Conflict("Too many tunnels lead to this run.", found=str(A_RUN), hint="close some, or try again in a minute")
        made = self._all[tunnel] = Tunnel(tunnel, run, centre, key, heard_s=self._now_s())
        self._changed()
        return made

    def of_visitor(self, tunnel: str, key: str) -> Tunnel:
        found = self._all.get(tunnel)
        if found is None or found.key != key:
            raise Unknown("There is no such tunnel.", asked=tunnel)
        found.heard_s = self._now_s()
        return found

    def of_centre(self, tunnel: str, centre: str, by: str) -> Tunnel:
        """For the agent's life `by`. The first that asks takes the tunnel; another finds it broken, since what the first had
        under way is lost.
        """
        found = self._all.get(tunnel)
        if found is None or found.centre != centre:
            raise Unknown("There is no such tunnel.", asked=tunnel)
        found.agent_heard_s = self._now_s()
        found.taken_by = found.taken_by or by
        if found.taken_by != by:
            self.close(found, "the agent of its centre was started again")
        return found

    def close(self, tunnel: Tunnel, why: str) -> None:
        if not tunnel.closed:
            tunnel.closed, tunnel.closed_s = why, self._now_s()
            tunnel.move()
            self._changed()

    def listing(self, centre: str, is_live: Callable[[str], bool]) -> dict[str, str]:
        """The open tunnels of a centre: tunnel -> run. Those of runs that have ended are closed by this."""
        self.sweep(is_live)
        return {each.id: each.run for each in self._all.values() if each.centre == centre and not each.closed}

    def sweep(self, is_live: Callable[[str], bool] = lambda run: True) -> None:
        """Close what nobody uses any more, and forget what was closed long ago."""
        for each in list(self._all.values()):
            self.judge(each, is_live)
            if each.closed and self._now_s() - each.closed_s > REMEMBERED_S:
                del self._all[each.id]

    def judge(self, tunnel: Tunnel, is_live: Callable[[str], bool]) -> None:
        """Close a tunnel that leads nowhere."""
        now_s = self._now_s()
        if not is_live(tunnel.run):
            self.close(tunnel, "its run has ended")
        elif now_s - tunnel.heard_s > SILENCE_S:
            self.close(tunnel, "its visitor has gone")
        elif tunnel.taken_by and now_s - tunnel.agent_heard_s > SILENCE_S:
            self.close(tunnel, "the agent of its centre has gone")

    async def read(self, tunnel: Tunnel, stream: Stream, offset: int, wait_s: float, is_live: Callable[[str], bool]) -> bytes:
        """What is there from `offset` on. Waits up to `wait_s` for the first byte. Nothing, when the time is up or it closes."""
        until = self._now_s() + wait_s
        had = stream.start
        while True:
            body = stream.get(offset)
            if stream.start > had:
                tunnel.move()  # there is room again
                had = stream.start
            self.judge(tunnel, is_live)
            left = until - self._now_s()
            if body or tunnel.closed or left <= 0:
                return body
            await _moved(tunnel, left)

    async def write(self, tunnel: Tunnel, stream: Stream, offset: int, body: bytes, wait_s: float) -> int:
        """Add bytes; returns the stream's end. Waits up to `wait_s` for room, as long as nothing of them could be taken."""
        until = self._now_s() + wait_s
        while True:
            before = stream.end
            end = before if tunnel.closed else stream.add(offset, body)
            if end > before:
                tunnel.move()
            left = until - self._now_s()
            if end > before or end >= offset + len(body) or tunnel.closed or left <= 0:
                return end
            await _moved(tunnel, left)


async def _moved(tunnel: Tunnel, most_s: float) -> None:
    event = tunnel.moved
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), min(most_s, LOOK_S))
