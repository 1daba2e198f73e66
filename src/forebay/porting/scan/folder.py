"""The files of a folder that are read.

Asked:  which files of this folder are its own, and can be read?
Answer: all that aren't hidden, installed or built, in the order of their names. Links aren't followed: what they lead to inside
        the folder is read in its own place, what lies outside isn't the project's, and a loop of links is none.
Limits: a folder with more files than `most` is refused with the number; a file larger than `largest_bytes` is told, unread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import BadInput, Unknown

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})

Say = Callable[[int, int, str], None]  # files done, of how many, the one that is next


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a folder is read at most. It doesn't say what: that is told by the files' names."""

    most: int = 200_000  # files that can be read
    largest_bytes: int = 8_000_000  # of one file; larger ones are data, or written by a program


def files(root: Path, reads: Callable[[str], bool], limits: Limits) -> list[str]:
    """Paths below the folder, with "/" between their parts. Raises Unknown where there is no such folder."""
    if not root.is_dir():
        raise Unknown(f"{root}: there is no such folder.")
    found = []
    for path in _walk(root):
        if reads(path):
            found.append(path)
            if len(found) > limits.most:
                raise BadInput(
                    f"{root} holds more files than are read at once.",
                    found=f"more than {limits.most:,} scripts and sources",
                    hint="give a folder inside it, or raise the limit",
                )
    return found


def _walk(root: Path) -> Iterator[str]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue  # a folder that we may not open
        below = []
        for entry in inside:
            if entry.name.startswith(".") or entry.name in _SKIPPED or "\n" in entry.name:
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif entry.is_file(follow_symlinks=False):
                yield path
        waiting += reversed(below)
