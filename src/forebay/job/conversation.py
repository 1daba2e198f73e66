"""One visitor's talk with what lies behind the door, over whichever connection there is now.

Asked:  what is read and written when, so that nobody has to wait for nobody and no buffer grows?
Answer: an end is read only while the talk has room, and the visitor only while the end takes what it gets. `wants` says which
        descriptors that makes, and `move` carries what can be carried at once.
"""

from __future__ import annotations

import os
import select
import socket
import time

from forebay.job import talk
from forebay.job.rooms import End
from forebay.job.talk import Reader, Talk

HUNGRY = 1 << 16  # an end that has more than this before it is given no more


class Conversation:
    """One visitor's talk with one end, over whichever connection there is now."""

    def __init__(self, name: str) -> None:
        self.talk = Talk(name)
        self.end: End | None = None
        self.line: socket.socket | None = None
        self.reader = Reader()
        self.out = b""
        self.over = False  # the end is, and the visitor may not know yet
        self.over_s = 0.0
        self.last = False  # when it is over, so is the job

    def come_in(self, line: socket.socket, reader: Reader, greeting: bytes) -> None:
        """The visitor is here, for the first time or again."""
        self.break_off()
        self.line, self.reader, self.out = line, reader, b""
        self.talk.connected()
        self.talk.hear(talk.HELLO, greeting)

    def break_off(self) -> None:
        if self.line is not None:
            self.line.close()
        self.line = None

    def finish(self, code: int | None, why: str = "") -> None:
        if not self.over:
            self.over, self.over_s = True, time.monotonic()
            self.talk.tell(talk.EXIT, code=code, why=why)
        if self.end is not None:
            self.end.close()
        self.end = None

    def wants(self) -> dict[int, int]:
        """Which descriptors it waits for, and for what."""
        found: dict[int, int] = {}
        if self.line is not None:
            hungry = self.end is None or len(self.end.inbox) < HUNGRY
            events = (select.POLLIN if hungry else 0) | (select.POLLOUT if self.out or self.talk.talkative else 0)
            found[self.line.fileno()] = events
        if self.end is not None:
            for descriptor in self.end.outs if self.talk.room else ():
                found[descriptor] = select.POLLIN
            if self.end.inbox and self.end.into is not None:
                found[self.end.into] = found.get(self.end.into, 0) | select.POLLOUT
        return {descriptor: events for descriptor, events in found.items() if events}

    def move(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Carry what can be carried now. Returns how many bytes of content passed, and the frames that are not content."""
        passed, heard = 0, self._listen()
        rest = []
        for kind, body in heard:
            if self.end is not None and kind in (talk.DATA, talk.END, talk.SIZE):
                self.give(kind, body)
                passed += len(body)
            else:
                rest.append((kind, body))
        if self.end is not None:
            passed += self._give_out()
        self._speak()
        return passed, rest

    def give(self, kind: bytes, body: bytes) -> None:
        """Hand the end what the visitor sent."""
        assert self.end is not None
        try:
            self.end.take_in(kind, body)
        except (ValueError, TypeError) as error:
            self.finish(None, f"the visitor sent what makes no sense: {error}")

    def _listen(self) -> list[tuple[bytes, bytes]]:
        if self.line is None or (self.end is not None and len(self.end.inbox) >= HUNGRY):
            return []
        try:
            chunk = self.line.recv(HUNGRY)
            if not chunk:
                raise ConnectionResetError
            return [(kind, body) for kind, body in self.reader.feed(chunk) if self.talk.hear(kind, body)]
        except BlockingIOError:
            return []
        except (OSError, ValueError):
            self.break_off()
            return []

    def _give_out(self) -> int:
        """What the end has printed, to the visitor; and its end, when there is nothing more."""
        end = self.end
        assert end is not None
        passed, ended, drained = 0, end.ended(), True
        end.digest()
        for descriptor, kind in list(end.outs.items()):
            while drained:
                if not self.talk.room:
                    drained = False
                    break
                try:
                    chunk = os.read(descriptor, talk.LARGEST)
                except BlockingIOError:
                    break
                except OSError:  # a terminal whose program has gone
                    chunk = b""
                if not chunk:
                    end.ran_dry(descriptor)
                    if kind == talk.DATA:
                        self.talk.say(talk.END)
                    break
                passed += len(chunk)
                self.talk.say(kind, chunk)
        news = end.news()
        if news is not None:
            self.talk.tell(talk.READY, **news)
        if ended is not None and drained:
            self.finish(*ended)
        return passed

    def _speak(self) -> None:
        while self.line is not None and (self.out or self.talk.talkative):
            self.out = self.out or self.talk.take()
            try:
                self.out = self.out[self.line.send(self.out) :]
            except BlockingIOError:
                return
            except OSError:
                self.break_off()
