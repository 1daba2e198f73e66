"""`forebay quota`: what organisations are guaranteed, and what they may borrow."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.errors import BadInput
from forebay.units import show_seconds

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Set and list how many cards an organisation is guaranteed, and may borrow."
)
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command("set")
def set_(
    organisation: Annotated[str, typer.Argument(help="Its name.", show_default=False)],
    chip: Annotated[
        str, typer.Argument(help="A chip of the catalogue; `compute` for effective compute over all.", show_default=False)
    ],
    cards: Annotated[str, typer.Argument(help="Cards it is guaranteed, or `none` to lift the quota.", show_default=False)],
    borrow: Annotated[str, typer.Option(help="How many more it may take of what others leave idle: a number, or all.")] = "0",
    reclaim: Annotated[str, typer.Option(help="Within which time it has back what it lent: 60s, 5m…")] = "60s",
    as_json: Json = False,
) -> None:
    """Set how many cards of a chip an organisation is guaranteed, and how many more it may borrow.

    Runs that go on are left alone. What it leaves idle, others of its cohort
    (`forebay org set --cohort`) may borrow; it has it back within --reclaim
    once it asks.

    `compute` counts cards of all chips, in cards of the reference chip
    (`forebay pool index`).
    """
    if cards != "none" and not cards.isdigit():
        raise BadInput("That is no number of cards.", asked=cards, hint="a whole number, or none")
    if borrow != "all" and not borrow.isdigit():
        raise BadInput("That is no number of cards to borrow.", asked=borrow, hint="a whole number, or all")
    with reach.client() as cloud:
        made = cloud.set_quota(
            organisation,
            chip,
            None if cards == "none" else int(cards),
            borrow=None if borrow == "all" else int(borrow),
            reclaim=reclaim,
        )
    if as_json:
        out.as_json(made)
    elif made["cards"] is None:
        out.console.print(f"{organisation}, {chip}: no limit")
    else:
        lent = f"what it lent is back within {show_seconds(made['reclaim_s'])}"
        out.console.print(f"{organisation}, {chip}: {made['cards']} cards, {_borrows(made)}; {lent}", soft_wrap=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List quotas. Where there is none, an organisation may hold all there is, and is guaranteed nothing."""
    with reach.client() as cloud:
        found = cloud.quotas()
    if as_json:
        out.as_json(found)
        return
    rows = [
        [
            q["organisation"],
            q["chip"],
            q["cards"],
            "all" if q["borrow"] is None else q["borrow"],
            show_seconds(q["reclaim_s"]),
            q["held"],
        ]
        for q in found
    ]
    out.table(["organisation", "chip", "cards", "borrows", "back within", "held"], rows, right=["cards", "borrows", "held"])


def _borrows(quota: dict[str, Any]) -> str:
    if quota["borrow"] is None:
        return "and as many more as others leave idle"
    return f"and {quota['borrow']} more that others leave idle" if quota["borrow"] else "and no more"
