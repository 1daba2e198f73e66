"""`forebay port` on a terminal: a line a finding while they are few, and a summary by rule and file when they are many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from forebay.chips.chip import Chip
from forebay.cli import out
from forebay.porting import effort, report
from forebay.porting.findings import Findings, Verdict
from forebay.porting.rules import RULES

FEW = 60  # findings that a person reads line by line
_FILES = 25
_REASONS = 3


def show(findings: Findings, verdicts: Sequence[Verdict], chips: Sequence[Chip], *, every: bool) -> None:
    if not findings.findings:
        out.console.print("Nothing in it speaks of CUDA.")
    elif every or len(findings.findings) <= FEW:
        _lines(findings)
    else:
        _summary(findings)
    _others(findings)
    files = "1 file" if len(findings.files) == 1 else f"{len(findings.files)} files"
    torch = "torch is imported" if findings.imports_torch else "torch is not imported"
    needs = ", ".join(findings.needs) or "nothing"
    out.console.print(f"\n{files} read, {len(findings.findings)} findings; {torch}; needs: {needs}.", markup=False)
    if findings.findings:
        work = effort.everywhere(findings)
        by_hand = effort.in_words(work.hours_by_hand)
        out.console.print(
            f"To make it name no vendor, by hand: about {by_hand} (an estimate); --diff shows what is done for you."
        )
    out.console.print()
    _verdicts(findings, verdicts, chips)
    out.console.print("\nRead from the text and the catalogue; nothing was run, and no file was changed.")


def _lines(findings: Findings) -> None:
    where = "line" if len(findings.files) == 1 else "place"
    out.table((where, "found", "what it asks of a chip"), (row[:3] for row in report.rows(findings)), right=("line",))


def _summary(findings: Findings) -> None:
    rules = Counter(finding.rule for finding in findings.findings)
    first = {finding.rule: finding for finding in reversed(findings.findings)}
    out.table(
        ("times", "rule", "what it asks of a chip", "first at"),
        ((count, rule, RULES[rule].meaning, first[rule].place) for rule, count in rules.most_common()),
        right=("times",),
    )
    files = Counter(finding.file for finding in findings.findings)
    out.console.print()
    out.table(("times", "file"), ((count, file) for file, count in files.most_common(_FILES)), right=("times",))
    if len(files) > _FILES:
        out.console.print(f"and {len(files) - _FILES} files more")
    out.console.print("--all prints every line, --html FILE makes a page of them.")


def _others(findings: Findings) -> None:
    """What ties nothing to CUDA, and what couldn't be read: in short."""
    if findings.notes:
        notes = Counter(note.rule for note in findings.notes)
        told = ", ".join(f"{rule} {count}" for rule, count in notes.most_common())
        out.console.print(f"\nGood to know, and no tie to CUDA: {told}.", markup=False)
    for unread in findings.unread:
        out.console.print(f"not read: {unread.file}: {unread.reason}", markup=False, style="yellow")


def _verdicts(findings: Findings, verdicts: Sequence[Verdict], chips: Sequence[Chip]) -> None:
    spent = {chip.name: effort.effort(findings, chip).hours for chip in chips}

    def hours(group: Sequence[str]) -> str:
        least, most = min(spent[chip] for chip in group), max(spent[chip] for chip in group)
        told = effort.in_words(most) if least == most else f"{effort.in_words(least)} to {effort.in_words(most)}"
        return told if most else "-"

    out.table(
        ("verdict", "chips", "why", "effort", "run by us on it"),
        (
            (word.value, ", ".join(group), _reasons(why), hours(group), proven)
            for word, proven, why, group in report.grouped(verdicts)
        ),
    )


def _reasons(why: Sequence[str]) -> str:
    more = f"; and {len(why) - _REASONS} more (--json, --html)" if len(why) > _REASONS else ""
    return ("; ".join(why[:_REASONS]) or "-") + more
