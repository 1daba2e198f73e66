"""Put rewritten files in the place of the old ones, all or none.

Asked:  is it safe to write, and where are the originals afterwards?
Answer: every file is looked at first: it must be what was read, and lie in the tree. A file that git tracks, unchanged since the
        last commit, is in git; of every other a copy NAME.orig is made beside it. New bodies are written next to the old ones,
        with their permissions, and take their places by rename. Where anything fails, what was replaced is put back.
Limits: between two renames another process may see some files new and some old. A file that is reached by a link is written
        where it really lies, if that is in the tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import BadInput
from forebay.porting.rewrite.rewritten import Rewritten


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and where each original is."""

    files: tuple[str, ...]
    in_git: tuple[str, ...]
    copies: tuple[str, ...]  # NAME.orig


def write(root: Path, files: Sequence[Rewritten]) -> Written:
    """Write every file that changed. Raises BadInput, and changes nothing, where one can't be."""
    root = root.resolve()
    changed = {_place(root, one): one for one in files if one.after != one.before}
    for place, one in changed.items():
        _same(place, one)
    tracked = {place for place in changed if _is_in_git(place)}
    drafts: dict[Path, Path] = {}
    copies: list[Path] = []
    replaced: list[Path] = []
    try:
        for place, one in changed.items():
            drafts[place] = _draft(place, one.after)
            if place not in tracked:
                copies.append(_copy(place))
        for place, one in changed.items():
            _same(place, one)
            os.replace(drafts[place], place)
            replaced.append(place)
    except BaseException as error:
        for place in replaced:
            os.replace(_draft(place, changed[place].before), place)
        for left_over in (*drafts.values(), *copies):
            left_over.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BadInput("The files can't be written; all are as they were.", found=str(error)) from error
        raise
    return Written(
        tuple(one.path for one in changed.values()),
        tuple(one.path for place, one in changed.items() if place in tracked),
        tuple(os.path.relpath(copy, root) for copy in copies),
    )


def _place(root: Path, one: Rewritten) -> Path:
    """Where a file really lies."""
    place = (root / one.path).resolve()
    if not place.is_relative_to(root):
        raise BadInput(
            "A link leads out of the folder; nothing was written.",
            asked=one.path,
            found=str(place),
            hint="port that folder by itself",
        )
    return place


def _same(place: Path, one: Rewritten) -> None:
    try:
        body = place.read_bytes()
    except OSError as error:
        raise BadInput("A file can't be read any more; nothing was written.", asked=one.path, found=str(error)) from None
    if body != one.before:
        raise BadInput(
            "A file changed while it was read; nothing was written.", asked=one.path, hint="run the same command again"
        )


def _draft(place: Path, body: bytes) -> Path:
    """The new body beside the old one, under a name that is free, with the same permissions."""
    draft = place.with_name(f".{place.name}.{os.getpid()}.draft")
    with open(draft, "xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(place, draft)
    return draft


def _copy(place: Path) -> Path:
    """The original beside the file; one that is there already is never written over."""
    for number in range(1, 1000):
        copy = place.with_name(f"{place.name}.orig{number if number > 1 else ''}")
        try:
            with open(copy, "xb") as file:
                file.write(place.read_bytes())
        except FileExistsError:
            continue
        shutil.copystat(place, copy)
        return copy
    raise BadInput("There are a thousand copies of this file already.", asked=str(place), hint="remove old NAME.orig files")


def _is_in_git(place: Path) -> bool:
    """Whether git holds exactly these bytes: the file is tracked, and neither it nor what is staged differs from the commit."""
    git = shutil.which("git")
    if git is None:
        return False
    asked = [git, "-C", str(place.parent), "--literal-pathspecs"]
    try:
        known = subprocess.run([*asked, "ls-tree", "--name-only", "HEAD", "--", place.name], capture_output=True, timeout=60)
        state = subprocess.run([*asked, "status", "--porcelain", "--", place.name], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return known.returncode == 0 == state.returncode and bool(known.stdout.strip()) and not state.stdout.strip()
