"""How `forebay plan` shows choices: as rows, as memory stage by stage, as parts of a step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from forebay.cli import out
from forebay.cli.figures import amount, line, seconds
from forebay.plan.export.exported import in_words
from forebay.plan.export.pieces import stage_layers
from forebay.plan.model import Model
from forebay.plan.plan import Choice, Dropped, Help, Memory, Menu, Plan
from forebay.units import show_bytes, show_joules

COLUMNS = (
    "",
    "plan",
    "a step",
    "tokens/s",
    "MFU",
    "fullest card",
    "cost a step",
    "10^12 tokens cost",
    "energy a step",
    "rests on",
)
RIGHT = COLUMNS[3:-1]
LEAST = 0.001  # what helps less is not told
PARTS = ("weights", "gradients", "optimizer", "activations", "buffers", "reserve")


def row(number: object, choice: Choice) -> tuple[object, ...]:
    return (number, in_words(choice.plan), step(choice), *figures(choice), choice.tier.partition(":")[0])


def rows(told: Sequence[tuple[object, ...]]) -> None:
    """Rows as a table, without columns that nothing is known for, and without what all of them rest on."""
    kept = [i for i in range(len(COLUMNS)) if i == 0 or any(one[i] not in ("-", "") for one in told)]
    if len({one[-1] for one in told}) == 1:
        kept = kept[:-1]
    names = [COLUMNS[i] for i in kept]
    out.table(names, [[one[i] for i in kept] for one in told], right=[name for name in names if name in RIGHT])


def step(choice: Choice) -> str:
    """ "6.31 s (5.9 to 6.8)": the interval holds the truth in 80 of 100 cases."""
    told = seconds(choice.seconds_a_step)
    if choice.low_s or choice.high_s:
        low, high, unit = seconds(choice.low_s), seconds(choice.high_s), told.rpartition(" ")[2]
        if low.endswith(" " + unit) and high.endswith(" " + unit):
            low, high = low.removesuffix(" " + unit), high.removesuffix(" " + unit)
        told += f" ({low} to {high})"
    return told


def figures(choice: Choice) -> tuple[str, ...]:
    """What a plan yields, takes and costs, as the columns from tokens/s on."""
    return (
        f"{choice.tokens_per_s:,.0f}" if choice.tokens_per_s else "-",
        f"{choice.mfu:.1%}" if choice.mfu else "-",
        show_bytes(choice.memory_bytes),
        amount(choice.cost_a_step, choice.currency) if choice.cost_a_step is not None else "-",
        amount(choice.cost_a_trillion_tokens, choice.currency) if choice.cost_a_trillion_tokens is not None else "-",
        show_joules(choice.joules_a_step) if choice.joules_a_step is not None else "-",
    )


def menu(found: Menu) -> None:
    """The menu as a table, and what its figures mean."""
    if (work := found.workload) is not None:
        line(f"{work.model.name}: {work.sequences:,} sequences of {work.tokens:,} tokens a step, {work.number_format}; best in "
             f"{found.objective} first.")  # fmt: skip
    rows([row(i, choice) for i, choice in enumerate(found.choices, 1)])
    for tier in dict.fromkeys(one.tier for one in found.choices):
        line(f"Rests on {tier.rpartition(': ')[2]}.")
    line("A step's interval holds in 80 of 100 cases. MFU: of the chips' dense peaks, attention counted in full, nothing that is "
         "computed again.")  # fmt: skip


def dropped(said: Sequence[Dropped]) -> None:
    if said:
        line("\nNot on the menu")
        told = [(in_words(one.plan), "-" if one.seconds_a_step is None else seconds(one.seconds_a_step), one.why) for one in said]
        out.table(("plan", "a step", "why"), told)


def helps(said: Sequence[Help], now_s: float) -> None:
    """What shortens the step, or a token's share of it, by a thousandth at least."""
    told = [
        (one.change, seconds(one.seconds_a_step), f"{one.seconds_a_step / now_s - 1:+.1%}")
        for one in said
        if one.seconds_a_step < now_s * (1 - LEAST)
    ]
    if told:
        line("\nWhat would help most")
        out.table(("change", "a step", ""), told, right=("",))
    elif said:
        line("\nNone of these shortens the step: " + ", ".join(one.change for one in said) + ".")


def degrees(plan: Plan) -> list[tuple[str, str]]:
    """A plan as names and words, all of it."""
    told = [
        ("cards", f"{plan.cards:,}: " + ", ".join(f"{n:,} {chip}" for chip, n in plan.need().items())),
        ("tensor", f"{plan.tensor}" + (", with sequence parallel" if plan.tensor > 1 and plan.sequence_parallel else "")),
        ("stages", f"{len(plan.stages)}" + (f" of {plan.chunks} pieces" if plan.chunks > 1 else "")),
        ("chips of the stages", words(plan.stages))
        if not plan.data_chips
        else ("chips of the data ranks", words(plan.data_chips)),
        (
            "layers of the stages",
            words([str(n) for n in plan.layers])
            if plan.layers
            else "as even as can be" + (", ends counted" if plan.ends else ""),
        ),
        ("schedule", plan.schedule if len(plan.stages) > 1 else "-"),
        ("context", f"{plan.context}" + (f" ({plan.context_kind})" if plan.context > 1 else "")),
        ("expert", f"{plan.expert}" + (f", tensor {plan.expert_tensor} inside" if plan.expert > 1 else "")),
        (
            "data",
            f"{plan.data}" + (f": {plan.replicas} copies of {plan.shards} shards" if plan.replicas > 1 < plan.shards else ""),
        ),
        ("zero", f"{plan.zero}"),
        ("micro-batch", f"{plan.micro_batch}"),
        ("recompute", ", ".join(dict.fromkeys(plan.recompute)) if len(set(plan.recompute)) == 1 else words(plan.recompute)),
        ("offload", plan.offload),
    ]
    if plan.inner == "stages":
        told.append(("order of ranks", "stages inside data"))
    if plan.shares:
        told.append(("micro-batches of the data ranks", words([str(n) for n in plan.shares])))
    return told


def words(said: Sequence[str]) -> str:
    """ "6 x 3, 12 x 5": runs of the same, each with its length."""
    runs = [(one, len(list(group))) for one, group in groupby(said)]
    return ", ".join(f"{one} x {n}" if n > 1 else one for one, n in runs)


def details(choice: Choice, model: Model | None) -> None:
    """One choice: its degrees, its memory stage by stage, where the seconds go."""
    out.facts(degrees(choice.plan))
    if choice.parts:
        line("\nWhere a step's time goes")
        parts = sorted(choice.parts.items(), key=lambda one: -one[1])
        out.table(
            ("", "a step", ""),
            [(name, seconds(s), f"{s / choice.seconds_a_step:.1%}") for name, s in parts],
            right=("a step", ""),
        )
    if choice.memory:
        line("\nWhat a card of each stage holds")
        cut = stage_layers(choice.plan, model.layers, model.predicted) if model else ("-",) * len(choice.memory)
        rows = [
            (i, chip, n, *(show_bytes(getattr(one, part)) for part in PARTS), show_bytes(one.total))
            for i, (chip, n, one) in enumerate(zip(choice.plan.stages, cut, choice.memory, strict=True), 1)
        ]
        out.table(
            ("stage", "chip", "layers", *PARTS, "in all"), short(rows, choice.memory), right=("stage", "layers", *PARTS, "in all")
        )


def short(rows: Sequence[tuple[object, ...]], memory: Sequence[Memory]) -> list[tuple[object, ...]]:
    """Rows of many stages: those between two alike are left out."""
    kept: list[tuple[object, ...]] = []
    for i, one in enumerate(rows):
        alike = 0 < i < len(rows) - 1 and rows[i - 1][1:] == one[1:] == rows[i + 1][1:]
        if not alike:
            kept.append(one)
        elif kept[-1][0] != "...":
            kept.append(("...", *("" for _ in one[1:])))
    return kept
