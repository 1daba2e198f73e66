"""The door of a run: people come in through it, for a shell or for Jupyter on the run's cards.

Asked:  how does somebody outside use cards of the pool by hand, where no port is open and no secret may lie about?
Answer: this program is the run. Its rank 0 listens on a unix socket in the run's own folder, which belongs to the organisation's
        user; the agent dials it and carries bytes (`centre/tunnels.py`). Each conversation (`talk.py`) is a program with a
        terminal or pipes, a connection to a port of this machine, or Jupyter. A connection that breaks ends no conversation:
        the visitor comes again and goes on. Where no byte has passed for the idle time, the door ends itself, with exit code 0.
Limits: standard library and Python 3.9. A silent computation counts as idle. Other ranks only wait for the first to end.

    python door.py IDLE_SECONDS      0: never
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # as in job/__main__.py

from forebay.job import talk
from forebay.job.conversation import Conversation
from forebay.job.jupyter import Jupyter, Visit
from forebay.job.rooms import End, Port, Program, show_seconds
from forebay.job.talk import Reader

TOLD_S = 60.0  # for a visitor whose link is broken to hear how the shell ended that was all of the job
LAST_WORDS_S = 2.0  # for telling visitors why the door closes
MET_S = 60.0  # for a rank on another machine to find the first one
NOTICED_S = 10.0  # at least this often it looks around, though nobody woke it


class Door:
    def __init__(self, folder: Path, idle_s: float) -> None:
        self.idle_s = idle_s
        self.conversations: dict[str, Conversation] = {}
        self.callers: dict[socket.socket, Reader] = {}  # who hasn't greeted yet; the other ranks never do
        self.listening = [_listen_in(folder), *_listen_for_other_groups()]
        self.jupyter = Jupyter(folder)
        self.last_s = time.monotonic()  # when a byte last passed
        self.closing = ""  # why it closes
        self.asked = False  # by SIGTERM
        self.woken, wake = os.pipe()
        for descriptor in (self.woken, wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._told_to_stop)

    def _told_to_stop(self, *_: Any) -> None:
        self.asked, self.closing = True, self.closing or "the job was stopped"

    def serve(self) -> None:
        """Until it is asked to close, or nothing has happened for too long."""
        while not self.closing:
            self._turn()
            if self.idle_s and time.monotonic() - self.last_s >= self.idle_s:
                self.closing = f"not a byte in either direction for {show_seconds(self.idle_s)}"
        say(f"the door closes: {self.closing}")
        for conversation in self.conversations.values():
            conversation.finish(143 if self.asked else 0, self.closing)
        until_s = time.monotonic() + LAST_WORDS_S
        while time.monotonic() < until_s and any(c.line and not c.talk.settled for c in self.conversations.values()):
            self._turn(until_s - time.monotonic())
        self.jupyter.close()

    def _turn(self, most_s: float = NOTICED_S) -> None:
        poll = select.poll()
        for descriptor in (self.woken, *(sock.fileno() for sock in (*self.listening, *self.callers))):
            poll.register(descriptor, select.POLLIN)
        for conversation in self.conversations.values():
            for descriptor, events in conversation.wants().items():
                poll.register(descriptor, events)
        if self.idle_s:
            most_s = min(most_s, max(self.idle_s - (time.monotonic() - self.last_s), 0.0) + 0.01)
        if self.jupyter.starting:
            most_s = min(most_s, 0.1)
        poll.poll(most_s * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self.woken, 4096)
        for listening in self.listening:
            with contextlib.suppress(BlockingIOError):
                caller, _ = listening.accept()
                caller.setblocking(False)
                self.callers[caller] = Reader()
        for caller in list(self.callers):
            self._hear_out(caller)
        for conversation in list(self.conversations.values()):
            self._attend(conversation)

    def _hear_out(self, caller: socket.socket) -> None:
        """Somebody at the door: the first frame says whose conversation goes on."""
        reader = self.callers[caller]
        try:
            chunk = caller.recv(talk.LARGEST)
            frames = reader.feed(chunk)
            if not chunk:
                raise ConnectionResetError
            if not frames:
                return
            kind, body = frames[0]
            greeting = talk.read(body)
            name, heard = str(greeting["conversation"]), int(greeting["heard"])
            if kind != talk.HELLO:
                raise ValueError("no greeting")
        except BlockingIOError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            del self.callers[caller]
            caller.close()
            return
        del self.callers[caller]
        if heard and name not in self.conversations:
            with contextlib.suppress(OSError):
                caller.send(talk.told(talk.HELLO, conversation=name, heard=0, over=True))
            caller.close()
            return
        conversation = self.conversations.setdefault(name, Conversation(name))
        self.last_s = time.monotonic()
        try:
            conversation.come_in(caller, reader, body)
        except ValueError:
            conversation.break_off()
            return
        for kind, body in frames[1:]:
            try:
                if conversation.talk.hear(kind, body):
                    self._heed(conversation, kind, body)
            except ValueError:
                conversation.break_off()
                return

    def _attend(self, conversation: Conversation) -> None:
        passed, frames = conversation.move()
        if passed:
            self.last_s = time.monotonic()
        for kind, body in frames:
            self._heed(conversation, kind, body)
        told = conversation.talk.settled or time.monotonic() - conversation.over_s > TOLD_S
        if conversation.last and conversation.over and told:
            self.closing = self.closing or "its visitor is through"
        if conversation.over and conversation.talk.settled:
            conversation.break_off()
            self.conversations.pop(conversation.talk.conversation, None)

    def _heed(self, conversation: Conversation, kind: bytes, body: bytes) -> None:
        self.last_s = time.monotonic()
        if kind == talk.OPEN and conversation.end is None and not conversation.over:
            try:
                asked = talk.read(body)
                conversation.last = bool(asked.get("last"))
                conversation.end = open_end(asked, self.jupyter)
                say(f"somebody came in: {conversation.end.name}")
            except (OSError, ValueError, TypeError, KeyError) as error:
                conversation.finish(127, f"it could not be started: {error}")
        elif kind == talk.QUIT:
            self.closing = self.closing or "its visitor left"
        elif kind == talk.EXIT:
            conversation.finish(None, "the visitor left")
            self.conversations.pop(conversation.talk.conversation, None)
            conversation.break_off()
        elif conversation.end is not None:
            conversation.give(kind, body)


def open_end(asked: dict[str, Any], jupyter: Jupyter) -> End:
    """What a visitor asked for. OSError or ValueError when it can't be had."""
    if asked["what"] == "shell":
        return Program(asked)
    if asked["what"] == "port":
        return Port(int(asked["port"]))
    if asked["what"] == "jupyter":
        return Visit(jupyter)
    raise ValueError(f"this door knows no {asked['what']}")


def say(text: str) -> None:
    print(text, flush=True)


def _listen_in(folder: Path) -> socket.socket:
    """A socket's whole name has 107 bytes at most, and a run's folder may lie deep: its name is said from within."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink("door")
        listening.bind("door")
    finally:
        os.chdir(before)
    listening.listen(64)
    listening.setblocking(False)
    return listening


def _listen_for_other_groups() -> list[socket.socket]:
    """Where ranks on other machines wait for our end: the port at which they would have met, which nobody else uses."""
    if int(os.environ.get("GROUP_WORLD_SIZE", "1")) < 2:
        return []
    where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        listening = socket.create_server(where)
    except OSError:
        listening = socket.create_server(("", where[1]))
    listening.setblocking(False)
    return [listening]


def wait_for_the_first(folder: Path) -> None:
    """In the other ranks: until rank 0 is gone. One on another machine that never meets it takes it for gone, after a while."""
    afar = int(os.environ.get("GROUP_RANK", "0")) > 0
    until_s = time.monotonic() + MET_S
    while not (folder / "door.over").exists() and (not afar or time.monotonic() < until_s):
        line = socket.socket(socket.AF_INET if afar else socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if afar:
                line = socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), timeout=5)
                line.settimeout(None)
            else:
                os.chdir(folder)
                line.connect("door")
            line.recv(1)
            return
        except OSError:
            time.sleep(0.1)  # it doesn't listen yet
        finally:
            line.close()


def main() -> None:
    folder = Path(os.environ.get("TMPDIR", "."))
    if os.environ.get("RANK", "0") != "0":
        wait_for_the_first(folder)
        return
    door = Door(folder, float(sys.argv[1]) if sys.argv[1:] else 0.0)
    say("the door is open")
    try:
        door.serve()
    finally:
        (folder / "door.over").touch()
    sys.exit(143 if door.asked else 0)


if __name__ == "__main__":
    main()
