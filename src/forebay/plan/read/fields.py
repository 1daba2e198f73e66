"""The fields of a config.json, each read with its kind or refused with its file and line.

Asked:  how many layers does this file say there are, by whichever of these names; and if it says nonsense, on which line?
Answer: `parse(text, file)` makes Fields; `count`, `flag`, `table` and `listed` read one field. An error names file, line
        and field.
Limits: lines are looked for only when something is wrong. A mapping given from Python has no lines: the field alone is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forebay.errors import BadInput, nearest

MOST = 10**9  # no width, vocabulary or number of experts is larger; a figure beyond is a slip
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """A table of a configuration, where it stands, and the text in which it was written."""

    data: Mapping[str, Any]
    file: str
    text: str = ""
    path: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return self.data.get(name) is not None

    def first(self, *names: str) -> str | None:
        """The first of these names that has a value; null counts as none."""
        return next((name for name in names if name in self), None)

    def where(self, name: str) -> str:
        line = line_of(self.text, (*self.path, name)) if self.text else 0
        at = ".".join((*self.path, name))
        return f"{self.file}, line {line}: {at}" if line else f"{self.file}: {at}"

    def wrong(self, name: str, wanted: str, hint: str = "") -> BadInput:
        return BadInput(f"{self.where(name)}: {wanted}", found=f"{self.data.get(name)!r:.80}", hint=hint)

    def missing(self, *names: str) -> BadInput:
        null = next((name for name in names if name in self.data), None)
        if null is not None:
            return self.wrong(null, "a whole number.")
        at = ".".join((*self.path, names[0]))
        near = [one for name in names for one in nearest(name, [str(key) for key in self.data])]
        other = f" (or {', '.join(names[1:])})" if names[1:] else ""
        hint = (
            f"it has {', '.join(dict.fromkeys(near))}"
            if near
            else f"it has {', '.join(map(str, list(self.data)[:12])) or 'nothing'}"
        )
        return BadInput(f"{self.file}: {at}{other} is missing.", found=hint, hint=f'write "{names[0]}": a whole number')

    def count(self, *names: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
        """A whole number by the first of these names; without `default` one of them must be there."""
        name = self.first(*names)
        if name is None:
            if default is None:
                raise self.missing(*names)
            return default
        value = self.data[name]
        if isinstance(value, (list, tuple)) and value and all(item == value[0] for item in value):
            value = value[0]  # one figure a layer, all alike
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            large = isinstance(value, int) and value > most
            raise self.wrong(name, f"a whole number, {least} or more{f', at most {most:,}' if large else ''}.")
        return value

    def number(self, name: str, default: float) -> float:
        value = self.data[name] if name in self else default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < MOST:
            raise self.wrong(name, "a number above zero.")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.data[name] if name in self else default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false.")
        return value

    def word(self, name: str, default: str = "") -> str:
        value = self.data[name] if name in self else default
        if not isinstance(value, str):
            raise self.wrong(name, "a text.")
        return value

    def table(self, name: str) -> Fields | None:
        if name not in self:
            return None
        if not isinstance(self.data[name], Mapping):
            raise self.wrong(name, "a table.")
        return Fields(data=self.data[name], file=self.file, text=self.text, path=(*self.path, name))

    def listed(self, name: str, kinds: type | tuple[type, ...]) -> list[Any] | None:
        if name not in self:
            return None
        value = self.data[name]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, kinds) for item in value):
            raise self.wrong(name, "a list.")
        return list(value)


class _Twice(Exception):
    pass


def parse(text: str, file: str) -> Fields:
    """The table that a JSON text holds. A slip is named by its line."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise _Twice(next(name for name in names if names.count(name) > 1))
        return dict(pairs)

    try:
        data = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as bad:
        line = text.splitlines()[bad.lineno - 1].strip() if text.strip() else ""
        raise BadInput(f"{file}, line {bad.lineno}: no JSON: {bad.msg}.", found=line[:80] or "an empty file") from None
    except _Twice as twice:
        last = text.rfind(f'"{twice}"')
        raise BadInput(f"{file}, line {text.count(chr(10), 0, last) + 1}: {twice} is said twice.") from None
    except RecursionError:
        raise BadInput(f"{file}: nested too deep.") from None
    if not isinstance(data, dict):
        raise BadInput(f"{file}, line 1: a table of fields, in braces.", found=f"{data!r:.60}")
    return Fields(data=data, file=file, text=text)


def line_of(text: str, path: tuple[str, ...]) -> int:
    """The line on which the key at this path stands, 0 if there is none. Keys in lists don't count."""
    at: list[str] = []  # keys on the way down, "" for the list or table itself
    kinds: list[str] = []
    key, wants_key = "", False
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in "{[":
            at.append(key if kinds else "")
            kinds.append(word)
            key, wants_key = "", word == "{"
        elif word in "}]":
            if kinds:
                kinds.pop()
                at.pop()
            wants_key = False
        elif word == ",":
            wants_key = bool(kinds) and kinds[-1] == "{"
        elif word[0] == '"' and wants_key:
            key, wants_key = word[1:-1], False
            if (*at[1:], key) == path and "[" not in kinds:
                return text.count("\n", 0, token.start()) + 1
    return 0
