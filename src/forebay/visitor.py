"""The visitor's end of a conversation with the door of a job.

Asked:  how does a person talk to a shell at a centre, over a link that may break?
Answer: a Visit opens a tunnel, greets the door and goes on from there; when the tunnel breaks, whoever broke it, it opens the
        next one (`job/talk.py` sees to it that nothing is lost or doubled). Two threads a visit: one reads, one writes.
        `forward` makes a visit of each connection to a port of this machine.
Limits: the door keeps a conversation, and a visit lives as long as its object: whoever starts the command again begins anew.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import forebay.job.talk as talk
from forebay.client import Client
from forebay.errors import Conflict, ForebayError, Unavailable
from forebay.job.talk import DATA as DATA
from forebay.job.talk import END as END
from forebay.job.talk import ERRORS as ERRORS
from forebay.job.talk import READY as READY
from forebay.job.talk import SIZE as SIZE
from forebay.job.talk import Reader, Talk

WAIT_S = 20.0  # how long a request may hang at the cloud
PATIENCE_S = 600.0  # with a link that is broken
LONGEST_PAUSE_S = 2.0
PARTING_S = 20.0  # to tell the door that we heard how it ended; a door that isn't told holds the cards for a minute

Hear = Callable[[bytes, bytes], None]
"""Gets each frame of the door's: its kind (`talk.DATA` and so on) and body. Called from the reading thread."""


@dataclass(frozen=True, slots=True)
class Parting:
    """How a visit ended. No code: not by what it led to."""

    code: int | None
    why: str = ""


class Visit:
    """One conversation, from its opening to its end."""

    def __init__(
        self,
        cloud: Client,
        job: str,
        opening: dict[str, Any],
        hear: Hear,
        *,
        notice: Callable[[str], None] = lambda text: None,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        """`opening`: what is wanted, as `talk.OPEN` says it. `notice` is told when the link breaks and when it is back; `over`
        is called once, when the visit has ended.
        """
        self._cloud = cloud
        self._job = job
        self._hear = hear
        self._notice = notice
        self._told_over = over
        self._changed = threading.Condition()  # over all that follows
        self._talk = Talk(uuid.uuid4().hex)
        self._unsent = False  # bytes are on their way to the cloud
        self._tunnel = ""  # the one that is used now
        self._broken_since: float | None = None
        self._leaving = False
        self._parting: Parting | None = None
        self._problem: ForebayError | None = None
        self._talk.tell(talk.OPEN, **opening)
        threading.Thread(target=self._live, name=f"visit {job}", daemon=True).start()

    def say(self, kind: bytes, body: bytes = b"") -> None:
        """Send something to the door. Waits while the link is behind; says nothing more when the visit is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._talk.room or self.is_over)
            self._talk.say(kind, body)
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        return self._parting is not None or self._problem is not None

    def wait(self, most_s: float | None = None) -> Parting | None:
        """How it ended; None when it hasn't within `most_s`. Raises what made it impossible."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_over, most_s)
        if self._problem is not None:
            raise self._problem
        return self._parting

    def leave(self, *, quit: bool = False, most_s: float = 5.0) -> None:
        """Go, and let what it led to be ended; with `quit` the whole job. Waits a little until the door knows: it hangs up."""
        with self._changed:
            if not self.is_over:
                self._leaving = True
                self._talk.say(talk.QUIT if quit else talk.EXIT)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self.is_over, most_s)
        self._end(Parting(None, "you left"))

    def _end(self, parting: Parting | None, problem: ForebayError | None = None) -> None:
        with self._changed:
            first = not self.is_over
            if first:
                self._parting, self._problem = parting, problem
            self._changed.notify_all()
        if first:
            self._told_over()

    # One tunnel after the other.

    def _live(self) -> None:
        pause_s = 0.1
        while not self.is_over:
            try:
                self._use(self._cloud.open_tunnel(self._job)["id"])
                if self._broken_since is None:
                    pause_s = 0.1
            except Conflict as error:  # the job is over
                self._end(Parting(None, error.found or error.text))
            except Unavailable as error:
                self._broken(error)
            except ForebayError as error:
                self._end(None, error)
            except ValueError as error:
                self._end(None, ForebayError("The door speaks another language.", found=str(error), hint="use one version"))
            if not self.is_over:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _broken(self, error: ForebayError) -> None:
        now_s = time.monotonic()
        if self._leaving:
            self._end(Parting(None, "you left"))
        elif self._broken_since is None:
            self._broken_since = now_s
            self._notice("the link is broken; trying again")
        elif now_s - self._broken_since > PATIENCE_S:
            self._end(None, error)

    def _use(self, tunnel: str) -> None:
        """Talk over one tunnel until it breaks or the visit is over."""
        with self._changed:
            self._talk.connected()
            self._tunnel = tunnel
        sender = threading.Thread(target=self._send, args=(tunnel,), name=f"send {tunnel}", daemon=True)
        sender.start()
        offset, reader = 0, Reader()
        try:
            while not self.is_over:
                body, closed = self._cloud.read_tunnel(tunnel, offset, WAIT_S)
                offset += len(body)
                for kind, content in reader.feed(body):
                    self._take(kind, content)
                if closed and not self.is_over:
                    self._broken(Unavailable("The tunnel was closed.", found=closed))
                    return
        except (Unavailable, Conflict) as error:
            self._broken(error)
        except ForebayError as error:
            if error.http_status != 404:
                raise
            self._broken(error)  # the cloud was started again and knows it no more
        finally:
            with self._changed:
                self._tunnel = ""
                self._changed.notify_all()
            sender.join()
            if self._parting is not None and self._parting.code is not None:
                self._hear_out(tunnel, offset)
            with contextlib.suppress(ForebayError):
                self._cloud.close_tunnel(tunnel)

    def _hear_out(self, tunnel: str, offset: int) -> None:
        """Until the door hangs up: a tunnel closed before that may take along the last that we said."""
        until = time.monotonic() + PARTING_S
        closed = ""
        with contextlib.suppress(ForebayError):
            while not closed and (left_s := until - time.monotonic()) > 0:
                body, closed = self._cloud.read_tunnel(tunnel, offset, left_s)
                offset += len(body)

    def _take(self, kind: bytes, body: bytes) -> None:
        with self._changed:
            heard = self._talk.hear(kind, body)
            self._changed.notify_all()
        if self._broken_since is not None:
            self._broken_since = None
            self._notice("the link is back")
        if not heard:
            return
        if kind == talk.EXIT:
            with self._changed:  # until the door knows that we know
                self._changed.wait_for(lambda: not (self._talk.talkative or self._unsent), PARTING_S)
            about = json.loads(body)
            self._end(Parting(about["code"], about["why"]))
        elif kind == talk.HELLO:
            self._end(Parting(None, "the door knows this conversation no more"))
        else:
            self._hear(kind, body)

    def _send(self, tunnel: str) -> None:
        """Bring what is said to the cloud, as long as this tunnel is the one."""
        offset = 0
        while True:
            with self._changed:
                self._unsent = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._talk.talkative or self._tunnel != tunnel)
                if self._tunnel != tunnel:
                    return
                body = self._talk.take(talk.LARGEST)
                self._unsent = True
            while body:
                try:
                    end, closed = self._cloud.write_tunnel(tunnel, offset, body, WAIT_S)
                except ForebayError:
                    end, closed = offset, "broken"  # the reader hears of it too, and opens the next
                if closed or self._tunnel != tunnel:
                    break
                body, offset = body[end - offset :], end
            if body:
                with self._changed:
                    self._unsent = False
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._tunnel != tunnel or self.is_over, WAIT_S)
                return


def forward(cloud: Client, job: str, listening: socket.socket, port: int, is_over: Callable[[], bool]) -> None:
    """Let each connection to a listening socket of this machine be one to a port of the job, until `is_over`."""
    listening.settimeout(0.5)
    while not is_over():
        try:
            caller, _ = listening.accept()
        except TimeoutError:
            continue
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_carry, args=(cloud, job, caller, port), daemon=True).start()


def _carry(cloud: Client, job: str, caller: socket.socket, port: int) -> None:
    def hear(kind: bytes, body: bytes) -> None:
        with contextlib.suppress(OSError):  # it has gone; the thread below sees it too
            if kind == talk.DATA:
                caller.sendall(body)
            elif kind == talk.END:
                caller.shutdown(socket.SHUT_WR)

    def over() -> None:
        with contextlib.suppress(OSError):
            caller.shutdown(socket.SHUT_RDWR)

    visit = Visit(cloud, job, {"what": "port", "port": port}, hear, over=over)
    with caller:
        with contextlib.suppress(OSError, ForebayError):
            while (chunk := caller.recv(talk.LARGEST)) and not visit.is_over:
                visit.say(talk.DATA, chunk)
            visit.say(talk.END)
            visit.wait()
        visit.leave()
