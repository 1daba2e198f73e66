"""`forebay port`: what a script needs from a chip, line by line, and which chips can run it. Needs no cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forebay.chips import catalogue
from forebay.chips.chip import Chip
from forebay.cli import out, port_rewrite
from forebay.codec import encode
from forebay.errors import BadInput
from forebay.porting import proof, report
from forebay.porting.findings import Findings, Verdict, Word
from forebay.porting.scan import scan_script, scan_tree
from forebay.porting.shim.chip.adapter import for_device

app = typer.Typer(add_completion=False)


@app.command()
def port(
    script: Annotated[Path, typer.Argument(help="A Python script; or a folder, to read every script in it.", show_default=False)],
    to: Annotated[list[str] | None, typer.Option("--to", metavar="CHIP", help="Only this chip; may be repeated.")] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on", metavar="VERDICT", help="Exit with 1 when a chip gets this or worse: emulated, rewrite, blocked."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
    show_diff: Annotated[bool, typer.Option("--diff", help="Print the same text for every device, as a diff.")] = False,
    do_write: Annotated[
        bool, typer.Option("--write", help="Put that text in place; the originals stay in git or beside.")
    ] = False,
) -> None:
    """Say what a CUDA-written script needs from a chip, and which chips can run it."""
    level = _level(fail_on)
    chips = [catalogue.find(name) for name in to] if to else list(catalogue.load().values())
    findings = scan_tree(script) if script.is_dir() else scan_script(script)
    if show_diff or do_write:
        port_rewrite.run(script, findings, as_json=as_json, do_write=do_write)
        return
    verdicts = report.verdicts(findings, chips, {**report.PROVEN, **_proven(chips)})
    if as_json:
        out.as_json({"findings": encode(findings), "verdicts": encode(verdicts)})
    else:
        _print(findings, verdicts)
    if level is not None and report.ORDER.index(report.worst(verdicts)) >= report.ORDER.index(level):
        raise typer.Exit(1)


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


def _print(findings: Findings, verdicts: tuple[Verdict, ...]) -> None:
    where = "line" if len(findings.files) == 1 else "place"
    if findings.findings:
        out.table((where, "found", "what it asks of a chip"), (row[:3] for row in report.rows(findings)), right=("line",))
    else:
        out.console.print("Nothing in it speaks of CUDA.")
    files = "1 file" if len(findings.files) == 1 else f"{len(findings.files)} files"
    torch = "torch is imported" if findings.imports_torch else "torch is not imported"
    out.console.print(
        f"\n{files} read, {len(findings.findings)} findings; {torch}; needs: {', '.join(findings.needs) or 'nothing'}.\n"
    )
    out.table(
        ("verdict", "chips", "why", "run by us on it"),
        ((word.value, ", ".join(chips), "; ".join(why) or "-", proven) for word, proven, why, chips in report.grouped(verdicts)),
    )
    out.console.print("\nRead from the text and the catalogue; nothing was run, and the script was not changed.")
