"""What a backup holds, and how it is written into one file and read out of it again.

Asked:  what is in the file?
Answer: a zip archive. `journal/TABLE.jsonl`: a line with the names of the columns, then a line a row, the same for SQLite and
        PostgreSQL. `files/…`: the files beside the journal under their own paths. `backup.json`, last: what it is, with size
        and SHA-256 of each entry. Any unzip can look into it.
Limits: it holds keys, so it is readable by its owner only. It isn't encrypted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, TypeVar

from forebay.cloud.schema import TABLES
from forebay.codec import decode, encode
from forebay.data.manifest import is_hash
from forebay.errors import BadInput, ForebayError, Refused
from forebay.units import MIB

FORMAT = 1
ABOUT = "backup.json"
FOLDERS = ("bundles", "chunks", "manifests", "artefacts", "logs")
KEYS = ("operator.key", "centre.token")
_PACKED_ALREADY = ("bundles", "chunks")

Said = Callable[[str, int, int], None]
"""Told what is being done, how many bytes of it are through, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file inside a backup."""

    path: str
    size_bytes: int
    sha256: str
    mode: int = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A whole cloud at one moment, in one file.

    What its centres hold is no part of it.
    """

    format: int
    forebay: str  # the version that made it
    made_at: str
    schema: int
    lines: int  # the number of the journal's last line
    entries: tuple[Entry, ...]

    @property
    def files(self) -> tuple[Entry, ...]:
        """Those beside the journal."""
        return tuple(entry for entry in self.entries if entry.path.startswith("files/"))

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)


class Writer:
    """Puts entries into a new archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=1, allowZip64=True)
        self.entries: list[Entry] = []

    def table(self, name: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        def lines() -> Iterator[bytes]:
            yield _line(list(columns))
            for row in rows:
                yield _line(list(row))

        self._put(f"journal/{name}.jsonl", lines(), 0o600)

    def file(self, path: str, content: BinaryIO, size: int, mode: int, moved: Callable[[int], None]) -> bool:
        """The first `size` bytes of a file. False when it isn't what its name says."""

        def blocks() -> Iterator[bytes]:
            left = size
            while left and (block := content.read(min(left, MIB))):
                left -= len(block)
                moved(len(block))
                yield block

        entry = self._put(f"files/{path}", blocks(), mode)
        name = PurePosixPath(path).name
        return not (path.startswith(_PACKED_ALREADY) and is_hash(name)) or entry.sha256 == name

    def _put(self, path: str, blocks: Iterator[bytes], mode: int) -> Entry:
        digest, size = hashlib.sha256(), 0
        info = zipfile.ZipInfo(path)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_STORED if path.startswith(tuple(f"files/{f}/" for f in _PACKED_ALREADY)) else 8
        with self._zip.open(info, "w", force_zip64=True) as out:
            for block in blocks:
                digest.update(block)
                size += len(block)
                out.write(block)
        entry = Entry(path=path, size_bytes=size, sha256=digest.hexdigest(), mode=mode)
        self.entries.append(entry)
        return entry

    def end(self, about: Backup) -> None:
        self._zip.writestr(ABOUT, json.dumps(encode(about)))

    def close(self) -> None:
        self._zip.close()


class Reader:
    """Takes entries out of an archive, each checked to the last byte."""

    def __init__(self, archive: zipfile.ZipFile, about: Backup) -> None:
        self._zip = archive
        self.about = about

    def tables(self) -> Iterator[tuple[str, list[str], Iterator[list[Any]]]]:
        """Name, columns and rows of each table. The rows are to be read to their end: only then are they known to be whole."""
        for entry in self.about.entries:
            if entry.path.startswith("journal/"):
                lines = _checked_lines(self._zip, entry)
                yield PurePosixPath(entry.path).stem, next(lines, []), lines

    def files(self) -> Iterator[tuple[str, Entry]]:
        for entry in self.about.files:
            yield entry.path.removeprefix("files/"), entry

    def copy(self, entry: Entry, to: BinaryIO, moved: Callable[[int], None]) -> None:
        for block in _checked(self._zip, entry):
            moved(len(block))
            to.write(block)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """A backup, to read. BadInput when it is none or damaged, Refused when only a newer Forebay can read it."""
    try:
        archive = zipfile.ZipFile(path)
        about = json.loads(archive.read(ABOUT))
        version = (about["format"], about["forebay"])
    except FileNotFoundError:
        raise BadInput("There is no such file.", asked=str(path), hint="a file that `forebay backup` made") from None
    except (*_BROKEN, *_NO_ZIP, TypeError) as error:
        if _of_the_disk(error):
            raise
        raise BadInput("That is no backup, or a damaged one.", asked=str(path), found=str(error)) from error
    if version[0] != FORMAT:
        raise Refused(
            "This backup is of another kind.",
            asked=str(path),
            found=f"made by Forebay {version[1]}",
            hint="that Forebay reads it",
        )
    with archive:
        try:
            yield Reader(archive, _sane(decode(Backup, about)))
        except _BROKEN as error:
            raise BadInput(
                "The backup is damaged, so nothing of it was put in place.",
                asked=str(path),
                found=str(error),
                hint="another copy of it",
            ) from error


_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, json.JSONDecodeError, UnicodeDecodeError)
# What else `zipfile` raises where a byte of a name, a method, a flag or an offset is another: no such entry, no such compression,
# encrypted, a place before the file. Caught only around it: elsewhere these are errors of our own, or of the disk.
_NO_ZIP = (KeyError, RuntimeError, ValueError, OverflowError, struct.error, OSError)
T = TypeVar("T")


def _of_the_disk(error: BaseException) -> bool:
    """Whether the system said it of anything but a damaged offset."""
    return isinstance(error, OSError) and error.errno != errno.EINVAL


def _sane(about: Backup) -> Backup:
    """Refuse paths that lead out of the folder: a backup may have passed through other hands."""
    for entry in about.entries:
        path = PurePosixPath(entry.path)
        top, *rest = path.parts or ("",)
        is_table = top == "journal" and rest in [[f"{table}.jsonl"] for table in TABLES]
        is_file = top == "files" and ((len(rest) > 1 and rest[0] in FOLDERS) or rest in [[key] for key in KEYS])
        if not (is_table or is_file) or ".." in rest or path.as_posix() != entry.path:
            raise BadInput("This backup has a file that doesn't belong there.", asked=repr(entry.path))
    return about


def _checked(archive: zipfile.ZipFile, entry: Entry) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    with _open(archive, entry) as content:
        while block := _told(entry, lambda: content.read(MIB)):
            digest.update(block)
            size += len(block)
            yield block
    if (size, digest.hexdigest()) != (entry.size_bytes, entry.sha256):
        raise _damaged(entry, f"sha256 {digest.hexdigest()}")


def _checked_lines(archive: zipfile.ZipFile, entry: Entry) -> Iterator[list[Any]]:
    digest = hashlib.sha256()
    with _open(archive, entry) as content:
        while line := _told(entry, content.readline):
            digest.update(line)
            yield json.loads(line)
    if digest.hexdigest() != entry.sha256:
        raise _damaged(entry, f"sha256 {digest.hexdigest()}")


def _open(archive: zipfile.ZipFile, entry: Entry) -> IO[bytes]:
    def found() -> IO[bytes]:
        if archive.getinfo(entry.path).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise zipfile.BadZipFile(f"{entry.path} is packed as no backup is")
        return archive.open(entry.path)

    return _told(entry, found)


def _told(entry: Entry, read: Callable[[], T]) -> T:
    """What the archive gives, or BadInput where it can't."""
    try:
        return read()
    except _NO_ZIP as error:
        if _of_the_disk(error):
            raise
        raise _damaged(entry, str(error)) from error


def _damaged(entry: Entry, found: str) -> ForebayError:
    return BadInput(
        "The backup is damaged, so nothing of it was put in place.",
        asked=f"{entry.path} with sha256 {entry.sha256}",
        found=found,
        hint="another copy of it",
    )


def _line(values: list[Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
