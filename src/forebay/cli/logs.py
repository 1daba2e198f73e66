"""`forebay logs`: print what a job printed."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from forebay.cli import reach
from forebay.cli.run_follow import print_line

app = typer.Typer(add_completion=False)


@app.command()
def logs(
    job: Annotated[str, typer.Argument(help="The job, or one run of it.", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    rank: Annotated[int | None, typer.Option(help="Only this rank.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    """Print what a job printed; -f follows."""
    with reach.client() as cloud:
        try:
            for line in cloud.logs(job, follow=follow):
                if rank is not None and line["rank"] != rank:
                    continue
                if as_json:
                    print(json.dumps(line, ensure_ascii=False), flush=True)
                else:
                    print_line(line)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
