"""A table that a reader gets: its header, its rows, and the words for what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import BadInput


@dataclass(slots=True)
class Table:
    """A file with named columns, read row by row."""

    path: Path
    header: tuple[str, ...]
    lines: Iterator[list[str]]
    part: str = ""  # which of several traces in one file is meant
    data: Path | None = None  # the file that goes with it: speeds

    def rows(self) -> Iterator[dict[str, str]]:
        for number, line in enumerate(self.lines, 2):
            if not line:
                continue
            if len(line) != len(self.header):
                raise BadInput(
                    "A line of the trace has more or fewer fields than its header.",
                    asked=f"{self.path}, line {number}",
                    found=f"{len(line)} fields, where the header has {len(self.header)}",
                )
            yield dict(zip(self.header, line, strict=True))

    def need_part(self, parts: Iterable[str]) -> None:
        """Refuse a part that isn't there, or none where there are several."""
        known = list(dict.fromkeys(parts))
        if self.part not in known and (self.part or len(known) > 1):
            raise BadInput(
                "That file holds several traces, and none of this name." if self.part else "That file holds several traces.",
                asked=self.part or str(self.path),
                found=", ".join(known[:20]) + (" ..." if len(known) > 20 else ""),
                hint="choose one with --part",
            )


def number(row: dict[str, str], column: str, path: Path) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise BadInput("A field of the trace is no number.", asked=f"{path}, column {column}", found=repr(row[column])) from None
