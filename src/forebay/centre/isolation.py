"""Keep organisations apart on one machine.

Asked:  what can a job of one organisation read, write or kill of another's, or of the engine's?
Answer: nothing, where the engine runs as root: each organisation is a user of its own, and each run a group of its own
        besides, by which all its processes are found. Not as root there is one user only, so a second organisation is refused,
        unless all trust each other.
Limits: files and processes. The network, /dev/shm and the machine's load are shared; ports on 127.0.0.1 can be reached by
        every job.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.centre import files, layout
from forebay.errors import Refused

# Drawn at random, so that two centres on one machine share no user, and none takes the other's processes for its own leftovers.
FIRST_UID, UIDS_A_HOME, HOMES = 200_000, 10_000, 100_000
FIRST_RUN_GID, RUN_GIDS = 2**30 + 2**29, 2**29  # above every user's number, and within 31 bits


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that an organisation is on this machine, and the group of one run. None: the engine's own user."""

    uid: int | None
    gid: int | None
    run_gid: int | None


def identify(home: Path, organisation: str, *, root: bool, trust_all: bool) -> Identity:
    """The organisation's user, and a group for a new run."""
    uid = _look_up(home, organisation, root=root, trust_all=trust_all)
    return Identity(uid, uid, FIRST_RUN_GID + secrets.randbelow(RUN_GIDS)) if root else Identity(None, None, None)


def next_run_gid(run_gid: int, steps: int) -> int:
    """Another group beside that of a run, for one of its shares."""
    return FIRST_RUN_GID + (run_gid - FIRST_RUN_GID + steps) % RUN_GIDS


def gid(home: Path, organisation: str, *, root: bool, trust_all: bool) -> int | None:
    """The organisation's group; None where all are the engine's own."""
    uid = _look_up(home, organisation, root=root, trust_all=trust_all)
    return uid if root else None


def _look_up(home: Path, organisation: str, *, root: bool, trust_all: bool) -> int:
    """The organisation's number, made when it is first asked for, and written down before it is used."""
    layout.name(organisation)
    with (home / ".uids.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = FIRST_UID + UIDS_A_HOME * secrets.randbelow(HOMES)
        book: dict[str, Any] = files.read_json(layout.uids(home)) or {"first": first, "organisations": {}}
        known: dict[str, int] = book["organisations"]
        if organisation not in known and not root and known and not trust_all:
            raise Refused(
                "This centre doesn't run as root, so it can't keep two organisations apart.",
                asked=organisation,
                found=", ".join(known),
                hint="run it as root, or start it with the flag that says that all organisations trust each other",
            )
        if organisation not in known:
            known[organisation] = book["first"] + len(known)
            files.write_json(layout.uids(home), book, durable=True)
        return known[organisation]


def own_folder(folder: Path, mode: int, uid: int | None = None, gid: int | None = None) -> Path:
    """Make a folder, if need be, with exactly this mode and owner."""
    folder.mkdir(parents=True, exist_ok=True)
    if uid is not None and gid is not None:
        os.chown(folder, uid, gid)
    folder.chmod(mode)
    return folder


def give(folder: Path, uid: int | None, gid: int | None) -> None:
    """Hand a tree to an organisation."""
    if uid is None or gid is None:
        return
    for _, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *names):
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, uid, gid)


def take(folder: Path, gid: int | None) -> None:
    """Take a tree from an organisation whose processes have ended: root's, readable by the organisation, written by nobody.

    A folder is taken before its entries, so nobody can exchange an entry under our hands.
    """
    for _, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        _take_one(descriptor, gid)
        for name in names:
            about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if gid is not None:
                os.chown(name, 0, gid, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(about.st_mode):
                os.chmod(name, (about.st_mode | 0o440) & 0o555, dir_fd=descriptor)
        for name in folders:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode) and gid is not None:
                os.chown(name, 0, gid, dir_fd=descriptor, follow_symlinks=False)


def _take_one(descriptor: int, gid: int | None) -> None:
    if gid is not None:
        os.fchown(descriptor, 0, gid)
    os.fchmod(descriptor, 0o555 if gid is not None else 0o755)  # not as root, its owner must be able to drop it one day


def view(needed: Sequence[tuple[Path, bool]], uid: int | None, gids: Iterable[int]) -> dict[str, Any]:
    """What a rank must see of the file system, for `job/confine.py` to bring about. Empty: it can reach all that it needs as
    it is.

    `needed` are paths and whether they may be written. Python often lies under /root, which is closed to others: there the closed
    folder is covered, and only what is needed shows through.
    """
    if uid is None:
        return {}
    gids = set(gids)
    trees: dict[Path, bool] = {}
    links: dict[Path, str] = {}
    for path, write in needed:
        hops, end = _follow(path)
        links.update(hops)
        if end.exists():
            trees[end] = trees.get(end, False) or write
    barred = {bar for path in (*trees, *links) if (bar := _bar(path, uid, gids)) is not None}
    covers = sorted(bar for bar in barred if not any(other in bar.parents for other in barred))

    def covered(path: Path) -> bool:
        return any(cover == path or cover in path.parents for cover in covers)

    binds: list[tuple[Path, bool]] = []
    for path, write in sorted(trees.items()):
        above = next((bound_write for bound, bound_write in reversed(binds) if bound in path.parents), None)
        if covered(path) and above != write:
            binds.append((path, write))
    return {
        "covers": [str(path) for path in covers],
        "binds": [[str(path), write] for path, write in binds],
        "links": [
            [str(path), target]
            for path, target in sorted(links.items())
            if covered(path) and not any(bound in path.parents for bound, _ in binds)
        ],
    }


def _follow(path: Path) -> tuple[dict[Path, str], Path]:
    """The symbolic links that lie on the way to `path`, and where it really is."""
    hops: dict[Path, str] = {}
    done, todo = Path("/"), list(Path(os.path.abspath(path)).parts[1:])
    while todo and len(hops) < 40:
        part = todo.pop(0)
        if part == "..":
            done = done.parent
            continue
        step = done / part
        try:
            target = os.readlink(step)
        except OSError:
            done = step
            continue
        hops[step] = target
        todo = [word for word in Path(target).parts if word != "/"] + todo
        done = Path("/") if target.startswith("/") else done
    return hops, done


def _bar(path: Path, uid: int, gids: set[int]) -> Path | None:
    """The topmost folder above `path` that this user may not pass through."""
    for folder in reversed(path.parents):
        about = folder.stat()
        may = about.st_mode & 0o001
        if about.st_uid == uid:
            may = about.st_mode & 0o100
        elif about.st_gid in gids:
            may = about.st_mode & 0o010
        if not may:
            return folder
    return None
