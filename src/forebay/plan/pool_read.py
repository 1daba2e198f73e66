"""The pool that a person writes: "h100-sxm:64", or a TOML file with links and prices.

Asked:  which cards are these, how are they joined, and what of that did nobody say?
Answer: `pool(text)`, and `describe(text)`, which lists what was assumed. What isn't said is as the card is usually built into
        machines (`data/builds.toml`), with a scale-up speed of half the catalogue's figure, which counts both directions.
Units:  files say "400 Gbit/s", "80 GB", "1.2 kW", and a price as "2.10" in the pool's currency. Speeds are one way, of one card.
Limits: a kind is one row of cards alike. A pool larger than an island is islands of that size, the last one perhaps smaller.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from forebay import units
from forebay.chips import catalogue
from forebay.chips.chip import Chip
from forebay.codec import decode
from forebay.errors import BadInput, Unknown, nearest
from forebay.fabric.quantity import line_of, speed, where
from forebay.plan.pool import Cards, Pool
from forebay.plan.pool_fields import MOST, known_keys, values
from forebay.plan.read import text_of

FILE = Path(__file__).parent / "data" / "builds.toml"
HINT = '"h100-sxm:64", "h100-sxm:4096,ascend-910b:2048", or the path of a TOML file (docs/plan-models.md)'
TOP = ("currency", "between", "cards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A Pool with what was assumed of it.

    What a person said, filled up; never what is free just now.
    """

    pool: Pool
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """How cards of a chip are usually joined, and who says so."""

    island: int
    out_bytes_per_s: float
    why: str
    up_bytes_per_s: float | None = None  # None: half of the catalogue's figure
    mesh: int = 0


def pool(text: str, chips: Mapping[str, Chip] | None = None) -> Pool:
    """The Pool that a line or a file tells of."""
    return describe(text, chips).pool


def describe(text: str, chips: Mapping[str, Chip] | None = None) -> Given:
    """The same, with what was assumed."""
    known = catalogue.load() if chips is None else chips
    path = Path(text)
    if text.endswith(".json"):
        return Given(pool=_noun(path, known))
    if text.endswith(".toml") or os.path.isfile(text):
        return from_toml(text_of(path), known, str(path))
    return _line(text, known)


def _line(text: str, known: Mapping[str, Chip]) -> Given:
    """ "h100-sxm:4096,ascend-910b:2048"."""
    told: list[tuple[Cards, list[str]]] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(?P<chip>[\w.+-]+)\s*:\s*(?P<count>\d[\d_]*)\s*", part)
        found = found or re.fullmatch(r"\s*(?P<count>\d[\d_]*)\s*x\s*(?P<chip>[\w.+-]+)\s*", part)  # as tables print it
        if not found:
            raise BadInput(
                "That is no pool: a chip, a colon and how many.", asked=repr(text), found=repr(part.strip()), hint=HINT
            )
        name, count = found["chip"].lower(), int(found["count"])
        if any(cards.chip == name for cards, _ in told):
            raise BadInput(f"{name} is named twice.", asked=text, hint="one entry with their sum; kinds apart need a TOML file")
        if not 1 <= count <= MOST:
            raise BadInput(f"{name}: between 1 and {MOST:,} cards.", asked=text, found=found["count"])
        told.append(_cards({"chip": name, "count": count}, known))
    return Given(pool=Pool(cards=tuple(cards for cards, _ in told)), assumed=tuple(note for _, notes in told for note in notes))


def from_toml(text: str, known: Mapping[str, Chip], file: str) -> Given:
    """The pool of a TOML text."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise BadInput(f"{file}: no TOML: {bad}.", hint="examples/pools has four to start from") from None
    known_keys(data, TOP, file, text)
    currency = data.get("currency", "")
    if not isinstance(currency, str) or (currency and not re.fullmatch(r"[A-Z]{3}", currency)):
        raise BadInput(f"{file}, {where('currency', line_of(text, 'currency', currency))}: three letters.", hint="CNY, USD, EUR")
    rows = data.get("cards")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{file}: no cards.", hint="[[cards]], then chip and count")
    notes: list[str] = []
    cards = []
    for row in rows:
        try:
            one, assumed = _cards(values(row, currency, text), known)
        except BadInput as bad:
            raise BadInput(f"{file}, {bad.text}", found=bad.found, hint=bad.hint) from None
        cards.append(one)
        notes += assumed
    between = data.get("between")
    at = line_of(text, "between", between)
    return Given(
        pool=Pool(
            cards=tuple(cards),
            currency=currency,
            between_bytes_per_s=None if between is None else speed(between, "between", at),
        ),
        assumed=tuple(notes),
    )


def _cards(told: Mapping[str, Any], known: Mapping[str, Chip]) -> tuple[Cards, list[str]]:
    """Cards filled up with the usual build, and what that assumed."""
    name, count = told["chip"], told["count"]
    chip = _found(name, known, {"memory_bytes", "memory_bytes_per_s", "flop_per_s"} <= set(told))
    build = usual(chip, told.get("up_bytes_per_s"))
    island = min(told.get("island", build.island), count)
    said = {key: value for key, value in told.items() if key != "island"}
    out = told.get("out_bytes_per_s", build.out_bytes_per_s)
    up = told.get("up_bytes_per_s")
    if up is None and "island" in told and island > 1 and build.up_bytes_per_s is None:
        raise BadInput(
            f"cards: {name} in islands of {island}, but the catalogue has no scale-up speed for it.", hint='scale_up = "64 GB/s"'
        )
    up = up or build.up_bytes_per_s or out
    filled = Cards(**{"mesh": build.mesh, **said, "island": island, "up_bytes_per_s": up, "out_bytes_per_s": out})
    parts = [f"islands of {island}"] if "island" not in told else []
    if "up_bytes_per_s" not in told and island > 1:
        parts.append(f"{units.show_bytes_per_s(up)} inside, one way" + (f", by {filled.mesh - 1} links" if filled.mesh else ""))
    if "out_bytes_per_s" not in told and count > island:
        parts.append(f"{units.write_bytes_per_s(out)} a card between islands")
    notes = [f"{name}: {', '.join(parts)} ({build.why})"] if parts else []
    if chip is None:
        notes.append(f"{name}: not in the catalogue, its figures are the pool's alone")
    if count % island:
        notes.append(f"{name}: {count:,} cards aren't whole islands of {island}: the last holds {count % island}")
    return filled, notes


def _found(name: str, known: Mapping[str, Chip], whole: bool) -> Chip | None:
    """The catalogue's chip; None for one that only its owner knows, and tells of as a `whole`."""
    if name not in known and not whole:
        near = ", ".join(nearest(name, list(known)))
        own = "forebay chips; or say a new chip's memory, bandwidth and peak in a TOML file"
        raise Unknown("There is no such chip in the catalogue.", asked=name, hint=near or own)
    return known.get(name)


def usual(chip: Chip | None, up_bytes_per_s: float | None = None) -> Build:
    """How cards of this chip are usually joined; of a chip that isn't in the catalogue, None, the default."""
    both = chip.scale_up_bytes_per_s if chip else None
    half = up_bytes_per_s or (both / 2 if both else None)
    build = _builds().get(chip.name if chip else "")
    if chip is not None and build is not None:
        return Build(
            island=build.island if build.up_bytes_per_s or half else 1,
            out_bytes_per_s=build.out_bytes_per_s,
            up_bytes_per_s=build.up_bytes_per_s or half,
            mesh=build.mesh,
            why=build.why,
        )
    plain = _builds()[""]
    return Build(
        island=plain.island if half else 1,
        out_bytes_per_s=plain.out_bytes_per_s,
        up_bytes_per_s=half,
        why=plain.why if half else f"{plain.why}; no scale-up link is known",
    )


@cache
def _builds() -> Mapping[str, Build]:
    """The file's builds by chip; the default's name is empty."""
    data = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {chip: _build(table) for table in ({**data["default"], "chips": [""]}, *data["builds"]) for chip in table["chips"]}


def _build(table: Mapping[str, Any]) -> Build:
    return Build(
        island=table["island"],
        out_bytes_per_s=units.parse_bytes_per_s(table["out"]),
        up_bytes_per_s=units.parse_bytes_per_s(table["up"]) if "up" in table else None,
        mesh=table.get("mesh", 0),
        why=table["source"] if "source" in table else f"assumed: {table['assumed']}",
    )


def _noun(path: Path, known: Mapping[str, Chip]) -> Pool:
    """A Pool's own JSON."""
    try:
        read = decode(Pool, json.loads(text_of(path)))
    except json.JSONDecodeError as bad:
        raise BadInput(f"{path}, line {bad.lineno}: no JSON: {bad.msg}.") from None
    except BadInput as bad:
        raise BadInput(f"{path}: {bad.text}", found=bad.found, hint=bad.hint) from None
    for cards in read.cards:
        _found(cards.chip, known, None not in (cards.memory_bytes, cards.memory_bytes_per_s) and bool(cards.flop_per_s))
    return read
