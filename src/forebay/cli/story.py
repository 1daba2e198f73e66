"""`forebay story`: tell a job's or run's whole life."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.units import NS_PER_S

app = typer.Typer(add_completion=False)


@app.command()
def story(
    job: Annotated[str, typer.Argument(help="The job, or one run of it.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Tell a job's or run's whole life: each event, who caused it, the numbers behind it."""
    with reach.client() as cloud:
        events = cloud.story(job)
    if as_json:
        out.as_json(events)
        return
    start = events[0]["at_ns"]
    out.console.print(f"{job}, from {datetime.fromtimestamp(start / NS_PER_S):%Y-%m-%d %H:%M:%S} on")
    rows = [[f"+{(event['at_ns'] - start) / NS_PER_S:.2f} s", event["by"], event["kind"], event["text"]] for event in events]
    out.table(["when", "by", "event", "what"], rows, right=["when"])
