"""Data sets and their versions, and how a folder becomes one.

Asked:  what is in this folder, as a manifest?
Answer: `scan` reads every file that the patterns name and hashes its pieces; the same files give the same manifest.
Limits: a link to a file is read as the file; a link to a folder is not entered, for it may lead round in a circle.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from forebay.data.ignore import glob
from forebay.data.manifest import PIECE_BYTES, Chunk, File, Manifest
from forebay.errors import BadInput, Unknown

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

Progress = Callable[[int, int], None]
"""Called with files and bytes done so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A name under which an organisation keeps versions of data. It holds nothing itself."""

    organisation: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One state of a data set, for ever the same."""

    dataset: DataSet
    id: str  # "stdlib@3f2a9c1b04de": the data set's name and the first 12 digits of the manifest's hash
    manifest: str  # hash of the manifest, whole
    size_bytes: int
    files: int
    created_ns: int


def version(dataset: DataSet, manifest: Manifest, *, created_ns: int) -> Version:
    """The version that this manifest is of the data set."""
    if not NAME.fullmatch(dataset.name):
        raise BadInput(
            "A data set's name is 1 to 63 small letters, digits, dots, dashes or underscores, a letter or digit first.",
            asked=f"{dataset.name!r:.80}",
            hint="stdlib, web-2026.01",
        )
    whole = manifest.id
    return Version(
        dataset=dataset,
        id=f"{dataset.name}@{whole[:12]}",
        manifest=whole,
        size_bytes=manifest.size_bytes,
        files=len(manifest.files),
        created_ns=created_ns,
    )


def scan(
    folder: Path, patterns: tuple[str, ...] = ("**",), progress: Progress | None = None, *, exclude: tuple[str, ...] = ()
) -> Manifest:
    """The manifest of a folder's files whose relative path one of the patterns matches ("*.py", "docs/**").

    What a pattern of `exclude` matches, a file or a whole folder, is left out.
    """
    if not folder.is_dir():
        raise Unknown(f"{folder}: there is no such folder.", hint="a folder of files; see forebay data make --help")
    wanted = [glob(pattern) for pattern in patterns]
    files, size = [], 0
    for path in _paths(folder, "", [glob(pattern.rstrip("/")) for pattern in exclude]):
        if not any(pattern.fullmatch(path) for pattern in wanted):
            continue
        files.append(_file(folder, path))
        size += files[-1].size_bytes
        if progress is not None:
            progress(len(files), size)
    if not files:
        raise BadInput("No file of the folder matches.", asked=f"{', '.join(patterns)} in {folder}", hint="'*.txt' or 'docs/**'")
    return Manifest(files=tuple(sorted(files, key=lambda file: file.path)))


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """A file's content, piece by piece, as the manifest cuts it."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def _paths(root: Path, folder: str, barred: Sequence[re.Pattern[str]]) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(f"{root / folder} can't be read.", found=error.strerror or str(error)) from None
    for entry in entries:
        if any(pattern.fullmatch(folder + entry.name) for pattern in barred):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _paths(root, folder + entry.name + "/", barred)
        elif entry.is_file() or not os.path.exists(entry.path):  # a link to nowhere is named when it is read, if it is wanted
            yield folder + entry.name


def _file(folder: Path, path: str) -> File:
    try:
        path.encode()
        with (folder / path).open("rb") as file:
            chunks = tuple(Chunk(sha256=hashlib.sha256(piece).hexdigest(), size_bytes=len(piece)) for piece in pieces(file))
    except UnicodeEncodeError:
        raise BadInput("A file's name isn't UTF-8.", found=repr(path), hint="rename it") from None
    except OSError as error:
        raise BadInput(f"{folder / path} can't be read.", found=error.strerror or str(error)) from None
    return File(path=path, size_bytes=sum(chunk.size_bytes for chunk in chunks), chunks=chunks)
