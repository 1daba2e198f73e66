"""`forebay plan calibrate`: own runs, a measured step of a menu's plan, or a layer benchmark becomes a calibration."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli import out
from forebay.cli.figures import line, plain
from forebay.cli.plan_choose import Again, Software
from forebay.cli.plan_files import HINT, chosen, opened, pool_of, wishes_of
from forebay.cli.plan_kept import calibration_folder
from forebay.cli.plan_show import Json
from forebay.errors import BadInput
from forebay.plan import calibrations

if TYPE_CHECKING:
    from forebay.plan.calibrate import Measured


def calibrate_it(
    runs: Annotated[Path | None, typer.Option(help="Own runs, in the format of measured_runs.json.", show_default=False)] = None,
    menu: Annotated[str, typer.Option(help="Or: a menu, one of whose plans was run.", show_default=False)] = "",
    choice: Annotated[int, typer.Option(help="Of the menu, which plan was run.")] = 1,
    on: Again = "",
    seconds: Annotated[float | None, typer.Option(help="What a step of it took.", show_default=False)] = None,
    release: Annotated[str, typer.Option(help="Software and release that ran it, as nemo-25.02.", show_default=False)] = "",
    framework: Software = "",
    layer: Annotated[
        bool, typer.Option("--layer", help="Or: time layers on a card of this machine, of --chip, or of a pool --on.")
    ] = False,
    chip: Annotated[str, typer.Option(help="Of --layer: the card's chip, as h100-sxm.", show_default=False)] = "",
    number_format: Annotated[str, typer.Option("--format", help="Of --layer: bf16 or fp16.")] = "bf16",
    seconds_most: Annotated[float, typer.Option(help="Of --layer: how long it may run.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Calibrate the planner with measured steps or layers: one factor a chip, number format and release, kept for later plans.

    forebay plan calibrate --runs ours.json

    forebay plan calibrate --menu menu.json --choice 1 --seconds 8.91 --release nemo-25.02

    forebay plan calibrate --layer --chip h100-sxm
    """
    from forebay.plan import calibrate, measured

    if (runs is not None) + bool(menu) + layer != 1:
        raise BadInput(
            "Either runs from a file, or one step of a menu's plan, or a layer benchmark.",
            hint="--runs FILE, or --menu FILE --seconds 8.91, or --layer --chip h100-sxm",
        )
    words, today = shlex.join(["forebay", *sys.argv[1:]]), datetime.now(UTC).date().isoformat()
    if layer:
        from forebay.cli.plan_calibrate_layer import benchmark

        benchmark(chip, on, number_format, seconds_most, today, words, as_json)
        return
    left: dict[str, int] = {}
    if runs is not None:
        read, left = measured.read(runs)
        told = [calibrate.measured(one) for one in read if one.chip and not one.recalled]
        if len(told) < len(read):
            left["several kinds of cards, or recalled"] = len(read) - len(told)
    else:
        told = [_step(menu, choice, on, seconds, release, framework)]
    fitted, unpriced = calibrate.fit(told, today, words)
    left |= unpriced
    if not fitted:
        raise BadInput("No run of these can be calibrated with.", found=", ".join(f"{n} x {why}" for why, n in left.items()))
    paths = [calibrations.keep(one.calibration, calibration_folder()) for one in fitted]
    if as_json:
        out.as_json({"fitted": plain(fitted), "left_out": left, "written": [str(path) for path in paths]})
        return
    rows = []
    for one in fitted:
        made = one.calibration
        name = next(key for key in made.figures if key.startswith("slower_"))
        form, slower = name.removeprefix("slower_"), f"{made.figures[name]:.3f}"
        rows.append((made.subject, form, made.software["release"], one.runs, slower, f"{one.before:.1%}", f"{one.after:.1%}"))
    names = ("chip", "format", "release", "runs", "factor", "error before", "after")
    out.table(names, rows, right=names[3:])
    for why, n in left.items():
        line(f"Left out: {n} x {why}")
    line(f"Kept in {calibration_folder()}; plans on these chips rest on them from now on.")


def _step(menu: str, choice: int, on: str, seconds: float | None, release: str, framework: str) -> Measured:
    from forebay.plan.calibrate import Measured
    from forebay.plan.explain import even_stages, held

    lacks = [name for name, said in (("--seconds", seconds), ("--release", release)) if not said]
    if lacks or seconds is None:
        raise BadInput("A measured step needs more to be said.", asked=f"--menu {menu}", hint=", ".join(lacks))
    if not 0 < seconds < math.inf:
        raise BadInput("A step takes more than no time.", asked=f"--seconds {seconds:g}")
    found = opened(menu)
    plan = chosen(found, choice).plan
    if found.workload is None:
        raise BadInput("A step is priced with its workload.", asked=menu, found="a plan alone", hint=HINT)
    if not even_stages(replace(plan, layers=())):
        raise BadInput(
            "One factor can't be told from a step on several kinds, or of stages that recompute differently.", asked=menu
        )
    cards, software = held(pool_of(found, on), plan), wishes_of(found, framework).framework
    return Measured(work=found.workload, plan=plan, cards=cards, software=software, release=release, seconds=seconds)
