"""Menus, choices and plans in files: what `forebay plan --write` and the export to torchrun leave, read back.

Asked:  which plans, of which workload, does this file hold?
Answer: a menu has several choices, a choice or a plan is one; FILE:2 is the second of a menu. What a file doesn't say (a plan's
        workload, its price) is left empty.
Limits: JSON only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forebay.cli.figures import plain
from forebay.codec import decode
from forebay.errors import BadInput, Conflict
from forebay.plan.checked import checked, checked_work
from forebay.plan.model import Workload
from forebay.plan.plan import Choice, Menu, Plan
from forebay.plan.pool import Pool
from forebay.plan.wishes import Wishes

HINT = "forebay plan MODEL --on POOL --batch 1024 --write menu.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a file holds: one choice or several, or a bare plan, which nothing is known of."""

    name: str
    menu: Menu  # of one choice where the file has no menu
    priced: bool = True  # False: bare plans, of which nothing is expected

    @property
    def workload(self) -> Workload | None:
        return self.menu.workload


def opened(name: str) -> Opened:
    """The menu, choice or plan of a file; FILE:2 is its second choice alone."""
    path, _, number = name.rpartition(":") if name.rpartition(":")[2].isdigit() and not Path(name).exists() else (name, "", "")
    found = _read(Path(path))
    if number:
        return Opened(name=name, menu=_one(found.menu, chosen(found, int(number))), priced=found.priced)
    return found


def chosen(found: Opened, number: int) -> Choice:
    """The choice of that number, counted from 1."""
    n = len(found.menu.choices)
    if not 1 <= number <= n:
        raise BadInput("The menu has no choice of that number.", asked=f"choice {number} of {found.name}", found=f"{n} choices",
                       hint=f"1 to {n}" if n else "a menu with a choice")  # fmt: skip
    return found.menu.choices[number - 1]


def _one(menu: Menu, choice: Choice) -> Menu:
    return Menu(choices=(choice,), workload=menu.workload, objective=menu.objective, pool=menu.pool, wishes=menu.wishes)


def pool_of(found: Opened, on: str) -> Pool:
    """The pool that was said, else the one that the menu was made for."""
    from forebay.plan.pool_read import pool

    if on:
        return pool(on)
    if found.menu.pool is None:
        raise BadInput(
            "The file doesn't say which pool its plans are for.",
            asked=found.name,
            found="a menu of an older Forebay" if found.priced else "a plan alone",
            hint="--on h100-sxm:64, or the pool's TOML file",
        )
    return found.menu.pool


def wishes_of(found: Opened, framework: str = "") -> Wishes:
    """The wishes that the menu was made with; a framework that was said goes before theirs."""
    wishes = found.menu.wishes or Wishes(objective=found.menu.objective)
    return replace(wishes, framework=framework) if framework else wishes


def _read(path: Path) -> Opened:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput("There is no such file.", asked=str(path), hint=HINT) from None
    except (ValueError, IsADirectoryError) as error:
        raise BadInput("That is no menu, choice or plan: no JSON.", asked=str(path), found=str(error), hint=HINT) from None
    if not isinstance(data, dict):
        raise BadInput("That is no menu, choice or plan.", asked=str(path), found=type(data).__name__, hint=HINT)
    name = str(path)
    try:
        menu, priced = _decoded(data)
        for choice in menu.choices:
            checked(choice.plan)
        if menu.workload is not None:
            checked_work(menu.workload)
    except BadInput as bad:
        raise BadInput(f"{name}: {bad.text}", found=bad.found, hint=bad.hint or HINT) from None
    return Opened(name=name, menu=menu, priced=priced)


def _decoded(data: Mapping[str, Any]) -> tuple[Menu, bool]:
    """What an object of JSON holds, as a menu, and whether it says what is expected of its plans."""
    if "choices" in data:
        return decode(Menu, data), True
    if "seconds_a_step" in data:
        return Menu(choices=(decode(Choice, data),)), True
    work = decode(Workload, data["workload"]) if data.get("workload") else None
    plan = decode(Plan, data.get("plan", data))
    return Menu(choices=(Choice(plan=plan, seconds_a_step=0.0, memory_bytes=0),), workload=work), False


def written(value: Any) -> str:
    """A noun as the JSON of a file."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False) + "\n"


def write_all(files: dict[Path, str], *, force: bool) -> None:
    """Write all of them, each by rename, or none: what stands in the way is said first."""
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise Conflict("A file of that name is there already.", asked=", ".join(there), hint="another folder, or --force")
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    drafts = {path: path.with_name(f"{path.name}.{os.getpid()}") for path in files}
    try:
        for path, draft in drafts.items():
            draft.write_text(files[path], encoding="utf-8")
        for path, draft in drafts.items():
            os.replace(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
