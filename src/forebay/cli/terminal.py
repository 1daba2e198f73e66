"""The person's terminal: raw while a shell elsewhere has it, and whole again afterwards, whatever happens.

Asked:  how does what is typed get out byte by byte, and how does one get out when the other side hangs?
Answer: raw mode in a `with`; `typed` yields bytes, None when the window has another size, and b"" at the end; `Escape` knows
        ssh's ~. at the beginning of a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Any

from forebay import visitor
from forebay.errors import RunFailed

_CHUNK = 1 << 14


class Escape:
    """What a person types, with ssh's escapes taken out: at the beginning of a line ~. leaves, and ~~ is one ~."""

    def __init__(self) -> None:
        self._at_start = True
        self._tilde = False

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What is to be sent, and whether the person wants to leave."""
        send = bytearray()
        for byte in typed:
            letter = bytes([byte])
            if self._tilde:
                self._tilde = False
                if letter == b".":
                    return bytes(send), True
                send += letter if letter == b"~" else b"~" + letter
            elif self._at_start and letter == b"~":
                self._tilde = True
                continue
            else:
                send += letter
            self._at_start = letter in b"\r\n\x03"
        return bytes(send), False


def size() -> dict[str, int]:
    columns, rows = shutil.get_terminal_size()
    with contextlib.suppress(OSError):
        columns, rows = os.get_terminal_size(sys.stdin.fileno())
    return {"rows": rows, "columns": columns}


@contextlib.contextmanager
def raw(wake: int) -> Iterator[None]:
    """The terminal gives every key as it is, and a byte is written to `wake` when its size changes."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def resized(number: int, frame: object) -> None:
        with contextlib.suppress(OSError):
            os.write(wake, b"s")

    old = signal.signal(signal.SIGWINCH, resized)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old)


def typed(woken: int, is_over: Callable[[], bool], known: dict[str, int]) -> Iterator[bytes | None]:
    """What comes from standard input, until it is over; b"" once, when it ends. None: the window has lost its `known` size."""
    sources = [sys.stdin.fileno(), woken]
    while not is_over():
        ready, _, _ = select.select(sources, [], [])
        if woken in ready:
            os.read(woken, _CHUNK)
        # The terminal is asked, and not only when its signal has come: what is typed into the new size can overtake the signal.
        if (now := size()) != known:
            known = now
            yield None
        if sources[0] in ready and len(sources) == 2 and not is_over():
            chunk = os.read(sources[0], _CHUNK)
            if not chunk:
                sources = [woken]
            yield chunk


def send(visit: visitor.Visit, plain: bytes, *, end: bool) -> None:
    if plain:
        visit.say(visitor.DATA, plain)
    if end:
        visit.say(visitor.END)


def tell_size(visit: visitor.Visit) -> None:
    visit.say(visitor.SIZE, json.dumps(size()).encode())


def show(kind: bytes, body: bytes) -> None:
    """Print what a program printed, to the stream that it meant."""
    if kind in (visitor.DATA, visitor.ERRORS):
        left = memoryview(body)
        while left:
            left = left[os.write(2 if kind == visitor.ERRORS else 1, left) :]


def about(kind: bytes, body: bytes) -> dict[str, Any]:
    """What the door says of a Jupyter that is ready."""
    found: dict[str, Any] = json.loads(body) if kind == visitor.READY else {}
    return found


def told(visit: visitor.Visit, note: Callable[[str], None]) -> int:
    """The exit code of a visit, after saying why it ended where that isn't plain."""
    parting = visit.wait()
    assert parting is not None
    if parting.why:
        note(parting.why)
    return parting.code if parting.code is not None else (0 if parting.why == "you left" else RunFailed.exit_code)
