"""Open a text file that may be gzip."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TextIO, cast

from forebay.errors import BadInput

_GZIP = b"\x1f\x8b"


def open_text(path: Path) -> TextIO:
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP
    except OSError as error:
        raise BadInput("The file can't be read.", asked=str(path), found=error.strerror or "", hint="a path of a file") from None
    return cast(TextIO, gzip.open(path, "rt", encoding="utf-8")) if packed else open(path, encoding="utf-8", newline="")
