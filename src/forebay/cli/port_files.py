"""The reports of `forebay port` as files: where one may go, and what JSON holds. It writes nothing but the report."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.chips.chip import Chip
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, Unknown
from forebay.porting import effort, report
from forebay.porting.findings import Finding, Findings, Verdict
from forebay.porting.rules import RULES

STDOUT = "-"


def target(name: str, endings: tuple[str, ...]) -> Path | None:
    """Where a report goes, looked at before any file is read; None for stdout. A file that isn't a report is left alone."""
    if name in ("", STDOUT):
        return None
    path = Path(name)
    if path.is_dir():
        raise BadInput("A report is a file, and this is a folder.", asked=name, hint=str(path / f"report{endings[0]}"))
    if not path.parent.is_dir():
        raise Unknown("There is no such folder for the report.", asked=name, hint=f"mkdir -p {path.parent}")
    if path.exists() and path.suffix.lower() not in endings:
        raise Conflict("That file is there already, and isn't a report.", asked=name, hint=f"a name that ends in {endings[0]}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadInput("The report can't be written there.", asked=name, found="no permission", hint="- prints it instead")
    return path


def write(path: Path | None, text: str) -> None:
    """The report into its file, or to stdout."""
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput("The report can't be written there.", asked=str(path), found=error.strerror or str(error)) from None


def as_text(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def as_data(findings: Findings, verdicts: Sequence[Verdict], chips: Sequence[Chip]) -> dict[str, Any]:
    """What --json prints. A finding says what becomes of it by kind of chip; `kinds` says which chips are of which kind."""
    kinds: dict[str, list[str]] = {}
    for chip in chips:
        kinds.setdefault(report.kind_of(chip), []).append(chip.name)
    words = {rule: encode(report.by_kind(rule, chips)) for rule in {finding.rule for finding in findings.findings}}

    def told(finding: Finding) -> dict[str, Any]:
        return {**encode(finding), "todo": RULES[finding.rule].todo, "chips": words[finding.rule]}

    return {
        "findings": {**encode(findings), "findings": [told(finding) for finding in findings.findings]},
        "kinds": kinds,
        "verdicts": encode(tuple(verdicts)),
        "effort": encode((effort.everywhere(findings), *(effort.effort(findings, chip) for chip in chips))),
    }
