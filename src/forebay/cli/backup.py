"""`forebay backup`: keep a whole cloud in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.errors import Unavailable
from forebay.units import show_bytes

app = typer.Typer(add_completion=False)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; new. It will hold keys.", show_default=False)],
    data: Annotated[Path | None, typer.Option(help="Data folder of the cloud. Default: FOREBAY_DATA or ~/.forebay.")] = None,
    database: Annotated[str, typer.Option(help="The journal's PostgreSQL. Default: where the data folder says.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Keep a whole cloud in one file while it works; on the cloud's machine."""
    from forebay.cloud.backup import backup as make

    folder = reach.data_folder(data)
    with out.bytes_bar() as said:
        made, damaged = make(folder, reach.database(database), file.expanduser().absolute(), said)
    if as_json:
        out.as_json(
            {
                "file": str(file),
                "made_at": made.made_at,
                "lines": made.lines,
                "files": len(made.files),
                "size_bytes": made.size_bytes,
                "damaged": damaged,
            }
        )
    else:
        out.console.print(
            f"{file}: the journal up to line {made.lines}, {len(made.files)} files, {show_bytes(made.size_bytes)}", soft_wrap=True
        )
    if damaged:
        raise Unavailable(
            "The backup is whole, but files in the data folder are damaged.",
            found=f"{len(damaged)}, the first {damaged[0]}",
            hint="bring that code or data again; the content no longer fits its name",
        )
