"""Organisations whose runs are jobs of an account of the site: their folders, and how root reads what lies in them.

Asked:  where do code, data and outputs of such an organisation lie, so that its jobs reach them and nobody else's do?
Answer: in a home of its own inside the centre's, laid out like it, that belongs to the account and is closed to others. Code
        is copied there for each run; data stays where the agent keeps it, for the account's group to read.
Limits: supervisor and ranks are one user there, so a tenant could write what its supervisor says of it. Held time is
        therefore never taken to be shorter than Slurm's own (`engine.py`), and root follows no link in there: it reads as
        that user.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from forebay.centre import home, isolation, layout
from forebay.centre.order import Order
from forebay.centre.spec import Spec
from forebay.errors import BadInput

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class User:
    """An account of the site, by its numbers."""

    name: str
    uid: int
    gid: int


def find(name: str) -> User:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise BadInput("This machine doesn't know that account.", asked=name, hint="correct `accounts` in centre.toml") from None
    return User(name, entry.pw_uid, entry.pw_gid)


def lay_out(centre: Path, organisation: str, user: User) -> Path:
    """The home of an organisation in a centre's folder. Made again and again; that changes nothing."""
    inner = layout.account(centre, organisation)
    isolation.own_folder(inner.parent, 0o711)
    if not inner.exists():
        draft = inner.with_name(f".draft-{organisation}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        home.lay_out(draft)
        shutil.rmtree(draft / "runs")
        for link in ("shim", "code"):
            (draft / link).rmdir()
            (draft / link).symlink_to(centre / link)
        isolation.give(draft, user.uid, user.gid)
        draft.chmod(0o700)
        draft.rename(inner)
    return inner


def share_data(centre: Path, organisation: str, user: User) -> Path:
    """The folder of the organisation's data, for the account to read; and the way to it from its home."""
    folder = isolation.own_folder(layout.data(centre, organisation), 0o750, 0, user.gid)
    inner = lay_out(centre, organisation, user)
    link = layout.data(inner, organisation)
    with acting_as(user):
        if not link.is_symlink():
            link.symlink_to(folder)
    return folder


def bring_code(centre: Path, spec: Spec, user: User) -> None:
    """Copy a run's code to where the account can read it."""
    inner = lay_out(centre, spec.organisation, user)
    with layout.bundle(centre, spec.bundle).open("rb") as source, acting_as(user):
        archive = layout.bundle(inner, spec.bundle)
        if archive.exists():
            return
        draft = archive.with_suffix(f".draft-{spec.name}")
        with draft.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        draft.rename(archive)


def settle(order: Order, centre: Path) -> Order:
    """The order of a run whose supervisors are the account already: nothing has to change its user."""
    inner = layout.account(centre, order.spec.organisation)
    return replace(order, home=str(inner), uid=None, gid=None, run_gid=None)


@contextmanager
def acting_as(user: User | None) -> Iterator[None]:
    """Touch files with this user's rights, in this thread alone. None, or not root: with our own."""
    if user is None or os.geteuid() != 0 or user.uid == 0:
        yield
        return
    # setfsuid counts for one thread (setfsuid(2)); with it the thread loses root's right to pass over permissions.
    old = (_libc.setfsuid(0), _libc.setfsgid(0))
    _libc.setfsgid(user.gid)
    _libc.setfsuid(user.uid)
    if _libc.setfsuid(-1) != user.uid:
        _libc.setfsuid(0)
        _libc.setfsgid(0)
        raise PermissionError(f"can't touch files as {user.name} in {threading.current_thread().name}")
    try:
        yield
    finally:
        _libc.setfsuid(max(old[0], 0))
        _libc.setfsgid(max(old[1], 0))
