"""Bring what a job left into a folder of its owner's, over a link that may break.

Asked:  some chunks are here since the last try, some files since an earlier sending. What is left to fetch?
Answer: the chunks that lie neither in the folder's files nor among those that arrived. Chunks gather in `.forebay-chunks` until
        all are there; then the files are written, each whole, and the gathering place is removed.
Limits: until then it takes twice the room. A file that the new sending doesn't have any more is left alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from forebay.codec import decode
from forebay.data.dataset import pieces
from forebay.data.disk import new_file
from forebay.data.manifest import File, Manifest, check
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.errors import BadInput, Conflict, Unavailable

CHUNKS = ".forebay-chunks"
MARK = ".forebay-output"
MOST_CHUNKS = 1024  # asked for at a time


def fetch_output(
    left: Mapping[str, Any], to: Path, ask: Callable[[Sequence[str]], bytes], said: Callable[[str, int, int], None]
) -> None:
    """`left`: what the cloud says of an output: {"run", "version", "manifest"}. `ask` gives a message with the first of the
    chunks that it is asked for. Raises Conflict for a folder that holds something else.
    """
    manifest = decode(Manifest, left["manifest"], strict=False)
    check(manifest)
    if any(file.path.split("/")[0] in (CHUNKS, MARK) for file in manifest.files):
        raise BadInput("The job left a file under a name that fetching needs itself.", found=f"{CHUNKS} or {MARK}")
    _must_be_ours(to)
    to.mkdir(parents=True, exist_ok=True)
    store = ChunkStore(to / CHUNKS)
    store.folder.mkdir(exist_ok=True)
    wanted = [file for file in manifest.files if not _is_there(to, file)]
    sizes = {chunk.sha256: chunk.size_bytes for file in wanted for chunk in file.chunks}
    missing = [sha256 for sha256 in sizes if not store.has(sha256)]
    total, done = sum(sizes.values()), sum(size for sha256, size in sizes.items() if store.has(sha256))
    said("fetching", done, total)
    while missing:
        before = len(missing)
        for sha256, content in unpack_chunks(ask(missing[:MOST_CHUNKS])):
            store.put(content, sha256)
            done += sizes.get(sha256, 0)
            said("fetching", done, total)
        missing = [sha256 for sha256 in missing if not store.has(sha256)]
        if len(missing) == before:
            raise Unavailable("The cloud sends nothing of what is missing.", asked=missing[0], hint="try again")
    for file in wanted:
        _write(store, file, to)
    with new_file(to / MARK) as mark:
        mark.write(json.dumps({"run": left["run"], "version": left["version"]}).encode())
    shutil.rmtree(store.folder)


def _must_be_ours(to: Path) -> None:
    if to.exists() and not to.is_dir():
        raise Conflict("That is no folder.", asked=str(to), hint="name another")
    there = [path.name for path in to.iterdir()] if to.exists() else []
    if there and CHUNKS not in there and MARK not in there:
        raise Conflict(
            "There is something else in that folder.", asked=str(to), found=", ".join(sorted(there)[:5]), hint="--to a new folder"
        )


def _is_there(to: Path, file: File) -> bool:
    """Whether a file is here already, as it was left."""
    path = to / file.path
    if path.is_symlink() or not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    with path.open("rb") as content:
        return [hashlib.sha256(piece).hexdigest() for piece in pieces(content)] == [chunk.sha256 for chunk in file.chunks]


def _write(store: ChunkStore, file: File, to: Path) -> None:
    with new_file(to / file.path, needed_bytes=file.size_bytes) as target:
        for chunk in file.chunks:
            with store.open(chunk.sha256) as content:
                shutil.copyfileobj(content, target)
