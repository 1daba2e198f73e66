"""Findings as SARIF 2.1.0, which tools for code review read.

Asked:  how do the findings of a scan get beside the lines of a pull request?
Answer: one run, a rule for each kind of thing that was found, a result a place. The level is the worst that becomes of the place
        on the chips that were asked for: blocked is an error, rewrite a warning, emulated a note; what runs everywhere is told as
        informational. Paths are relative to SRCROOT, the folder that was scanned. A fingerprint is made of rule, file and
        text, so that a place is known again when lines move. Standard: OASIS, SARIF 2.1.0, plus errata 01 (2023-08-28).
Limits: a place in a notebook has no line of its file; it is told by the name of its cell. The log says nothing of fixes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from forebay.chips.chip import Chip
from forebay.porting import report
from forebay.porting.findings import Finding, Findings, Word
from forebay.porting.rules import RULES

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Word.RUNS: "none", Word.EMULATED: "note", Word.REWRITE: "warning", Word.BLOCKED: "error"}


def sarif(findings: Findings, chips: Sequence[Chip], version: str) -> dict[str, Any]:
    """The whole log, as plain data."""
    keys = sorted({finding.rule for finding in findings.findings})
    driver = {"name": "Forebay", "version": version, "rules": [_rule(key, chips) for key in keys]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The folder that was scanned."}}},
        "invocations": [_invocation(findings)],
        "results": _results(findings.findings, keys, chips),
        "properties": {"chips": [chip.name for chip in chips]},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(key: str, chips: Iterable[Chip]) -> dict[str, Any]:
    rule = RULES[key]
    words = report.by_kind(key, chips)
    told = "\n".join(f"- {kind}: {word.value}" for kind, word in words.items())
    todo = f"What to do: {rule.todo}.\n\n" if rule.todo else ""
    return {
        "id": key,
        "shortDescription": {"text": _sentence(rule.meaning)},
        "fullDescription": {"text": f"In the text: {rule.meaning}. What becomes of it depends on the chip."},
        "help": {"text": f"{todo}What becomes of it:\n{told}", "markdown": f"{todo}What becomes of it:\n\n{told}"},
        "defaultConfiguration": {"level": LEVELS[report.worst_of(key, chips)]},
        "properties": {"tags": ["portability", "cuda"]},
    }


def _results(found: Iterable[Finding], keys: list[str], chips: Sequence[Chip]) -> list[dict[str, Any]]:
    seen: Counter[tuple[str, str, str]] = Counter()
    results = []
    words = {key: (report.worst_of(key, chips), report.by_kind(key, chips)) for key in keys}
    for finding in found:
        same = (finding.rule, finding.file, " ".join(finding.excerpt.split()))
        seen[same] += 1
        worst, by_kind = words[finding.rule]
        told = "; ".join(f"{kind}: {word.value}" for kind, word in by_kind.items())
        todo = f" To do: {RULES[finding.rule].todo}." if RULES[finding.rule].todo else ""
        results.append(
            {
                "ruleId": finding.rule,
                "ruleIndex": keys.index(finding.rule),
                "kind": "informational" if worst is Word.RUNS else "fail",
                "level": LEVELS[worst],
                "message": {"text": f"{finding.what}: {finding.meaning}. {told}.{todo}"},
                "locations": [_location(finding)],
                "partialFingerprints": {"forebayPlace/v1": sha256("\0".join((*same, str(seen[same]))).encode()).hexdigest()[:32]},
                "properties": {"chips": {kind: word.value for kind, word in by_kind.items()}},
            }
        )
    return results


def _location(finding: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.file.replace("\\", "/")), "uriBaseId": "SRCROOT"}}
    if finding.cell is not None:
        name = f"cell {finding.cell}, line {finding.line}"
        return {"physicalLocation": place, "logicalLocations": [{"name": name, "kind": "module"}]}
    place["region"] = {"startLine": finding.line, "startColumn": finding.column, "snippet": {"text": finding.excerpt}}
    return {"physicalLocation": place}


def _invocation(findings: Findings) -> dict[str, Any]:
    notes = [
        {
            "level": "warning",
            "message": {"text": f"Not read: {unread.reason}."},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(unread.file), "uriBaseId": "SRCROOT"}}}],
        }
        for unread in findings.unread
    ]
    return {"executionSuccessful": True, "toolExecutionNotifications": notes}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
