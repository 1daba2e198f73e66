"""`forebay plan explain`: why this plan and not its neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from forebay.cli import out
from forebay.cli.figures import line, plain, seconds
from forebay.cli.plan_choose import Again, Software
from forebay.cli.plan_files import HINT, chosen, opened, pool_of, wishes_of
from forebay.cli.plan_kept import kept_calibrations
from forebay.cli.plan_show import File, Json
from forebay.errors import BadInput
from forebay.plan.export.exported import in_words
from forebay.units import show_bytes


def explain_it(
    file: File,
    on: Again = "",
    why: Annotated[
        str,
        typer.Option(metavar="DEGREE[=N]", help="One degree, as tensor, or one neighbour, as tensor=8.", show_default=False),
    ] = "",
    choice: Annotated[int, typer.Option(help="Which choice of a menu.")] = 1,
    framework: Software = "",
    as_json: Json = False,
) -> None:
    """Explain a plan: each degree made larger or smaller, priced again, and what would change.

    The data degree takes up the cards; what else must change is said behind "then". Pool, framework and wishes are the menu's.

    forebay plan explain menu.json

    forebay plan explain menu.json --why tensor=8
    """
    from forebay.plan.explain import even_stages, explain

    found = opened(file)
    one = chosen(found, choice)
    if found.workload is None:
        raise BadInput(
            "A plan is explained with its workload: model, batch and tokens.", asked=file, found="a plan alone", hint=HINT
        )
    degree, equals, value = (part.strip() for part in why.partition("="))
    degree = degree.replace("-", "_")
    if equals and not value:
        raise BadInput("A neighbour is a degree and its value.", asked=f"--why {why}", hint="tensor=8, or tensor")
    if value and degree == "micro_batch" and not value.isdigit():
        raise BadInput("A micro-batch is a number of sequences.", asked=f"--why {why}", hint="micro_batch=2")
    pool, wishes = pool_of(found, on), wishes_of(found, framework)
    told = explain(found.workload, pool, one.plan, degree or None, kept_calibrations(), other=value, wishes=wishes)
    if as_json:
        out.as_json(plain(told))
        return
    line(f"{in_words(one.plan)}\n")
    # Unequal layers of one kind are compared with equal ones; kinds aren't.
    if not even_stages(replace(one.plan, layers=())):
        line("Stages or data ranks differ, so neighbours aren't priced: layers and memory, stage by stage.\n")
        for each in told:
            line(f"- {each.words.partition('; its neighbours')[0]}" + ("" if each.fits else ": it doesn't fit"))
        return
    if not told:
        line(f"No plan beside this one has another {degree.replace('_', ' ')}.")
        return
    if value:
        line(told[0].words + ".")
        return
    rows = [
        (
            each.degree.replace("_", "-"),
            each.here,
            each.other,
            seconds(each.seconds) if each.fits and each.seconds is not None else "-",
            show_bytes(each.memory_bytes),
            each.words.partition(": ")[2],
        )
        for each in told
    ]
    out.table(("degree", "here", "instead", "a step", "fullest card", "what changes"), rows, right=("a step", "fullest card"))
