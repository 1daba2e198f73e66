"""The nouns of porting: Finding, Unread, Findings, Verdict."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place in a script that speaks of the device. It says what is there, not whether that is good or bad."""

    file: str
    line: int  # from 1
    column: int  # from 1
    rule: str  # key of porting.rules.RULES
    what: str  # the thing found: "torch.cuda.Event", ".cuda()", "'cuda:0'"
    excerpt: str  # the line, without its indentation
    meaning: str  # what it asks of a chip, in one sentence
    cell: int | None = None  # of a notebook, from 1; `line` and `column` are then those of the cell

    @property
    def place(self) -> str:
        """ "train.py:12", or "train.ipynb, cell 3, line 2"."""
        return f"{self.file}:{self.line}" if self.cell is None else f"{self.file}, cell {self.cell}, line {self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """One file of a folder that couldn't be read, and why. The rest of the folder was."""

    file: str
    reason: str  # "line 3, column 7: invalid syntax"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that a script needs of a chip. It knows no chip; `porting.verdicts` brings the two together."""

    entry: str
    files: tuple[str, ...]  # the script, and the files beside it that it imports
    findings: tuple[Finding, ...]  # what ties it to CUDA, by file, line and column
    imports_torch: bool
    notes: tuple[Finding, ...] = ()  # what doesn't, and is good to know: number formats, labels that only read like devices
    unread: tuple[Unread, ...] = ()  # files of the folder, and cells of notebooks, that couldn't be read
    needs: tuple[str, ...] = ()  # "a device", "torch.distributed", and number formats: "bf16", "fp8", "fp64", "tf32"


class Word(enum.Enum):
    """How well a script fits a chip, best first."""

    RUNS = "runs"  # as it is
    EMULATED = "emulated"  # runs, but something in it is only stood in for
    REWRITE = "rewrite"  # lines must change, or a part that this release lacks must be there
    BLOCKED = "blocked"  # it needs something that there is not for this chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a script on one chip, and why. Read from the text; nothing was run for it."""

    chip: str
    verdict: Word
    why: tuple[str, ...]  # the reasons for the word, with lines; then what else is good to know
    proven: str  # on which cards this project has run such scripts: "never", or what was run
