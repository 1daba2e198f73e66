"""`forebay bill`: what was used and what it costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.cli import bill_csv, moments, out, reach
from forebay.units import NS_PER_S, show_money

app = typer.Typer(add_completion=False)


@app.command()
def bill(
    organisation: Annotated[str, typer.Option("--org", help="Only of this organisation; operators see all.")] = "",
    project: Annotated[str, typer.Option(help="Only of this project.")] = "",
    member: Annotated[str, typer.Option(help="Only what this member submitted.")] = "",
    chip: Annotated[str, typer.Option(help="Only on this chip.")] = "",
    job: Annotated[str, typer.Option(help="Only of this job.")] = "",
    by: Annotated[
        str, typer.Option(help="A row for each of these, in place of runs: organisation, project, member, centre, chip, job.")
    ] = "",
    since: Annotated[str, typer.Option(help="From when on: 7d (ago), 2026-11, 2026-11-29, 2026-11-29 08:00.")] = "",
    until: Annotated[str, typer.Option(help="Until when, as --since.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Write the rows into this file, for a spreadsheet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Show what was used and what it costs.

    A line a run, to the card-second; with --by a row for what you ask for, as --by chip,member.

    "Lost" is the part of a run that failed whose work was not kept: the time after its newest checkpoint.

    "Credited" goes back: the pool lost it. "Earned" is what others paid for cards of your organisation's own centre.
    """
    now_ns = time.time_ns()
    with reach.client() as cloud:
        whole = cloud.bill(
            organisation=organisation,
            project=project,
            member=member,
            chip=chip,
            job=job,
            by=[field.strip() for field in by.split(",") if field.strip()],
            since_ns=moments.past_ns(since, now_ns) if since else 0,
            until_ns=moments.past_ns(until, now_ns) if until else None,
        )
    if csv is not None:
        bill_csv.write(whole, csv)
    if as_json:
        out.as_json(whole)
    elif csv is not None:
        out.console.print(f"{csv}: {len(bill_csv.rows(whole)) - 1} rows")
    elif "rows" in whole:
        print_rows(whole)
    else:
        print_bill(whole)


def print_bill(whole: dict[str, Any]) -> None:
    credited = bool(whole["credited_micro"])
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
            *([show_money(-line["credited_micro"]) if line["credited_micro"] else ""] if credited else []),
            line["outcome"],
        ]
        for line in whole["lines"]
    ]
    rows += [
        [
            f"earned at {one['centre']}",
            one["organisation"],
            "",
            one["chip"] + (" (pretend)" if one["pretend"] else ""),
            *[""] * 5,
            show_money(-one["earned_micro"]),
            *([""] if credited else []),
            f"of {show_money(one['paid_micro'])} paid by others",
        ]
        for one in whole["earned"]
    ]
    totals = [_s(whole["card_ns"]), _s(whole["lost_card_ns"]), "", show_money(whole["cost_micro"] - whole["earned_micro"])]
    rows.append(["total", *[""] * 5, *totals, *([show_money(-whole["credited_micro"])] if credited else []), ""])
    cost = f"cost {whole['currency']}"
    columns = ["run", "project", "job", "chip", "cards", "held s", "card-s", "lost card-s", "price", cost]
    out.table([*columns, *(["credited"] if credited else []), "outcome"], rows, right=[*columns[4:], "credited"])
    if credited or whole["earned"]:
        out.console.print(f"to pay: {show_money(whole['billed_micro'], whole['currency'])}")


def print_rows(whole: dict[str, Any]) -> None:
    rows = [
        [*(row[field] for field in whole["by"]), row["runs"], *_figures(row)]
        for row in [
            *whole["rows"],
            {**whole, **dict.fromkeys(whole["by"], ""), whole["by"][0]: "total", "runs": len(whole["lines"])},
        ]
    ]
    figures = ["runs", "card-s", "lost card-s", "cost", "credited", "earned", f"to pay {whole['currency']}"]
    out.table([*whole["by"], *figures], rows, right=figures)


def _figures(row: dict[str, Any]) -> list[str]:
    card_s = [_s(row["card_ns"]), _s(row["lost_card_ns"])]
    return [*card_s, *(show_money(row[f"{name}_micro"]) for name in ("cost", "credited", "earned", "billed"))]


def _s(ns: int) -> str:
    return f"{ns / NS_PER_S:,.3f}"
