"""The noun Place: where in a text something was found, before it is a Finding. And the one way to make a Finding of it."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.porting.findings import Finding
from forebay.porting.rules import RULES

_WIDEST = 160  # of a line that is shown; lines of minified files have no end


@dataclass(frozen=True, slots=True)
class Place:
    """Something found in a line. It knows no file and no rule's words."""

    line: int  # from 1
    column: int  # from 1
    rule: str
    what: str


def findings(places: list[Place], path: str, lines: list[str]) -> tuple[Finding, ...]:
    """One finding a line and rule, in the order of the text."""
    first: dict[tuple[int, str], Place] = {}
    for place in sorted(places, key=lambda place: (place.line, place.column)):
        first.setdefault((place.line, place.rule), place)
    return tuple(
        Finding(
            file=path,
            line=place.line,
            column=place.column,
            rule=place.rule,
            what=place.what,
            excerpt=_shown(lines, place),
            meaning=RULES[place.rule].meaning,
        )
        for place in first.values()
    )


def _shown(lines: list[str], place: Place) -> str:
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if len(line) <= _WIDEST:
        return line.strip()
    begin = max(0, place.column - 1 - _WIDEST // 2)
    return line[begin : begin + _WIDEST].strip()
