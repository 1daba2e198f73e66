"""Quantities as files write them: with their unit, or refused.

Asked:  is "400 Gbit/s" fifty gigabytes a second, and what is 400?
Answer: fifty; and 400 is nothing: one error names the field and the line. A name that carries its unit ("bytes_per_s", "gbps")
        may stand before a bare number.
Limits: "Gb/s" is read as bits by some and as bytes by others, so it is refused. A line is found by the field and its value; where
        neither stands in the text (an escaped letter), the error names the field alone.
"""

from __future__ import annotations

import math
import re
from typing import Any

from forebay.errors import BadInput
from forebay.units import parse_bytes_per_s

HINT = 'a speed with its unit, such as "400 Gbit/s" or "450 GB/s"'
MOST_LISTED = 2_000_000  # names that one pattern may stand for


def line_of(text: str, field: str, value: Any) -> int:
    """The first line on which `field` has this value; 0 where there is none."""
    said = re.escape(str(value).lower() if isinstance(value, bool) else str(value))
    found = re.search(rf"""["']?\b{re.escape(field)}["']?\s*[=:]\s*["']?{said}(?![\w.])""", text)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def where(field: str, line: int) -> str:
    return f"line {line}: {field}" if line else field


def speed(value: Any, field: str, line: int = 0, *, bare: str = "") -> float:
    """Bytes a second, above zero. `bare` is the unit that the field's name gives to a number without one."""
    at = where(field, line)
    told = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadInput(f"{at}: no speed.", found=repr(value), hint=HINT)
    if re.match(r"-\s*[\d.]", told):
        raise BadInput(f"{at}: a speed is above zero.", found=repr(value), hint=HINT)
    number = re.fullmatch(r"\+?(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)", told)
    if number:
        if not bare:
            raise BadInput(f"{at}: a speed without its unit.", found=repr(value), hint=HINT)
        x = float(number[1]) * parse_bytes_per_s("1 " + bare)
    else:
        x = _with_unit(told, value, at)
    if not (x > 0 and math.isfinite(x)):
        raise BadInput(f"{at}: a speed is above zero.", found=repr(value), hint=HINT)
    return x


def _with_unit(told: str, value: Any, at: str) -> float:
    if re.fullmatch(r"[\d.]+\s*[kKmMgGtT]?b/s", told):
        raise BadInput(
            f"{at}: bits or bytes?", found=repr(value), hint=told.replace("b/s", "bit/s") + " or " + told.replace("b/s", "B/s")
        )
    try:
        return parse_bytes_per_s(re.sub(r"([KMGT])bitps$", r"\1bit/s", told))
    except BadInput:
        raise BadInput(f"{at}: that is no speed that I can read.", found=repr(value), hint=HINT) from None


def whole(value: Any, field: str, line: int = 0, *, least: int = 0) -> int:
    """A whole number of things. GraphML and Gephi write "8" and "8.0" alike."""
    try:
        x = float(value)
    except (TypeError, ValueError):
        x = math.nan
    if isinstance(value, bool) or not math.isfinite(x) or x != int(x) or x < least:
        raise BadInput(f"{where(field, line)}: a whole number, {least} or more.", found=repr(value))
    return int(x)


def names(pattern: Any, field: str, line: int = 0) -> list[str]:
    """The names that "node[1-3,7]" stands for: node1, node2, node3, node7. Zeros in front are kept: "r[08-10]"."""
    if not isinstance(pattern, str) or not pattern.strip():
        raise BadInput(f"{where(field, line)}: a name.", found=repr(pattern))
    head, bracket, rest = pattern.strip().partition("[")
    if not bracket:
        return [head]
    inside, closed, tail = rest.partition("]")
    here = []
    for part in inside.split(","):
        ends = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if not closed or not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise BadInput(f"{where(field, line)}: no list of names.", found=repr(pattern), hint='"node[1-32]" or "node[1-3,7]"')
        if int(ends[2] or ends[1]) - int(ends[1]) > MOST_LISTED:
            raise BadInput(f"{where(field, line)}: more names than I list.", found=repr(pattern), hint=f"{MOST_LISTED:,} at most")
        here += [f"{head}{i:0{len(ends[1])}d}" for i in range(int(ends[1]), int(ends[2] or ends[1]) + 1)]
    after = names(tail, field, line) if tail else [""]
    if len(here) * len(after) > MOST_LISTED:
        raise BadInput(f"{where(field, line)}: more names than I list.", found=repr(pattern), hint=f"{MOST_LISTED:,} at most")
    return [one + two for one in here for two in after]
