"""Write to disk so that a crash leaves the old or the new, never half of one.

Asked:  when is a file or a folder there?
Answer: when it has its name. It is written under a draft's name in the same folder and renamed when it is whole; whatever goes
        wrong before that, the draft is removed.
Limits: a process that is killed leaves its draft behind (".draft-…"); nobody reads it, and `sweep` removes old ones.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from forebay.errors import Conflict, Unavailable
from forebay.units import show_bytes

DRAFT = ".draft-"


@contextmanager
def new_file(path: Path, *, mode: int = 0o644, needed_bytes: int = 0) -> Iterator[BinaryIO]:
    """A file that appears at `path`, synced to the disk, when the block ends well. It replaces one that is there."""
    with _said_plainly(path, needed_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=DRAFT, dir=path.parent)
        try:
            with os.fdopen(number, "wb") as draft:
                yield draft
                draft.flush()
                os.fchmod(draft.fileno(), mode)
                os.fsync(draft.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def new_folder(path: Path, *, needed_bytes: int = 0) -> Iterator[Path]:
    """A folder that appears at `path` when the block ends well; refuses one that is there. Yields the draft to fill."""
    if os.path.lexists(path):
        raise Conflict(
            "There is something at that place already.", asked=f"a new folder {path}", hint="remove it, or name another"
        )
    with _said_plainly(path, needed_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if needed_bytes > free:
            raise _full(path, needed_bytes, free)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=path.parent))
        try:
            yield draft
            draft.chmod(0o755)  # mkdtemp's 0700 would hide it from the organisation's own user
            os.rename(draft, path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _sync_folder(path.parent)


def sweep(folder: Path, *, older_than_s: float = 24 * 3600) -> int:
    """Remove drafts that a killed process left in `folder` or below; returns how many."""
    swept = 0
    for draft in list(folder.rglob(DRAFT + "*")):
        try:
            if time.time() - draft.lstat().st_mtime < older_than_s:
                continue
            shutil.rmtree(draft) if draft.is_dir() and not draft.is_symlink() else draft.unlink()
            swept += 1
        except FileNotFoundError:
            continue  # its writer finished, or another sweep came first
    return swept


@contextmanager
def _said_plainly(path: Path, needed_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(path, needed_bytes, shutil.disk_usage(_standing(path)).free) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and error.filename is not None:
            raise Unavailable(
                f"{path}: can't be written here.", found=str(error), hint="a folder that this user may write"
            ) from None
        if os.path.isdir(path) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise Conflict("There is something at that place already.", asked=f"a new folder {path}") from None
        raise


def _full(path: Path, needed_bytes: int, free: int) -> Unavailable:
    needed = f"{show_bytes(needed_bytes)} for {path}" if needed_bytes else f"to write {path}"
    return Unavailable(
        "The disk is full; nothing was changed.",
        asked=needed,
        found=f"{show_bytes(free)} free",
        hint="free some space, then again",
    )


def _standing(path: Path) -> Path:
    """The nearest folder above that exists."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
