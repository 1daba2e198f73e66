"""Open a text file that may be gzip."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TextIO, cast

from forebay.errors import BadInput

_GZIP = b"\x1f\x8b"


def first_bytes(path: Path, count: int = 16) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadInput(
            "The file can't be read.", asked=str(path), found=error.strerror or "", hint="the path of a file"
        ) from None


def open_text(path: Path) -> TextIO:
    if first_bytes(path).startswith(_GZIP):
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", newline=""))
    return open(path, encoding="utf-8", newline="")
