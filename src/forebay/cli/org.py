"""`forebay org`: organisations and their projects."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from forebay.cli import out, reach
from forebay.errors import BadInput

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make, list and set organisations and their projects.")
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


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="ORGANISATION or ORGANISATION/PROJECT.", show_default=False)],
    cohort: Annotated[
        str | None, typer.Option(help="With whom it lends and borrows idle quota; `none`: with all who say nothing.")
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Its share of what several want, beside the others' weights.")] = None,
    as_json: Json = False,
) -> None:
    """Set an organisation's cohort and weight (an operator), or the weight of a project in it (an owner).

    Of what is wanted by more than one, each gets a share by its weight: 2 is
    twice as much as 1. Inside an organisation its projects share by theirs.
    """
    from forebay.client_tenants import split_home

    _, own = split_home(name)
    if cohort is None and weight is None:
        raise BadInput("What is to be set?", asked=name, hint="--weight 2" + ("" if own else ", --cohort NAME"))
    if own and (cohort is not None or weight is None):
        raise BadInput("A project has a weight, and is in its organisation's cohort.", asked=name, hint="--weight 2")
    with reach.client() as cloud:
        if own and weight is not None:
            made = cloud.set_project(name, weight=weight)
        else:
            made = cloud.set_organisation(name, cohort="" if cohort == "none" else cohort, weight=weight)
    if as_json:
        out.as_json(made)
    else:
        within = "" if own else f", in {'cohort ' + made['cohort'] if made['cohort'] else 'the common cohort'}"
        out.console.print(f"{name}: weight {made['weight']:g}{within}")


@app.command()
def centre(
    organisation: Annotated[str, typer.Argument(help="Who brought it; `none`: nobody any more.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The centre.", show_default=False)],
    share: Annotated[float, typer.Option(help="Of what others pay for its cards, between 0 and 1.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Say that a centre is an organisation's.

    It is credited with a share of what others pay there from now on. An
    operator does this.
    """
    with reach.client() as cloud:
        made = cloud.set_centre_owner(name, None if organisation == "none" else organisation, share)
    if as_json:
        out.as_json(made)
    elif made["organisation"] is None:
        out.console.print(f"centre {name} is nobody's")
    else:
        told = f"{made['share'] * 100:g} % of what others pay there is credited to it"
        out.console.print(f"centre {name} is {organisation}'s: {told}", soft_wrap=True)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List organisations with their projects."""
    with reach.client() as cloud:
        found = cloud.organisations()
    if as_json:
        out.as_json(found)
    else:
        rows = [[o["name"], o["title"], o["cohort"] or "common", f"{o['weight']:g}", _projects(o)] for o in found]
        out.table(["organisation", "title", "cohort", "weight", "projects"], rows, right=["weight"])


def _projects(organisation: dict[str, Any]) -> str:
    """Their names, with the weights of those that have one of their own."""
    told = organisation["weights"]
    return ", ".join(name if told[name] == 1 else f"{name} (weight {told[name]:g})" for name in organisation["projects"])
