"""`forebay chips certify`: measure a chip by torch's own operator database, with the Python that has the chip's torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from forebay import errors
from forebay.chips import catalogue
from forebay.cli import chips_card, out
from forebay.porting.shim.chip.adapter import known

SOURCE = Path(__file__).resolve().parents[2]
# Formats that are asked of a chip whose sheet has them, beside those that are asked of every chip: ours -> torch's.
OF_SOME = {"fp64": ("float64",), "fp8": ("float8_e4m3fn", "float8_e5m2"), "int8": ("int8",)}


@dataclass(frozen=True)
class Place:
    """What a chip's name means to torch: a device, the modules that bring it, and what of our shim carries it."""

    device: str
    imports: tuple[str, ...] = ()
    carrier: str = ""
    formats: tuple[str, ...] = ()  # that its sheet says it has, beside the usual ones


def certify(
    chip: Annotated[str, typer.Argument(help="A chip (ascend-910b), an adapter (npu), cpu, simulated or fakechip.")],
    device: Annotated[
        str, typer.Option(help="Torch's name of the device, for a chip that Forebay doesn't know.", show_default=False)
    ] = "",
    imports: Annotated[
        list[str] | None, typer.Option("--import", help="A module that brings the device; may be said again.", show_default=False)
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="One sample of each operator, in float32 and bfloat16.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this operator; may be said again.", show_default=False)] = None,
    formats: Annotated[
        str,
        typer.Option(
            help="Number formats, as float32,float64. Else fp32, bf16, fp16, int64 and those of its sheet.",
            show_default=False,
        ),
    ] = "",
    jobs: Annotated[int | None, typer.Option(help="Operators at a time: as many as cores.", show_default=False)] = None,
    patience: Annotated[float, typer.Option(help="Seconds after which a silent operator has hung.")] = 120.0,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where the results go, and a stopped run goes on.", show_default=False)
    ] = None,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="After a full run, measure the ceilings too.")] = True,
    python: Annotated[
        str, typer.Option(help="The Python that has the chip's torch: this one when none is given.", show_default=False)
    ] = "",
    cache: Annotated[Path | None, typer.Option(help="Where the compiled layer is kept.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Measure a chip: every operator of torch's database on it, against float64 truth. A run that stopped goes on."""
    place = Place(device, tuple(imports or ())) if device else find(chip, tuple(imports or ()))
    goes_to = folder or Path(f"certified-{chip}{'-smoke' if smoke else ''}")
    words = ["--chip", chip, "--device", place.device, "--out", str(goes_to), "--lines", "--patience", str(patience)]
    words += ["--carrier", place.carrier] if place.carrier else []
    words += [word for module in place.imports for word in ("--import", module)]
    words += [word for operator in only or () for word in ("--only", operator)]
    words += ["--smoke"] if smoke else []
    words += ["--formats", formats] if formats else []
    words += [] if smoke or formats else [word for one in place.formats for word in ("--also", one)]
    words += ["--jobs", str(jobs)] if jobs else []
    words += ["--cache", str(cache)] if cache else []
    summary = _run(python or sys.executable, words, quiet=as_json)
    timed = speed and not smoke and not only
    told = chips_card.finish(goes_to, seconds=chips_card.SECONDS if timed else 0.0, python=python or sys.executable)
    if as_json:
        out.as_json({**summary, "out": str(goes_to), **told.to_json()})
        return
    out.table(("verdict", "cases"), summary["verdicts"].items(), right=("cases",))
    share = 100 * summary["untested_share_of_operators"]
    out.console.print(
        f"\n{summary['operators']} operators in {summary['cases']} cases (format, direction); untested: "
        f"{summary['operators_untested']} operators ({share:.2f} %). Each verdict: {goes_to}/results.jsonl",
        markup=False,
    )
    out.console.print(told.in_words(), markup=False)


def find(name: str, imports: tuple[str, ...] = ()) -> Place:
    """By a name of ours, an adapter's, or a chip's in the catalogue. Raises Unknown with the nearest."""
    if name in ("simulated", "fakechip"):
        return Place("cuda" if name == "simulated" else name, imports, name)
    adapter = known().get(name)
    if adapter is not None:
        return Place(adapter.device, imports or (() if adapter.plugin == "torch" else (adapter.plugin,)))
    chip = catalogue.find(name)
    plugin = (chip.plugin,) if chip.plugin and chip.plugin != "torch" else ()
    formats = tuple(its for ours, names in OF_SOME.items() if ours in chip.flop_per_s for its in names)
    return Place(chip.device_type, imports or plugin, formats=formats)


def _run(python: str, words: Sequence[str], quiet: bool) -> dict[str, Any]:
    """The summary that the measuring process ends with. Its error is raised here as it was there."""
    places = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    try:
        process = subprocess.Popen(
            [python, "-m", "forebay.porting.certify", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError as error:
        raise errors.BadInput("This Python can't be started.", asked=python, found=str(error), hint="--python PATH") from error
    last: deque[str] = deque(maxlen=200)
    summary: dict[str, Any] | None = None
    assert process.stdout is not None
    with process, _bar(quiet) as show:
        for line in process.stdout:
            said = _read(line, last)
            if "error" in said:
                raise errors.from_json(said["error"])
            if "summary" in said:
                summary = said["summary"]
            elif said:
                show(said)
    if summary is None:
        found = "\n".join(list(last)[-3:])
        hint = "has this Python torch? Name another with --python"
        raise errors.RunFailed("The measuring process ended without a result.", asked=python, found=found, hint=hint)
    return summary


def _read(line: str, last: deque[str]) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if isinstance(said, dict):
        return said
    last.append(line.rstrip())
    return {}


@contextmanager
def _bar(quiet: bool) -> Iterator[Any]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=out.errors, transient=True, disable=quiet) as progress:
        task = progress.add_task("torch and its database are imported", total=None)

        def show(said: dict[str, Any]) -> None:
            bad = {word: count for word, count in said["verdicts"].items() if word not in ("strict", "basic", "untested")}
            told = ", ".join(f"{count} {word}" for word, count in bad.items())
            progress.update(task, completed=said["at"], total=said["of"], description=f"{said['operator']}  {told}")

        yield show
