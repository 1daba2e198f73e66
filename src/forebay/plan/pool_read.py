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
from forebay.fabric.quantity import line_of, speed, where, whole
from forebay.plan.pool import Cards, Pool
from forebay.plan.read import text_of

FILE = Path(__file__).parent / "data" / "builds.toml"
MOST = 100_000_000  # cards of a kind
HINT = '"h100-sxm:64", "h100-sxm:4096,ascend-910b:2048", or the path of a TOML file (docs/plan-models.md)'
KEYS = {
    "chip": "chip",
    "count": "count",
    "island": "island",
    "scale_up": "up_bytes_per_s",
    "scale_out": "out_bytes_per_s",
    "scale_up_latency_s": "up_latency_s",
    "scale_out_latency_s": "out_latency_s",
    "oversubscription": "oversubscription",
    "price_per_hour": "price_per_hour",
    "power": "watts",
    "memory": "memory_bytes",
    "label": "label",
}
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
        found = re.fullmatch(r"\s*([\w.+-]+)\s*:\s*(\d[\d_]*)\s*", part)
        if not found:
            raise BadInput(
                "That is no pool: a chip, a colon and how many.", asked=repr(text), found=repr(part.strip()), hint=HINT
            )
        name, count = found[1].lower(), int(found[2])
        if any(cards.chip == name for cards, _ in told):
            raise BadInput(f"{name} is named twice.", asked=text, hint="one entry with their sum; kinds apart need a TOML file")
        if not 1 <= count <= MOST:
            raise BadInput(f"{name}: between 1 and {MOST:,} cards.", asked=text, found=found[2])
        told.append(_cards({"chip": name, "count": count}, known))
    return Given(pool=Pool(cards=tuple(cards for cards, _ in told)), assumed=tuple(note for _, notes in told for note in notes))


def from_toml(text: str, known: Mapping[str, Chip], file: str) -> Given:
    """The pool of a TOML text."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise BadInput(f"{file}: no TOML: {bad}.", hint="examples/pools has three to start from") from None
    _known_keys(data, TOP, file, text)
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
            one, assumed = _cards(_values(row, currency, text), known)
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


def _known_keys(table: Mapping[str, Any], keys: tuple[str, ...], file: str, text: str) -> None:
    for key, value in table.items():
        if key not in keys:
            at = where(key, 0 if isinstance(value, (dict, list)) else line_of(text, key, value))
            said = f"{file}, {at}" if file else at
            raise BadInput(f"{said}: no field of that name.", found=key, hint=", ".join(nearest(key, list(keys)) or keys))


def _values(row: Mapping[str, Any], currency: str, text: str) -> dict[str, Any]:
    """The fields of one [[cards]] table in the noun's names and units."""
    _known_keys(row, tuple(KEYS), "", text)
    told: dict[str, Any] = {}
    for key, value in row.items():
        line = line_of(text, key, value)
        told[KEYS[key]] = _value(key, value, line, currency)
    for key in ("chip", "count"):
        if key not in told:
            line = line_of(text, "chip", row["chip"]) if "chip" in row else 0
            raise BadInput(f"{where('cards', line)}: {key} is missing.", hint='chip = "h100-sxm" and count = 64')
    return told


def _value(key: str, value: Any, line: int, currency: str) -> Any:
    at = where(key, line)
    if key in ("count", "island"):
        if isinstance(value, str) or whole(value, key, line, least=1) > MOST:
            raise BadInput(f"{at}: a whole number, 1 to {MOST:,}.", found=repr(value))
        return int(value)
    if key in ("scale_up", "scale_out"):
        return speed(value, key, line)
    if key in ("chip", "label"):
        if not isinstance(value, str) or (key == "chip" and not value):
            raise BadInput(f"{at}: a text.", found=repr(value))
        return value
    if key in ("power", "memory"):
        parse, example = (units.parse_watts, "700 W") if key == "power" else (units.parse_bytes, "80 GB")
        if not isinstance(value, str) or not re.search(r"[a-zA-Z]", value):
            raise BadInput(f"{at}: a quantity with its unit.", found=repr(value), hint=f'"{example}"')
        return _told(parse, value, at)
    if key == "price_per_hour":
        return _price(value, at, currency)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise BadInput(f"{at}: a number above zero.", found=repr(value))
    return float(value)


def _told(parse: Any, value: str, at: str) -> Any:
    try:
        x = parse(value)
    except BadInput as bad:
        raise BadInput(f"{at}: {bad.text[0].lower()}{bad.text[1:]}", found=repr(value), hint=bad.hint) from None
    if not x > 0:
        raise BadInput(f"{at}: above zero.", found=repr(value))
    return x


def _price(value: Any, at: str, currency: str) -> int:
    """Whole micro-units of the pool's currency."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadInput(f"{at}: an amount of money.", found=repr(value), hint='"2.10"')
    amount, _, unit = str(value).strip().partition(" ")
    if not currency:
        raise BadInput(f"{at}: a price without a currency.", found=repr(value), hint='currency = "CNY" at the top of the file')
    if unit and unit != currency:
        raise BadInput(f"{at}: the pool's currency is {currency}.", found=repr(value), hint=f"a price in {currency}")
    try:
        return units.parse_money(amount)
    except BadInput as bad:
        raise BadInput(f"{at}: {bad.text[0].lower()}{bad.text[1:]}", found=repr(value), hint='"2.10"') from None


def _cards(told: Mapping[str, Any], known: Mapping[str, Chip]) -> tuple[Cards, list[str]]:
    """Cards filled up with the usual build, and what that assumed."""
    name, count = told["chip"], told["count"]
    chip = known.get(name)
    if chip is None:
        raise Unknown(
            "There is no such chip in the catalogue.", asked=name, hint=", ".join(nearest(name, list(known))) or "forebay chips"
        )
    build = usual(chip)
    island = min(told.get("island", build.island), count)
    said = {key: value for key, value in told.items() if key != "island"}
    out = told.get("out_bytes_per_s", build.out_bytes_per_s)
    up = told.get("up_bytes_per_s")
    if up is None and "island" in told and island > 1 and build.up_bytes_per_s is None:
        raise BadInput(
            f"cards: {name} in islands of {island}, but the catalogue has no scale-up speed for it.", hint='scale_up = "64 GB/s"'
        )
    up = up or build.up_bytes_per_s or out
    filled = Cards(**{**said, "island": island, "up_bytes_per_s": up, "out_bytes_per_s": out})
    parts = [f"islands of {island}"] if "island" not in told else []
    if "up_bytes_per_s" not in told and island > 1:
        parts.append(f"{units.show_bytes_per_s(up)} inside, one way")
    if "out_bytes_per_s" not in told and count > island:
        parts.append(f"{units.write_bytes_per_s(out)} a card between islands")
    notes = [f"{name}: {', '.join(parts)} ({build.why})"] if parts else []
    if count % island:
        notes.append(f"{name}: {count:,} cards aren't whole islands of {island}: the last holds {count % island}")
    return filled, notes


def usual(chip: Chip) -> Build:
    """How cards of this chip are usually joined."""
    half = chip.scale_up_bytes_per_s / 2 if chip.scale_up_bytes_per_s else None
    build = _builds().get(chip.name)
    if build is not None:
        return Build(
            island=build.island if build.up_bytes_per_s or half else 1,
            out_bytes_per_s=build.out_bytes_per_s,
            up_bytes_per_s=build.up_bytes_per_s or half,
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
        if cards.chip not in known:
            raise Unknown(
                "There is no such chip in the catalogue.", asked=cards.chip, hint=", ".join(nearest(cards.chip, list(known)))
            )
    return read
