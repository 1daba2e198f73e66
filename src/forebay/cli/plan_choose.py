"""`forebay plan MODEL`: the menu of the best plans for a model on a pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from forebay.cli import out
from forebay.cli.figures import following, line, plain
from forebay.cli.plan_files import Opened, write_all, written
from forebay.cli.plan_kept import kept_calibrations
from forebay.cli.plan_show import Json, drawn
from forebay.cli.plan_words import dropped, helps, menu
from forebay.errors import BadInput, nearest
from forebay.plan.model import Workload
from forebay.plan.plan import RECOMPUTE, SCHEDULES, Menu
from forebay.plan.pool import Pool
from forebay.plan.wishes import DEGREES, OBJECTIVES, Wishes
from forebay.units import parse_seconds

On = Annotated[str, typer.Option("--on", help="The pool: h100-sxm:64, several with commas, or a TOML file.", show_default=False)]
Again = Annotated[
    str, typer.Option("--on", help="Another pool than the menu's: h100-sxm:64, or a TOML file.", show_default=False)
]
Software = Annotated[str, typer.Option("--framework", help="Another software than the menu's.", show_default=False)]
Degree = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N", help="One of " + ", ".join(DEGREES) + "; may be said again.", show_default=False),
]
For = Annotated[str, typer.Option("--for", help="What is to be least: " + ", ".join(OBJECTIVES) + ".")]
Within = Annotated[str, typer.Option(help="The longest that a step may take, as 30s.", show_default=False)]
NoOffload = Annotated[bool, typer.Option("--no-offload", help="The optimizer stays on the cards.")]
Recompute = Annotated[
    list[str] | None, typer.Option(help="Only this way: " + ", ".join(RECOMPUTE) + "; may be said again.", show_default=False)
]
Schedule = Annotated[
    list[str] | None, typer.Option(help="Only this one: " + ", ".join(SCHEDULES) + "; may be said again.", show_default=False)
]
Spare = Annotated[str, typer.Option(help="Share of a card's memory that stays free, as 5%.", show_default=False)]


def choose(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A preset's name, a config.json, or its folder.")],
    on: On,
    batch: Annotated[int, typer.Option(help="Sequences of a global batch.", show_default=False)],
    tokens: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 8192,
    number_format: Annotated[str, typer.Option("--format", help="Number format of the products.")] = "bf16",
    objective: For = "time",
    within: Within = "",
    most: Degree = None,
    least: Degree = None,
    exactly: Degree = None,
    no_offload: NoOffload = False,
    recompute: Recompute = None,
    by_stage: Annotated[
        bool,
        typer.Option("--by-stage", help="Stages may recompute differently, even where the framework's arguments can't say it."),
    ] = False,
    even: Annotated[
        bool, typer.Option("--even", help="Stages have as even layers as can be, even where the framework could be told others.")
    ] = False,
    schedule: Schedule = None,
    spare: Spare = "",
    some_idle: Annotated[bool, typer.Option("--some-idle", help="Plans may leave cards of the pool idle.")] = False,
    framework: Annotated[
        str, typer.Option(help="Which software will run the plan: megatron, torchtitan, fsdp, ...")
    ] = "megatron",
    imbalance: Annotated[
        float, typer.Option(help="Tokens on the busiest expert card over the mean; real routers show 1.1 to 1.2.")
    ] = 1.0,
    write: Annotated[Path | None, typer.Option(help="Write the menu to this file.", show_default=False)] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the best plan's pipeline to this SVG file; of one stage, its memory.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose the best ways to cut a model over cards: a menu of at most five, and why the next ten aren't on it.

    A first word that is no command is the model: `forebay plan MODEL` is `forebay plan choose MODEL`.

    forebay plan llama-3-70b --on h100-sxm:64 --batch 1024 --write menu.json

    forebay plan deepseek-v3 --on pool.toml --batch 15360 --tokens 4096 --format fp8 --for cost --within 30s --most tensor=8
    """
    from forebay.plan.pool_read import describe as given_pool
    from forebay.plan.presets import describe as given_model

    wished = Wishes(
        objective=_word(objective, OBJECTIVES, "--for"),
        deadline_s=parse_seconds(within) if within else None,
        most=degrees(most, "--most"),
        least=degrees(least, "--least"),
        exactly=degrees(exactly, "--exactly"),
        schedules=tuple(_word(one, SCHEDULES, "--schedule") for one in schedule or ()),
        recompute=tuple(_word(one, RECOMPUTE, "--recompute") for one in recompute or ()),
        offload=not no_offload,
        by_stage=by_stage,
        even=even,
        use_all=not some_idle,
        spare=share(spare, "--spare"),
        framework=framework,
        imbalance=imbalance,
    )
    told, given = given_model(model), given_pool(on)
    work = Workload(model=told.model, sequences=batch, tokens=tokens, number_format=number_format)
    found = searched(work, given.pool, wished)
    files = {} if write is None else {write: written(found)}
    if picture is not None and found.choices:
        files[picture] = drawn(Opened(name=model, menu=found), found.choices[0])
    write_all(files, force=True)
    if as_json:
        out.as_json(plain(found))
        return
    menu(found)
    for note in (*told.notes, *given.assumed):
        line(f"Assumed: {note.removeprefix('assumed: ')}")
    dropped(found.dropped)
    if found.choices:
        helps(found.helps, found.choices[0].seconds_a_step)
    line(f"\n{found.searched:,} plans were priced." + (f" {found.exact}" if found.exact else ""))
    if files:
        line("Written: " + ", ".join(str(path) for path in files))
    if found.choices:
        following(f"forebay plan show {write}" if write else "the same with --write menu.json; then forebay plan show menu.json")


def searched(work: Workload, pool: Pool, wishes: Wishes) -> Menu:
    """The search, with a bar while it takes long."""
    from forebay.plan.search import search

    with out.count_bar() as tell:
        return search(work, pool, wishes, lambda done, of: tell("plans", done, of), kept_calibrations())


def degrees(said: Sequence[str] | None, option: str) -> dict[str, int]:
    """ "tensor=8": a degree and its number."""
    found: dict[str, int] = {}
    for text in said or ():
        name, equals, number = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in DEGREES:
            raise BadInput(
                "No degree has that name.", asked=f"{option} {text}", hint=", ".join(nearest(name, list(DEGREES)) or DEGREES)
            )
        if not equals or not number.strip().isdigit() or (int(number) < 1 and name != "zero"):
            raise BadInput("A degree is a whole number, at least 1.", asked=f"{option} {text}", hint=f"{option} {name}=8")
        if name in found and found[name] != int(number):
            raise BadInput("A degree is said once.", asked=f"{option} {name}={found[name]} {option} {text}")
        found[name] = int(number)
    return found


def share(text: str, option: str) -> float:
    if not text:
        return 0.0
    number = text.strip().removesuffix("%").strip()
    if not text.strip().endswith("%") or not number.replace(".", "", 1).isdigit() or not 0 <= float(number) < 100:
        raise BadInput("A share in per cent, below 100.", asked=f"{option} {text}", hint=f"{option} 5%")
    return float(number) / 100


def _word(word: str, known: Sequence[str], option: str) -> str:
    if word not in known:
        raise BadInput(
            "No such word is known there.", asked=f"{option} {word}", hint=", ".join(nearest(word, list(known)) or known)
        )
    return word
