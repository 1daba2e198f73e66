"""`forebay port`: what a script or a project needs from a chip, line by line, and which chips can run it. Needs no cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress

from forebay import __version__
from forebay.chips import catalogue, certified
from forebay.chips.chip import Chip
from forebay.chips.scorecard import Scorecard
from forebay.cli import out, port_files, port_rewrite, port_table
from forebay.errors import BadInput
from forebay.porting import effort, measured, operators, proof, report
from forebay.porting.findings import Finding, Findings, Verdict, Word
from forebay.porting.page import page
from forebay.porting.rewrite.project import rewrite_project
from forebay.porting.sarif import sarif
from forebay.porting.scan import scan_script, scan_tree
from forebay.porting.scan.folder import Limits
from forebay.porting.shim.chip.adapter import for_device

EXITS = """Exits with 0 when it was read; 1 when --fail-on says so; 2 for a script that can't be read, or words that don't go
together; 3 for a file or a chip that isn't there; 5 when a report would take the place of a file of yours."""

_MOST_REWRITTEN = 2_000  # findings beyond which a report doesn't wait for the rewrite
_EVERY = 20  # files between two looks at the bar

app = typer.Typer(add_completion=False)


@app.command(epilog=EXITS)
def port(
    path: Annotated[Path, typer.Argument(help="A Python script; or a folder, to read every file in it.", show_default=False)],
    to: Annotated[list[str] | None, typer.Option("--to", metavar="CHIP", help="Only this chip; may be repeated.")] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on", metavar="VERDICT", help="Exit with 1 when a chip gets this or worse: emulated, rewrite, blocked."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
    as_sarif: Annotated[
        str, typer.Option("--sarif", metavar="FILE", help="Write SARIF 2.1.0 for code review; - prints it.")
    ] = "",
    as_html: Annotated[str, typer.Option("--html", metavar="FILE", help="Write a report in one HTML file; - prints it.")] = "",
    limit_files: Annotated[
        int,
        typer.Option("--limit-files", metavar="N", min=1, help="Refuse a folder with more files than these that can be read."),
    ] = Limits().most,
    show_diff: Annotated[bool, typer.Option("--diff", help="Print the same text for every device, as a diff.")] = False,
    do_write: Annotated[
        bool, typer.Option("--write", help="Put that text in place; the originals stay in git or beside.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="A line for every finding, however many there are.")] = False,
) -> None:
    """Say what a CUDA-written script or project needs from a chip, and which chips can run it."""
    if sum((as_json, bool(as_sarif), bool(as_html))) > 1:
        raise BadInput("One report at a time.", asked="--json, --sarif, --html together", hint="run it once for each")
    if (show_diff or do_write) and (as_sarif or as_html or fail_on):
        raise BadInput(
            "The rewrite makes no report.",
            asked="--diff or --write with --sarif, --html or --fail-on",
            hint="run it once for each",
        )
    level = _level(fail_on)
    chips = [catalogue.find(name) for name in dict.fromkeys(to)] if to else list(catalogue.load().values())
    target = port_files.target(as_sarif or as_html, (".sarif", ".json") if as_sarif else (".html", ".htm"))
    findings = _scan(path, limit_files)
    if show_diff or do_write:
        port_rewrite.run(path, findings, as_json=as_json, show_diff=show_diff, do_write=do_write)
        return
    verdicts = report.verdicts(findings, chips, {**report.PROVEN, **_proven(chips)})
    verdicts = _measured(verdicts, findings, path, _cards(chips))
    if as_json:
        out.as_json(port_files.as_data(findings, verdicts, chips))
    elif as_sarif:
        port_files.write(target, port_files.as_text(sarif(findings, chips, __version__)))
    elif as_html:
        settled = _settled(path, findings)
        efforts = {chip.name: effort.effort(findings, chip, settled) for chip in chips}
        named = replace(findings, entry=path.resolve().name)
        told = page(named, verdicts, chips, efforts, effort.everywhere(findings, settled), date.today().isoformat())
        port_files.write(target, told)
    else:
        port_table.show(findings, verdicts, chips, every=every)
    _say_where(target, findings)
    if level is not None and report.ORDER.index(report.worst(verdicts)) >= report.ORDER.index(level):
        raise typer.Exit(1)


def _scan(path: Path, most: int) -> Findings:
    """Reads a script, or a folder with a bar on stderr; only a terminal shows it."""
    if not path.is_dir():
        return scan_script(path)
    columns = ("{task.completed} of {task.total} files", BarColumn(), "{task.description}")
    with Progress(*columns, console=out.errors, transient=True, disable=not out.errors.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def say(done: int, of: int, name: str) -> None:
            if done % _EVERY == 0 or done == of:
                bar.update(task, completed=done, total=of, description=escape(name[-60:]))

        return scan_tree(path, limits=Limits(most=most), say=say)


def _settled(path: Path, findings: Findings) -> frozenset[Finding]:
    """What the rewrite would settle by itself; it is tried in memory, and writes nothing."""
    if len(findings.findings) > _MOST_REWRITTEN:
        return frozenset()
    files = rewrite_project(path if path.is_dir() else path.parent, findings)
    return frozenset(edit.finding for one in files for edit in one.edits if edit.finding is not None)


def _say_where(target: Path | None, findings: Findings) -> None:
    if target is not None:
        out.console.print(f"{target}: {len(findings.findings)} findings in {len(findings.files)} files read")


def _cards(chips: list[Chip]) -> dict[str, Scorecard]:
    """The newest scorecard of each chip that has one."""
    cards = certified.load()
    return {chip.name: card for chip in chips if (card := measured.card_of(chip.name, cards)) is not None}


def _measured(
    verdicts: tuple[Verdict, ...], findings: Findings, path: Path, cards: Mapping[str, Scorecard]
) -> tuple[Verdict, ...]:
    """The verdicts, with what scorecards say of the operators that the scripts call by name."""
    looked_for = frozenset().union(*(measured.failing(card) for card in cards.values()))
    if "a device" not in findings.needs or not looked_for:
        return verdicts
    calls = operators.of_files(path if path.is_dir() else path.parent, findings.files, looked_for)
    return tuple(
        measured.worsened(verdict, calls, findings.needs, cards[verdict.chip]) if verdict.chip in cards else verdict
        for verdict in verdicts
    )


def _proven(chips: list[Chip]) -> dict[str, str]:
    """What `forebay chips accept` kept of runs on cards, by chip."""
    found = {}
    for chip in chips:
        adapter = for_device(chip.device_type, chip.plugin)
        last = proof.kept(adapter.name, proof.default_folder()) if adapter else None
        if last is not None and last.on_card:
            found[chip.name] = last.in_words()
    return found


def _level(fail_on: str) -> Word | None:
    if fail_on in ("", *(word.value for word in report.ORDER[1:])):
        return Word(fail_on) if fail_on else None
    raise BadInput("That is no verdict to fail on.", asked=f"--fail-on {fail_on}", hint="emulated, rewrite or blocked")
