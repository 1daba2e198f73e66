"""Bring to a centre what a run needs, and send from it what a run has left.

Asked:  how do code, data and outputs get over a link that is slow and breaks?
Answer: all of it is named by its hash and cut into chunks. What is here already isn't fetched again, what is there already isn't
        sent again, and each message of chunks that arrived has arrived for good.
Limits: a file that a run is writing while it is sent is left out of that sending, or sent as it was at one moment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forebay.centre import files, isolation, layout
from forebay.centre.spec import Engine, Spec
from forebay.data.bundle import file_hash
from forebay.data.dataset import pieces
from forebay.data.manifest import Chunk, File, Manifest, check
from forebay.data.remote import Remote
from forebay.data.store import ChunkStore, pack_chunks, unpack_chunks
from forebay.errors import BadInput, Unavailable
from forebay.units import MIB

if TYPE_CHECKING:
    from forebay.centre.link import Link  # it needs httpx, which a node need not have

MOST_CHUNKS = 4096  # asked for at a time
MESSAGE_BYTES = 8 * MIB  # of chunks in one message, about
MOST_FILES = 10_000  # of a job's output


class Haul:
    """The way of content between one centre and its cloud."""

    def __init__(self, home: Path, engine: Engine, link: Link, remote: Remote | None = None) -> None:
        """`remote`: a store that other centres, or nodes without this folder, see too. It is asked before the cloud."""
        self._remote = remote
        self._home = home
        self._engine = engine
        self._link = link
        self.brought: dict[str, tuple[int, int]] = {}  # run -> how many bytes were brought for it, in how many nanoseconds

    # Here.

    def is_here(self, spec: Spec) -> bool:
        """Whether all that a run needs lies in this centre."""
        return (
            layout.bundle(self._home, spec.bundle).exists()
            and all(layout.data(self._home, spec.organisation, version).exists() for version in _versions(spec))
            and all(self._origin(_job(run)) == run for run in spec.brings)
        )

    def fetch(self, spec: Spec) -> None:
        """Bring a run's code, data and earlier outputs here. Complete files only."""
        self._fetch_bundle(spec)
        for version in _versions(spec):
            self._fetch_version(spec, version)
        for run in spec.brings:
            if self._origin(_job(run)) != run:
                self._fetch_output(spec, run)

    def _fetch_bundle(self, spec: Spec) -> None:
        archive = layout.bundle(self._home, spec.bundle)
        if archive.exists():
            return
        archive.parent.mkdir(parents=True, exist_ok=True)
        draft = archive.with_suffix(f".draft-{spec.name}")
        kept = self._remote.get(spec.organisation, spec.bundle) if self._remote else None
        draft.write_bytes(kept if kept is not None else self._link.bundle(spec.name))
        if file_hash(draft) != spec.bundle:
            draft.unlink()
            raise Unavailable("The code arrived damaged.", asked=spec.bundle)
        if self._remote and kept is None:
            self._remote.put(spec.organisation, spec.bundle, draft.read_bytes())
        draft.rename(archive)

    def _fetch_version(self, spec: Spec, version: str) -> None:
        tree = layout.data(self._home, spec.organisation, version)
        if tree.exists():
            return
        manifest = self._link.manifest(spec.name, version)
        store = self._store(spec.organisation)
        with self._measured(spec, store, manifest):
            self._fetch_chunks(spec, manifest, lambda wanted: self._link.chunks(spec.name, version, wanted))
            self._engine.data_folder(spec.organisation)  # closed to everybody else before anything lies in it
            store.materialise(manifest, tree)

    def _fetch_output(self, spec: Spec, run: str) -> None:
        manifest = self._link.output(spec.name, run)
        store = self._store(spec.organisation)
        with self._measured(spec, store, manifest):
            self._fetch_chunks(spec, manifest, lambda wanted: self._link.output_chunks(spec.name, run, wanted))
        draft = self._home / "outputs" / f".draft-{layout.name(run)}"
        shutil.rmtree(draft, ignore_errors=True)
        isolation.own_folder(draft.parent, 0o711)
        if manifest.files:
            store.materialise(manifest, draft)
        isolation.own_folder(draft, 0o700)
        for path in draft.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # a version of data is read-only; this a job goes on with
        self._engine.take_in(_job(run), spec.organisation, draft)
        self.note(run)

    @contextmanager
    def _measured(self, spec: Spec, store: ChunkStore, manifest: Manifest) -> Iterator[None]:
        """Note how much of a manifest is brought, and how fast: also of what is cut off, since it need not be brought again."""
        before, began_ns = _missing_bytes(store, manifest), time.monotonic_ns()
        try:
            yield
        finally:
            took_ns, moved = time.monotonic_ns() - began_ns, before - _missing_bytes(store, manifest)
            if moved > 0:
                size_bytes, ns = self.brought.get(spec.name, (0, 0))
                self.brought[spec.name] = (size_bytes + moved, ns + took_ns)

    def _fetch_chunks(self, spec: Spec, manifest: Manifest, ask: Callable[[Sequence[str]], bytes]) -> None:
        store = self._store(spec.organisation)
        for sha256 in store.missing(manifest) if self._remote else ():
            kept = self._remote.get(spec.organisation, sha256) if self._remote else None
            if kept is not None:
                store.put(kept, sha256)
        while missing := store.missing(manifest):
            for sha256, content in unpack_chunks(ask(missing[:MOST_CHUNKS])):
                store.put(content, sha256)
                if self._remote:
                    self._remote.put(spec.organisation, sha256, content)

    def _store(self, organisation: str) -> ChunkStore:
        return ChunkStore(self._home / "store" / "chunks" / layout.name(organisation))

    # There.

    def send(self, run: str) -> None:
        """Send what a job has left, as it is now, in the name of its run."""
        root = self._engine.output(_job(run))
        manifest = survey(root)
        missing = set(self._link.missing(run, manifest))
        for message in messages(root, manifest, missing):
            self._link.send_chunks(run, message)
        self._link.keep_output(run, manifest)

    # Of which run a job's output here is: that of the last one here, or the one that was brought.

    def note(self, run: str) -> None:
        """What the job has left here is now that of this run."""
        files.write_json(self._mark(_job(run)), {"run": run}, durable=True)

    def _origin(self, job: str) -> str:
        mark = files.read_json(self._mark(job))
        return str(mark["run"]) if mark else ""

    def _mark(self, job: str) -> Path:
        folder = self._home / "outputs" / ".of"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder / f"{layout.name(job)}.json"


def survey(root: Path) -> Manifest:
    """The manifest of a tenant's folder. No link is followed; what can't be read, or is no plain file, is left out."""
    found: list[File] = []
    if not root.is_dir():
        return Manifest(files=())
    for folder, folders, names, descriptor in os.fwalk(root, follow_symlinks=False):
        folders.sort()
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.startswith(".draft-") or len(found) >= MOST_FILES:
                continue
            chunks = tuple(
                Chunk(sha256=hashlib.sha256(piece).hexdigest(), size_bytes=len(piece)) for piece in _pieces(name, descriptor)
            )
            if chunks or _is_plain(name, descriptor):
                found.append(File(path=path, size_bytes=sum(chunk.size_bytes for chunk in chunks), chunks=chunks))
    manifest = Manifest(files=tuple(sorted(found, key=lambda file: file.path)))
    check(manifest)
    return manifest


def messages(root: Path, manifest: Manifest, missing: set[str]) -> Iterator[bytes]:
    """The missing chunks of a folder, packed. A file that has changed since it was surveyed ends it: the next sending takes it
    anew.
    """
    message: dict[str, bytes] = {}
    size = 0
    for file in manifest.files:
        wanted = [chunk.sha256 for chunk in file.chunks]
        if not missing.intersection(wanted):
            continue
        folder, _, name = file.path.rpartition("/")
        descriptor = _folder(root, folder)
        try:
            for sha256, piece in zip(wanted, _pieces(name, descriptor), strict=False):
                if hashlib.sha256(piece).hexdigest() != sha256:
                    raise Unavailable("The job writes while its output is sent; it is tried again.", asked=file.path)
                if sha256 in missing:
                    missing.discard(sha256)
                    message[sha256] = piece
                    size += len(piece)
                if size >= MESSAGE_BYTES:
                    yield pack_chunks(message)
                    message, size = {}, 0
        finally:
            os.close(descriptor)
    if message:
        yield pack_chunks(message)
    if missing:
        raise Unavailable("The job writes while its output is sent; it is tried again.", found=f"{len(missing)} chunks are gone")


def _folder(root: Path, inside: str) -> int:
    """A folder below a tenant's, opened step by step, so that no link leads out of it."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in filter(None, inside.split("/")):
        above, flags = descriptor, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(part, flags, dir_fd=above)
        except OSError as error:
            raise Unavailable("The job writes while its output is sent; it is tried again.", asked=inside) from error
        finally:
            os.close(above)
    return descriptor


def _pieces(name: str, folder: int) -> Iterator[bytes]:
    """A plain file's content, piece by piece; nothing of anything else."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            yield from pieces(file)


def _is_plain(name: str, folder: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _missing_bytes(store: ChunkStore, manifest: Manifest) -> int:
    chunks = manifest.chunks()
    return sum(chunks[sha256].size_bytes for sha256 in store.missing(manifest))


def _versions(spec: Spec) -> list[str]:
    return [mount.source for mount in spec.mounts if mount.kind == "data"]


def _job(run: str) -> str:
    """The job of a run: "j4k7q2" of "j4k7q2-1"."""
    job, dash, _ = run.rpartition("-")
    if not dash:
        raise BadInput("That is no run's name.", asked=run)
    return job
