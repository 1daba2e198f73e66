"""The best ways to serve a model on a pool, for a latency target.

Asked:  which degrees, how many requests at once, and prompts read by the same engines or apart?
Answer: all degrees that divide the model and fit the cards, with batches of BATCHES, are priced at once (`load`);
        those that don't fit memory are dropped. Kept are the plans that meet the target, by output tokens a second a card; where
        none does, those that miss by the least. Apart, every pair of a prefill and a decode engine is matched in rate
        (DistServe, OSDI 2024, section 4): as many of each as make the pool's cards carry most.
Units:  seconds, tokens, cards.
Limits: one chip kind. An engine's ranks lie inside an island; stages lie over islands. The interval is that of public runs,
        not of your engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from forebay.errors import DoesNotFit
from forebay.plan.kernels import alike, experts, known
from forebay.plan.kernels.grid import Floats
from forebay.plan.pool import Cards
from forebay.plan.serving import ServingChoice, ServingMenu, ServingPlan, ServingTarget
from forebay.plan.serving import apart as engines_apart
from forebay.plan.serving.apart import Pairs
from forebay.plan.serving.load import Served, aggregated
from forebay.plan.serving.memory import SHARE, WORKING, cache, memory, weights
from forebay.plan.serving.time import Engine, Ints, ServingCuts, serving_cuts
from forebay.plan.serving.wait import HABITS
from forebay.units import show_bytes

MOST = 5  # on a menu
BATCHES = tuple(sorted({2**i for i in range(13)} | {3 * 2**i for i in range(2, 11)}))
# Of 2,176 public runs, eight in ten lay between these shares of what was said (docs/plan-serving.md).
TOKEN_LOW, TOKEN_HIGH = 0.76, 1.26
FIRST_LOW, FIRST_HIGH = 0.83, 2.31


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the search."""

    target: ServingTarget
    device: known.Device
    cards: Cards
    library: str = ""  # an engine, where it is known which: vllm, sglang, trtllm


def search(question: Question, apart: bool = False) -> ServingMenu:
    """The menu. Raises DoesNotFit where no plan holds the model."""
    target = question.target
    engine = Engine(
        device=question.device,
        cards=question.cards,
        model=target.model,
        formats=target.formats,
        library=question.library,
    )
    every = candidates(question)
    cuts = fitting(engine, question, every)
    if apart:
        habits = HABITS.get(question.library, HABITS[""])
        pairs = engines_apart.pairs(engine, cuts, target, question.cards, habits)
        return _menu(question, engine, pairs.served, pairs.cuts, pairs.workers, len(every), pairs)
    inputs, outputs = lengths(target, cuts)
    served = aggregated(engine, cuts, inputs, outputs, HABITS.get(question.library, HABITS[""]))
    workers = np.maximum(question.cards.count // cuts.cards, 1)
    if target.requests_per_s is not None:
        workers = np.clip(np.ceil(target.requests_per_s / served.requests_per_s).astype(np.int64), 1, workers)
    return _menu(question, engine, served, cuts, workers, len(every), None)


def candidates(question: Question) -> ServingCuts:
    """All degrees that divide the model, with all batches; memory isn't looked at."""
    m, cards = question.target.model, question.cards
    plans = []
    reach = [n for n in (1, 2, 4, 8, 16, 32, 64, 72) if n <= min(cards.island, cards.count)]
    for tensor, data in product(reach, reach):
        ranks = tensor * data
        if ranks > min(cards.island, cards.count) or m.heads % tensor or (m.experts is None and data > 1):
            continue
        for expert in [n for n in range(1, ranks + 1) if ranks % n == 0]:
            cut = ranks // expert
            if m.experts is None:
                if expert > 1:
                    continue
                cut = 1
            elif m.experts.count % expert or m.experts.width % cut:
                continue
            for stages in (1, 2, 4, 8):
                if stages > 1 and (ranks < min(cards.island, cards.count) or stages * ranks > cards.count or stages > m.layers):
                    continue
                plans += [
                    ServingPlan(tensor=tensor, data=data, stages=stages, expert=expert, expert_tensor=cut, batch=batch)
                    for batch in BATCHES
                    if batch >= data * stages
                ]
    return serving_cuts(plans)


def fitting(engine: Engine, question: Question, cuts: ServingCuts) -> ServingCuts:
    """Those whose weights, cache and working space fit. None: DoesNotFit, with the nearest."""
    length = question.target.input_tokens + question.target.output_tokens
    need, have = memory(engine, cuts, length), engine.device.memory_bytes * SHARE
    if (need <= have).any():
        return cuts[need <= have]
    nearest = int(np.argmin(need))
    plan = cuts.plan(nearest)
    more = 2 ** int(np.ceil(np.log2(need[nearest] / have)))
    fixed, one = float(weights(engine, cuts)[nearest]), float(cache(engine, cuts, length)[nearest])
    raise DoesNotFit(
        "The model doesn't fit these cards.",
        asked=f"{engine.model.name} in {engine.formats.experts if engine.model.experts else engine.formats.dense}"
        f" on {question.cards.count} x {engine.device.name}",
        found=f"tensor={plan.tensor} data={plan.data} stages={plan.stages} needs {show_bytes(need[nearest])} a card: weights"
        f" {show_bytes(fixed)}, cache of a request {show_bytes(one)}, working space {show_bytes(WORKING)};"
        f" {show_bytes(have)} of {show_bytes(engine.device.memory_bytes)} can be used",
        hint=f"{more * plan.cards} or more cards, a narrower format, or shorter requests",
    )


def lengths(target: ServingTarget, cuts: ServingCuts) -> tuple[Floats, Floats]:
    return np.full(len(cuts), float(target.input_tokens)), np.full(len(cuts), float(target.output_tokens))


def _menu(
    question: Question, engine: Engine, served: Served, cuts: ServingCuts, workers: Ints, searched: int, pairs: Pairs | None
) -> ServingMenu:
    target = question.target
    cards = workers * cuts.cards + (0 if pairs is None else pairs.readers * pairs.size)
    rate = served.requests_per_s * (workers if pairs is None else 1)
    over = missed_by(target, served, rate)
    pace = rate * target.output_tokens / cards
    met = bool((over <= 1).any())
    alike_pace = np.round(np.log(pace), 3)  # a tenth of a percent is no difference: the quicker token decides
    order = np.lexsort((served.token_s, -alike_pace, np.where(over <= 1, 1.0, over)))
    chosen: dict[tuple[int, ...], int] = {}
    for i in order[over[order] <= 1] if met else order:
        shape = tuple(int(x[i]) for x in (cuts.tensor, cuts.data, cuts.stages, cuts.expert, cuts.expert_tensor))
        chosen.setdefault(shape, int(i))
        if len(chosen) == MOST:
            break
    choices = tuple(
        ServingChoice(
            chip=question.device.name,
            decode=cuts.plan(i, int(workers[i])),
            prefill=None if pairs is None else replace(pairs.prefill, workers=int(pairs.readers[i])),
            first_s=float(served.first_s[i]),
            token_s=float(served.token_s[i]),
            first_low_s=float(served.first_s[i]) * FIRST_LOW,
            first_high_s=float(served.first_s[i]) * FIRST_HIGH,
            token_low_s=float(served.token_s[i]) * TOKEN_LOW,
            token_high_s=float(served.token_s[i]) * TOKEN_HIGH,
            requests_per_s=float(rate[i]),
            tokens_per_s_card=float(pace[i]),
            memory_bytes=int(served.memory_bytes[i]),
            cards=int(cards[i]),
            parts={name: float(values[i]) for name, values in served.parts.items()},
            tier=tier(engine),
            moved_s=0.0 if pairs is None else float(pairs.moved_s[i]),
        )
        for i in chosen.values()
    )
    best = choices[0]
    why = "" if met else shortfall(target, best.first_s, best.token_s, best.requests_per_s)
    return ServingMenu(choices=choices, target=target, met=met, searched=searched, why=why)


def missed_by(target: ServingTarget, served: Served, rate: Floats) -> Floats:
    """By how much the worst of the wishes is missed: 1 or less is met."""
    over: Floats = np.zeros(len(rate))
    if target.first_s is not None:
        over = np.maximum(over, served.first_s / target.first_s)
    if target.token_s is not None:
        over = np.maximum(over, served.token_s / target.token_s)
    if target.requests_per_s is not None:
        over = np.maximum(over, target.requests_per_s / rate)
    return over


def shortfall(target: ServingTarget, first_s: float, token_s: float, requests_per_s: float) -> str:
    missed = []
    if target.first_s is not None and first_s > target.first_s:
        missed.append(f"first token after {first_s * 1e3:.0f} ms, asked {target.first_s * 1e3:.0f} ms")
    if target.token_s is not None and token_s > target.token_s:
        missed.append(f"a token each {token_s * 1e3:.1f} ms, asked {target.token_s * 1e3:.1f} ms")
    if target.requests_per_s is not None and requests_per_s < target.requests_per_s:
        missed.append(f"{requests_per_s:.2f} requests a second, asked {target.requests_per_s:.2f}")
    return "No plan keeps the target; the nearest: " + ", ".join(missed)


def tier(engine: Engine) -> str:
    """The weaker of what its products, its attention and its experts rest on."""
    formats = engine.formats
    tiers = {known.tier(engine.device, formats.dense), alike.speaks(engine.device, "decode", "")[1]}
    if engine.model.experts is not None:
        tiers.add(experts.tier(engine.device, formats.experts))
    return alike.SHEET if alike.SHEET in tiers else alike.MEASURED
