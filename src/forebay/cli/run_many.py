"""`forebay run --many`: a file of jobs, a line a job."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forebay.cli import out
from forebay.errors import BadInput, ForebayError, nearest

OWN = ("bundle", "entry")  # what a line may say beside what the command line's options say


def read(path: Path, known: list[str]) -> list[tuple[int, dict[str, Any]]]:
    """The jobs of a file with the number of the line of each. Lines that are empty are passed over. `known`: the API's fields."""
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or str(error)
        raise BadInput(
            "The file of jobs can't be read.", asked=f"--many {path}", found=why, hint="a text, a line a job"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            job = json.loads(line)
        except ValueError as error:
            raise BadInput(
                f"{path}, line {number}: that is no JSON.", found=str(error), hint='{"argv": ["--lr", "0.1"]}'
            ) from None
        if not isinstance(job, dict):
            raise BadInput(f"{path}, line {number}: not a job.", found=f"{job!r:.80}", hint='{"argv": ["--lr", "0.1"]}')
        for name in job:
            if name not in known:
                close = " or ".join(nearest(name, known))
                raise BadInput(
                    f"{path}, line {number}: a job has no such field.", found=name, hint=close or ", ".join(sorted(known))
                )
        found.append((number, job))
    if not found:
        raise BadInput("There is no job in that file.", asked=f"--many {path}", hint='a line a job: {"argv": ["--lr", "0.1"]}')
    return found


def submit(cloud: Any, path: Path, common: Mapping[str, Any], project: str | None) -> list[dict[str, Any]]:
    """Submit the jobs of a file; what a line doesn't say is as in `common`."""
    jobs = read(path, [*common, *OWN])
    numbers = [number for number, _ in jobs]
    try:
        with out.count_bar() as said:
            taken: list[dict[str, Any]] = cloud.submit_many([{**common, **job} for _, job in jobs], project=project, said=said)
            return taken
    except ForebayError as error:
        error.text, error.found = _by_line(error.text, numbers), _by_line(error.found, numbers)
        raise


def _by_line(text: str, numbers: Sequence[int]) -> str:
    """ "line 18" instead of "jobs[17]"."""

    def line(found: re.Match[str]) -> str:
        index = int(found[1])
        return f"line {numbers[index]}{', ' if found[2] else ''}" if index < len(numbers) else found[0]

    return re.sub(r"\bjobs\[(\d+)\](\.?)", line, text)
