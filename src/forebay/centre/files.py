"""Write a file so that readers see the old content or the new, never a part."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, *, durable: bool = False, mode: int = 0o600) -> None:
    """Replace `path` by this value, readable by its owner only unless `mode` says otherwise.

    `durable`: it also survives a power cut once this returns.
    """
    write_text(path, json.dumps(value, ensure_ascii=False), durable=durable, mode=mode)


def write_text(path: Path, text: str, *, durable: bool = False, mode: int = 0o600) -> None:
    """The same for a text."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(draft, path)
    if durable:
        sync_folder(path.parent)


def exchange(folder: Path, place: Path) -> None:
    """Put a folder in the place of another, which is removed. Between the two there may be none for a moment."""
    gone = place.with_name(f".gone-{place.name}")
    shutil.rmtree(gone, ignore_errors=True)
    if place.exists():
        place.rename(gone)
    folder.rename(place)
    shutil.rmtree(gone, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any | None:
    """What `write_json` wrote; None when there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def overwrite_json(descriptor: int, value: Any) -> None:
    """Replace the content of an open file that others read only when we are gone."""
    body = json.dumps(value).encode()
    os.pwrite(descriptor, body, 0)
    os.ftruncate(descriptor, len(body))
