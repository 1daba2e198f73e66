"""`forebay centre start`: make a cluster out of plain machines, to be joined afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from forebay.cli import out
from forebay.errors import BadInput


def start(
    machines: Annotated[
        list[str],
        typer.Argument(
            help="HOST[@ADDRESS][=CHIP:CARDS,…], the head first: a1@10.0.0.5=ascend-910b:8. Without cards: looked for there.",
            show_default=False,
        ),
    ],
    engine: Annotated[str, typer.Option(help="Which kind of cluster; ray is the only one that Forebay makes.")] = "ray",
    ssh: Annotated[bool, typer.Option("--ssh", help="Start it over SSH. Default: print the command for each.")] = False,
    ray: Annotated[str, typer.Option(help="The program `ray` on the machines.")] = "ray",
    python: Annotated[str, typer.Option(help="Python on the machines, to look for their cards.")] = "python3",
    port: Annotated[int, typer.Option(help="Port of the head.", min=1, max=65535)] = 6379,
    dashboard_port: Annotated[int, typer.Option(help="Port of the head's dashboard.", min=1, max=65535)] = 8265,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Make a Ray cluster out of plain machines: print the one command for each, or start it over SSH.

    The machines need Ray, the same version on each, and Python 3.11 or newer. Afterwards:

    forebay centre join CLOUD --token T --engine ray --address HEAD:6379
    """
    from forebay.centre.ray import start as ray_start

    if engine != "ray":
        raise BadInput("Forebay makes no such cluster.", asked=engine, found="ray", hint="a Slurm site is joined as it is")
    plan = ray_start.Plan(
        machines=tuple(ray_start.machine(text) for text in machines), ray=ray, port=port, dashboard_port=dashboard_port
    )
    without = [which.host for which in plan.machines if not which.cards]
    if without and not ssh:
        raise BadInput(
            "I can't see what cards these machines have.",
            asked=", ".join(without),
            hint=f"{without[0]}=CHIP:CARDS, or --ssh",
        )
    if without:
        with out.errors.status("looking for cards"):
            plan = ray_start.detected(plan, python)
    if ssh:
        with out.errors.status("starting Ray"):
            ray_start.start(plan)
    settled = ray_start.settings(plan)
    words = ["forebay centre join CLOUD --token T --engine ray", "--address", settled.address, "--dashboard", settled.dashboard]
    join = " ".join([*words, *(f"--resource {name}={chip}" for name, chip in settled.chips.items() if chip != "cpu")])
    if as_json:
        commands = {which.host: ray_start.command(plan, which) for which in plan.machines}
        where = {"address": settled.address, "dashboard": settled.dashboard}
        out.as_json({**where, "commands": commands, "started": ssh, "join": join})
        return
    if ssh:
        out.table(["machine", "cards"], [[which.host, _told(which.cards)] for which in plan.machines])
    else:
        out.console.print(ray_start.by_hand(plan), markup=False, soft_wrap=True)
    out.console.print(f"Next: {join}", markup=False, soft_wrap=True)


def _told(cards: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {chip}" for chip, count in cards.items())
