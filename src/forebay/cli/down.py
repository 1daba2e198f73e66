"""`forebay down`: stop what `up` started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli import daemons, out, reach
from forebay.errors import Unknown

app = typer.Typer(add_completion=False)
HOLDING = ("starting", "running", "stopping")  # the phases in which a job holds cards
MOST = 1000  # jobs in one answer


@app.command()
def down(
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the cloud to stop. Default: FOREBAY_DATA or ~/.forebay.")
    ] = None,
    stop_runs: Annotated[bool, typer.Option("--stop-runs", help="Cancel what still runs or waits, first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Stop what `up` started.

    Runs go on without the cloud, and the next `up` finds them again; --stop-runs cancels them first.
    """
    folder = reach.data_folder(data)
    if not daemons.alive("cloud", folder) and not daemons.alive("agent", folder):
        raise Unknown("No cloud runs on this data folder.", asked=str(folder), hint="--data FOLDER, or `forebay up`")
    live = _live(folder, cancel=stop_runs) if daemons.alive("cloud", folder) else []
    stopped = [name for name in ("agent", "cloud") if daemons.stop(name, folder)]
    if as_json:
        out.as_json({"stopped": stopped, "runs_going_on": live})
        return
    out.console.print(f"Stopped: {', '.join(stopped)}.")
    if live:
        out.console.print(f"Still going on: {', '.join(live)}. `forebay up` finds them again.")


def _live(folder: Path, *, cancel: bool) -> list[str]:
    """The jobs that hold cards; cancelled, and waited for, if so asked."""
    from forebay.client import Client

    with Client((folder / "address").read_text().strip(), (folder / "operator.key").read_text().strip(), patience_s=2.0) as cloud:
        if not cancel:
            return [job["id"] for phase in HOLDING for job in cloud.jobs(phase=phase, most=MOST)]
        while waiting := cloud.jobs(phase="waiting", most=MOST):  # first, or they would take the cards that come free
            for job in waiting:
                cloud.cancel(job["id"])
        holding = [job["id"] for phase in HOLDING for job in cloud.jobs(phase=phase, most=MOST)]
        for job in holding:
            cloud.cancel(job)
        for job in holding:
            cloud.wait(job, timeout_s=60.0)
    return []
