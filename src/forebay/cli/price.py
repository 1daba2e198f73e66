"""`forebay price`: what a card-second costs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from forebay.cli import moments, out, reach
from forebay.cli.pool import moment_ns
from forebay.units import show_money

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Set and list prices per card-second.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command("set")
def set_(
    chip: Annotated[str, typer.Argument(help="A chip of the catalogue.", show_default=False)],
    price: Annotated[str, typer.Argument(help="For one card and one second, as 0.000350.", show_default=False)],
    from_: Annotated[str, typer.Option("--from", help="When it comes into force: +12h, or 2026-12-01 00:00.")] = "",
    as_json: Json = False,
) -> None:
    """Set a chip's price, from now on or from a moment to come. A run keeps the price at which it was launched."""
    with reach.client() as cloud:
        made = cloud.set_price(chip, price, from_ns=moment_ns(from_, time.time_ns()) if from_ else 0)
        currency = cloud.about()["currency"]
    if as_json:
        out.as_json(made)
    else:
        then = f" from {moments.shown(made['from_ns'])} on" if from_ else ""
        out.console.print(f"{chip}: {show_money(made['micro_per_card_s'], currency)} a card-second{then}")


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


@app.command()
def history(
    chip: Annotated[str, typer.Argument(help="Only of this chip.")] = "",
    as_json: Json = False,
) -> None:
    """What prices were, and what they will be. A run keeps the price that was in force when it was launched."""
    with reach.client() as cloud:
        found = cloud.price_history(chip)
    if as_json:
        out.as_json(found)
        return
    now_ns = found["now_ns"]
    in_force = {p["chip"]: p for p in found["prices"] if p["from_ns"] <= now_ns}  # the last of each
    rows = [
        [
            price["chip"],
            moments.shown(price["from_ns"]),
            show_money(price["micro_per_card_s"]),
            "to come" if price["from_ns"] > now_ns else "now" if in_force[price["chip"]] == price else "",
        ]
        for price in found["prices"]
    ]
    column = f"{found['currency']} a card-second"
    out.table(["chip", "from", column, ""], rows, right=[column])
