"""A bill as CSV, for spreadsheets: money in whole units with six digits, times in seconds, moments in UTC."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forebay.units import MICRO_PER_UNIT, NS_PER_S

_NAMES = ("organisation", "project", "member", "job", "job_name", "run", "centre", "chip", "pretend", "cards", "outcome")
_SUMS = ("cost", "lost", "credited", "earned", "billed")


def write(whole: dict[str, Any], path: Path) -> None:
    """All rows into a file, which is there whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text(whole), encoding="utf-8", newline="")
    draft.replace(path)


def text(whole: dict[str, Any]) -> str:
    made = io.StringIO()
    csv.writer(made).writerows([_plain(cell) for cell in row] for row in rows(whole))
    return made.getvalue()


def rows(whole: dict[str, Any]) -> list[list[Any]]:
    """A header and a row for each run and each centre that earned; or, where the bill is split, for each part of it."""
    currency = whole["currency"]
    if "rows" in whole:
        head = [*whole["by"], "runs", "card_s", "lost_card_s", *(f"{name}_{currency}" for name in _SUMS)]
        return [head, *([*(row[field] for field in whole["by"]), row["runs"], *_sums(row)] for row in whole["rows"])]
    head = ["kind", *_NAMES, "began_utc", "held_s", "lost_s", f"price_{currency}_per_card_s", "card_s", "lost_card_s"]
    head += [*(f"{name}_{currency}" for name in _SUMS), "credited_for"]
    return [head, *map(_usage, whole["lines"]), *map(_earned, whole["earned"])]


def _usage(line: dict[str, Any]) -> list[Any]:
    began = datetime.fromtimestamp(line["began_ns"] // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = [began, _s(line["held_ns"]), _s(line["lost_ns"]), _money(line["price_micro_per_card_s"])]
    sums = _sums({**line, "lost_card_ns": line["cards"] * line["lost_ns"], "earned_micro": 0})
    return ["usage", *(line[name] for name in _NAMES), *times, *sums, line["credit"]]


def _earned(one: dict[str, Any]) -> list[Any]:
    known = {**dict.fromkeys(_NAMES, ""), **{name: one[name] for name in ("organisation", "centre", "chip", "pretend")}}
    nothing = dict.fromkeys(("card_ns", "lost_card_ns", *(f"{name}_micro" for name in _SUMS)), 0)
    sums = _sums({**nothing, "earned_micro": one["earned_micro"], "billed_micro": -one["earned_micro"]})
    return ["earned", *(known[name] for name in _NAMES), "", "", "", "", *sums, ""]


def _sums(row: dict[str, Any]) -> list[str]:
    return [_s(row["card_ns"]), _s(row["lost_card_ns"]), *(_money(row[f"{name}_micro"]) for name in _SUMS)]


def _s(ns: int) -> str:
    return f"{ns // NS_PER_S}.{ns % NS_PER_S:09d}"


def _money(micro: int) -> str:
    whole, rest = divmod(abs(micro), MICRO_PER_UNIT)
    return f"{'-' if micro < 0 else ''}{whole}.{rest:06d}"


def _plain(cell: Any) -> Any:
    """A name that a spreadsheet would take for a formula is made a text. Numbers of ours are left alone."""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(cell):
        return "'" + cell
    return cell


def _is_number(cell: str) -> bool:
    return cell.lstrip("-").replace(".", "", 1).isdigit()


def columns(text_: str) -> Iterable[dict[str, str]]:
    """What `text` wrote, read again."""
    return csv.DictReader(io.StringIO(text_))
