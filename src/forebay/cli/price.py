"""`forebay price`: what a card-second costs."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.units import show_money

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Set and list prices per card-second.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command("set")
def set_(
    chip: Annotated[str, typer.Argument(help="A chip of the catalogue.", show_default=False)],
    price: Annotated[str, typer.Argument(help="For one card and one second, as 0.000350.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Set a chip's price from now on. A run keeps the price at which it was launched."""
    with reach.client() as cloud:
        made = cloud.set_price(chip, price)
        currency = cloud.about()["currency"]
    if as_json:
        out.as_json(made)
    else:
        out.console.print(f"{chip}: {show_money(made['micro_per_card_s'], currency)} a card-second")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List prices. A chip without one is free of charge."""
    with reach.client() as cloud:
        found = cloud.prices()
    if as_json:
        out.as_json(found)
    else:
        rows = [[p["chip"], show_money(p["micro_per_card_s"]), show_money(3600 * p["micro_per_card_s"])] for p in found["prices"]]
        out.table(
            ["chip", f"{found['currency']} a card-second", "a card-hour"],
            rows,
            right=[f"{found['currency']} a card-second", "a card-hour"],
        )
