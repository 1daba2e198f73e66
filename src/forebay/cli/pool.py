"""`forebay pool`: centres, nodes and cards; what of them is out of use."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer

from forebay.cli import out, pool_table, pool_use, reach
from forebay.errors import BadInput, Unknown
from forebay.units import NS_PER_S, parse_seconds

app = typer.Typer(add_completion=False)
for command in (pool_use.use, pool_use.idle):
    app.command()(command)
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]
Place = Annotated[str, typer.Argument(help="CENTRE, CENTRE/NODE or CENTRE/NODE/CARD.", show_default=False)]
MOST_LINES = 20


@app.callback(invoke_without_command=True)
def pool(
    context: typer.Context,
    centre: Annotated[str, typer.Option(help="Only the nodes of this centre.")] = "",
    nodes: Annotated[bool, typer.Option("--nodes", help="A line for every node, not for all that are alike.")] = False,
    as_json: Json = False,
) -> None:
    """Show centres, nodes and cards: free, busy, out of use; how long jobs wait. Drain, undrain, plan maintenance."""
    if context.invoked_subcommand:
        return
    with reach.client() as cloud:
        whole = cloud.pool(cards=as_json)
    if centre and centre not in [known["name"] for known in whole["centres"]]:
        names = ", ".join(known["name"] for known in whole["centres"])
        raise Unknown("There is no such centre.", asked=centre, found=names or "none")
    if as_json:
        out.as_json(whole | {"centres": [c for c in whole["centres"] if centre in ("", c["name"])]})
        return
    if not centre:
        out.table(pool_table.CENTRE_COLUMNS, pool_table.centre_rows(whole), right=pool_table.CENTRE_NUMBERS)
        out.console.print()
    rows = pool_table.node_rows(whole, only=centre, each=nodes)
    out.table(pool_table.columns(nodes), rows, right=pool_table.NODE_NUMBERS)
    unfit = pool_table.unfit_lines(whole, only=centre)
    more = [f"… and {len(unfit) - MOST_LINES} more cards: --json shows them"] if len(unfit) > MOST_LINES else []
    for line in [*unfit[:MOST_LINES], *more, *pool_table.window_lines(whole)]:
        out.console.print(line, markup=False, soft_wrap=True)
    queue = pool_table.queue_rows(whole)
    if queue:
        out.console.print()
        out.table(pool_table.QUEUE_COLUMNS, queue, right=pool_table.QUEUE_NUMBERS)
    out.console.print(f"{whole['waiting']} job{'s' if whole['waiting'] != 1 else ''} waiting")


@app.command()
def drain(
    place: Place,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks at the pool.")] = "",
    as_json: Json = False,
) -> None:
    """Give a centre, a node or a card no new runs. Those that go on there are left alone."""
    with reach.client() as cloud:
        answer = cloud.drain(place, reason)
    if as_json:
        out.as_json(answer)
        return
    runs = answer["runs"]
    still = f"; {', '.join(runs)} go{'es' if len(runs) == 1 else ''} on there" if runs else ""
    out.console.print(f"{answer['place']} gets no new runs{still}", soft_wrap=True)


@app.command()
def undrain(place: Place, as_json: Json = False) -> None:
    """Give it runs again; take a card out of quarantine."""
    with reach.client() as cloud:
        answer = cloud.undrain(place)
    if as_json:
        out.as_json(answer)
    else:
        out.console.print(f"{answer['place']} gets runs again")


@app.command()
def maintenance(
    place: Annotated[str, typer.Argument(help="CENTRE or CENTRE/NODE; with --lift the window's id.", show_default=False)],
    from_: Annotated[str, typer.Option("--from", help="now, +2h, or 2026-12-01 08:00 (this machine's time).")] = "now",
    to: Annotated[str, typer.Option(help="+4h (after --from), or a time.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for whoever looks at the pool.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="Drop the window of this id.")] = False,
    as_json: Json = False,
) -> None:
    """Plan a window in which nothing of ours runs there. Runs that can't be through before it aren't started; others are asked
    to stop when it begins, and are tried again.
    """
    with reach.client() as cloud:
        if lift:
            answer = cloud.lift_maintenance(place)
        else:
            if not to:
                raise BadInput("When does it end?", hint="--to +4h, or --to '2026-12-01 12:00'")
            begins_ns = moment_ns(from_, time.time_ns())
            answer = cloud.set_maintenance(place, begins_ns, moment_ns(to, begins_ns), reason)
    if as_json:
        out.as_json(answer)
    elif lift:
        out.console.print(f"window {answer['id']} of {answer['place']} is lifted")
    else:
        (line,) = pool_table.window_lines({"maintenance": [answer]})
        out.console.print(line, markup=False, soft_wrap=True)


@app.command()
def index(
    chip: Annotated[
        str | None, typer.Argument(help="A chip of the catalogue. Default: list what is set.", show_default=False)
    ] = None,
    value: Annotated[
        float | None, typer.Argument(help="What one card counts for. Default: from its scorecard.", show_default=False)
    ] = None,
    against: Annotated[str, typer.Option(help="The reference chip, whose card counts for one.", show_default=False)] = "",
    source: Annotated[str, typer.Option(help="Where a value that you say is from.")] = "",
    as_json: Json = False,
) -> None:
    """Say how much a card of a chip counts for, in cards of the reference chip: measured speed times coverage.

    With --against both chips' scorecards say it (`forebay chips certify` makes
    them): the effective compute of the one over that of the other.

    Quotas of `compute` and shares are counted so. A chip of which nothing is
    said counts for one. An operator does this.
    """
    with reach.client() as cloud:
        if chip is None:
            found = dict(cloud.indexes())
            if as_json:
                out.as_json(found)
            else:
                out.table(["chip", "counts for"], [[name, f"{n:g}"] for name, n in sorted(found.items())], right=["counts for"])
            return
        if value is None:
            from forebay.cli import pool_index

            value, source = pool_index.from_scorecards(chip, against)
        made = cloud.set_index(chip, value, source)
    if as_json:
        out.as_json(made)
    else:
        why = f" ({made['source']})" if made["source"] else ""
        out.console.print(f"a card of {chip} counts for {made['compute']:g}{why}", soft_wrap=True)


def moment_ns(text: str, after_ns: int) -> int:
    """Nanoseconds since 1970 of "now", "+2h" after a moment, or "2026-12-01 08:00" by this machine's clock and zone."""
    if text == "now":
        return after_ns
    if text.startswith("+"):
        return after_ns + int(parse_seconds(text[1:]) * NS_PER_S)
    try:
        return int(datetime.fromisoformat(text).timestamp()) * NS_PER_S
    except ValueError:
        raise BadInput("That is no moment.", asked=text, hint="now, +2h, or 2026-12-01 08:00") from None
