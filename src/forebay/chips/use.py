"""Which of torch's operators do public programs call? The noun Use, and the table that ships.

Asked:  a chip fails at 14 operators of 700. Does anybody call these?
Answer: the Python files of public projects were read (never run), and the operators that each calls by name noted.
        `use.json` names the projects with their commits; `python -m forebay.porting.count_use --projects DIR` made it.
Limits: a sample, of projects written for CUDA, and of what is spelled in them: what a library calls on their behalf, and `a + b`,
        isn't in it. Each project counts alike, however large.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from forebay.codec import decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One public project at one commit. Files that call the same operators are kept once, with their number."""

    name: str  # "owner/name"
    commit: str
    files: int  # that import torch and call at least one operator by name
    sets: Mapping[str, int]  # "3 17 101", places in Use.operators -> how many files call just these


@dataclass(frozen=True, kw_only=True)
class Use:
    """What the files of some public projects call. It knows no chip."""

    counted_on: str  # ISO date
    torch: str  # whose names these are
    operators: tuple[str, ...]  # all of torch's database, without variants
    projects: tuple[Project, ...]

    def name_of(self, entry: str) -> str:
        """The operator of a database entry: "div.floor_rounding" is a variant of "div"."""
        name = entry.rstrip("+")
        while name not in self._known and "." in name:
            name = name.rpartition(".")[0]
        return name if name in self._known else entry

    def projects_calling(self, entry: str) -> int:
        """How many projects call the operator of this entry."""
        return self._projects_calling.get(self.name_of(entry), 0)

    def share_of_files(self, usable: Collection[str]) -> float:
        """The share of files that call nothing but these entries; a project's files together count one.

        An operator with variants is usable when one of them is: which one a file calls, its text doesn't tell.
        """
        good = {self.name_of(entry) for entry in usable}
        shares = []
        for project in self.projects:
            carried = sum(
                count for called, count in project.sets.items() if all(self.operators[int(at)] in good for at in called.split())
            )
            shares.append(carried / project.files)
        return sum(shares) / len(shares) if shares else 0.0

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.operators)

    @cached_property
    def _projects_calling(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for project in self.projects:
            for at in {int(at) for called in project.sets for at in called.split()}:
                found[self.operators[at]] = found.get(self.operators[at], 0) + 1
        return found


@cache
def shipped() -> Use:
    """The table that comes with this release."""
    return decode(Use, json.loads(Path(__file__).with_name("use.json").read_text(encoding="utf-8")))
