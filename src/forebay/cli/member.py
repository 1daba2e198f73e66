"""`forebay member`: who belongs to an organisation, and what they may do there."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out, reach

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Add, list, change and remove members of an organisation.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]
Home = Annotated[str, typer.Argument(help="ORGANISATION, or ORGANISATION/PROJECT for one project only.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Their name, or address of mail, in lower case.", show_default=False)]
ROLE_HELP = "owner: members, keys, projects, budgets; member: jobs and data; viewer: reads."


@app.command()
def add(
    home: Home,
    name: Name,
    role: Annotated[str, typer.Option(help=ROLE_HELP)] = "member",
    as_json: Json = False,
) -> None:
    """Add a member.

    What lets them in is a key: `forebay key make ORGANISATION --member NAME`.
    An owner of the organisation does this, or an operator. Nobody gives a role
    beyond their own.
    """
    from forebay.client_tenants import split_home

    organisation, project = split_home(home)
    with reach.client() as cloud:
        if name in [known["name"] for known in cloud.members(organisation)]:
            from forebay.errors import Conflict

            raise Conflict(
                "There is a member of that name already.",
                asked=f"{organisation}/{name}",
                hint=f"forebay member set {home} {name}",
            )
        made = cloud.set_member(organisation, name, role=role, project=project or None)
    _tell(made, as_json)


@app.command("set")
def set_(
    home: Home,
    name: Name,
    role: Annotated[str, typer.Option(help=ROLE_HELP, show_default=False)],
    as_json: Json = False,
) -> None:
    """Give a member another role, or another project, at once: their keys are never good for more than they are."""
    from forebay.client_tenants import split_home
    from forebay.errors import Unknown

    organisation, project = split_home(home)
    with reach.client() as cloud:
        if name not in [known["name"] for known in cloud.members(organisation)]:
            raise Unknown("There is no such member.", asked=f"{organisation}/{name}", hint=f"forebay member list {organisation}")
        made = cloud.set_member(organisation, name, role=role, project=project or None)
    _tell(made, as_json)


@app.command("list")
def list_(
    organisation: Annotated[str, typer.Argument(help="Default: every one that you see.", show_default=False)] = "",
    as_json: Json = False,
) -> None:
    """List members, with their roles and how many good keys each has."""
    with reach.client() as cloud:
        names = [organisation] if organisation else [known["name"] for known in cloud.organisations()]
        found = [member for name in names for member in cloud.members(name)]
    if as_json:
        out.as_json(found)
        return
    rows = [[m["organisation"], m["name"], m["role"], m["project"] or "all", m["keys"]] for m in found]
    out.table(["organisation", "member", "role", "projects", "keys"], rows, right=["keys"])


@app.command()
def remove(
    organisation: Annotated[str, typer.Argument(help="The organisation.", show_default=False)], name: Name, as_json: Json = False
) -> None:
    """Remove a member. None of their keys is good from now on; their jobs go on."""
    with reach.client() as cloud:
        gone = cloud.remove_member(organisation, name)
    if as_json:
        out.as_json(gone)
        return
    keys = f"; revoked: {', '.join(gone['revoked'])}" if gone["revoked"] else ""
    out.console.print(f"{name} is no member of {organisation} any more{keys}", soft_wrap=True)


def _tell(made: dict[str, str], as_json: bool) -> None:
    if as_json:
        out.as_json(made)
        return
    where = f"{made['organisation']}/{made['project']}" if made["project"] else made["organisation"]
    out.console.print(f"{made['name']} is {made['role']} of {where}")
