"""What a fabric costs and draws: the nouns Quantities, PriceBook, Quote and Power, and the multiplication.

Asked:  what do these switches, cables and cards cost under this price book, and what does nobody here know the price of?
Answer: `price(quantities, book)` and `power(quantities, book)`: for each lot the book's most fitting figure, times how many.
        A link is priced as a whole where the book has such a price (as published totals give it), else by the parts that the book
        says it is made of: a DAC; an AOC; or optics, which is two transceivers and a fibre.
Units:  whole micro-units of the book's currency; watts.
Limits: what has no figure stands in `unpriced` with its number, and the total is of the rest. Nothing is interpolated: a price
        for 64 ports says nothing of 32. No labour, racks, spares or rebates, unless the book has them in its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isclose

from forebay import units
from forebay.errors import Unknown

ITEMS = (
    "switch", "switch_port", "access_link", "inter_switch_link", "card_link", "dac", "aoc", "transceiver", "fibre",
    "nic", "card", "scale_up_switch", "scale_up_link",
)  # fmt: skip
LINKS = ("access_link", "inter_switch_link", "card_link")
MEDIA: Mapping[str, Mapping[str, int]] = {"dac": {"dac": 1}, "aoc": {"aoc": 1}, "optics": {"transceiver": 2, "fibre": 1}}
STATUSES = ("quoted", "list", "data sheet", "implied", "measured", "recalled", "example")
# Copper without electronics draws "near zero" (NVIDIA, MCP7Y00-N DAC product specifications, 2023-10), glass none.
PASSIVE = frozenset({"dac", "fibre"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """So many things of one kind."""

    n: int
    bytes_per_s: float = 0.0  # of a port or a link, each way; 0: not known
    ports: int = 0  # of a switch
    medium: str = ""  # of a link: a name in MEDIA; "": as the price book says


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """What is to be bought for a fabric.

    Counts only: what it costs is a Quote. Kinds of link are kept apart, because sources mix them up.
    """

    switches: tuple[Lot, ...] = ()
    access_links: tuple[Lot, ...] = ()  # NIC to switch
    inter_switch_links: tuple[Lot, ...] = ()
    card_links: tuple[Lot, ...] = ()  # card to card without a switch: torus, full mesh
    nics: tuple[Lot, ...] = ()
    cards: int = 0
    scale_up_switches: int = 0
    scale_up_links: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one thing costs, draws, or both, and who says so."""

    item: str  # one of ITEMS
    ports: int = 0  # 0: any
    bytes_per_s: float = 0.0  # 0: any
    price_micro: int | None = None  # in the book's currency
    watts: float | None = None
    source: str
    status: str  # one of STATUSES
    date: str

    @property
    def key(self) -> str:
        """ "switch 64 x 50 GB/s": the figure's name in quotes and in the ranking's sensitivity."""
        size = [f"{self.ports} x" if self.ports else "", units.show_bytes_per_s(self.bytes_per_s) if self.bytes_per_s else ""]
        return " ".join([self.item.replace("_", " "), *filter(None, size)]).removesuffix(" x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one unit of the book's currency is in another."""

    currency: str
    micro_per_unit: int
    date: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """A dated list of prices and watts, each with its source.

    It is one vendor's or one paper's view: a ranking that changes from book to book is no ranking (`sensitivity.under_books`).
    """

    name: str
    title: str
    currency: str  # ISO 4217; XXX: no currency, prices are ratios
    date: str
    figures: tuple[Figure, ...]
    rates: tuple[Rate, ...] = ()
    made_of: Mapping[str, str] = field(default_factory=dict)  # a kind of link -> the medium where the counts don't say
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a quote."""

    item: str  # the figure's key
    n: int
    each_micro: int
    status: str
    source: str

    @property
    def sum_micro(self) -> int:
        return self.n * self.each_micro


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """What the book has no figure for."""

    item: str
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a fabric costs under one book, line by line.

    `total_micro` is of the lines alone: what is `unpriced` isn't in it.
    """

    book: str
    currency: str
    date: str
    lines: tuple[Line, ...]
    unpriced: tuple[Unpriced, ...] = ()

    @property
    def total_micro(self) -> int:
        return sum(line.sum_micro for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLine:
    item: str
    n: int
    each_watts: float
    status: str
    source: str

    @property
    def watts(self) -> float:
        return self.n * self.each_watts


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What a fabric draws by its data sheets, line by line. `watts` is of the lines alone."""

    book: str
    date: str
    lines: tuple[PowerLine, ...]
    unpriced: tuple[Unpriced, ...] = ()

    @property
    def watts(self) -> float:
        return sum(line.watts for line in self.lines)


def price(quantities: Quantities, book: PriceBook) -> Quote:
    """The quote of a fabric under a book."""
    priced, unpriced = _sorted_out(_needs(quantities, book, lambda figure: figure.price_micro is not None))
    lines = [
        Line(item=figure.key, n=n, each_micro=figure.price_micro or 0, status=figure.status, source=figure.source)
        for figure, n in priced
    ]
    return Quote(book=book.name, currency=book.currency, date=book.date, lines=tuple(lines), unpriced=unpriced)


def power(quantities: Quantities, book: PriceBook) -> Power:
    """The watts of a fabric under a book. What is passive draws nothing unless the book says otherwise."""
    priced, unpriced = _sorted_out(_needs(quantities, book, lambda figure: figure.watts is not None))
    lines = [
        PowerLine(item=figure.key, n=n, each_watts=figure.watts or 0.0, status=figure.status, source=figure.source)
        for figure, n in priced
    ]
    return Power(book=book.name, date=book.date, lines=tuple(lines), unpriced=tuple(u for u in unpriced if u.item not in PASSIVE))


def in_currency(quote: Quote, currency: str, book: PriceBook) -> Quote:
    """The same quote in another currency, at the book's dated rate. Prices of single things are rounded to a micro-unit."""
    if currency == quote.currency:
        return quote
    rate = next((rate for rate in book.rates if rate.currency == currency), None)
    if rate is None:
        known = ", ".join([book.currency, *(rate.currency for rate in book.rates)])
        raise Unknown("The price book has no rate for that currency.", asked=currency, found=f"{book.name}: {known}")
    lines = [replace(line, each_micro=_scaled(line.each_micro, rate.micro_per_unit)) for line in quote.lines]
    return replace(quote, currency=currency, lines=tuple(lines))


def told(quote: Quote) -> str:
    """The quote as a table for people. What has no price is said with the total, so that nobody takes it for the whole."""
    rows = [(line.item, f"{line.n:,}", _whole(line.each_micro), _whole(line.sum_micro), line.status) for line in quote.lines]
    rows += [(lack.item, f"{lack.n:,}", "unpriced", "unpriced", "") for lack in quote.unpriced]
    sums = "total" if not quote.unpriced else "total of what is priced"
    rows.append((sums, "", "", f"{_whole(quote.total_micro)} {quote.currency}", f"{quote.book}, {quote.date}"))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{wide[0]}}  {row[1]:>{wide[1]}}  {row[2]:>{wide[2]}}  {row[3]:>{wide[3]}}  {row[4]}".rstrip() for row in rows
    )


Need = tuple[str, int, Figure | None]  # what, how many, the book's figure for it
Worth = Callable[[Figure], bool]  # does this figure say what is asked: a price, or watts?


def _needs(quantities: Quantities, book: PriceBook, worth: Worth) -> Iterator[Need]:
    for lot in quantities.switches:
        yield from _switches(lot, book, worth)
    for item, lots in zip(LINKS, (quantities.access_links, quantities.inter_switch_links, quantities.card_links), strict=True):
        for lot in lots:
            yield from _links(item, lot, book, worth)
    for lot in quantities.nics:
        yield "nic", lot.n, _find(book, worth, "nic", lot)
    for item, n in (
        ("card", quantities.cards),
        ("scale_up_switch", quantities.scale_up_switches),
        ("scale_up_link", quantities.scale_up_links),
    ):
        yield item, n, _find(book, worth, item, Lot(n=n))


def _switches(lot: Lot, book: PriceBook, worth: Worth) -> Iterator[Need]:
    """By the box, else by its ports: all that it has, used or not."""
    box = _find(book, worth, "switch", lot)
    port = _find(book, worth, "switch_port", lot)
    if box is None and port is not None:
        yield "switch_port", lot.n * lot.ports, port
    else:
        yield _named("switch", lot), lot.n, box


def _links(item: str, lot: Lot, book: PriceBook, worth: Worth) -> Iterator[Need]:
    """As a whole, else by its parts. A whole link with nothing known of its medium can only be unpriced."""
    whole = _find(book, worth, item, lot)
    medium = lot.medium or book.made_of.get(item, "")
    if whole is not None or not medium:
        yield _named(item, lot), lot.n, whole
        return
    for part, times in MEDIA[medium].items():
        yield part, lot.n * times, _find(book, worth, part, replace(lot, ports=0))


def _find(book: PriceBook, worth: Worth, item: str, lot: Lot) -> Figure | None:
    """The figure that fits best: one that names ports and speed before one that is for any."""
    fitting = [
        figure
        for figure in book.figures
        if figure.item == item and worth(figure)
        if figure.ports in (0, lot.ports) and (not figure.bytes_per_s or isclose(figure.bytes_per_s, lot.bytes_per_s))
    ]
    return max(fitting, key=lambda figure: (figure.ports > 0, figure.bytes_per_s > 0), default=None)


def _named(item: str, lot: Lot) -> str:
    return Figure(item=item, ports=lot.ports, bytes_per_s=lot.bytes_per_s, source="", status="", date="").key


def _sorted_out(needs: Iterator[Need]) -> tuple[list[tuple[Figure, int]], tuple[Unpriced, ...]]:
    """What has a figure, one entry a figure; and what has none, one entry a thing. What isn't needed isn't listed."""
    priced: dict[str, tuple[Figure, int]] = {}
    unpriced: dict[str, int] = {}
    for item, n, figure in needs:
        if n and figure is None:
            unpriced[item] = unpriced.get(item, 0) + n
        elif n and figure is not None:
            priced[figure.key] = (figure, priced.get(figure.key, (figure, 0))[1] + n)
    return list(priced.values()), tuple(Unpriced(item=item.replace("_", " "), n=n) for item, n in unpriced.items())


def _scaled(micro: int, micro_per_unit: int) -> int:
    """Half up, on whole numbers."""
    return (2 * micro * micro_per_unit + units.MICRO_PER_UNIT) // (2 * units.MICRO_PER_UNIT)


def _whole(micro: int) -> str:
    return f"{micro / units.MICRO_PER_UNIT:,.2f}".removesuffix(".00")
