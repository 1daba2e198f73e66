"""How `forebay plan serve` shows plans over several kinds of cards."""

from __future__ import annotations

from typing import Any

from forebay.cli import out
from forebay.cli.figures import amount, line
from forebay.cli.plan_serve import asked, engines, ms
from forebay.plan.serving import MixMenu, ServingChoice, ServingMix
from forebay.units import show_bytes

COLUMNS = (
    "",
    "cards",
    "engines",
    "tensor",
    "data",
    "stages",
    "experts",
    "at once",
    "first token",
    "per token",
    "requests/s",
    "memory",
    "10^6 tokens cost",
)


def told(menu: MixMenu) -> None:
    line(asked(menu.target))
    line(menu.why)
    rows = [row for i, choice in enumerate(menu.choices, 1) for row in _rows(i, choice)]
    kept = COLUMNS[:-1] if all(row[-1] == "" for row in rows) else COLUMNS
    out.table(kept, [row[: len(kept)] for row in rows], right=kept[2:])
    best = menu.choices[0]
    line("In the first:")
    for words in best.says:
        line(f"  {words}")
    alone = [f"{kind} {rate:.2f}" for kind, rate in menu.alone.items() if rate]
    if alone:
        line(f"Requests a second of a kind alone: {', '.join(alone)}.")
    if best.cost_per_million is not None and len(best.cost_by_kind) > 1:
        shares = ", ".join(f"{kind} {amount(cost, best.currency)}" for kind, cost in best.cost_by_kind.items())
        line(f"10^6 output tokens of the first cost {amount(best.cost_per_million, best.currency)}: {shares}.")
    tiers = dict.fromkeys(group.tier for group in best.groups)
    slowest = max(best.groups, key=lambda group: group.first_s)
    line(
        f"80 %: first token {ms(slowest.first_low_s)} to {ms(slowest.first_high_s)}, per token"
        f" {ms(max(one.token_low_s for one in best.groups))} to {ms(max(one.token_high_s for one in best.groups))},"
        f" of the slowest group. From: {', '.join(tiers)}. {menu.searched:,} engines priced."
    )


def _rows(number: int, choice: ServingMix) -> list[tuple[Any, ...]]:
    cost = "" if choice.cost_per_million is None else amount(choice.cost_per_million, choice.currency)
    whole = (str(number), _cards(choice), *("",) * 6, ms(choice.first_s), ms(choice.token_s), f"{choice.requests_per_s:.2f}")
    return [(*whole, "", cost), *(row for group in choice.groups for row in _group(group))]


def _cards(choice: ServingMix) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in choice.cards.items())


def _group(group: ServingChoice) -> list[tuple[Any, ...]]:
    figures = (ms(group.first_s), ms(group.token_s), f"{group.requests_per_s:.2f}", show_bytes(group.memory_bytes), "")
    own = f"  {group.decode.cards:,} {group.chip}"
    if group.prefill is None:
        return [("", f"{own}: both", *engines(group.decode, ""), *figures)]
    reads = f"  {group.prefill.cards:,} {group.prefill_chip or group.chip}: prompts"
    return [
        ("", reads, *engines(group.prefill, ""), *("",) * len(figures)),
        ("", f"{own}: tokens", *engines(group.decode, ""), *figures),
    ]
