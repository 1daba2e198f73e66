"""Prompts read by some engines, tokens made by others: which engines, and how many of each?

Asked:  a pool's cards are shared between engines that only read prompts and engines that only make tokens. How?
Answer: the prefill engine is the one that reads most prompts a second a card among those whose own pass leaves room in the
        target; for each decode engine, so many workers of both kinds as carry most requests a second (rate matching, as
        DistServe, OSDI 2024, section 4.2, places its instances). A prompt waits as in a queue with one server a prefill engine
        and even work (M/D/1), then its cache crosses the scale-out link (`handover`).
Units:  seconds, prompts and requests a second, bytes.
Limits: one kind of prefill engine for all decode engines; prefill engines are loaded to BUSY at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forebay.errors import DoesNotFit
from forebay.plan.kernels.grid import Floats
from forebay.plan.pool import Cards
from forebay.plan.serving import ServingPlan, ServingTarget
from forebay.plan.serving.handover import moved, wire
from forebay.plan.serving.load import Served, decoding, prompt_s
from forebay.plan.serving.time import Engine, Ints, ServingCuts
from forebay.plan.serving.wait import Habits

BUSY = 0.85
OWN = 0.6  # of the time to first token, for a prompt's own pass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """A prefill engine, and with each decode engine how many of both."""

    cuts: ServingCuts
    served: Served  # of the pair: first_s holds the prompt's whole way, requests_per_s is of all workers
    workers: Ints
    prefill: ServingPlan
    readers: Ints  # prefill workers
    size: int  # cards of a prefill worker
    moved_s: Floats  # of first_s: the cache on its way


def pairs(engine: Engine, cuts: ServingCuts, target: ServingTarget, cards: Cards, habits: Habits) -> Pairs:
    """All decode engines, each with as many workers as go best with the one prefill engine."""
    inputs, outputs = np.full(len(cuts), float(target.input_tokens)), np.full(len(cuts), float(target.output_tokens))
    prompt = prompt_s(engine, cuts, inputs, habits.call_s)
    alone, many = np.maximum(prompt.alone, prompt.host), np.maximum(prompt.many, prompt.host * inputs / habits.pass_tokens)
    reader = _reader(cuts, alone, many, target)
    own, read, size = float(alone[reader]), float(cuts.data[reader] / many[reader]), int(cuts.cards[reader])
    one = cuts[reader : reader + 1]
    prefill = replace(cuts.plan(reader), batch=int(cuts.data[reader]))
    here = np.flatnonzero(cuts.cards + size <= cards.count)
    if not len(here):
        raise DoesNotFit(
            "Reading prompts apart takes two engines, which these cards don't hold.",
            asked=f"{cards.count} x {cards.chip}",
            found=f"{size} for prompts and {int(cuts.cards.min())} for tokens",
            hint="more cards, or prompts and tokens on the same engines",
        )
    cuts, inputs, outputs = cuts[here], inputs[here], outputs[here]
    served = decoding(engine, cuts, inputs, outputs)
    way, send, take = moved(wire(cards, cards), engine, one, cuts, float(target.input_tokens))
    prompts, requests = np.minimum(read, send[0]), np.minimum(served.requests_per_s, BUSY * take)
    workers, readers, rate = matched(cuts.cards, requests, prompts, size, cards.count)
    busy = rate / (readers * read)
    waits = busy / (2 * (1 - busy)) / read
    first = (
        habits.door_s
        + own
        + waits
        + habits.hand_s
        + way[0]
        + np.maximum(habits.stream_steps / 2, 1.0) * served.token_s
        + served.first_s
    )
    return Pairs(
        cuts=cuts,
        served=replace(served, first_s=first, requests_per_s=rate),
        workers=workers,
        prefill=prefill,
        readers=readers,
        size=size,
        moved_s=way[0],
    )


def matched(decode_cards: Ints, requests: Floats, prompts: float | Floats, size: int, total: int) -> tuple[Ints, Ints, Floats]:
    """For each decode engine: its workers, the prefill workers, and the requests a second of all, that carry most on `total`
    cards. A decode worker makes `requests` a second, a prefill worker reads `prompts`."""
    workers, readers, rate = np.ones_like(decode_cards), np.ones_like(decode_cards), np.zeros(len(decode_cards))
    for n in range(1, int(np.max((total - size) // decode_cards)) + 1):
        left = (total - n * decode_cards) // size
        wanted = np.ceil(n * requests / (BUSY * prompts)).astype(np.int64)
        with_ = np.maximum(np.minimum(wanted, left), 1)
        now = np.where(left >= 1, np.minimum(n * requests, BUSY * with_ * prompts), 0.0)
        better = now > rate * 1.0001
        workers, readers = np.where(better, n, workers), np.where(better, with_, readers)
        rate = np.where(better, now, rate)
    return workers, readers, rate


def _reader(cuts: ServingCuts, alone: Floats, many: Floats, target: ServingTarget) -> int:
    pace = cuts.data / many / cuts.cards
    if target.first_s is None:
        return int(np.argmax(pace))
    quick = alone <= OWN * target.first_s
    return int(np.argmax(np.where(quick, pace, 0.0))) if quick.any() else int(np.argmin(alone))
