"""What `forebay port --diff` and `--write` print and do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from forebay.cli import out
from forebay.porting.findings import Findings
from forebay.porting.rewrite import summary
from forebay.porting.rewrite.diff import unified
from forebay.porting.rewrite.project import rewrite_project
from forebay.porting.rewrite.rewritten import Rewritten
from forebay.porting.rewrite.write import Written, write

_COLOURS = {b"+": b"\x1b[32m", b"-": b"\x1b[31m", b"@": b"\x1b[36m"}


def run(asked: Path, findings: Findings, *, as_json: bool, show_diff: bool, do_write: bool) -> None:
    """Show the diff, or put it in place, and say what was settled. The diff alone goes to stdout: git apply can read it."""
    root = asked if asked.is_dir() else asked.parent
    files = rewrite_project(root, findings)
    written = write(root, files) if do_write else None
    if as_json:
        out.as_json(_as_data(files, written))
        return
    if show_diff:
        _show(unified(files))
    say = out.errors if show_diff else out.console
    settled, every = summary.counts(files)
    say.print(f"{settled} of {every} findings settled in {_files(sum(one.after != one.before for one in files))}.")
    for count, why, places in summary.left(files):
        say.print(f"  left {count}: {why} ({places})", markup=False)
    if needed := summary.torch(files):
        say.print(f"The new text needs torch {needed} or newer.")
    if written is not None:
        _say_where(written, say)


def _as_data(files: Sequence[Rewritten], written: Written | None) -> dict[str, object]:
    settled, every = summary.counts(files)
    return {
        "findings": every,
        "settled": settled,
        "torch": summary.torch(files),
        "diff": unified(files).decode("utf-8", "replace"),
        "files": [
            {
                "path": one.path,
                "changed": one.after != one.before,
                "edits": [
                    {
                        "line": edit.finding.line if edit.finding else None,
                        "rule": edit.finding.rule if edit.finding else None,
                        "before": edit.before,
                        "after": edit.after,
                    }
                    for edit in one.edits
                ],
                "left": [{"line": item.finding.line, "rule": item.finding.rule, "reason": item.reason} for item in one.left],
            }
            for one in files
        ],
        "written": None
        if written is None
        else {"files": list(written.files), "in_git": list(written.in_git), "copies": list(written.copies)},
    }


def _show(diff: bytes) -> None:
    """The diff as it is, or with colours where a person reads it on a terminal."""
    sys.stdout.flush()
    lines = diff.splitlines(keepends=True) if sys.stdout.isatty() else []
    coloured = [_COLOURS.get(line[:1], b"") + line.rstrip(b"\n") + b"\x1b[0m\n" for line in lines]
    sys.stdout.buffer.write(b"".join(coloured) or diff)
    sys.stdout.buffer.flush()


def _say_where(written: Written, say: Console) -> None:
    if not written.files:
        say.print("Nothing was written.")
    if written.in_git:
        say.print(f"{_originals(written.in_git)} in git: git diff shows what changed.")
    if written.copies:
        beside = "it" if len(written.copies) == 1 else "them"
        say.print(f"{_originals(written.copies)} beside {beside}: {', '.join(written.copies)}")


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _originals(names: Sequence[str]) -> str:
    return "The original of 1 file is" if len(names) == 1 else f"The originals of {len(names)} files are"
