"""What a job has left in its output folder so far.

Asked:  which files are there, and which of them are complete checkpoints?
Answer: a walk, at most 1,000 files; a file is a checkpoint when its content is one: a zip with a data.pkl (torch.save), a
        safetensors file as long as its header says, or the .metadata of a distributed checkpoint, which torch writes last.
Limits: the folder is a tenant's, so nothing in it is trusted: links aren't followed, and a header is only read up to a bound.
        torch.save in the format before 2020 (no zip) isn't recognised.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import IO

from forebay.centre.spec import Artefact
from forebay.units import MIB

MOST_FILES = 1_000
_HEADER_BYTES = 64 * MIB
_ZIP_TAIL = 22 + 65_535  # the end record and the longest comment (PKWARE APPNOTE 4.3.16)


class Shelf:
    """The output folder, looked at again and again. A file that hasn't changed isn't read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Artefact] = {}

    def scan(self) -> tuple[Artefact, ...]:
        found: dict[str, Artefact] = {}
        for root, folders, files, descriptor in os.fwalk(self._folder, follow_symlinks=False):
            folders.sort()
            for name in sorted(files):
                if len(found) == MOST_FILES:
                    folders.clear()
                    break
                path = os.path.relpath(os.path.join(root, name), self._folder)
                artefact = self._look(path, name, descriptor)
                if artefact is not None:
                    found[path] = artefact
        self._known = found
        return tuple(found.values())

    def _look(self, path: str, name: str, folder: int) -> Artefact | None:
        try:
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        if not stat.S_ISREG(about.st_mode):
            return None
        known = self._known.get(path)
        if known is not None and (known.size_bytes, known.modified_ns) == (about.st_size, about.st_mtime_ns):
            return known
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            checkpoint = is_checkpoint(file, name, about.st_size)
        return Artefact(path=path, size_bytes=about.st_size, modified_ns=about.st_mtime_ns, is_checkpoint=checkpoint)


def newest_checkpoint_ns(artefacts: tuple[Artefact, ...], now_ns: int) -> int:
    """When the newest checkpoint was complete; 0 when there is none. A time in the future is a tenant's, and counts as now."""
    return max((min(artefact.modified_ns, now_ns) for artefact in artefacts if artefact.is_checkpoint), default=0)


def is_checkpoint(file: IO[bytes], name: str, size: int) -> bool:
    """True when this file is a complete checkpoint."""
    try:
        start = file.read(8)
        if start.startswith(b"PK\x03\x04"):
            return _is_torch_zip(file, size)
        if name.endswith(".safetensors"):
            return _is_safetensors(file, start, size)
        return name == ".metadata" and start.startswith(b"\x80") and size > 0  # a pickle
    except (OSError, ValueError, struct.error, zipfile.BadZipFile, RecursionError):
        return False


def _is_torch_zip(file: IO[bytes], size: int) -> bool:
    file.seek(max(size - _ZIP_TAIL, 0))
    tail = file.read(_ZIP_TAIL)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        return False  # still being written
    directory_bytes = struct.unpack_from("<I", tail, end + 12)[0]
    if directory_bytes != 0xFFFFFFFF and directory_bytes > _HEADER_BYTES:
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/data.pkl") for name in archive.namelist())


def _is_safetensors(file: IO[bytes], start: bytes, size: int) -> bool:
    length = struct.unpack("<Q", start)[0]
    if length > min(_HEADER_BYTES, size):
        return False
    header = json.loads(file.read(length))
    ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    return bool(size == 8 + length + max(ends, default=0))
