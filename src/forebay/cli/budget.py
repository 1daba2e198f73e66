"""`forebay budget`: what an organisation, or one project of it, may spend."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.units import NS_PER_S, show_money

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Set, list and lift what organisations and projects may spend."
)
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]
Home = Annotated[str, typer.Argument(help="ORGANISATION or ORGANISATION/PROJECT.", show_default=False)]


@app.command("set")
def set_(
    of: Home,
    limit: Annotated[str, typer.Argument(help="Money, as 5000 or 1250.50.", show_default=False)],
    from_: Annotated[str, typer.Option("--from", help="What is held from then on counts: now, or 2026-12-01 08:00.")] = "now",
    warn: Annotated[float, typer.Option(help="The share of it at which a warning is due.")] = 0.8,
    as_json: Json = False,
) -> None:
    """Set what an organisation or a project may spend.

    At its end no new runs start; those that go on are left alone. An owner
    sets budgets of projects, an operator of whole organisations too.
    """
    from forebay.cli.pool import moment_ns

    with reach.client() as cloud:
        from_ns = None if from_ == "now" else moment_ns(from_, time.time_ns())
        made = cloud.set_budget(of, limit, from_ns=from_ns, warn_share=warn)
        currency = cloud.about()["currency"]
    if as_json:
        out.as_json(made)
    else:
        since = f"from {_day(made)} on, a warning at {made['warn_share'] * 100:g} %"
        out.console.print(f"{of} may spend {show_money(made['limit_micro'], currency)} {since}", soft_wrap=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List budgets, and what is spent of them, runs that go on counted up to now. Where there is none, nothing stops."""
    with reach.client() as cloud:
        found = cloud.budgets()
    if as_json:
        out.as_json(found["budgets"])
        return
    rows = [
        [
            _name(budget),
            show_money(budget["limit_micro"]),
            f"{show_money(budget['spent_micro'])} ({_share(budget)})",
            _day(budget),
            f"{budget['warn_share'] * 100:g} %" + (" (reached)" if budget["warned"] else ""),
        ]
        for budget in found["budgets"]
    ]
    limit = f"limit {found['currency']}"
    out.table(["of", limit, "spent", "from", "warns at"], rows, right=[limit, "spent"])


@app.command()
def lift(of: Home, as_json: Json = False) -> None:
    """Lift a budget: nothing stops any more."""
    with reach.client() as cloud:
        lifted = cloud.lift_budget(of)
    if as_json:
        out.as_json(lifted)
    else:
        out.console.print(f"{of}: no budget")


def _name(budget: dict[str, Any]) -> str:
    return f"{budget['organisation']}/{budget['project']}".rstrip("/")


def _share(budget: dict[str, Any]) -> str:
    limit = budget["limit_micro"]
    return f"{budget['spent_micro'] / limit:.0%}" if limit else "all"


def _day(budget: dict[str, Any]) -> str:
    return datetime.fromtimestamp(budget["from_ns"] / NS_PER_S).strftime("%Y-%m-%d %H:%M")
