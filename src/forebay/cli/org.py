"""`forebay org`: organisations and their projects."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay.cli import out, reach

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make and list organisations and their projects.")
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="Lower case letters, digits, hyphens.", show_default=False)],
    title: Annotated[str, typer.Option(help="Its name for people.")] = "",
    project: Annotated[list[str] | None, typer.Option(help="Make this project in it, too.")] = None,
    as_json: Json = False,
) -> None:
    """Make an organisation, with its first projects."""
    with reach.client() as cloud:
        made = cloud.make_organisation(name, title)
        made["projects"] = [cloud.make_project(name, each)["name"] for each in project or []]
    if as_json:
        out.as_json(made)
    else:
        out.console.print(f"organisation {name}" + "".join(f", project {name}/{each}" for each in made["projects"]))


@app.command()
def project(
    name: Annotated[str, typer.Argument(help="ORGANISATION/PROJECT.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Make a project in an organisation."""
    from forebay.client_tenants import split_project

    with reach.client() as cloud:
        made = cloud.make_project(*split_project(name))
    if as_json:
        out.as_json(made)
    else:
        out.console.print(f"project {name}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List organisations with their projects."""
    with reach.client() as cloud:
        found = cloud.organisations()
    if as_json:
        out.as_json(found)
    else:
        out.table(["organisation", "title", "projects"], [[o["name"], o["title"], ", ".join(o["projects"])] for o in found])
