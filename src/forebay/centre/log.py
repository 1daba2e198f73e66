"""What a run printed: written with rotation, followed by offset.

Asked:  how does a reader follow a log that is cut off at its old end while it grows?
Answer: every byte has an offset that only grows. A file is named after the offset of its first byte, so rotation renames
        nothing, and a reader that fell behind learns how many bytes it missed.
Format: a JSON object a line: {"t_ns", "rank", "stream", "text"}. The rank is -1 for what the engine says while it prepares the
        run.
Limits: 8 files of 16 MiB; a line over 16 KiB becomes several. A full disk costs lines, which are counted, and never the run.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from forebay.units import KIB, MIB

FILE_BYTES = 16 * MIB
FILES = 8
LINE_BYTES = 16 * KIB
ENGINE = -1


class Splitter:
    """Bytes in, lines out. A carriage return ends a line too: that is how progress bars come live."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        parts = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = parts.pop()
        lines = [piece for part in parts for piece in _pieces(part)]
        while len(self._rest) > LINE_BYTES:
            cut = _cut(self._rest)
            lines.append(_text(self._rest[:cut]))
            self._rest = self._rest[cut:]
        return lines

    def flush(self) -> list[str]:
        """The last line, if it didn't end."""
        rest, self._rest = self._rest, b""
        return _pieces(rest) if rest else []


def _pieces(line: bytes) -> list[str]:
    pieces = []
    while len(line) > LINE_BYTES:
        cut = _cut(line)
        pieces.append(_text(line[:cut]))
        line = line[cut:]
    return [*pieces, _text(line)]


def _cut(line: bytes) -> int:
    """At most LINE_BYTES, and not inside a character of UTF-8."""
    cut = LINE_BYTES
    while cut > LINE_BYTES - 4 and line[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


class Writer:
    """The one writer of a run's log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._files = _files(folder)
        self._end = self._files[-1] + (folder / _name(self._files[-1])).stat().st_size if self._files else 0
        self._descriptor = -1
        self._lost = 0
        self._open(self._files[-1] if self._files else 0)

    def write(self, lines: list[tuple[int, int, str, str]]) -> None:
        """Append lines of (time, rank, stream, text), in one go."""
        if self._lost:
            lines = [(lines[0][0], ENGINE, "engine", f"[{self._lost} lines were lost: the disk was full]"), *lines]
        body = "".join(
            json.dumps({"t_ns": t, "rank": rank, "stream": stream, "text": text}, ensure_ascii=False) + "\n"
            for t, rank, stream, text in lines
        ).encode("utf-8", "replace")
        try:
            if self._end - self._files[-1] + len(body) > FILE_BYTES and self._end > self._files[-1]:
                self._open(self._end)
            written = os.write(self._descriptor, body)
        except OSError:
            self._lost += len(lines)
            return
        if written < len(body):  # the disk filled up in the middle: take the half line back
            os.ftruncate(self._descriptor, self._end - self._files[-1])
            self._lost += len(lines)
            return
        self._lost = 0
        self._end += written

    def close(self) -> None:
        """Give the file back. A supervisor needs no such thing: it ends."""
        os.close(self._descriptor)
        self._descriptor = -1

    def _open(self, start: int) -> None:
        descriptor = os.open(self._folder / _name(start), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        if start not in self._files:
            self._files.append(start)
        while len(self._files) > FILES:
            (self._folder / _name(self._files.pop(0))).unlink(missing_ok=True)


class Copy:
    """A copy of a log that another machine writes: the same bytes at the same offsets."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self._folder = folder
        starts = _files(folder)
        self.end = starts[-1] + (folder / _name(starts[-1])).stat().st_size if starts else 0

    def add(self, start: int, body: bytes) -> None:
        """The bytes from `start` on; what lies between the end and there was rotated away."""
        starts = _files(self._folder)
        if not starts or start != self.end or self.end - starts[-1] + len(body) > FILE_BYTES:
            starts.append(start)
        with (self._folder / _name(starts[-1])).open("ab") as file:
            file.write(body)
        self.end = start + len(body)
        for old in starts[:-FILES]:
            (self._folder / _name(old)).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a log: whole lines."""

    body: bytes
    next_offset: int  # ask with this one next
    gap: int  # bytes before this piece that are gone


def read(folder: Path, offset: int, most: int = MIB) -> Part:
    """The lines from `offset` on. Never waits; an empty body says that there are no new ones yet."""
    offset = max(offset, 0)
    files = _files(folder)
    if not files:
        return Part(b"", offset, 0)
    gap = max(files[0] - offset, 0)
    offset += gap
    index = max(i for i, start in enumerate(files) if start <= offset)
    while index < len(files):
        try:
            with (folder / _name(files[index])).open("rb") as file:
                file.seek(offset - files[index])
                body = file.read(most)
        except FileNotFoundError:  # rotated away since we listed
            return read(folder, offset, most)
        whole = body[: body.rfind(b"\n") + 1]
        if whole:
            return Part(whole, offset + len(whole), gap)
        index += 1
        if index < len(files):
            offset = files[index]
    return Part(b"", offset, gap)


def _name(start: int) -> str:
    return f"{start:016d}.jsonl"


def _files(folder: Path) -> list[int]:
    try:
        return sorted(int(name[:16]) for name in os.listdir(folder) if name.endswith(".jsonl"))
    except FileNotFoundError:
        return []
