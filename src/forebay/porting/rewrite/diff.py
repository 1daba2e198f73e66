"""Show rewritten files as one diff that `git apply` takes.

Asked:  what would change, line by line?
Answer: a unified diff in bytes, with git's headers. A line ends at a line feed, as git has it, so carriage returns and form
        feeds stay inside their lines, and a missing last line feed is told.
Limits: names are those of the tree that was asked for: apply it there (git apply takes the folder of the repository).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from forebay.porting.rewrite.rewritten import Rewritten

_AROUND = 3  # lines of context, as git has them


def unified(files: Iterable[Rewritten]) -> bytes:
    """The diff of all files that change; empty where none does."""
    return b"".join(line for one in files if one.after != one.before for line in _file(one))


def _file(one: Rewritten) -> Iterator[bytes]:
    old, new = _quoted(f"a/{one.path}"), _quoted(f"b/{one.path}")
    tab = b"\t" if " " in one.path else b""  # git ends a name with spaces so
    yield b"diff --git %s %s\n" % (old, new)
    lines = difflib.diff_bytes(difflib.unified_diff, _lines(one.before), _lines(one.after), old, new, n=_AROUND, lineterm=b"\n")
    for number, line in enumerate(lines):
        if number < 2:
            yield line.rstrip(b"\n") + tab + b"\n"
        elif line.endswith(b"\n"):
            yield line
        else:
            yield line + b"\n\\ No newline at end of file\n"


def _lines(body: bytes) -> list[bytes]:
    lines = body.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _quoted(name: str) -> bytes:
    """A name as git writes it: quoted, byte by byte, where it holds more than plain letters."""
    raw = name.encode("utf-8", "surrogateescape")
    if all(32 <= byte < 127 and byte not in b'"\\' for byte in raw):
        return raw
    escaped = "".join(
        chr(b) if 32 <= b < 127 and b not in b'"\\' else "\\" + (chr(b) if b in b'"\\' else f"{b:03o}") for b in raw
    )
    return f'"{escaped}"'.encode()
