"""Send what runs print to the cloud: every line once, in order, whoever is killed on the way.

Asked:  how much of a run's log does the cloud have, after one of us died in the middle of a piece?
Answer: before a piece is sent, it is written down, with where the cloud's log ends. Whoever comes later asks the cloud for its
        log's size: that tells how much of the piece arrived, and the rest of it is sent before anything else.
Limits: lines of one share stay in order; those of several shares lie as they were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay import codec
from forebay.centre import files, layout
from forebay.centre.spec import Piece
from forebay.errors import ForebayError, Unavailable
from forebay.units import MIB

MOST_BYTES = MIB  # in one piece

Read = Callable[[Mapping[str, int], int], Piece | None]
Post = Callable[[int, bytes], None]
"""Append to the cloud's log at an offset. Conflict, with the log's size as `found`, when that isn't its end."""


@dataclass(slots=True, kw_only=True)
class Ledger:
    """How far one run's log has been sent."""

    there: int = 0  # bytes that the cloud has
    marks: Mapping[str, int] = field(default_factory=dict)  # share -> bytes of it that were sent
    share: str = ""  # of the piece under way; empty: there is none, or it was answered
    start: int = 0
    end: int = 0


class Shipper:
    """Sends the logs of a centre's runs. Its ledgers lie in a folder of the centre."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "sent"
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._ledgers: dict[str, Ledger] = {}
        self._unwanted: set[str] = set()

    def ship(self, run: str, read: Read, post: Post) -> None:
        """Send all that is new. Unavailable when the cloud can't be reached."""
        if run in self._unwanted:
            return
        ledger = self._ledgers.pop(run, None)  # taken back when all went well: else nobody knows what has arrived
        try:
            if ledger is None:
                ledger = self._settle(run, post)
            while (piece := read(ledger.marks, MOST_BYTES)) is not None:
                ledger.share, ledger.start, ledger.end = piece.share, piece.start, piece.end
                self._under_way(run).write_bytes(piece.body)
                files.write_json(self._path(run), codec.encode(ledger))
                post(ledger.there, piece.body)
                ledger.there += len(piece.body)
                ledger.marks = {**ledger.marks, piece.share: piece.end}
            self._ledgers[run] = ledger
        except Unavailable:
            raise
        except ForebayError as error:
            if not error.found.isdigit():
                self._unwanted.add(run)  # the cloud doesn't know this run

    def forget(self, run: str) -> None:
        self._ledgers.pop(run, None)
        self._unwanted.discard(run)
        self._path(run).unlink(missing_ok=True)
        self._under_way(run).unlink(missing_ok=True)

    def _settle(self, run: str, post: Post) -> Ledger:
        """The ledger as it is once the piece under way has arrived for certain."""
        body = files.read_json(self._path(run))
        if body is None:
            return Ledger()
        ledger = codec.decode(Ledger, body)
        size = ledger.end - ledger.start
        there = _size(ledger.there, post)
        if ledger.there <= there < ledger.there + size:
            piece = self._under_way(run).read_bytes()
            post(there, piece[there - ledger.there :])
            there = ledger.there + size
        return Ledger(there=there, marks={**ledger.marks, ledger.share: ledger.end})

    def _path(self, run: str) -> Path:
        return self._folder / f"{layout.name(run)}.json"

    def _under_way(self, run: str) -> Path:
        return self._folder / f"{layout.name(run)}.piece"


def _size(guess: int, post: Post) -> int:
    """How long the cloud's log is."""
    try:
        post(guess, b"")
    except ForebayError as error:
        if not error.found.isdigit():
            raise
        return int(error.found)
    return guess
