"""The noun Table: rows for people, as text and in a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What stands in rows and columns, as texts.

    It says how it reads, never what it means: figures stay in the nouns they came from.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        wide = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        right = [_numbers(self, i) for i in range(len(self.columns))]
        lines = [
            "  ".join(word.rjust(w) if r else word.ljust(w) for word, w, r in zip(row, wide, right, strict=True)).rstrip()
            for row in (self.columns, *self.rows)
        ]
        return "\n".join([self.title, *lines] if self.title else lines)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        style = ["text-align:right" if _numbers(self, i) else "text-align:left" for i in range(len(self.columns))]
        head = "".join(f'<th style="{s}">{escape(c)}</th>' for c, s in zip(self.columns, style, strict=True))
        body = "\n".join(
            "<tr>" + "".join(f'<td style="{s}">{escape(c)}</td>' for c, s in zip(row, style, strict=True)) + "</tr>"
            for row in self.rows
        )
        title = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of values; whole numbers get their commas, what is None is a dash."""
    return Table(title=title, columns=tuple(columns), rows=tuple(tuple(map(_word, row)) for row in rows))


def of(noun: Any, title: str = "") -> Table:
    """A noun as a table of its fields: `_repr_html_` of a dataclass may be `return of(self)._repr_html_()`."""
    fields = [(field.name, getattr(noun, field.name)) for field in dataclasses.fields(noun)]
    return table(title or type(noun).__name__, ("", ""), fields)


def _word(x: Any) -> str:
    if x is None:
        return "-"
    if isinstance(x, bool):
        return "yes" if x else "no"
    if isinstance(x, int):
        return f"{x:,}"
    if isinstance(x, float):
        return f"{x:,.4g}" if abs(x) < 10_000 else f"{x:,.0f}"
    if isinstance(x, (tuple, list)):
        return ", ".join(map(_word, x))
    return str(x)


def _numbers(table: Table, i: int) -> bool:
    return bool(table.rows) and all(row[i][:1].isdigit() or row[i] in ("-", "") or row[i][:1] in "+-−" for row in table.rows)
