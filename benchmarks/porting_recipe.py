"""A recipe: how a public project is run, in a file beside it.

Asked:  what does somebody have to know to run a project's training as its authors would, without a download?
Answer: a TOML file. Its head says what the project is, what packages it needs and how its data is made; each [[entry]] is one
        way to start it: the commands as a person types them, the number of cards, and the line of output that shows progress.
        `read` checks it all before anything runs. docs/projects.md lists the fields.
Limits: a recipe describes a project, it never changes it: there is no field for a patch.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forebay.errors import BadInput

EXPECTATIONS = ("falls", "rises", "is printed")
HEAD = {"project", "version", "needs", "environment", "stand_ins", "data", "entry"}
ENTRY = {
    *("name", "shows", "command", "commands", "cards", "progress", "expects", "limit_s", "plain"),
    *("needs", "environment", "stand_ins", "data"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way to start a project.

    It is no result: what became of it on a carrier is for `porting_attempt.Outcome` to say.
    """

    project: str  # its public name, "karpathy/nanoGPT"
    version: str  # the commit that the recipe was written for
    folder: Path  # where its text lies
    name: str
    commands: tuple[tuple[str, ...], ...]  # in order; progress is read from the last
    progress: re.Pattern[str]  # with one group: a number
    expects: str  # what the number does: one of EXPECTATIONS
    shows: tuple[str, ...] = ()  # the techniques that it exercises
    cards: int = 1
    limit_s: float = 300.0
    plain: str = "fails"  # what is known of the same commands without a carrier: "fails" or "runs"
    needs: Mapping[str, str] = field(default_factory=dict)  # module that is imported -> what to install for it
    environment: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)  # module -> the text that stands in for it
    data: str = ""  # Python that makes the data, run in the copy's folder without a carrier

    @property
    def title(self) -> str:
        return f"{self.folder.name}/{self.name}"


def find(projects: Path, recipes: Path) -> list[Entry]:
    """Every entry of every project in the folder that has a recipe, beside it or in the folder of recipes."""
    if not projects.is_dir():
        raise BadInput("The folder of projects isn't there.", asked=str(projects))
    found: list[Entry] = []
    for project in sorted(path for path in projects.iterdir() if path.is_dir() and not path.name.startswith(".")):
        beside = [projects / f"{project.name}.recipe.toml", projects / f"{project.name}.toml", recipes / f"{project.name}.toml"]
        recipe = next((path for path in beside if path.is_file()), None)
        found += read(recipe, project) if recipe else []
    return found


def read(recipe: Path, project: Path) -> list[Entry]:
    """The entries of one recipe."""
    try:
        body = tomllib.loads(recipe.read_text(encoding="utf-8"))
        _known(body, HEAD)
        return [_entry(body, one, project) for one in body["entry"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, re.error) as error:
        found = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise BadInput(
            "A recipe can't be read.", asked=str(recipe), found=found, hint="docs/projects.md lists its fields"
        ) from error


def _entry(head: Mapping[str, Any], body: Mapping[str, Any], project: Path) -> Entry:
    _known(body, ENTRY)
    commands = body["commands"] if "commands" in body else [body["command"]]
    progress = re.compile(body["progress"], re.MULTILINE)
    expects, plain = body.get("expects", "falls"), body.get("plain", "fails")
    if progress.groups != 1:
        raise ValueError(f"progress must have one group, a number: {body['progress']}")
    if expects not in EXPECTATIONS:
        raise ValueError(f"expects must be one of {', '.join(EXPECTATIONS)}: {expects}")
    if plain not in ("fails", "runs"):
        raise ValueError(f"plain must be fails or runs: {plain}")
    return Entry(
        project=head["project"],
        version=head["version"],
        folder=project,
        name=body["name"],
        commands=tuple(tuple(shlex.split(command)) for command in commands),
        progress=progress,
        expects=expects,
        shows=tuple(body.get("shows", ())),
        cards=int(body.get("cards", 1)),
        limit_s=float(body.get("limit_s", 300)),
        plain=plain,
        needs={**head.get("needs", {}), **body.get("needs", {})},
        environment={**head.get("environment", {}), **body.get("environment", {})},
        stand_ins={**head.get("stand_ins", {}), **body.get("stand_ins", {})},
        data=body.get("data", head.get("data", "")),
    )


def _known(body: Mapping[str, Any], fields: set[str]) -> None:
    strange = sorted(set(body) - fields)
    if strange:
        raise ValueError(f"unknown: {', '.join(strange)}")


def progress_of(entry: Entry, output: str) -> list[float]:
    """The numbers that the run printed, in order. What isn't a finite number shows no progress."""
    numbers = []
    for text in entry.progress.findall(output):
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return [number for number in numbers if abs(number) < float("inf")]


def as_expected(entry: Entry, numbers: list[float]) -> bool:
    """Whether the numbers do what the recipe says: the mean of the last fifth against that of the first."""
    if entry.expects == "is printed":
        return bool(numbers)
    if len(numbers) < 2:
        return False
    few = max(1, len(numbers) // 5)
    first, last = sum(numbers[:few]) / few, sum(numbers[-few:]) / few
    return last < first if entry.expects == "falls" else last > first
