"""Shut a process in: a view of the files of its own, another user, no way back. Linux calls, by ctypes.

Asked:  how does a rank run as its organisation's user when Python itself lies in a folder that this user may not enter, such
        as /root?
Answer: in a mount namespace of its own. Each folder that bars the way is covered with an empty one, in which only the paths that
        the run needs appear again, at the same names. What else lies there is hidden. `centre/isolation.py` decides what; here
        it is done.
Limits: Linux. Needs CAP_SYS_ADMIN where something must be covered.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
from collections.abc import Sequence
from typing import Any

_CLONE_NEWNS = 0x00020000  # linux/sched.h
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 0x1, 0x2, 0x4, 0x20  # linux/mount.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_NO_NEW_PRIVS = 1, 4, 15, 38  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def enter(view: dict[str, Any]) -> None:
    """Take on a view: {"covers": [folder], "binds": [[path, may be written]], "links": [[path, target]]}, parents first.

    Raises OSError with the step that failed.
    """
    if not view.get("covers") and not view.get("binds"):
        return
    _check(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    # Held open from before the covering: afterwards the names lead nowhere, the descriptors still do.
    held: list[tuple[str, bool, int]] = [(path, write, os.open(path, os.O_PATH)) for path, write in view["binds"]]
    for cover in view["covers"]:
        _mount("tmpfs", cover, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for path, target in view["links"]:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(target, path)
    for path, write, descriptor in held:
        _make_place(path, stat.S_ISDIR(os.fstat(descriptor).st_mode))
        _mount(f"/proc/self/fd/{descriptor}", path, None, _MS_BIND | _MS_REC)
        if not write:
            _mount("none", path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _locked_flags(path))
        os.close(descriptor)


def _locked_flags(path: str) -> int:
    """The flags that the file system below was mounted with; a remount that drops one of them is refused. Same bits as MS_*."""
    kept = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
    return os.statvfs(path).f_flag & kept


def _make_place(path: str, folder: bool) -> None:
    old = os.umask(0o022)
    try:
        if folder:
            os.makedirs(path, mode=0o755, exist_ok=True)
        elif not os.path.exists(path):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    finally:
        os.umask(old)


def become(uid: int | None, gid: int | None, groups: Sequence[int], parent: int) -> None:
    """Become the organisation's user, for good, and die with the parent. Without a uid: only the latter."""
    if uid is not None and gid is not None:
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "forbid new privileges")
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "own /proc/self")  # a change of user gives it to root
    die_with(parent)


def be_called(name: str) -> None:
    """The name that `ps -o comm` and `pkill -x` know this process by; the kernel keeps 15 bytes of it."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "take a name")


def die_with(parent: int) -> None:
    """Be killed when the parent process dies. A change of user clears this, so it is said after one."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "ask to die with the parent")
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _check(_libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]), "mount on " + target)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
