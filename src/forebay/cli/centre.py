"""`forebay centre`: let centres join the cloud, and refuse them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forebay.cli import centre_here, centre_start, out, reach
from forebay.cli.pool_table import state_of
from forebay.units import show_bytes_per_s

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and revoke centres; join one.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]
Expires = Annotated[str, typer.Option(help="How long the token may be used to join: 1h, 7d…")]
for name, command in {**centre_here.COMMANDS, "start": centre_start.start}.items():
    app.command(name)(command)
Name = Annotated[str, typer.Argument(help="Lower case letters, digits, hyphens.", show_default=False)]


@app.command()
def make(name: Name, expires_in: Expires = "7d", as_json: Json = False) -> None:
    """Make a centre, and the token with which its operator joins it. The token is shown once: the cloud keeps a hash only."""
    with reach.client() as cloud:
        made, token = cloud.make_centre(name, expires_in=expires_in)
    _show_token(made, token, cloud.url, expires_in, as_json)


@app.command("token")
def token_(name: Name, expires_in: Expires = "7d", as_json: Json = False) -> None:
    """Make a new token for a centre that is to join again. The key that it has is good until it does."""
    with reach.client() as cloud:
        made, token = cloud.make_token(name, expires_in=expires_in)
    _show_token(made, token, cloud.url, expires_in, as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List centres: engine, agent, what runs there."""
    with reach.client() as cloud:
        found = cloud.centres()
    if as_json:
        out.as_json(found)
        return
    rows = [
        [
            centre["name"],
            state_of(centre),
            centre["engine"],
            centre["version"],
            centre["cards"],
            centre["runs"],
            f"{show_bytes_per_s(centre['rate']['bytes_per_s'])} {centre['rate']['source']}",
            centre["token"],
            (centre["drained"] or {}).get("reason", "") or ("drained" if centre["drained"] else ""),
        ]
        for centre in found
    ]
    heads = ["centre", "agent", "engine", "version", "cards", "runs", "data comes at", "token", "drained"]
    out.table(heads, rows, right=["cards", "runs"])


@app.command()
def rate(
    name: Annotated[str, typer.Argument(help="The centre.", show_default=False)],
    speed: Annotated[str, typer.Argument(help='As "1 GB/s" or "400 Mbit/s"; "none": as is usual.', show_default=False)],
    as_json: Json = False,
) -> None:
    """Say how fast data comes to a centre: what it takes to bring a job's data there counts when it is chosen where it runs.

    It counts until the centre's agent has measured it anew; `forebay centre list` shows what counts.
    """
    with reach.client() as cloud:
        answer = cloud.set_centre_rate(name, None if speed == "none" else speed)
    if as_json:
        out.as_json(answer)
    else:
        told = show_bytes_per_s(answer["bytes_per_s"]) if answer["bytes_per_s"] else "what is usual"
        out.console.print(f"{name}: data comes at {told}, until it is measured")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The centre.", show_default=False)],
    give_up: Annotated[
        bool,
        typer.Option("--give-up", help="Take its runs for lost, so that their jobs are tried elsewhere. They aren't billed."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Refuse a centre's agent from now on. What runs there goes on, unseen, until you give it up."""
    with reach.client() as cloud:
        answer = cloud.revoke_centre(name, give_up=give_up)
    if as_json:
        out.as_json(answer)
        return
    runs = answer["runs"]
    out.console.print(f"{name}: its agent is refused from now on")
    if runs and give_up:
        out.console.print(f"taken for lost: {', '.join(runs)}")
    elif runs:
        out.console.print(f"these runs go on there, and nobody will tell how they end: {', '.join(runs)}", soft_wrap=True)
        hint = f"give them up: forebay centre revoke {name} --give-up, or forebay cancel JOB for one. Or let it join again:"
        out.console.print(f"{hint} forebay centre token {name}", style="dim", soft_wrap=True)


def _show_token(made: dict[str, Any], token: str, url: str, expires_in: str, as_json: bool) -> None:
    if as_json:
        out.as_json({**made, "token": token, "cloud": url})
        return
    out.console.print(f"centre {made['name']}")
    out.console.print(f"token {token}", soft_wrap=True)
    out.console.print(f"good for one join, within {expires_in}. At the centre:", style="dim")
    out.console.print(f"forebay centre join {url} --token {token}", soft_wrap=True)
