"""`forebay jobs`: list jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.cli.why_words import short
from forebay.units import NS_PER_S

app = typer.Typer(add_completion=False)


@app.command()
def jobs(
    phase: Annotated[
        str, typer.Option(help="Only these: waiting, starting, queued, running, stopping, succeeded, failed, cancelled.")
    ] = "",
    project: Annotated[str, typer.Option(help="Only of this project.")] = "",
    most: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 30,
    before: Annotated[int, typer.Option(help="The page after: the `place` of the last one shown.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """List jobs, newest first."""
    with reach.client() as cloud:
        listed = cloud.jobs(phase=phase, project=project, before=before, most=most)
    if as_json:
        out.as_json(listed)
        return
    waits = any(job["why"] for job in listed)
    out.table(
        ["job", "name", "project", "state", "cards", "chip", "attempts", "submitted", *(["waits for"] if waits else [])],
        [
            [
                job["id"],
                job["name"],
                f"{job['organisation']}/{job['project']}",
                "idle" if job["phase"] == "running" and job["reason"] else job["phase"],
                job["cards"],
                job["chip"] + (" (pretend)" if job["pretend"] else ""),
                job["attempts"],
                datetime.fromtimestamp(job["submitted_at_ns"] / NS_PER_S).strftime("%m-%d %H:%M:%S"),
                *([short(job["why"]) if job["why"] else ""] if waits else []),
            ]
            for job in listed
        ],
        right=["cards", "attempts"],
    )
    if len(listed) == most:
        out.console.print(f"More: forebay jobs --before {listed[-1]['place']}", style="dim")
