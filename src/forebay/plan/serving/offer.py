"""What cards of one kind offer to a pool: engines that read and make, that only read, that only make.

Asked:  cards of one kind; what would each engine that fits them do?
Answer: every candidate of `search` that fits memory, priced in all three parts. Readers are its shapes, without a batch.
Units:  seconds, requests a second.
Limits: what fits is asked at a request's full length, of readers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forebay.errors import BadInput, DoesNotFit
from forebay.plan.kernels import known
from forebay.plan.kernels.grid import Floats
from forebay.plan.pool import Cards, Pool
from forebay.plan.serving import ServingTarget
from forebay.plan.serving.load import Served, aggregated, decoding, prompt_s
from forebay.plan.serving.search import Question, candidates, fitting, lengths
from forebay.plan.serving.time import Engine, Ints, ServingCuts
from forebay.plan.serving.wait import HABITS

SHAPE = ("tensor", "data", "stages", "expert", "expert_tensor")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """A kind's engines, priced."""

    name: str
    engine: Engine
    cuts: ServingCuts  # all that fit
    together: Served
    making: Served  # of the same cuts; first_s is what is added to a prompt's
    readers: ServingCuts
    own_s: Floats  # of a prompt, alone
    prompts: Floats  # that a reader reads a second, when it is full
    searched: int

    @property
    def count(self) -> int:
        return self.engine.cards.count


def question(cards: Cards, target: ServingTarget, library: str) -> Question:
    return Question(target=target, device=known.device_of(cards), cards=cards, library=library)


def offers(pool: Pool, target: ServingTarget, library: str) -> tuple[list[Offer | None], Mapping[str, str]]:
    """Each kind's, None for those that can't serve this, and why they can't. Raises where none can."""
    found: list[Offer | None] = []
    left_out: dict[str, str] = {}
    errors: list[BadInput] = []
    for name, cards in pool.by_kind.items():
        try:
            found.append(offer(name, question(cards, target, library)))
        except BadInput as bad:
            found.append(None)
            left_out[name] = (
                bad.text.rstrip(".").replace("these cards", f"{cards.count} of these cards") + f" ({bad.found or bad.asked})"
            )
            errors.append(bad)
    if len(errors) == len(found):
        fits = all(isinstance(one, DoesNotFit) for one in errors)
        raise (DoesNotFit if fits else BadInput)(
            "No kind of the pool can serve this.",
            asked=f"{target.model.name} on {', '.join(left_out)}",
            found="; ".join(f"{name}: {why}" for name, why in left_out.items()),
            hint="; ".join(dict.fromkeys(f"{bad.hint}" for bad in errors)),
        )
    return found, left_out


def offer(name: str, asked: Question) -> Offer:
    """Raises BadInput where the chip lacks the format, DoesNotFit where no card holds the weights."""
    target, habits = asked.target, HABITS.get(asked.library, HABITS[""])
    engine = Engine(
        device=asked.device, cards=asked.cards, model=target.model, formats=target.formats, library=asked.library
    )  # fmt: skip
    every = candidates(asked)
    cuts = fitting(engine, asked, every)
    inputs, outputs = lengths(target, cuts)
    readers = cuts[_shapes(cuts)]
    prompt = prompt_s(engine, readers, inputs[: len(readers)], habits.call_s)
    alone = np.maximum(prompt.alone, prompt.host)
    many = np.maximum(prompt.many, prompt.host * target.input_tokens / habits.pass_tokens)
    return Offer(
        name=name,
        engine=engine,
        cuts=cuts,
        together=aggregated(engine, cuts, inputs, outputs, habits),
        making=decoding(engine, cuts, inputs, outputs),
        readers=readers,
        own_s=alone,
        prompts=readers.data / many,
        searched=len(every),
    )


def _shapes(cuts: ServingCuts) -> Ints:
    """The first entry of each shape."""
    columns = np.stack([getattr(cuts, name) for name in SHAPE], axis=1)
    _, first = np.unique(columns, axis=0, return_index=True)
    return np.sort(first)
