"""`forebay data`: data sets and their versions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from forebay.cli import out, reach
from forebay.units import NS_PER_S, show_bytes

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make and list data sets.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="Lower case letters, digits, hyphens.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="The folder whose files make the version.", show_default=False)],
    include: Annotated[
        list[str] | None, typer.Option(help="Only files whose path matches, as '*.py' or 'docs/**'. May be said several times.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave these files or folders out, as 'tests'.")] = None,
    project: Annotated[str | None, typer.Option(help="ORGANISATION/PROJECT; only an operator must say it.")] = None,
    as_json: Json = False,
) -> None:
    """Make a version of a data set out of a folder. The same content again is the same version, and only new chunks are sent."""
    with (
        reach.client() as cloud,
        Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=out.errors, transient=True) as bar,
    ):
        task = bar.add_task("reading", total=None)
        made = cloud.make_data(
            name,
            folder,
            include=include or ["**"],
            exclude=exclude or [],
            project=project,
            said=lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None),
        )
    if as_json:
        out.as_json(made)
    else:
        out.console.print(
            f"{made['version']}: {made['files']} file{'s' if made['files'] != 1 else ''}, {show_bytes(made['size_bytes'])}"
        )


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List data sets with their versions."""
    with reach.client() as cloud:
        found = cloud.data()
    if as_json:
        out.as_json(found)
        return
    rows = [
        [
            v["version"],
            v["organisation"],
            v["files"],
            show_bytes(v["size_bytes"]),
            datetime.fromtimestamp(v["made_at_ns"] / NS_PER_S).strftime("%Y-%m-%d %H:%M"),
        ]
        for v in found
    ]
    out.table(["version", "organisation", "files", "size", "made"], rows, right=["files", "size"])
