"""`forebay quota`: how many cards an organisation may hold."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.errors import BadInput

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Set and list how many cards an organisation may hold.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command("set")
def set_(
    organisation: Annotated[str, typer.Argument(help="Its name.", show_default=False)],
    chip: Annotated[str, typer.Argument(help="A chip of the catalogue.", show_default=False)],
    cards: Annotated[str, typer.Argument(help="Cards at once, or `none` to lift the limit.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Set how many cards of a chip an organisation may hold at once. Runs that go on are left alone."""
    if cards != "none" and not cards.isdigit():
        raise BadInput("That is no number of cards.", asked=cards, hint="a whole number, or none")
    with reach.client() as cloud:
        made = cloud.set_quota(organisation, chip, None if cards == "none" else int(cards))
    if as_json:
        out.as_json(made)
    else:
        limit = "no limit" if made["cards"] is None else f"at most {made['cards']} cards at once"
        out.console.print(f"{organisation}, {chip}: {limit}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List quotas. Where there is none, an organisation may hold all there is."""
    with reach.client() as cloud:
        found = cloud.quotas()
    if as_json:
        out.as_json(found)
    else:
        out.table(
            ["organisation", "chip", "cards", "held"],
            [[q["organisation"], q["chip"], q["cards"], q["held"]] for q in found],
            right=["cards", "held"],
        )
