"""`forebay fabric price`: what fabrics cost under one price book or several, and what would change their order."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out
from forebay.cli.fabric_given import Given, Json, again, following, line, noun, options, plain
from forebay.errors import BadInput
from forebay.fabric import books
from forebay.fabric.build import build
from forebay.fabric.design import Design
from forebay.fabric.prices import Quantities, in_currency, price, told
from forebay.fabric.quantities import quantities
from forebay.fabric.sensitivity import Flip, UnderBooks, under_books
from forebay.units import MICRO_PER_UNIT

FLIPS = 5


@options(given=Given)
def price_them(
    fabric: Annotated[list[str], typer.Argument(metavar="FABRIC...", help="Files or families; several are ranked.")],
    given: Given,
    book: Annotated[
        list[str] | None, typer.Option(help="A price book's name or file; may be said again.", show_default=False)
    ] = None,
    currency: Annotated[str, typer.Option(help="Show sums in it, at each book's own rate.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """Price a fabric line by line; rank several, under one price book or several.

    What a book has no price for is told as unpriced, and never guessed.

    forebay fabric price rail-optimised rail-only --hosts 128 --book quotes/north.toml --book quotes/south.toml
    """
    found: dict[str, Quantities] = {}
    for one in fabric:
        thing = noun(one, given)
        if one in found:
            raise BadInput("A fabric is ranked once.", asked=one)
        found[one] = quantities(build(thing) if isinstance(thing, Design) else thing)
    opened = [books.load(name) for name in book or ["default"]]
    quotes = {}
    for shelf in opened:
        for name, lots in found.items():
            quote = price(lots, shelf)
            quotes[shelf.name, name] = in_currency(quote, currency, shelf) if currency else quote
    ranked = under_books(found, opened, currency) if len(found) > 1 else None
    if as_json:
        out.as_json({
            "quotes": [plain(quote) | {"fabric": name, "total_micro": quote.total_micro} for (_, name), quote in quotes.items()],
            "ranking": plain(ranked),
        })  # fmt: skip
        return
    if len(found) == 1:
        line("\n\n".join(told(quote) for quote in quotes.values()))
        following(f"forebay fabric simulate {again(fabric[0], given)} --model dense-70b")
        return
    assert ranked is not None
    _ranked(ranked)
    order = ranked.rankings[0].order
    following(f"forebay fabric simulate {again(order[0].name if order else fabric[0], given)} --model dense-70b")


def _ranked(ranked: UnderBooks) -> None:
    rows: list[tuple[object, ...]] = []
    for one in ranked.rankings:
        for place, entry in enumerate(one.order, 1):
            over = entry.total_micro / max(1, one.order[0].total_micro)
            rows.append((one.book, place, entry.name, money(entry.total_micro, one.currency), f"x {over:.3f}"))
        rows += [(one.book, "-", lack.name, "unpriced: " + ", ".join(f"{u.n:,} {u.item}" for u in lack.lacks), "")
                 for lack in one.unranked]  # fmt: skip
    out.table(("book", "place", "fabric", "cost", "over the first"), rows, right=("place", "cost", "over the first"))
    if len(ranked.rankings) > 1:
        line("\nThe order is the same under every book." if ranked.stable else
             f"\nThe books disagree on the order; the cheapest is {ranked.cheapest} under each." if ranked.cheapest else
             "\nThe books disagree on the cheapest.")  # fmt: skip
    for one in ranked.rankings:
        told_flips(one.flips, f"Under {one.book}")


def told_flips(flips: tuple[Flip, ...], head: str) -> None:
    if not flips:
        line(f"{head} no single price changes the cheapest.")
        return
    line(f"{head} another is the cheapest when")
    for flip in flips[:FLIPS]:
        line(f"  {flip.item} costs x {flip.multiplier:.2f}: {flip.cheapest}")


def money(micro: int, currency: str) -> str:
    return f"{micro / MICRO_PER_UNIT:,.0f} {currency}"
