"""`forebay run --plan`: a planner's choice says which cards a job asks for, and comes with it.

Asked:  a menu's choice. What does the job ask of the pool, and how does the script learn how it is to be cut?
Answer: the choice's chip and its number of cards, and FOREBAY_PLAN: the plan as JSON, as `forebay plan` writes it.
Limits: a job holds cards of one kind. What the script makes of the plan is its own affair until a runtime of ours obeys it.
"""

from __future__ import annotations

import json
from dataclasses import replace

from forebay.cli.plan_files import chosen, opened
from forebay.codec import encode
from forebay.errors import BadInput


def asked_by(file: str, cards: str, chip: str) -> tuple[str, str, dict[str, str]]:
    """Cards and chip that the choice needs, and the variable that tells the script. --cards and --chip may only agree with it."""
    found = opened(file)
    plan, pool = chosen(found, 1).plan, found.menu.pool
    need = plan.need()
    if len(need) > 1:
        raise BadInput(
            "A job holds cards of one kind; this plan is over several.",
            asked=f"--plan {file}",
            found=", ".join(f"{count} {name}" for name, count in need.items()),
            hint="plan on one of them, or export the plan and start it by hand: forebay plan export",
        )
    ((kind, count),) = need.items()
    name = pool.by_kind[kind].chip if pool and kind in pool.by_kind else kind
    plan = replace(plan, stages=(name,) * len(plan.stages))
    for option, said, planned, default in (("--cards", cards, str(count), "1"), ("--chip", chip, name, "")):
        if said not in (default, planned):
            raise BadInput(
                "The plan and the command ask for different cards.",
                asked=f"{option} {said}",
                found=f"{option} {planned} in {file}",
                hint="leave one of them out",
            )
    return str(count), name, {"FOREBAY_PLAN": json.dumps(encode(plan), separators=(",", ":"))}
