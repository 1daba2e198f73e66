"""`forebay cancel`: cancel a job."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out, reach

app = typer.Typer(add_completion=False)


@app.command()
def cancel(
    job: Annotated[str, typer.Argument(help="The job.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Cancel a job. It gets SIGTERM, and SIGKILL after its grace."""
    with reach.client() as cloud:
        answer = cloud.cancel(job)
    if as_json:
        out.as_json(answer)
    elif answer["was"] in ("succeeded", "failed", "cancelled"):
        out.console.print(f"{answer['id']} was over already: {answer['was']}.")
    else:
        out.console.print(f"{answer['id']} is asked to end (it was {answer['was']}).")
