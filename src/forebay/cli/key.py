"""`forebay key`: make, list, use and revoke keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from forebay.cli import out, reach
from forebay.units import NS_PER_S

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and revoke keys.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command()
def make(
    project: Annotated[
        str | None,
        typer.Argument(
            help="ORGANISATION/PROJECT, or ORGANISATION for all of it; none for an operator's key.", show_default=False
        ),
    ] = None,
    role: Annotated[str, typer.Option(help="operator, owner, member or viewer.")] = "member",
    name: Annotated[str, typer.Option(help="What it is for, for people.")] = "",
    member: Annotated[str | None, typer.Option(help="Whose it is: never good for more than they are, nor longer.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Good for this only, as jobs:write; may be said again. Default: all of its role.")
    ] = None,
    expires_in: Annotated[str | None, typer.Option("--expires", "--expires-in", help="30d, 12h… Default: never.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Use it for the next commands on this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Make a key. Its secret is shown once: the cloud keeps a hash only.

    An owner makes keys of their organisation, an operator any. A key never
    makes one that is good for more than itself, or longer.

    Scopes: jobs:read, jobs:write, jobs:enter (shells), data:read, data:write,
    pool:read, bill:read, members:read, members:write, budgets:write,
    audit:read; operators also tenants:write, pool:write.

    A program that submits and waits: --scope jobs:read --scope jobs:write.
    """
    with reach.client() as cloud:
        made, secret = cloud.make_key(
            project, role=role, name=name, expires_in=expires_in, member=member, scopes=tuple(scope or ())
        )
    # The secret is shown before anything else can fail: nobody can show it again.
    if as_json:
        out.as_json({**made, "secret": secret})
    else:
        out.console.print(f"key {made['id']} ({made['role']}" + (f" of {project})" if project else ")"))
        out.console.print(f"secret {secret}", soft_wrap=True)
    kept = reach.keep(cloud.url, secret) if use else None
    if as_json:
        return
    out.console.print(
        f"kept in {kept}; the next commands use it" if kept else "use it: export FOREBAY_KEY=… or forebay key use SECRET",
        style="dim",
    )


@app.command()
def use(secret: Annotated[str, typer.Argument(help="The key's secret.", show_default=False)], as_json: Json = False) -> None:
    """Use a key for the next commands on this machine."""
    from forebay.client import Client

    with reach.client() as cloud, Client(cloud.url, secret) as mine:
        whose = mine.me()
        path = reach.keep(cloud.url, secret)
    if as_json:
        out.as_json(whose)
    else:
        out.console.print(f"The next commands use {whose['id']} ({path}).")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List keys, without their secrets."""
    with reach.client() as cloud:
        keys = cloud.keys()
    if as_json:
        out.as_json(keys)
        return
    rows = [
        [
            key["id"],
            key["role"],
            key["organisation"] + (f"/{key['project']}" if key["project"] else ""),
            key["member"],
            key["name"],
            " ".join(key["scopes"]) or "all",
            datetime.fromtimestamp(key["expires_at_ns"] / NS_PER_S).strftime("%Y-%m-%d %H:%M")
            if key["expires_at_ns"]
            else "never",
            "revoked" if key["revoked"] else "good",
        ]
        for key in keys
    ]
    out.table(["key", "role", "of", "member", "name", "good for", "expires", "state"], rows)


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The key's id.", show_default=False)], as_json: Json = False) -> None:
    """Revoke a key, at once and for good. Its runs go on."""
    with reach.client() as cloud:
        answer = cloud.revoke_key(key)
    if as_json:
        out.as_json(answer)
    else:
        out.console.print(f"key {key} is revoked")
