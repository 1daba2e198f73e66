"""Plain data as YAML.

Asked:  FlagScale reads YAML; how is it written without a library, and read back as the same data by any?
Answer: mappings and lists of plain values, block style, every text in double quotes as JSON writes it, which YAML 1.2 takes as
        they are (section 7.3.1); so no text is ever taken for a number, a date or `no`.
Limits: writes only. Keys are plain words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def dump(data: Mapping[str, object]) -> str:
    return "\n".join(_block(data, 0)) + "\n"


def _block(data: Mapping[str, object], deep: int) -> list[str]:
    lines = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{'  ' * deep}{key}:", *_block(value, deep + 1)]
        elif (
            isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], (Mapping, list, tuple))
        ):
            lines.append(f"{'  ' * deep}{key}:")
            lines += [f"{'  ' * (deep + 1)}- {_item(one)}" for one in value]
        else:
            lines.append(f"{'  ' * deep}{key}: {_item(value)}")
    return lines


def _item(value: object) -> str:
    """A value on one line: JSON, which YAML is a superset of."""
    return json.dumps(value, ensure_ascii=False)
