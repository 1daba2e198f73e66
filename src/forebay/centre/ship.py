"""Send what runs print to the cloud: every line once, in order, whoever is killed on the way.

Asked:  how much of a run's log does the cloud have, after one of us died in the middle of a piece?
Answer: before a piece is sent, it is written down which one it is and where the cloud's log ends. Whoever comes later asks the
        cloud for its log's size: that tells how much of the piece arrived, and sending goes on with the next byte.
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
        ledger = self._ledgers.get(run)
        try:
            if ledger is None:
                ledger = self._settle(self._read(run), post)
                self._ledgers[run] = ledger
            while (piece := read(ledger.marks, MOST_BYTES)) is not None:
                ledger.share, ledger.start, ledger.end = piece.share, piece.start, piece.end
                files.write_json(self._path(run), codec.encode(ledger))
                post(ledger.there, piece.body)
                ledger.there += len(piece.body)
                ledger.marks = {**ledger.marks, piece.share: piece.end}
        except Unavailable:
            self._ledgers.pop(run, None)  # nobody knows whether it arrived
            raise
        except ForebayError as error:
            self._ledgers.pop(run, None)
            if not error.found.isdigit():
                self._unwanted.add(run)  # the cloud doesn't know this run

    def forget(self, run: str) -> None:
        self._ledgers.pop(run, None)
        self._unwanted.discard(run)
        self._path(run).unlink(missing_ok=True)

    def _settle(self, ledger: Ledger, post: Post) -> Ledger:
        """The ledger as it is now that we know what became of the piece under way."""
        try:
            post(ledger.there, b"")
            arrived = 0
        except ForebayError as error:
            if not error.found.isdigit():
                raise
            arrived = int(error.found) - ledger.there
        share = ledger.share or "0"
        begin = ledger.start if ledger.share else ledger.marks.get(share, 0)
        return Ledger(there=ledger.there + arrived, marks={**ledger.marks, share: begin + arrived})

    def _read(self, run: str) -> Ledger:
        body = files.read_json(self._path(run))
        return Ledger() if body is None else codec.decode(Ledger, body)

    def _path(self, run: str) -> Path:
        return self._folder / f"{layout.name(run)}.json"
