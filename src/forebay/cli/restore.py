"""`forebay restore`: make a cloud again out of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.units import show_bytes

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `forebay backup` made.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="The data folder to make, new or empty. Default: FOREBAY_DATA or ~/.forebay.")
    ] = None,
    database: Annotated[
        str,
        typer.Option(
            help="An empty PostgreSQL for the journal, postgresql://user@host/name; a password belongs into FOREBAY_DATABASE. "
            "Default: a file in the data folder."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Make a cloud again out of a backup, all of it or nothing."""
    from forebay.cloud.restore import restore as make

    folder = reach.data_folder(data)
    with out.bytes_bar() as said:
        found = make(file.expanduser(), folder, reach.database(database), said)
    if as_json:
        out.as_json(
            {
                "data": str(folder),
                "made_at": found.made_at,
                "lines": found.lines,
                "files": len(found.files),
                "size_bytes": found.size_bytes,
            }
        )
        return
    out.console.print(
        f"{folder}: the cloud of {found.made_at}, its journal up to line {found.lines}, {len(found.files)} files, "
        f"{show_bytes(found.size_bytes)}",
        soft_wrap=True,
    )
    out.console.print(f"Next: forebay up --data {folder}", soft_wrap=True)
