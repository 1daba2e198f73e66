"""Slurm's short ways to write many names and numbers: "h[1-3,07],login" is h1, h2, h3, h07 and login. Pure.

The lead of every run imports this before anything else happens, so it imports next to nothing.

Limits: names in the order in which they are written; "a[1-2]b[1-2]" counts the last bracket fastest, as Slurm does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_GRES_OF = re.compile(r"^\s*Nodes=(\S+) .*\bGRES(?:_IDX)?=(\S+)", re.MULTILINE)
_GIVEN = re.compile(r"([A-Za-z_][\w.-]*)(?::([\w.-]*[A-Za-z_][\w.-]*))?(?::\d+)?\(([^)]*)\)")
_RANGE = re.compile(r"(\d+)-(\d+)")


def expand(text: str) -> tuple[str, ...]:
    """Every name that a host list stands for."""
    if text in ("", "(null)", "None"):
        return ()
    return tuple(name for part in _split(text) for name in _names(part))


def _split(text: str) -> list[str]:
    """The parts between commas that are in no bracket."""
    return [part for part in re.split(r",(?![^\[]*\])", text) if part]


def _names(part: str) -> Iterable[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        return [part]
    inside, _, tail = rest.partition("]")
    return (
        [head + middle + end for middle in _numbers(inside) for end in _names(tail)]
        if tail
        else [head + middle for middle in _numbers(inside)]
    )


def _numbers(inside: str) -> Iterable[str]:
    for piece in inside.split(","):
        ends = _RANGE.fullmatch(piece)
        if ends is None:
            yield piece
            continue
        width = len(ends[1])  # "[08-11]" keeps its zeros
        yield from (str(number).zfill(width) for number in range(int(ends[1]), int(ends[2]) + 1))


def numbers(text: str) -> tuple[int, ...]:
    """A list of numbers as Slurm writes it: "0-3,6" is 0, 1, 2, 3, 6; "N/A" is none."""
    return () if text in ("", "N/A", "(null)") else tuple(int(number) for number in _numbers(text))


def bound(text: str, key: str) -> dict[str, tuple[int, ...]]:
    """Which cards of one kind a job has on each node: `scontrol -d show job`. `key`: "npu:ascend910b". None named: they are only
    counted there.
    """
    name, _, model = key.partition(":")
    found: dict[str, tuple[int, ...]] = {}
    for nodes, given in _GRES_OF.findall(text):
        cards: tuple[int, ...] = ()
        for kind, mine, inside in _GIVEN.findall(given):
            if kind == name and mine in ("", model) and inside.startswith("IDX:"):
                cards += numbers(inside.removeprefix("IDX:"))
        found.update(dict.fromkeys(expand(nodes), cards))
    return found
