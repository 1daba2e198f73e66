"""Forebay's own source, where the nodes of a site can read it.

Asked:  the agent's installation lies on one machine: what do the others run?
Answer: a copy in the centre's folder, named by the hash of its content, to which `code/forebay` is a link. Runs that go on
        keep the copy that they began with; a newer agent makes another.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
from pathlib import Path

from forebay.centre import layout

_ROOMS = ("centre", "chips", "data", "job", "porting")  # what supervisors and ranks import, and what carries CUDA's words
_COMPILED = ("centre", "chips", "data", "codec.py", "errors.py", "units.py", "__init__.py")


def bring(home: Path, package: Path) -> Path:
    """Copy the package, if this state of it isn't there, and point the link to it. Returns the copy."""
    code = layout.code(home)
    name = f"{fingerprint(package)}/forebay"
    if not (code / name).exists():
        draft = code / f".draft-{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        for path in _files(package):
            copy = draft / "forebay" / path.relative_to(package)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            copy.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        for part in _COMPILED:  # for the agent's own Python; another one reads the source
            target = draft / "forebay" / part
            (compileall.compile_dir if target.is_dir() else compileall.compile_file)(target, quiet=2)
        (draft).rename(code / name.split("/")[0])
    link = code / "forebay"
    if not link.is_symlink() or os.readlink(link) != name:
        new = code / f".forebay.{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(link)
    return code / name


def tidy(home: Path) -> None:
    """Drop copies that nothing points to. Only while no run goes on."""
    code = layout.code(home)
    current = os.readlink(code / "forebay").split("/")[0]
    for path in code.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name != current:
            shutil.rmtree(path, ignore_errors=True)


def fingerprint(package: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(package):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _files(package: Path) -> list[Path]:
    found = [path for path in package.iterdir() if path.is_file()]
    for room in _ROOMS:
        found += [path for path in (package / room).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(found)
