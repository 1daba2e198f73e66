"""Folders made by hypothesis, and what is in a folder, as values to compare."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

NAMES = st.text(alphabet="abcAB01._-é ", min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and name != ".gitignore"
)
FILES = st.binary(max_size=200)
TREES = st.recursive(FILES, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12).filter(
    lambda tree: isinstance(tree, dict)
)


def plant(tree: dict[str, object] | bytes, at: Path) -> Path:
    """Write a tree of bytes and dictionaries to disk."""
    if isinstance(tree, bytes):
        at.write_bytes(tree)
        return at
    at.mkdir()
    for name, inner in tree.items():
        plant(inner, at / name)  # type: ignore[arg-type]
    return at


def seen(folder: Path) -> dict[str, object]:
    """What is in a folder: {"a/": None, "a/b": b"content", "a/link": "-> b"}."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name + "/"] = None
        else:
            found[name] = path.read_bytes()
    return found
