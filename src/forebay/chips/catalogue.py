"""Read the catalogue: every chip that Forebay knows by name.

Asked:  what is the chip `ascend-910b` called in software, how large is it, how fast at best, and who says so?
Answer: a TOML file per vendor beside this one. A fact that a vendor's chips share stands once, under [shared]; a chip may say
        otherwise. Each file lists its [sources]; a table's `source` covers all in it, its `sources` name the exceptions.
        `pci` and `reported_as` are how detection knows a card: vendor and device as in pci.ids (2026-08-22), and the product
        name as the vendor's monitor or library prints it.
Units:  the files say "80 GB" and "989 TFLOP/s" as people do; a Chip has bytes and flop a second. GB is 10^9 (docs/chips.md).
Limits: figures are the vendors' own dense peaks, int8 operations counted as flop. A field without a trustworthy source is
        absent, never guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from forebay import units
from forebay.chips.chip import Chip, Source
from forebay.errors import Unknown, nearest

# Names in software, which a vendor's chips usually share, and the quantities: key in the files -> (field of Chip, parser).
_WORDS = ("device_type", "plugin", "backend", "visible_devices_env", "speaks_cuda", "monitor", "warp_size")
_QUANTITIES: Mapping[str, tuple[str, Any]] = {
    "memory": ("memory_bytes", units.parse_bytes),
    "bandwidth": ("memory_bytes_per_s", units.parse_bytes_per_s),
    "scale_up": ("scale_up_bytes_per_s", units.parse_bytes_per_s),
}
_KEYS = {*_WORDS, *_QUANTITIES, "peak", "title", "notes", "pci", "reported_as", "source", "sources"}


@cache
def load() -> Mapping[str, Chip]:
    """All chips by name, in the order of the files: vendors by alphabet, a vendor's chips as written."""
    return MappingProxyType({name: _chip(name, entry, file) for name, entry, file in _entries()})


def find(name: str) -> Chip:
    """The chip of that name, or Unknown with the names that may have been meant."""
    chip = load().get(name)
    if chip is None:
        hint = ", ".join(nearest(name, list(load()))) or "forebay chips lists them all"
        raise Unknown("There is no such chip in the catalogue.", asked=name, hint=hint)
    return chip


@cache
def by_reported_name() -> Mapping[str, str]:
    """Product name in lower case -> chip: "nvidia h100 80gb hbm3" -> "h100-sxm"."""
    return MappingProxyType({word.lower(): name for name, entry, _ in _entries() for word in entry.get("reported_as", ())})


@cache
def by_pci_id() -> Mapping[str, str]:
    """PCI vendor and device -> chip: "10de:2330" -> "h100-sxm"."""
    return MappingProxyType({word: name for name, entry, _ in _entries() for word in entry.get("pci", ())})


@cache
def _files() -> tuple[Mapping[str, Any], ...]:
    return tuple(tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(__file__).parent.glob("*.toml")))


def _entries() -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    return ((name, entry, file) for file in _files() for name, entry in file["chips"].items())


def _chip(name: str, entry: Mapping[str, Any], file: Mapping[str, Any]) -> Chip:
    """One chip from its own table over its vendor's. A figure that names no source stops the load: that is our mistake."""
    fields: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for table in (file.get("shared", {}), entry):
        assert table.keys() <= _KEYS, f"{name}: no such key: {sorted(table.keys() - _KEYS)}"
        for key, field, value in _facts(table):
            short = table.get("sources", {}).get(key, table.get("source"))
            assert short in file["sources"], f"{name}.{key}: no source"
            where, date = file["sources"][short]
            sources[field] = Source(where=where, date=str(date))
            if key.startswith("peak."):
                fields.setdefault("flop_per_s", {})[key.removeprefix("peak.")] = value
            else:
                fields[field] = value
    notes = " ".join(table["notes"].strip() for table in (entry, file.get("shared", {})) if "notes" in table)
    return Chip(name=name, vendor=file["vendor"], title=entry["title"], sources=sources, notes=notes, **fields)


def _facts(table: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(key in the file, field of Chip, value) of all in a table that needs a source."""
    for key in _WORDS:
        if key in table:
            yield key, key, table[key]
    for key, (field, parse) in _QUANTITIES.items():
        if key in table:
            yield key, field, parse(table[key])
    for number_format, speed in table.get("peak", {}).items():
        yield f"peak.{number_format}", f"flop_per_s.{number_format}", units.parse_flop_per_s(speed)
