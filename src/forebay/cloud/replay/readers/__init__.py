"""Read a trace, in whichever format its beginning shows.

    trace = read(path, part="120", data=speeds)

Asked:  what is in this file?
Answer: a table is known by the names of its columns, Kueue's inputs by their key, a journal by SQLite's first bytes; gzip is
        unpacked on the way. What is none of these is refused with what was found.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from forebay.cloud.replay.readers import gavel, journal, kueue, others, philly, pollux, sacct
from forebay.cloud.replay.readers.files import first_bytes, open_text
from forebay.cloud.replay.readers.table import Table
from forebay.cloud.replay.trace import Trace
from forebay.errors import BadInput

_BY_COLUMNS: Mapping[frozenset[str], Callable[[Table], Trace]] = {
    frozenset(philly.COLUMNS): philly.read,
    pollux.COLUMNS: pollux.read,
    gavel.COLUMNS: gavel.read,
    sacct.NEEDED: sacct.read,
    **others.READERS,
}
FORMATS = ("philly", "gavel", "shockwave", "pollux", "muri", "chronus", "openb (Alibaba)", "kueue", "sacct", "journal")


def read(path: Path, *, part: str = "", data: Path | None = None) -> Trace:
    """`part`: which of several traces in one file. `data`: the file that goes with it, where it needs one."""
    if path.is_dir():
        path = path / "journal.sqlite"
    if first_bytes(path).startswith(journal.MAGIC):
        return journal.read(path)
    with open_text(path) as lines:
        first = lines.readline()
        if first.lstrip().startswith("{"):
            return _json(path, first + lines.read(), part)
        header = tuple(next(csv.reader([first], delimiter=_between(first)), ()))
        rows = csv.reader(lines, delimiter=_between(first), quoting=csv.QUOTE_NONE if "|" in first else csv.QUOTE_MINIMAL)
        for columns, reader in _BY_COLUMNS.items():
            if columns <= set(header):
                return reader(Table(path, header, rows, part, data))
    raise _unknown(path, f"the header {first.strip()[:200]!r}")


def _between(header: str) -> str:
    return "|" if "|" in header else ","


def _json(path: Path, text: str, part: str) -> Trace:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise _unknown(path, f"JSON that can't be read: {error}") from None
    if "inputs" in body:
        return kueue.read(path, body, part)
    raise _unknown(path, f"JSON with the keys {', '.join(list(body)[:10])}")


def _unknown(path: Path, found: str) -> BadInput:
    return BadInput("That is no trace that I know.", asked=str(path), found=found, hint=f"one of {', '.join(FORMATS)}")
