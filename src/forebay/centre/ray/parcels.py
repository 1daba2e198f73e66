"""What a run needs on a node that doesn't see the centre's folder, as parcels of chunks; and what it left, back in its place.

Asked:  which bytes must be on the node before the run starts there?
Answer: its packed code, the versions of data and the outputs that it mounts, and what earlier attempts left: each a manifest. The
        node says which chunks it lacks. Our own sources travel as one archive, once a node and version.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from forebay.centre import files, haul, isolation, layout
from forebay.centre.home import Home
from forebay.centre.spec import Spec
from forebay.data import dataset
from forebay.data import manifest as manifests
from forebay.data.manifest import Chunk, File, Manifest
from forebay.data.store import ChunkStore
from forebay.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Parcel:
    """Something that must be on a node."""

    kind: str  # "bundle", "data" or "output"
    key: str  # its hash, version or job
    root: Path  # where it lies here
    manifest: Manifest

    @property
    def text(self) -> str:
        return manifests.to_json(self.manifest)

    def messages(self, missing: set[str]) -> Iterator[bytes]:
        return haul.messages(self.root, self.manifest, missing)


class Sources:
    """This package, packed: all that a node without Forebay needs to carry out a share."""

    @cached_property
    def body(self) -> bytes:
        package = Path(__file__).resolve().parents[2]
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
            for path in sorted(package.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".so"):
                    member = tarfile.TarInfo(f"forebay/{path.relative_to(package).as_posix()}")
                    member.size, member.mode = path.stat().st_size, 0o755 if path.stat().st_mode & 0o100 else 0o644
                    with path.open("rb") as content:
                        tar.addfile(member, content)
        head = packed.getvalue()
        return head[:4] + b"\0\0\0\0" + head[8:]  # gzip's own time stamp: the same sources have the same hash

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


def of(home: Path, spec: Spec) -> list[Parcel]:
    """All that a run needs on each of its nodes. Takes as long as hashing what was never hashed before."""
    archive = layout.bundle(home, spec.bundle)
    found = [Parcel("bundle", spec.bundle, archive.parent, _single(archive))]
    for mount in spec.mounts:
        if mount.kind == "data":
            tree = layout.data(home, spec.organisation, mount.source)
            found.append(Parcel("data", mount.source, tree, _known(home, spec.organisation, mount.source, tree)))
        elif mount.kind == "output":
            found.append(_output(home, mount.source))
    return [*found, _output(home, spec.job)]


def keep(home: Home, spec: Spec, manifest: Manifest, store: ChunkStore) -> None:
    """Make these files, whose chunks are all here, the job's output at the centre."""
    place = layout.output(home.path, spec.job)
    if not manifest.files and not place.exists():
        return
    draft = place.with_name(f".draft-{layout.name(spec.job)}")
    shutil.rmtree(draft, ignore_errors=True)
    if manifest.files:
        store.materialise(manifest, draft)
    isolation.own_folder(draft, 0o700)
    for path in draft.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    home.take_in(spec.job, spec.organisation, draft)


def _output(home: Path, job: str) -> Parcel:
    root = layout.output(home, job)
    return Parcel("output", job, root, haul.survey(root))


def _single(path: Path) -> Manifest:
    """The manifest of one file."""
    try:
        with path.open("rb") as file:
            chunks = tuple(
                Chunk(sha256=hashlib.sha256(piece).hexdigest(), size_bytes=len(piece)) for piece in dataset.pieces(file)
            )
    except FileNotFoundError:
        raise Unavailable("The run's code isn't in the centre's store.", asked=path.name) from None
    return Manifest(files=(File(path=path.name, size_bytes=sum(chunk.size_bytes for chunk in chunks), chunks=chunks),))


def _known(home: Path, organisation: str, version: str, tree: Path) -> Manifest:
    """The manifest of a version, which never changes, so it is made once."""
    path = home / "ray" / "manifests" / layout.name(organisation) / f"{layout.name(version)}.json"
    if path.exists():
        return manifests.from_json(path.read_text("utf-8"))
    manifest = dataset.scan(tree)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_text(path, manifests.to_json(manifest))
    return manifest
