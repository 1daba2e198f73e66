"""The cloud's files beside the journal: bundles, chunks, logs, lists of artefacts.

Each organisation has a folder of its own, so that knowing a hash is never enough to read another's code or data. A file is
complete or absent: it is written under another name, synced and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from forebay.centre.spec import Artefact, Progress
from forebay.codec import decode, encode
from forebay.data.store import ChunkStore
from forebay.errors import Conflict, Unknown
from forebay.units import MIB


class Store:
    def __init__(self, data: Path) -> None:
        self._data = data
        self.progress: dict[str, Progress] = {}  # newest a run; told again by the agents after a restart

    @property
    def folder(self) -> Path:
        return self._data

    def chunks(self, organisation: str) -> ChunkStore:
        """Chunks of data sets, and bundles too: a bundle is kept as one chunk."""
        return ChunkStore(self._folder("chunks", organisation))

    def bundles(self, organisation: str) -> ChunkStore:
        return ChunkStore(self._folder("bundles", organisation))

    def draft(self) -> BinaryIO:
        """A file for what comes in, gone when it is closed; in memory while it is small."""
        return cast(BinaryIO, SpooledTemporaryFile(max_size=MIB, dir=str(self._folder("drafts"))))

    # The values of jobs' environments (`sealed.py`).

    def keep_environment(self, job: str, env: Mapping[str, str]) -> None:
        _write(self._folder("environments") / f"{job}.json", json.dumps(dict(env)).encode())

    def environments(self) -> dict[str, dict[str, str]]:
        """By job."""
        return {path.stem: json.loads(path.read_bytes()) for path in self._folder("environments").glob("*.json")}

    def drop_environment(self, job: str) -> None:
        (self._folder("environments") / f"{job}.json").unlink(missing_ok=True)

    # Manifests, and what runs left.

    def keep_manifest(self, organisation: str, version: str, manifest: Any) -> None:
        _write(self._folder("manifests", organisation) / f"{version}.json", json.dumps(manifest).encode())

    def manifest(self, organisation: str, version: str) -> Any:
        try:
            return json.loads((self._folder("manifests", organisation) / f"{version}.json").read_bytes())
        except FileNotFoundError:
            raise Unknown("There is no such version of a data set.", asked=version) from None

    def keep_artefacts(self, run: str, artefacts: Sequence[Artefact]) -> None:
        _write(self._folder("artefacts") / f"{run}.json", json.dumps(encode(tuple(artefacts))).encode())

    def artefacts(self, run: str) -> tuple[Artefact, ...]:
        try:
            return tuple(decode(Artefact, item) for item in json.loads((self._folder("artefacts") / f"{run}.json").read_bytes()))
        except FileNotFoundError:
            return ()

    def add_log(self, run: str, offset: int, body: bytes) -> int:
        """Append what a run printed; returns the new size. Conflict, with the size, when `offset` isn't where the log ends."""
        with open(self._log(run), "ab") as log:
            size = log.tell()
            if offset != size:
                raise Conflict("The log goes on elsewhere.", asked=str(offset), found=str(size), hint="send from there")
            log.write(body)
            return size + len(body)

    def log_size(self, run: str) -> int:
        try:
            return self._log(run).stat().st_size
        except FileNotFoundError:
            return 0

    def read_log(self, run: str, offset: int, most: int = 1 << 18) -> list[tuple[dict[str, Any], int]]:
        """Whole lines of a run's log from an offset, each with the offset after it."""
        try:
            with open(self._log(run), "rb") as log:
                log.seek(offset)
                block = log.read(most)
        except FileNotFoundError:
            return []
        lines = []
        for line in block[: block.rfind(b"\n") + 1].split(b"\n")[:-1]:
            offset += len(line) + 1
            lines.append((json.loads(line), offset))
        return lines

    def _log(self, run: str) -> Path:
        return self._folder("logs") / f"{run}.jsonl"

    def empty_folder(self, name: str) -> Path:
        """A folder for what lasts no longer than this process; what a killed one left there is removed."""
        shutil.rmtree(self._data / name, ignore_errors=True)
        return self._folder(name)

    def _folder(self, *names: str) -> Path:
        folder = self._data.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def _write(path: Path, body: bytes) -> None:
    draft = path.with_suffix(f".draft{os.getpid()}")
    with open(draft, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
