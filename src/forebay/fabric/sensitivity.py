"""How firm is "this one is the cheapest": which price would have to move, how far, and who would win then?

Asked:  at what multiple of each price does another fabric become the cheapest, and does the order hold under other price books?
Answer: a quote is a sum of n_i p_i, so with one price times m a fabric costs F + m s, a straight line in m. The cheapest over m
        is the lower envelope of those lines; `flips` reads off the first crossings below and above m = 1. `under_books` ranks
        under several books and says whether the order, or at least the winner, is the same under all.
Limits: one price moves at a time (or all of one kind: every switch, whatever its ports). A fabric of which something has no price
        that others don't need as well can't be ranked: it is listed apart, with what it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from forebay.errors import BadInput
from forebay.fabric.prices import PriceBook, Quantities, Quote, Unpriced, in_currency, price


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    name: str
    total_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unranked:
    """A fabric that can't be compared, and what of it has no price."""

    name: str
    lacks: tuple[Unpriced, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """With this price times `multiplier`, and beyond, `cheapest` takes the place of the cheapest."""

    item: str  # a figure of the book, or "every switch" for all figures of a kind
    multiplier: float
    cheapest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Fabrics by cost under one book, the cheapest first, and what would change who that is."""

    book: str
    currency: str
    order: tuple[Ranked, ...]
    unranked: tuple[Unranked, ...] = ()
    flips: tuple[Flip, ...] = ()  # the nearest to 1 first


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderBooks:
    """Rankings of the same fabrics under several books.

    `swaps` are the pairs of which some book says that the first is cheaper and another that the second is.
    """

    rankings: tuple[Ranking, ...]
    stable: bool  # the same order under every book, and nothing unranked under one that another ranks
    cheapest: str  # of those ranked, under every book; "": they disagree
    swaps: tuple[tuple[str, ...], ...]


def rank(quotes: Mapping[str, Quote]) -> Ranking:
    """The order of fabrics under one book, with the flips of the cheapest."""
    if not quotes:
        raise BadInput("There is nothing to rank.")
    books = {(quote.book, quote.currency) for quote in quotes.values()}
    if len(books) > 1:
        raise BadInput(
            "Quotes are ranked under one book and currency.", found=", ".join(sorted(" in ".join(one) for one in books))
        )
    shared = set.intersection(*({(lack.item, lack.n) for lack in quote.unpriced} for quote in quotes.values()))
    lacks = {name: tuple(lack for lack in quote.unpriced if (lack.item, lack.n) not in shared) for name, quote in quotes.items()}
    whole = {name: quote for name, quote in quotes.items() if not lacks[name]}
    (book, currency), *_ = books
    return Ranking(
        book=book,
        currency=currency,
        order=tuple(
            Ranked(name=name, total_micro=whole[name].total_micro) for name in sorted(whole, key=lambda n: _cost(whole, n))
        ),
        unranked=tuple(Unranked(name=name, lacks=lack) for name, lack in lacks.items() if lack),
        flips=flips(whole),
    )


def flips(quotes: Mapping[str, Quote]) -> tuple[Flip, ...]:
    """For each price, the nearest multiple below and above 1 at which another fabric becomes the cheapest."""
    found = [flip for item, keys in _movable(quotes).items() for flip in _flips_of(item, keys, quotes)]
    return tuple(sorted(found, key=lambda flip: max(flip.multiplier, 1 / flip.multiplier if flip.multiplier else float("inf"))))


def under_books(quantities: Mapping[str, Quantities], books: Sequence[PriceBook], currency: str = "") -> UnderBooks:
    """The same fabrics ranked under each book. With a currency, sums are shown in it at each book's own rate."""
    rankings = []
    for book in books:
        quotes = {name: price(counts, book) for name, counts in quantities.items()}
        if currency:
            quotes = {name: in_currency(quote, currency, book) for name, quote in quotes.items()}
        rankings.append(rank(quotes))
    orders = [[one.name for one in ranking.order] for ranking in rankings]
    first = {order[0] if order else "" for order in orders}
    return UnderBooks(
        rankings=tuple(rankings),
        stable=all(order == orders[0] for order in orders),
        cheapest=first.pop() if len(first) == 1 else "",
        swaps=_swaps(orders),
    )


def _movable(quotes: Mapping[str, Quote]) -> dict[str, frozenset[str]]:
    """What a multiplier may be put on: each figure, and each kind of which there are several figures."""
    keys = {line.item for quote in quotes.values() for line in quote.lines if line.each_micro}
    kinds: dict[str, set[str]] = {}
    for key in keys:
        kinds.setdefault(" ".join(word for word in key.split() if word.isalpha() and word != "x"), set()).add(key)
    whole = {f"every {kind}": frozenset(of) for kind, of in kinds.items() if len(of) > 1}
    return {key: frozenset({key}) for key in sorted(keys)} | dict(sorted(whole.items()))


def _flips_of(item: str, keys: frozenset[str], quotes: Mapping[str, Quote]) -> list[Flip]:
    """The envelope left and right of m = 1. A line that is steeper can win only below, one that is flatter only above."""
    slope = {name: sum(line.sum_micro for line in quote.lines if line.item in keys) for name, quote in quotes.items()}
    best = min(quotes, key=lambda name: _cost(quotes, name))
    sides: dict[bool, list[tuple[Fraction, int, str]]] = {True: [], False: []}
    for name, quote in quotes.items():
        dearer, flatter = quote.total_micro - quotes[best].total_micro, slope[best] - slope[name]
        if flatter and (crossing := 1 + Fraction(dearer, flatter)) >= 0:
            # Of several that cross at one point the one that pulls away fastest wins beyond it.
            sides[flatter > 0].append((abs(crossing - 1), slope[name] if flatter > 0 else -slope[name], name))
    found = []
    for above, crossings in sides.items():
        if crossings:
            distance, _, name = min(crossings)
            found.append(Flip(item=item, multiplier=float(1 + distance if above else 1 - distance), cheapest=name))
    return found


def _cost(quotes: Mapping[str, Quote], name: str) -> tuple[int, str]:
    return quotes[name].total_micro, name


def _swaps(orders: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    before = {(a, b) for order in orders for i, a in enumerate(order) for b in order[i + 1 :]}
    return tuple(sorted((a, b) for a, b in before if a < b and (b, a) in before))
