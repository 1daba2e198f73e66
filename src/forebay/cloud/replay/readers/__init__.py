"""Read a trace in whichever format its header shows."""

from __future__ import annotations

import csv
from pathlib import Path

from forebay.cloud.replay.readers import philly
from forebay.cloud.replay.readers.files import open_text
from forebay.cloud.replay.trace import Trace
from forebay.errors import BadInput


def read(path: Path) -> Trace:
    with open_text(path) as lines:
        rows = csv.reader(lines)
        header = tuple(next(rows, ()))
        if header == philly.COLUMNS:
            return philly.read(rows, path.name)
    raise BadInput("That is no trace that I know.", asked=str(path), found=f"the header {','.join(header)[:200]!r}")
