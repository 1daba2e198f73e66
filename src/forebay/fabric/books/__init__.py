"""Read a price book: TOML that a person edits, checked to the line.

Asked:  which prices and watts does this file give, and where is it wrong?
Answer: `load("default")` for a book that comes with Forebay, `load("quotes/acme.toml")` for one's own. Every price names its
        currency, every figure its source and status, the book its day; a price in another currency is converted at the book's own
        dated rate.
Units:  the file says "10800 USD", "747 W" and "400 Gbit/s"; a PriceBook has micro-units, watts and bytes a second.
Limits: the first thing that is wrong ends the reading, with its line and field: half a book would price half a fabric.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from forebay import units
from forebay.errors import BadInput, Unknown, nearest
from forebay.fabric.prices import ITEMS, LINKS, MEDIA, STATUSES, Figure, PriceBook, Rate

_FOLDER = Path(__file__).parent
_BOOK = ("title", "currency", "date", "notes", "sources", "currencies", "links", "items")
_ITEM = ("item", "ports", "speed", "price", "watts", "source", "status", "date")
_RATE = ("rate", "date", "source")


def names() -> tuple[str, ...]:
    """The books that come with Forebay."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load(path_or_name: str | Path) -> PriceBook:
    """The book of that name, or in that file. Raises Unknown where there is none, BadInput where it is wrong."""
    path = Path(path_or_name)
    if str(path_or_name) in names():
        path = _FOLDER / f"{path_or_name}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = ", ".join(nearest(str(path_or_name), list(names())) or names()) + ", or the path of a TOML file"
        raise Unknown(
            "No price book has that name, and no file can be read there.", asked=str(path), found=str(error), hint=hint
        ) from None
    return parse(text, path.stem)


def parse(text: str, name: str) -> PriceBook:
    """The book in a text."""
    page = _Page(text, name)
    try:
        book = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise page.wrong("", "", f"That is no TOML: {error}") from None
    page.known(book, _BOOK, "")
    currency = page.currency(book, "currency", "")
    sources = page.tables(book, "sources", "")
    rates = tuple(_rate(page, code, rate, sources) for code, rate in page.tables(book, "currencies", "").items())
    dated = page.date(book, "date", "")
    made_of = page.tables(book, "links", "")
    for item, medium in made_of.items():
        if item not in LINKS or not isinstance(medium, str) or medium not in MEDIA:
            hint = f"[links] gives {', '.join(LINKS)} one of {', '.join(MEDIA)}"
            raise page.wrong("[links]", item, "No such kind of link or medium.", found=f"{item} = {medium!r}", hint=hint)
    entries = book.get("items")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise page.wrong("", "items", "A price book has at least one [[items]] table.")
    reader = _Items(page, currency, {rate.currency: rate for rate in rates}, sources, dated)
    figures = tuple(reader.figure(i, entry) for i, entry in enumerate(entries))
    page.once(figures)
    return PriceBook(
        name=name,
        title=page.text_of(book, "title", "", need=False),
        currency=currency,
        date=dated,
        figures=figures,
        rates=rates,
        made_of=made_of,
        notes=page.text_of(book, "notes", "", need=False).strip(),
    )


def _rate(page: _Page, code: str, entry: Any, sources: Mapping[str, Any]) -> Rate:
    at = f"[currencies.{code}]"
    if not re.fullmatch("[A-Z]{3}", code) or not isinstance(entry, dict):
        raise page.wrong(at, "", "A rate is a table named by the three capital letters of its currency.")
    page.known(entry, _RATE, at)
    micro, named = page.money(entry, "rate", at)
    if named != code or micro == 0:
        raise page.wrong(at, "rate", "A rate is what one unit of the book's currency is in the other.", found=str(entry["rate"]),
                         hint=f'"7.10 {code}"')  # fmt: skip
    return Rate(currency=code, micro_per_unit=micro, date=page.date(entry, "date", at), source=page.source(entry, at, sources))


class _Items:
    """The reader of [[items]]: it knows what the book said before them."""

    def __init__(self, page: _Page, currency: str, rates: Mapping[str, Rate], sources: Mapping[str, Any], dated: str) -> None:
        self.page, self.currency, self.rates, self.sources, self.dated = page, currency, rates, sources, dated

    def figure(self, i: int, entry: dict[str, Any]) -> Figure:
        page, at = self.page, f"items[{i}]"
        page.known(entry, _ITEM, at)
        item = page.choice(entry, "item", at, ITEMS)
        status = page.choice(entry, "status", at, STATUSES)
        ports = entry.get("ports", 0)
        if type(ports) is not int or ports < 0 or (ports and item != "switch"):
            raise page.wrong(at, "ports", "A switch has a whole number of ports; other things have none.", found=repr(ports))
        if "price" not in entry and "watts" not in entry:
            raise page.wrong(at, "", "An item has a price, watts or both.")
        return Figure(
            item=item,
            ports=ports,
            bytes_per_s=page.quantity(entry, "speed", at, units.parse_bytes_per_s) or 0.0,
            price_micro=self.price(entry, at) if "price" in entry else None,
            watts=page.quantity(entry, "watts", at, units.parse_watts),
            source=page.source(entry, at, self.sources),
            status=status,
            date=page.date(entry, "date", at) if "date" in entry else self.dated,
        )

    def price(self, entry: dict[str, Any], at: str) -> int:
        micro, code = self.page.money(entry, "price", at)
        if code == self.currency:
            return micro
        if code not in self.rates:
            raise self.page.wrong(at, "price", "The book has no rate for that currency.", found=code,
                                  hint=f"prices in {self.currency}, or a table [currencies.{code}]")  # fmt: skip
        rate = self.rates[code].micro_per_unit
        return (2 * micro * units.MICRO_PER_UNIT + rate) // (2 * rate)


class _Page:
    """The text of a book, to say where in it something is wrong."""

    def __init__(self, text: str, name: str) -> None:
        self.lines = text.splitlines()
        self.name = name

    def wrong(self, at: str, key: str, text: str, *, found: str = "", hint: str = "") -> BadInput:
        line = self.line(at, key)
        place = " ".join(filter(None, [at, key]))
        where = f"price book {self.name}" + (f", line {line}" if line else "") + (f", {place}" if place else "")
        return BadInput(f"{where}: {text}", found=found, hint=hint)

    def line(self, at: str, key: str) -> int:
        """The line of a key in a table, else the table's own; 0: not to be said."""
        first = 0
        if at.startswith("items["):
            heads = [i for i, line in enumerate(self.lines) if re.match(r"\s*\[\[\s*items\s*\]\]", line)]
            index = int(at[6:-1])
            if index >= len(heads):
                return 0  # written as an inline list
            first = heads[index] + 1
        elif at:
            first = next((i + 1 for i, line in enumerate(self.lines) if line.strip().startswith(at)), 0)
        for i in range(first, len(self.lines)):
            if key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", self.lines[i]):
                return i + 1
            if self.lines[i].lstrip().startswith("["):
                break
        return first

    def known(self, table: Mapping[str, Any], keys: tuple[str, ...], at: str) -> None:
        for key in table:
            if key not in keys:
                raise self.wrong(at, key, "No such field.", hint=", ".join(nearest(key, list(keys)) or keys))

    def tables(self, table: Mapping[str, Any], key: str, at: str) -> dict[str, Any]:
        found = table.get(key, {})
        if not isinstance(found, dict):
            raise self.wrong(at, key, f"[{key}] is a table.", found=repr(found))
        return found

    def text_of(self, table: Mapping[str, Any], key: str, at: str, *, need: bool = True, hint: str = "") -> str:
        if key not in table and need:
            raise self.wrong(at, key, f"The field {key} is missing.", hint=hint)
        found = table.get(key, "")
        if not isinstance(found, str) or (need and not found.strip()):
            raise self.wrong(at, key, f"The field {key} is a text.", found=repr(found), hint=hint)
        return found

    def choice(self, table: Mapping[str, Any], key: str, at: str, words: tuple[str, ...]) -> str:
        word = self.text_of(table, key, at, hint=", ".join(words))
        if word not in words:
            raise self.wrong(at, key, f"No such {key}.", found=repr(word), hint=", ".join(nearest(word, list(words)) or words))
        return word

    def currency(self, table: Mapping[str, Any], key: str, at: str) -> str:
        code = self.text_of(table, key, at, hint='"USD", "CNY", "EUR"')
        if not re.fullmatch("[A-Z]{3}", code):
            raise self.wrong(at, key, "A currency is three capital letters (ISO 4217).", found=repr(code))
        return code

    def date(self, table: Mapping[str, Any], key: str, at: str) -> str:
        found = table.get(key)
        if isinstance(found, date) and not isinstance(found, datetime):
            return found.isoformat()
        if found is None:
            raise self.wrong(at, key, "The date is missing: a price without a day is a rumour.", hint="date = 2026-11-30")
        if isinstance(found, str) and re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", found):
            return found
        raise self.wrong(at, key, "That is no date.", found=str(found), hint='2026-11-30, "2026-11" or "2026"')

    def money(self, table: Mapping[str, Any], key: str, at: str) -> tuple[int, str]:
        text = self.text_of(table, key, at, hint='"10800 USD"')
        found = re.fullmatch(r"\s*(-?[\d.]+)\s+([A-Z]{3})\s*", text)
        if not found:
            raise self.wrong(at, key, "Money is a number and its currency.", found=repr(text), hint='"10800 USD"')
        try:
            return units.parse_money(found[1]), found[2]
        except BadInput as error:
            raise self.wrong(at, key, error.text, found=repr(text)) from None

    def quantity(self, table: Mapping[str, Any], key: str, at: str, read: Any) -> float | None:
        if key not in table:
            return None
        text = self.text_of(table, key, at, hint='with its unit: "400 Gbit/s", "747 W"')
        try:
            found = float(read(text))
        except BadInput as error:
            raise self.wrong(at, key, error.text, found=repr(table[key]), hint=error.hint) from None
        if key == "speed" and found == 0:
            raise self.wrong(at, key, "A speed is above zero; without the field it is any speed.", found=repr(text))
        return found

    def source(self, table: Mapping[str, Any], at: str, sources: Mapping[str, Any]) -> str:
        """The source in words; one of [sources] may be named in short."""
        short = self.text_of(table, "source", at, hint="who says so: a quote's number, a data sheet and its date")
        found = sources.get(short, short)
        if not isinstance(found, str):
            raise self.wrong("[sources]", short, "A source is a text.", found=repr(found))
        return found

    def once(self, figures: tuple[Figure, ...]) -> None:
        """A thing has one price and one power."""
        seen: dict[tuple[str, str], int] = {}
        for i, figure in enumerate(figures):
            for kind, value in (("price", figure.price_micro), ("watts", figure.watts)):
                if value is not None and seen.setdefault((figure.key, kind), i) != i:
                    first = self.line(f"items[{seen[figure.key, kind]}]", "")
                    raise self.wrong(f"items[{i}]", kind, f"A second {kind} for the same thing.", found=figure.key,
                                     hint=f"the first is in line {first}" if first else "")  # fmt: skip
