"""What a visitor and the door of a run say to each other.

Asked:  how does a conversation go on when everything between its two ends may break: the link, the agent, the cloud?
Answer: its ends count. What must not be lost goes in frames that each side numbers, and keeps until the other side says that
        it has them. A new connection begins with a greeting, in which each says how many frames it has had; from there both go
        on. So whatever carries the bytes is a dumb pipe, and may be another one every time.
Limits: at most WINDOW bytes are under way in each direction; then `room` is false and the source has to wait. Frames are
        counted for one life of each end: a door or a visitor that dies ends its conversations.

    frame  = kind (one letter), length (four bytes, the highest first), body
    H A    greeting, acknowledgement: not counted
    others see below: counted. Nothing here reads or writes a socket (`job/door.py` and `visitor.py` do).
"""

from __future__ import annotations

import json
import struct
from collections import deque
from typing import Any

HELLO = b"H"  # {"conversation", "heard", "over"}: both ends' first frame on a connection
ACK = b"A"  # the count of frames that have been heard, eight bytes
OPEN = b"O"  # the visitor's first: what is wanted. {"what": "shell", …}, {"what": "port", "port"} or {"what": "jupyter"}
SIZE = b"W"  # {"rows", "columns"} of the visitor's terminal
DATA = b"D"  # bytes: typed, printed, or of a TCP connection
ERRORS = b"R"  # bytes that a program wrote to stderr, where it has no terminal
END = b"E"  # no more DATA in this direction
READY = b"J"  # Jupyter answers: {"port", "token", "program"}
EXIT = b"X"  # the door's last: {"code", "why"}
QUIT = b"Q"  # the visitor's wish that the door, and with it the job, ends

WINDOW = 1 << 18
LARGEST = 1 << 16  # of a body; longer DATA is cut
_ACK_EVERY = WINDOW // 4
_HEAD = struct.Struct(">cI")
_COUNT = struct.Struct(">Q")


def frame(kind: bytes, body: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(body)) + body


def told(kind: bytes, **body: Any) -> bytes:
    """A frame whose body is JSON."""
    return frame(kind, json.dumps(body).encode())


def read(body: bytes) -> dict[str, Any]:
    """The JSON of a body. ValueError when it is none, or no table."""
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("that is no table")
    return found


class Reader:
    """Bytes as they come, to whole frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that are complete now. ValueError for what can't be one."""
        self._rest += chunk
        found = []
        while len(self._rest) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest)
            if length > LARGEST or not kind.isalpha():
                raise ValueError("that is no frame of a conversation")
            if len(self._rest) < _HEAD.size + length:
                break
            found.append((kind, bytes(self._rest[_HEAD.size : _HEAD.size + length])))
            del self._rest[: _HEAD.size + length]
        return found


class Talk:
    """One end of a conversation, over one connection after the other."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.heard = 0  # counted frames of the other end
        self._kept: deque[bytes] = deque()  # frames of ours that the other end hasn't said it has
        self._kept_bytes = 0
        self._dropped = 0  # how many of ours it has
        self._sent = 0  # how many of ours have gone over this connection, or needn't
        self._aside = bytearray()  # frames that are not counted, to go first
        self._unthanked = 0  # bytes that we have heard and not acknowledged
        self._greeted = False  # the other end has, so that we know where to go on

    @property
    def room(self) -> bool:
        """Whether more may be said now."""
        return self._kept_bytes < WINDOW

    @property
    def settled(self) -> bool:
        """Whether the other end has everything."""
        return not self._kept

    @property
    def talkative(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._aside) or (self._greeted and self._sent < self._dropped + len(self._kept))

    def say(self, kind: bytes, body: bytes = b"") -> None:
        for start in range(0, max(len(body), 1), LARGEST):
            made = frame(kind, body[start : start + LARGEST])
            self._kept.append(made)
            self._kept_bytes += len(made)

    def tell(self, kind: bytes, **body: Any) -> None:
        self.say(kind, json.dumps(body).encode())

    def connected(self, **more: Any) -> None:
        """A new connection: nothing of the old one counts but what has been heard whole."""
        self._greeted = False
        self._unthanked = 0
        self._aside = bytearray(told(HELLO, conversation=self.conversation, heard=self.heard, **more))

    def hear(self, kind: bytes, body: bytes) -> bool:
        """Take a frame in. True when it is one for whoever uses this conversation: a counted one, or a greeting which says
        that the other end knows it no more. ValueError for what makes no sense.
        """
        if kind == HELLO:
            greeting = read(body)
            if greeting.get("over"):
                return True
            self._thanked(int(greeting.get("heard", 0)))
            self._sent = self._dropped
            self._greeted = True
            return False
        if kind == ACK:
            self._thanked(int.from_bytes(body, "big"))
            return False
        self.heard += 1
        self._unthanked += len(body) + _HEAD.size
        if self._unthanked >= _ACK_EVERY or kind == EXIT:
            self._aside += frame(ACK, _COUNT.pack(self.heard))
            self._unthanked = 0
        return True

    def take(self, most: int = WINDOW) -> bytes:
        """Bytes for the connection, in whole frames: at least one where there is any, else about `most`."""
        out, self._aside = self._aside, bytearray()
        while self._greeted and self._sent < self._dropped + len(self._kept) and len(out) < most:
            out += self._kept[self._sent - self._dropped]
            self._sent += 1
        return bytes(out)

    def _thanked(self, count: int) -> None:
        if not self._dropped <= count <= self._dropped + len(self._kept):
            raise ValueError("the other end has heard what was never said")
        while self._dropped < count:
            self._kept_bytes -= len(self._kept.popleft())
            self._dropped += 1
        self._sent = max(self._sent, self._dropped)
