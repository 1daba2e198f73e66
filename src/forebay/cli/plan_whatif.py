"""`forebay plan whatif`: the same question on another network, with more memory, with another batch or more cards."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated

import typer

from forebay.cli import out
from forebay.cli.figures import line, plain
from forebay.cli.plan_choose import Again, Software, searched
from forebay.cli.plan_files import HINT, chosen, opened, pool_of, wishes_of
from forebay.cli.plan_show import File, Json
from forebay.cli.plan_words import row, rows
from forebay.errors import BadInput
from forebay.plan.pool import Cards, Pool


def whatif(
    file: File,
    on: Again = "",
    network: Annotated[str, typer.Option(help="Links between and inside islands, as 2x or 0.5x.", show_default=False)] = "",
    memory: Annotated[str, typer.Option(help="Memory of a card, as 2x.", show_default=False)] = "",
    cards: Annotated[str, typer.Option(help="Cards of each kind, as 2x.", show_default=False)] = "",
    price: Annotated[str, typer.Option(help="Price of a card's hour, as 0.8x.", show_default=False)] = "",
    batch: Annotated[int | None, typer.Option(help="Sequences of a global batch.", show_default=False)] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens of a sequence.", show_default=False)] = None,
    number_format: Annotated[str, typer.Option("--format", help="Number format of the products.", show_default=False)] = "",
    framework: Software = "",
    as_json: Json = False,
) -> None:
    """Ask a menu's question again with one thing changed: the best plan then, beside the best one now.

    Pool, framework and wishes are the menu's; another pool or framework that is said is a change, too.

    forebay plan whatif menu.json --network 2x

    forebay plan whatif menu.json --batch 2048 --memory 1.5x
    """
    found = opened(file)
    if found.workload is None:
        raise BadInput("A menu is asked again, with its workload.", asked=file, found="a plan alone", hint=HINT)
    now = chosen(found, 1)
    pool, wishes = pool_of(found, on), wishes_of(found, framework)
    changed = scaled(pool, network=times(network), memory=times(memory), cards=times(cards), price=times(price))
    work = replace(
        found.workload,
        sequences=found.workload.sequences if batch is None else batch,
        tokens=found.workload.tokens if tokens is None else tokens,
        number_format=number_format or found.workload.number_format,
    )
    if changed == (found.menu.pool or pool) and work == found.workload and wishes == wishes_of(found):
        raise BadInput("Something must differ.", asked=file, hint="--network 2x, --memory 2x, --cards 2x, --batch 2048")
    then = searched(work, changed, wishes)
    if as_json:
        out.as_json({"now": plain(now), "then": plain(then)})
        return
    rows([row("now", now), *(row("then", one) for one in then.choices[:1])])
    if not then.choices:
        return
    best = then.choices[0]
    more = work.tokens_a_step / found.workload.tokens_a_step
    change = best.seconds_a_step / now.seconds_a_step / more - 1
    plan = "the same plan" if best.plan == now.plan else "another plan"
    told = f"{abs(change):.1%} {'shorter' if change < 0 else 'longer'}, with {plan}."
    line(f"\nA step is {told}" if more == 1 else f"\nA step has {more:.3g} times the tokens; each one's share is {told}")


def times(text: str) -> float:
    """ "2x": how many times as much. "": as much."""
    if not text:
        return 1.0
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*x\s*", text)
    if not found or not float(found[1]):
        raise BadInput("How many times as much, with an x.", asked=text, hint="2x or 0.5x")
    return float(found[1])


def scaled(pool: Pool, *, network: float, memory: float, cards: float, price: float) -> Pool:
    """The pool with so many times the links, memory, cards and prices."""
    between = pool.between_bytes_per_s
    return replace(
        pool,
        cards=tuple(_scaled(one, network, memory, cards, price) for one in pool.cards),
        between_bytes_per_s=between * network if between is not None else None,
    )


def _scaled(one: Cards, network: float, memory: float, cards: float, price: float) -> Cards:
    from forebay.plan.kernels.known import device_of

    count = round(one.count * cards)
    if count != one.count * cards or count < 1:
        raise BadInput("Cards are whole.", asked=f"{cards:g} x {one.count} {one.chip}")
    return replace(
        one,
        count=count,
        island=min(one.island, count),
        up_bytes_per_s=one.up_bytes_per_s * network,
        out_bytes_per_s=one.out_bytes_per_s * network,
        memory_bytes=round(device_of(one).memory_bytes * memory) if memory != 1.0 else one.memory_bytes,
        price_per_hour=round(one.price_per_hour * price) if one.price_per_hour is not None else None,
    )
