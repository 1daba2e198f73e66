"""`forebay plan export`: a plan in the words of another framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.chips import catalogue
from forebay.cli import out
from forebay.cli.figures import line
from forebay.cli.plan_files import HINT, chosen, opened, write_all
from forebay.cli.plan_show import File, Json
from forebay.errors import BadInput
from forebay.plan.export import CARDS_A_HOST, TARGETS, export


def export_it(
    file: File,
    to: Annotated[str, typer.Option("--to", help=", ".join(TARGETS) + ".", show_default=False)],
    choice: Annotated[int, typer.Option(help="Which choice of a menu.")] = 1,
    folder: Annotated[Path, typer.Option("--folder", help="The folder that the files go to.")] = Path(),
    cards_per_host: Annotated[
        list[str] | None, typer.Option(help="Cards of a host, of all chips or of one (gb200=4); 8.", show_default=False)
    ] = None,
    script: Annotated[
        str, typer.Option(help="What is run, with its arguments; each target has its own.", show_default=False)
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Export a plan to Megatron-LM, torchtitan, DeepSpeed, FlagScale or torchrun.

    What the target has no words for is refused, and nothing is written.

    forebay plan export menu.json --to megatron

    forebay plan export menu.json --choice 2 --to flagscale --folder ours
    """
    found = opened(file)
    one = chosen(found, choice)
    if found.workload is None:
        raise BadInput("An export needs the workload, too: model, batch and tokens.", asked=file, found="a plan alone", hint=HINT)
    told = export(found.workload, one.plan, to, cards_a_host=_hosts(cards_per_host or [], tuple(one.plan.need())), script=script)
    write_all({folder / name: text for name, text in told.files.items()}, force=force)
    written = [str(folder / name) for name in told.files]
    if as_json:
        out.as_json({"target": told.target, "written": written, "lines": list(told.lines), "notes": list(told.notes)})
        return
    line("Written: " + ", ".join(written))
    for note in told.notes:
        line(f"- {note}")
    line("\nRun" + (f" in {folder}:" if folder != Path() else ":"))
    for one_line in told.lines:
        line(f"  {one_line}")


def _hosts(said: list[str], chips: tuple[str, ...]) -> dict[str, int]:
    """Cards a host by chip: "8" is for all, "gb200=4" for one."""
    hosts = dict.fromkeys(chips, CARDS_A_HOST)
    for text in sorted(said, key=lambda one: "=" in one):  # what is said of one chip counts more
        chip, _, count = text.rpartition("=")
        if not count.isdigit() or int(count) < 1:
            raise BadInput("A host has a number of cards.", asked=f"--cards-per-host {text}", hint="8, or gb200=4")
        if chip and chip not in hosts:
            catalogue.find(chip)  # a name that there is not is told with the nearest
            raise BadInput(
                "The plan has no card of that kind.", asked=f"--cards-per-host {text}", found=", ".join(dict.fromkeys(chips))
            )
        hosts |= {chip: int(count)} if chip else dict.fromkeys(chips, int(count))
    return hosts
