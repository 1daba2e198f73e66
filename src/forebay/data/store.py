"""Keep chunks in a folder, and lay out a version's files from them.

Asked:  which chunks of a manifest are here, and how do they become files again?
Answer: a chunk lies under its own hash and is checked on the way in and on the way out. A version is laid out beside its
        place and gets its name when every file is whole.
Limits: nothing is removed; a chunk that no version needs stays until a later issue collects it. A laid-out tree is safe
        against a killed process, but isn't synced file by file: after a power cut, lay it out again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from forebay.data.dataset import Progress, pieces
from forebay.data.disk import new_file, new_folder
from forebay.data.manifest import Manifest, check, is_hash
from forebay.errors import BadInput, Unavailable, Unknown
from forebay.units import MIB

_BLOCK = MIB


def pack_chunks(chunks: Mapping[str, bytes]) -> bytes:
    """Several chunks as one message: a line of JSON, [[hash, size], …], then their bytes. For many small files at a time."""
    head = json.dumps([[sha256, len(content)] for sha256, content in chunks.items()])
    return b"".join([head.encode(), b"\n", *chunks.values()])


def unpack_chunks(message: bytes) -> Iterator[tuple[str, bytes]]:
    """The chunks of a message, each with the hash that it claims; `put` checks it. The message may come from anyone."""
    head, newline, rest = message.partition(b"\n")
    try:
        listed = [(str(sha256), int(size)) for sha256, size in json.loads(head)]
    except (ValueError, TypeError):
        raise BadInput("That is no message of chunks.", found=f"{head[:60]!r}") from None
    sizes = [size for _, size in listed]
    if not newline or min(sizes, default=0) < 0 or sum(sizes) != len(rest):
        raise BadInput("The message's chunks don't add up.", asked=f"{sum(sizes)} bytes", found=f"{len(rest)}")
    at = 0
    for sha256, size in listed:
        yield sha256, rest[at : at + size]
        at += size


class ChunkStore:
    """A folder of chunks, named by hash. Any number of processes may write to it at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def missing(self, manifest: Manifest) -> tuple[str, ...]:
        """Hashes of the chunks that are not here, each once."""
        return tuple(sha256 for sha256 in manifest.chunks() if not self.has(sha256))

    def put(self, content: bytes | BinaryIO, sha256: str) -> None:
        """Keep a chunk. Refused, and nothing kept, when the content has another hash. May be said twice."""
        path = self.path(sha256)
        if path.is_file():
            return
        stream: BinaryIO = io.BytesIO(content) if isinstance(content, bytes) else content
        digest, size = hashlib.sha256(), len(content) if isinstance(content, bytes) else 0
        with new_file(path, mode=0o444, needed_bytes=size) as file:
            while block := stream.read(_BLOCK):
                digest.update(block)
                file.write(block)
            if digest.hexdigest() != sha256:
                raise BadInput(
                    "The chunk is not what its name says.",
                    asked=f"sha256 {sha256}",
                    found=digest.hexdigest(),
                    hint="send it again",
                )

    def put_folder(self, folder: Path, manifest: Manifest, progress: Progress | None = None) -> None:
        """Keep the chunks of a folder that was scanned. A file that has changed since is refused by name."""
        wanted, done, size = set(self.missing(manifest)), 0, 0
        for file in manifest.files:
            if any(chunk.sha256 in wanted for chunk in file.chunks):
                with (folder / file.path).open("rb") as content:
                    for chunk, piece in zip_longest(file.chunks, pieces(content)):
                        if chunk is None or piece is None or hashlib.sha256(piece).hexdigest() != chunk.sha256:
                            raise BadInput(f"{file.path} changed after it was scanned.", hint="wait until nothing writes there")
                        self.put(piece, chunk.sha256)
                wanted.difference_update(chunk.sha256 for chunk in file.chunks)
            done, size = done + 1, size + file.size_bytes
            if progress is not None:
                progress(done, size)

    def open(self, sha256: str) -> BinaryIO:
        """A chunk's content, to read. Who needs proof hashes what comes out, as `materialise` does."""
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise Unknown("The store has no such chunk.", asked=sha256, found=str(self.folder)) from None

    def materialise(self, manifest: Manifest, to: Path) -> Path:
        """Lay the manifest's files out in the new folder `to`, read-only, each chunk checked. All of it or nothing."""
        check(manifest)
        if missing := self.missing(manifest):
            raise Unavailable(
                "The store lacks chunks of this version.",
                asked=f"{len(manifest.files)} files of {len(manifest.chunks())} chunks",
                found=f"{len(missing)} missing, the first {missing[0]}",
                hint="send the data set again",
            )
        with new_folder(to, needed_bytes=manifest.size_bytes) as draft:
            for above in sorted({folder for file in manifest.files for folder in PurePosixPath(file.path).parents[:-1]}):
                (draft / above).mkdir()
                (draft / above).chmod(0o755)  # whatever the umask: the organisation's own user reads it
            for file in manifest.files:
                with (draft / file.path).open("xb") as content:
                    for chunk in file.chunks:
                        self._copy(chunk.sha256, content)
                    os.fchmod(content.fileno(), 0o444)
        return to

    def _copy(self, sha256: str, to: BinaryIO) -> None:
        digest = hashlib.sha256()
        with self.open(sha256) as chunk:
            while block := chunk.read(_BLOCK):
                digest.update(block)
                to.write(block)
        if digest.hexdigest() != sha256:
            raise Unavailable(
                "A chunk in the store is damaged.",
                asked=f"sha256 {sha256}",
                found=f"sha256 {digest.hexdigest()} in {self.path(sha256)}",
                hint="remove that file and send the data set again",
            )

    def path(self, sha256: str) -> Path:
        """Where a chunk is, or would be."""
        if not is_hash(sha256):
            raise BadInput("A chunk's name is a sha256 in 64 small hexadecimal digits.", asked=f"{sha256!r:.80}")
        return self.folder / sha256[:2] / sha256
