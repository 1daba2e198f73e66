"""`forebay cancel`: cancel a job."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import reach, show
from forebay.cli.main import command

app = typer.Typer()


@command(app)
def cancel(
    job: Annotated[str, typer.Argument(help="The job.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help=show.JSON_HELP)] = False,
) -> None:
    """Cancel a job. It gets SIGTERM, and SIGKILL after its grace."""
    with reach.client() as cloud:
        answer = cloud.cancel(job)
    if as_json:
        show.as_json(answer)
    elif answer["was"] in ("succeeded", "failed", "cancelled"):
        show.console.print(f"{answer['id']} was over already: {answer['was']}.")
    else:
        show.console.print(f"{answer['id']} is asked to end (it was {answer['was']}).")
