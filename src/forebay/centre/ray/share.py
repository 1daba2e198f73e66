"""A share of a run on its node: what a launcher does there, out of the sources that it unpacked.

Asked:  how do code, data and an earlier attempt's output get to a node that doesn't see the centre's folder, and how does what
        the run leaves get back?
Answer: each parcel is a manifest of chunks, as everywhere; what the node has already isn't sent again. The share itself is
        carried out by the local engine, whose runs end with this process.
Limits: one share. Without a folder that all nodes see, only what the first share leaves is brought back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import engines, files, haul, isolation, layout, local
from forebay.centre.home import Home
from forebay.centre.local import Local
from forebay.centre.lock import take_lock
from forebay.centre.settings import Settings
from forebay.centre.spec import Handle, Phase, Spec
from forebay.chips.node import Card, Node
from forebay.data import manifest as manifests
from forebay.data.manifest import Manifest
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.units import MIB

FORGOTTEN_S = 3600.0  # a share's folder that nobody works in is removed from a node after this time


class Share:
    """The share number so-and-so of this run, in this folder."""

    def __init__(self, home: str, spec: Any, number: int, told: Any, own: bool, shim: str) -> None:
        """`told`: the centre's settings. `own`: the folder is this node's, and what is left in it is ours to tidy up. `shim`:
        where the agent's machine has the carrier of CUDA's words, which the node may see too.
        """
        self._spec = codec.decode(Spec, spec, strict=False)
        self._number = number
        self._told = codec.decode(Settings, told, strict=False)
        path = Path(home)
        carrier = Path(shim) if shim and not own and os.path.isdir(shim) else layout.shim(path)
        self._local = Local(
            path,
            nodes=nodes_of(self._spec),
            base=engines.bases(path, self._told, carrier),
            trust_all=self._told.trust_all,
            standby=False,
            shim=carrier,
            build_env=engines.build_env(self._told),
            fate=True,
            check=self._told.check,
        )
        self._home = Home(path, base={}, trust_all=self._told.trust_all)
        self._own = own
        self._run_dir = layout.share(layout.run(path, self._spec.name), number)
        self._handle: Handle | None = None
        self._incoming = ChunkStore(path / "store" / "incoming" / f"{layout.name(self._spec.name)}-{number}")
        self._outgoing: Iterator[bytes] = iter(())
        if own:
            _tidy(path)

    # Parcels that come.

    def missing(self, kind: str, key: str, text: str) -> list[str] | None:
        """The chunks of a parcel that aren't here. None: the parcel is."""
        manifest = manifests.from_json(text)
        return None if self._has(kind, key, manifest) else list(self._incoming.missing(manifest))

    def take(self, message: bytes) -> None:
        """Chunks of the parcel under way."""
        for sha256, content in unpack_chunks(message):
            self._incoming.put(content, sha256)

    def lay(self, kind: str, key: str, text: str) -> None:
        """Put a parcel, all of whose chunks are here, in its place."""
        manifest = manifests.from_json(text)
        if self._has(kind, key, manifest):
            return
        draft = self._incoming.folder / f"draft-{layout.name(key)}"
        shutil.rmtree(draft, ignore_errors=True)
        if manifest.files:
            self._incoming.materialise(manifest, draft)
        else:
            draft.mkdir(parents=True)
        match kind:
            case "bundle":
                place = layout.bundle(self._home.path, key)
                os.replace(draft / place.name, place)
                shutil.rmtree(draft)
            case "data":
                self._home.data_folder(self._spec.organisation)
                place = layout.data(self._home.path, self._spec.organisation, key)
                with contextlib.suppress(OSError):  # another launcher of this node was faster
                    draft.rename(place)
            case "output":
                isolation.own_folder(draft, 0o700)
                for path in draft.rglob("*"):
                    path.chmod(0o755 if path.is_dir() else 0o644)  # a version of data is read-only; this a job goes on with
                self._home.take_in(key, self._spec.organisation, draft)
        shutil.rmtree(self._incoming.folder, ignore_errors=True)

    def _has(self, kind: str, key: str, manifest: Manifest) -> bool:
        match kind:
            case "bundle":
                return layout.bundle(self._home.path, key).exists()
            case "data":
                return layout.data(self._home.path, self._spec.organisation, key).exists()
            case _:
                return haul.survey(layout.output(self._home.path, key)).id == manifest.id

    # What the run leaves.

    def left(self) -> str:
        """The manifest of the output folder as it is now."""
        return manifests.to_json(haul.survey(layout.output(self._home.path, self._spec.job)))

    def send(self, text: str, missing: list[str]) -> None:
        """Get ready to give these chunks of that manifest."""
        root = layout.output(self._home.path, self._spec.job)
        self._outgoing = haul.messages(root, manifests.from_json(text), set(missing))

    def give(self) -> bytes:
        """The next message of chunks; nothing: that was all. Unavailable when the job writes meanwhile."""
        return next(self._outgoing, b"")

    # The share.

    def begin(self, cards: list[int], address: str) -> None:
        self._handle = self._local.carry(self._spec, self._number, cards=tuple(cards), address=address)

    def news(self, known: Any, mark: int | None) -> dict[str, Any] | None:
        """What there is to say that isn't known yet."""
        if self._handle is None:
            return None
        seen = codec.encode(self._local.look(self._handle))
        progress = codec.encode(self._local.progress(self._handle))
        piece = None if mark is None else local.read_share(self._run_dir, "0", {"0": mark}, MIB)
        if [seen, progress] == known and piece is None:
            return None
        log = None if piece is None else [piece.start, piece.end, piece.body]
        return {"known": [seen, progress], "seen": seen, "progress": progress, "log": log}

    def outcome(self) -> str:
        """How the share ended; empty as long as it goes on."""
        if self._handle is None:
            return ""
        seen = self._local.look(self._handle)
        return str(seen.outcome.value) if seen.phase is Phase.ENDED and seen.outcome is not None else ""

    def stop(self, grace_s: float) -> None:
        if self._handle is not None:
            self._local.stop(self._handle, grace_s)

    def aside(self, grace_s: float) -> None:
        """End because a sibling has, unless we were told to stop already."""
        if not layout.stop(self._run_dir).exists():
            self.stop(grace_s)

    def meeting(self) -> int | None:
        found = files.read_json(layout.meeting(self._run_dir))
        return None if found is None else int(found["port"])

    def meet(self, port: int) -> None:
        files.write_json(layout.meeting(self._run_dir), {"port": port}, mode=0o644)

    def knock(self) -> socket.socket:
        return local.knock(layout.door(self._run_dir))

    def clear(self) -> None:
        """Remove what an ended share no longer needs from its node."""
        shutil.rmtree(self._incoming.folder, ignore_errors=True)
        if self._own and self._handle is not None:
            self._local.forget(self._handle)
            with contextlib.suppress(OSError):  # a sibling on this node isn't through yet
                self._run_dir.parent.rmdir()


def nodes_of(spec: Spec) -> tuple[Node, ...]:
    """The nodes that a spec speaks of, as far as its order needs them."""
    return tuple(
        Node(name=share.node, chip=spec.chip, cards=tuple(Card(index=card) for card in share.cards), counted=True)
        for share in spec.shares
    )


def _tidy(home: Path) -> None:
    """Remove the folders of shares whose launchers died before they could."""
    for run_dir in (home / "runs").glob("*/share-*"):
        try:
            if time.time() - layout.spec(run_dir).stat().st_mtime < FORGOTTEN_S:
                continue
            lock = take_lock(run_dir)
            if lock is not None:
                os.close(lock)
                shutil.rmtree(run_dir, ignore_errors=True)
                run_dir.parent.rmdir()
        except OSError:
            continue
