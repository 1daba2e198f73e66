"""`forebay bill`: what was used and what it costs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.units import NS_PER_S, show_money

app = typer.Typer(add_completion=False)


@app.command()
def bill(
    organisation: Annotated[str, typer.Option("--org", help="Only of this organisation; operators see all.")] = "",
    project: Annotated[str, typer.Option(help="Only of this project.")] = "",
    job: Annotated[str, typer.Option(help="Only of this job.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Show what was used and what it costs.

    A line a run, to the card-second.

    "Lost" is the part of a run that failed whose work was not kept: the time after its newest checkpoint.
    """
    with reach.client() as cloud:
        whole = cloud.bill(organisation=organisation, project=project, job=job)
    if as_json:
        out.as_json(whole)
    else:
        print_bill(whole)


def print_bill(whole: dict[str, Any]) -> None:
    rows = [
        [
            line["run"],
            f"{line['organisation']}/{line['project']}",
            line["job_name"],
            line["chip"] + (" (pretend)" if line["pretend"] else ""),
            line["cards"],
            _s(line["held_ns"]),
            _s(line["card_ns"]),
            _s(line["cards"] * line["lost_ns"]),
            show_money(line["price_micro_per_card_s"]),
            show_money(line["cost_micro"]),
            line["outcome"],
        ]
        for line in whole["lines"]
    ]
    rows.append(
        ["total", "", "", "", "", "", _s(whole["card_ns"]), _s(whole["lost_card_ns"]), "", show_money(whole["cost_micro"]), ""]
    )
    columns = [
        "run",
        "project",
        "job",
        "chip",
        "cards",
        "held s",
        "card-s",
        "lost card-s",
        "price",
        f"cost {whole['currency']}",
        "outcome",
    ]
    out.table(columns, rows, right=["cards", "held s", "card-s", "lost card-s", "price", columns[-2]])


def _s(ns: int) -> str:
    return f"{ns / NS_PER_S:,.3f}"
