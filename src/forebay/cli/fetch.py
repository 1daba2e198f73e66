"""`forebay fetch`: bring what a job left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from forebay.cli import out, reach
from forebay.units import show_bytes

app = typer.Typer(add_completion=False)


@app.command()
def fetch(
    job: Annotated[str, typer.Argument(help="The job, or one run of it.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option(help="The folder to put it in: new, empty, or of an earlier fetch. Default: JOB-out.")
    ] = None,
    wait: Annotated[str, typer.Option(help="How long to wait for the centre where it lies.")] = "10m",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Bring what a job left, from whichever centre it ran at. Said again after it was cut off, it goes on."""
    from forebay.units import parse_seconds

    folder = to or Path(f"{job}-out")
    with (
        reach.client() as cloud,
        Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=out.errors, transient=True) as bar,
    ):
        task = bar.add_task("asking", total=None)
        left = cloud.output(
            job,
            folder,
            said=lambda what, done, of: bar.update(task, description=what, completed=done, total=of or None),
            timeout_s=parse_seconds(wait),
        )
    files = left["manifest"]["files"]
    size = sum(file["size_bytes"] for file in files)
    if as_json:
        out.as_json(
            {"run": left["run"], "version": left["version"], "folder": str(folder), "files": len(files), "size_bytes": size}
        )
        return
    so_far = "" if left["whole"] else " so far: the job goes on"
    count = f"{len(files)} file{'s' if len(files) != 1 else ''}"
    out.console.print(f"{folder}: {count}, {show_bytes(size)}, left by {left['run']}{so_far}", soft_wrap=True)
