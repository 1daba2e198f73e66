"""Rewrite what a scan found, file by file.

Asked:  which files of this project change, and what is left in each?
Answer: every Python file that the scan found tied to CUDA is rewritten by itself. What ties other files (kernels, builds,
        requirements, settings, notebooks) is left, with how to go on.
Limits: each file gets the lines that it needs; nothing is shared between them (decision 0042).
"""

from __future__ import annotations

from pathlib import Path

from forebay.porting.findings import Finding, Findings
from forebay.porting.rewrite.reasons import reason, reason_elsewhere
from forebay.porting.rewrite.rewrite import rewrite
from forebay.porting.rewrite.rewritten import Left, Rewritten
from forebay.porting.rules import RULES


def rewrite_project(root: Path, findings: Findings) -> tuple[Rewritten, ...]:
    """All files with findings that tie, rewritten in memory. `root` is the folder that their names are relative to."""
    by_file: dict[str, list[Finding]] = {}
    for finding in findings.findings:
        if RULES[finding.rule].ties:
            by_file.setdefault(finding.file, []).append(finding)
    late = any(one.rule == "visible-devices" for found in by_file.values() for one in found)
    return tuple(_file(root, name, found, late) for name, found in sorted(by_file.items()))


def _file(root: Path, name: str, found: list[Finding], late: bool) -> Rewritten:
    if name.endswith((".py", ".pyi")):
        return rewrite((root / name).read_bytes(), name, late)
    left = tuple(Left(finding=one, reason=reason_elsewhere(name) or reason(one.rule)) for one in found)
    return Rewritten(path=name, before=b"", after=b"", edits=(), left=left)
