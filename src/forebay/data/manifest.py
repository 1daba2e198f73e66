"""What a version of a data set consists of: files, and the chunks they are made of.

Asked:  how is it said, once and for all, what bytes a version holds?
Answer: a manifest lists every file with its chunks, each chunk named by the sha256 of its bytes. The manifest's own hash is its
        name: whoever has that has the whole version's proof.
Limits: a large file is cut into fixed pieces of 16 MiB, so one byte put in at its start makes all of its chunks new.
        Cutting by content, which finds the old pieces again, comes with a later issue; the field `pieces` tells the way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from forebay import codec
from forebay.errors import BadInput
from forebay.units import MIB

ALGORITHM = "sha256"
PIECE_BYTES = 16 * MIB
LONGEST_PATH = 4096
PIECES = "fixed 16 MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of content under the name of its hash. It doesn't know which files hold it."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a version: its chunks, one after the other. No owner, no times, no mode."""

    path: str  # relative, with slashes
    size_bytes: int
    chunks: tuple[Chunk, ...]  # none for an empty file


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All files of a version, sorted by path. It says what, never where the chunks are kept."""

    files: tuple[File, ...]
    algorithm: str = ALGORITHM
    pieces: str = PIECES

    @property
    def id(self) -> str:
        """The content's hash: the sha256 of the JSON below."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def chunks(self) -> Mapping[str, Chunk]:
        """Each chunk once, by its hash, in the order of the files."""
        return {chunk.sha256: chunk for file in self.files for chunk in file.chunks}


def to_json(manifest: Manifest) -> str:
    """One form only, so that the hash is one: no spaces, keys in order, plain ASCII."""
    return json.dumps(codec.encode(manifest), separators=(",", ":"), sort_keys=True)


def from_json(text: str) -> Manifest:
    """The manifest in `text`, checked. It may come from anyone."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadInput("That is no manifest: it isn't JSON.", found=str(error)) from None
    manifest = codec.decode(Manifest, data)
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Raise BadInput for a manifest whose paths climb out or clash, or whose figures don't add up."""
    if manifest.algorithm != ALGORITHM:
        raise BadInput("The manifest names chunks by a hash that is unknown here.", asked=manifest.algorithm, found=ALGORITHM)
    paths = [file.path for file in manifest.files]
    if paths != sorted(set(paths)):
        raise BadInput("A manifest lists each path once, in order.")
    folders = {parent for path in paths for parent in _above(path)}
    for file in manifest.files:
        if "\0" in file.path or any(part in ("", ".", "..") for part in file.path.split("/")):
            raise BadInput("A manifest's path is relative and stays inside.", found=f"{file.path!r:.200}")
        if len(file.path) > LONGEST_PATH:
            raise BadInput("A manifest's path is too long.", found=f"{file.path!r:.80}…", hint=f"at most {LONGEST_PATH} letters")
        if file.path in folders:
            raise BadInput("A path is a file and a folder at once.", found=file.path)
        if any(chunk.size_bytes <= 0 for chunk in file.chunks) or file.size_bytes != sum(c.size_bytes for c in file.chunks):
            raise BadInput("A file's size is the sum of its chunks.", found=f"{file.path}: {file.size_bytes}")
        for chunk in file.chunks:
            if not is_hash(chunk.sha256):
                raise BadInput(
                    "A chunk's name is a sha256 in 64 small hexadecimal digits.", found=f"{file.path}: {chunk.sha256!r:.80}"
                )
    sizes: dict[str, int] = {}
    for chunk in (chunk for file in manifest.files for chunk in file.chunks):
        if sizes.setdefault(chunk.sha256, chunk.size_bytes) != chunk.size_bytes:
            raise BadInput("One chunk has two sizes.", found=chunk.sha256)


def is_hash(word: str) -> bool:
    return len(word) == 64 and set(word) <= set("0123456789abcdef")


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]
