"""Print nouns: tables for people, JSON for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from forebay.errors import ForebayError

# Into a file or a pipe, tables are drawn wide instead of folded to a terminal that isn't there.
console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 150)
errors = Console(stderr=True, highlight=False, soft_wrap=True)
JSON_HELP = "Print JSON instead of a table."


def as_json(value: Any) -> None:
    """Print plain data as JSON on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), title: str = "") -> None:
    """Print a table. Columns named in `right` are aligned to the right, as numbers are."""
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    console.print(drawn)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print "name  value" lines, aligned."""
    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column(style="bold")
    drawn.add_column(overflow="fold")
    for name, value in pairs:
        drawn.add_row(name, str(value))
    console.print(drawn)


@contextlib.contextmanager
def bytes_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr: tell it what is being done, how many bytes are through, and of how many (0: not known)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None)


@contextlib.contextmanager
def count_bar() -> Iterator[Callable[[str, int, int], None]]:
    """As `bytes_bar`, for things that are counted."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None)


def error(problem: ForebayError) -> None:
    """Print an error on stderr; as JSON too, where the caller asked for JSON."""
    ours = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else sys.argv  # after that they are a script's own
    if "--json" in ours:
        json.dump({"error": problem.to_json()}, sys.stderr, ensure_ascii=False)
        sys.stderr.write("\n")
        return
    errors.print(f"{problem.kind}: {problem}", markup=False)
