"""`forebay fabric choose`: the cheapest fabric that keeps the model's step time, and why not another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.cli import out
from forebay.cli.fabric_given import (
    Given,
    Job,
    Json,
    box,
    following,
    line,
    options,
    physics,
    plain,
    scale_up,
    seconds,
    share,
    traffic,
)  # fmt: skip
from forebay.cli.fabric_price import money, told_flips
from forebay.errors import BadInput
from forebay.fabric import books, draw, read
from forebay.fabric.choose import Choice, Question, Scored, choose
from forebay.fabric.traffic import Traffic
from forebay.units import show_watts


@options(job=Job)
def choose_one(
    job: Job,
    cards: Annotated[int, typer.Option(help="Cards to be wired.", show_default=False)],
    model: Annotated[
        list[str] | None, typer.Option(help="Traffic by preset or file; may be said again.", show_default=False)
    ] = None,
    within: Annotated[str, typer.Option(help="How much slower than an ideal crossbar the step may be.")] = "5%",
    book: Annotated[
        list[str] | None, typer.Option(help="A price book's name or file; may be said again.", show_default=False)
    ] = None,
    boxes: Annotated[
        list[str] | None, typer.Option("--box", help='A switch on offer, "64x400 Gbit/s"; may be said again.', show_default=False)
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this family; may be said again.", show_default=False)] = None,
    cards_per_host: Annotated[int, typer.Option(help="Cards in a host.")] = 8,
    nics_per_host: Annotated[int, typer.Option(help="NICs in a host.")] = 8,
    up: Annotated[str, typer.Option("--scale-up", help="Speed of a card to its domain, each way; or none.")] = "450 GB/s",
    up_cards: Annotated[
        int | None, typer.Option("--scale-up-cards", help="Cards of a domain; a host's.", show_default=False)
    ] = None,
    shuffled: Annotated[bool, typer.Option("--shuffled", help="A scheduler deals whole hosts out in random order.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw cost against step time to this file.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the winner's design to this file.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose the cheapest fabric whose training step is within x % of an ideal crossbar's.

    forebay fabric choose --cards 10000 --model dense-405b --within 5%

    forebay fabric choose --cards 1024 --model dense-70b --box "64x400 Gbit/s" --box "128x400 Gbit/s" --book quotes/north.toml
    """
    if not model:
        raise BadInput("A fabric is chosen for some traffic.", hint="--model dense-70b")
    if cards < 1:
        raise BadInput("There is at least one card.", asked=f"--cards {cards}")
    question = Question(
        cards=cards,
        cards_per_host=cards_per_host,
        nics_per_host=nics_per_host,
        scale_up=scale_up(Given(scale_up=up, scale_up_cards=up_cards), cards_per_host, assumed=True),
        boxes=tuple(box(text) for text in boxes or ["64x400 Gbit/s"]),
        kinds=tuple(kind or ()),
        within=share(within, "--within"),
        shuffled=shuffled,
    )
    traffics = [traffic(name, cards, job) for name in model]
    shelves = [books.load(name) for name in book or ["default"]]
    if (svg or output) and len(shelves) > 1:
        raise BadInput("A picture or a design is of one price book.", asked=", ".join(shelf.name for shelf in shelves))
    found = []
    for shelf in shelves:
        with out.count_bar() as tell:
            found.append(choose(question, traffics, shelf, physics(job.physics), tell))
    if svg:
        svg.write_text(_picture(found[0], traffics), encoding="utf-8")
    if output and found[0].winner:
        read.save(found[0].winner.candidate.design, output)
    if as_json:
        told = [_data(one) for one in found]
        out.as_json(told[0] if len(told) == 1 else told)
        return
    for t in traffics:
        if t.ranks < cards:
            line(f"{t.name}: {t.ranks:,} of {cards:,} cards are used, whole replicas of the model.")
    if len(found) == 1:
        _told(found[0])
    else:
        _compared(found)
    for path in filter(None, (svg, output if found[0].winner else None)):
        line(f"Written: {path}")
    if found[0].winner:
        name = f" --model {model[0]}"
        where = (
            str(output) if output else f"{found[0].winner.candidate.design.kind} --hosts {found[0].winner.candidate.design.hosts}"
        )
        following(f"forebay fabric break {where} --all-kinds{name}" + ("" if output else
                  "   (-o winner.toml keeps the design exactly)"))  # fmt: skip


def _row(one: Scored, currency: str) -> tuple[str, ...]:
    c = one.candidate
    watts = show_watts(c.network_watts) if c.network_watts else "-"  # the book has none: no switch draws nothing
    over = f"{one.slower - 1:+.1%}" if math.isfinite(one.slower) else "never ends"
    return (
        c.name,
        money(c.cost_micro, currency),
        watts,
        ", ".join(seconds(s.seconds) for s in one.steps),
        over,
    )


def _told(choice: Choice) -> None:
    w, currency = choice.winner, choice.currency
    columns, right = (
        ("fabric", "cost", "network power", "step", "over the ideal"),
        ("cost", "network power", "step", "over the ideal"),
    )
    line(f"Ideal crossbar: {', '.join(seconds(s) for s in choice.ideal_s)} a step. Prices of book {choice.book}.")
    line(f"Winner, within {choice.question.within:.0%}: {w.candidate.name}\n" if w else
         f"None is within {choice.question.within:.0%} of it.\n")  # fmt: skip
    line("The front: no other is cheaper, draws less and is faster at once")
    out.table(columns, [_row(one, currency) for one in choice.front], right=right)
    line("\nEach family at its best, and why it isn't the winner")
    out.table(
        ("family", *columns[1:], "why"),
        [(f.kind, *(_row(f.best, currency)[1:] if f.best else ("-",) * 4), f.why) for f in choice.families],
        right=right,
    )
    line("")
    told_flips(choice.flips, "Among those within the target")
    line(f"{choice.searched} candidates searched: {len(choice.scored)} timed, {choice.beaten} beaten before they were timed"
         + (f", {len(choice.unpriced)} without a price." if choice.unpriced else "."))  # fmt: skip
    for sure in choice.verified:
        line(
            f"Verified: exact flow-level times of {sure.exchanges} exchanges ({sure.flows:,} flows)"
            f" differ by {sure.worst:.2%} at most."
        )


def _compared(found: list[Choice]) -> None:
    out.table(
        ("book", "winner", "cost", "network power", "step", "over the ideal"),
        [(one.book, *(_row(one.winner, one.currency) if one.winner else ("none", "-", "-", "-", "-"))) for one in found],
        right=("cost", "network power", "step", "over the ideal"),
    )
    winners = {one.winner.candidate.name if one.winner else "" for one in found}
    line("\nThe same fabric wins under every book." if len(winners) == 1 else "\nThe books disagree on the winner.")
    for one in found:
        told_flips(one.flips, f"Under {one.book}")
        if one.unpriced:
            line(f"  {one.book} has no price for {', '.join(sorted({x for c in one.unpriced for x in c.lacks}))}: "
                 f"{len(one.unpriced)} candidates are out.")  # fmt: skip
    line("One book alone tells the front and why each family lost.")


def _data(choice: Choice) -> dict[str, Any]:
    def brief(one: Scored | None) -> Any:
        return one and plain(one) | {"cost_micro": one.candidate.cost_micro, "network_watts": one.candidate.network_watts}

    return {
        "question": plain(choice.question),
        "book": choice.book,
        "currency": choice.currency,
        "ideal_s": plain(choice.ideal_s),
        "winner": brief(choice.winner),
        "front": [brief(one) for one in choice.front],
        "families": [{"kind": f.kind, "reaches": f.reaches, "why": f.why, "best": brief(f.best)} for f in choice.families],
        "timed": [{"name": s.candidate.name, "cost_micro": s.candidate.cost_micro, "network_watts": s.candidate.network_watts,
                   "slower": plain(s.slower)} for s in choice.scored],
        "searched": choice.searched,
        "beaten": choice.beaten,
        "unpriced": [{"name": c.name, "lacks": list(c.lacks)} for c in choice.unpriced],
        "flips": plain(choice.flips),
        "verified": plain(choice.verified),
    }  # fmt: skip


def _picture(choice: Choice, traffics: list[Traffic]) -> str:
    front = {one.candidate.name for one in choice.front}
    points = [
        draw.Point(name=s.candidate.name, cost_micro=s.candidate.cost_micro, step_s=s.steps[0].seconds,
                   power_w=s.candidate.network_watts, on_front=s.candidate.name in front)
        for s in choice.scored if math.isfinite(s.steps[0].seconds)
    ]  # fmt: skip
    return draw.scatter(points, title=f"Cost against step time of {traffics[0].name}", currency=choice.currency)
