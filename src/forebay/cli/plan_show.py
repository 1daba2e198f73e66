"""`forebay plan show|compare`: what a menu, a choice or a plan holds; several of them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli import out
from forebay.cli.figures import following, line, plain
from forebay.cli.plan_files import HINT, Opened, chosen, opened, write_all
from forebay.cli.plan_words import degrees, details, dropped, figures, helps, menu, step
from forebay.errors import BadInput
from forebay.plan.export.exported import in_words
from forebay.plan.plan import Choice

FILE = "A menu that --write left, a choice or a plan in JSON; FILE:2 is its second choice."
File = Annotated[str, typer.Argument(metavar="FILE", help=FILE)]
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]


def show(
    file: File,
    choice: Annotated[int, typer.Option(help="Of which choice the details are told.")] = 1,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the pipeline to this SVG file; of one stage, its memory.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a menu, a choice or a plan: its degrees, memory stage by stage, and where the time goes.

    forebay plan show menu.json

    forebay plan show menu.json --choice 2 --picture timeline.svg
    """
    found = opened(file)
    one = chosen(found, choice)
    if picture is not None:
        write_all({picture: drawn(found, one)}, force=True)
    if as_json:
        out.as_json(plain(found.menu if found.priced else one.plan))
        return
    if found.priced:
        menu(found.menu)
        line(f"\nChoice {choice}")
    details(one, found.workload.model if found.workload else None)
    if found.priced:
        dropped(found.menu.dropped)
        helps(found.menu.helps, found.menu.choices[0].seconds_a_step)
        if found.menu.exact:
            line(f"\n{found.menu.exact}")
    if picture is not None:
        line(f"\nDrawn in {picture}.")
    if found.workload is not None:
        following(f"forebay plan export {file} --to megatron" + (f" --choice {choice}" if choice > 1 else ""))


def drawn(found: Opened, choice: Choice) -> str:
    """The choice's pipeline; of one stage, what its cards hold."""
    from forebay.plan import draw
    from forebay.plan.chart import charted

    if found.workload is not None and found.priced and len(choice.plan.stages) > 1:
        return draw.timeline(charted(found.workload, choice), title=f"{found.workload.model.name}: {in_words(choice.plan)}")
    if choice.memory:
        return draw.memory(choice.memory)
    raise BadInput("There is nothing to draw: no stages, and no memory is told.", asked=found.name, hint=HINT)


def compare(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=FILE + " One file alone: all its choices.")],
    as_json: Json = False,
) -> None:
    """Compare plans side by side; rows in which they differ are marked with *.

    forebay plan compare menu.json

    forebay plan compare menu.json:1 menu.json:3 theirs.json
    """
    columns = _columns(files)
    if len(columns) < 2:
        raise BadInput("Two plans or more are compared.", asked=" ".join(files), found="one choice", hint="a second file")
    if as_json:
        out.as_json([{"name": name, "choice": plain(one)} for name, one, _ in columns])
        return
    told = [_rows(one, found.priced) for _, one, found in columns]
    rows = []
    for name in dict.fromkeys(name for column in told for name in column):
        cells = [column.get(name, "-") for column in told]
        rows.append(("*" if len(set(cells)) > 1 else "", name, *cells))
    out.table(("", "", *(name for name, _, _ in columns)), rows)
    if len({found.workload for _, _, found in columns if found.workload is not None}) > 1:
        line("\nThe files are of different workloads: their steps aren't the same work.")


def _columns(files: list[str]) -> list[tuple[str, Choice, Opened]]:
    opens = [opened(name) for name in files]
    if len(opens) == 1:
        return [(f"{opens[0].name}:{i}", one, opens[0]) for i, one in enumerate(opens[0].menu.choices, 1)]
    return [(found.name, chosen(found, 1), found) for found in opens]


def _rows(choice: Choice, priced: bool) -> dict[str, str]:
    told = dict(degrees(choice.plan))
    if priced:
        names = ("tokens/s", "MFU", "fullest card", "cost a step", "10^12 tokens cost", "energy a step")
        told |= {
            "a step": step(choice),
            **dict(zip(names, figures(choice), strict=True)),
            "rests on": choice.tier.partition(":")[0],
        }
    return told
