"""All ways to cut a workload over cards of one kind, as arrays.

Asked:  which plans are there at all?
Answer: every product of degrees that divides what it must: tensor the heads, expert the experts, context the sequence, data the
        batch, stages and chunks the layers (or layers and two, when the ends count as layers); and of those what the software
        runs (`abilities`). ZeRO 0 is there where ZeRO 1 isn't, which is as fast and small or better; ZeRO 3 also
        with the states cut inside each island alone (HSDP). `LEFT_OUT` says in words what is not looked at, and is printed with
        each answer.
        Ranks lie tensor first, since its transfers are in each layer and mostly unhidden; then context, whose ring hides behind
        attention alone; then data before stages. Stages before data are tried of dense models where an island holds a whole
        pipeline and not all cards: else sends leave islands as before, data ranks share fewer links, and nothing is won.
        Experts lie in what is inside stages.
Units:  cards, sequences, tokens.
Limits: what saves memory for time (recompute, offload) is not part of the space: `search` takes the least of it that fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.abilities import Abilities, abilities
from forebay.plan.cuts import Cuts, alike
from forebay.plan.framework import Framework
from forebay.plan.model import Model, Workload
from forebay.plan.orders import BLOCKS, group
from forebay.plan.plan import SCHEDULES
from forebay.plan.pool import Cards
from forebay.plan.wishes import Wishes

WORDS = ("ulysses", "ends", "stages_inner")  # columns that are true or false
LEFT_OUT = (
    "Left out: tensor degrees beyond an island, micro-batches above 16 sequences, context pieces below 2,048 tokens, states cut "
    "over neither an island nor all data ranks, tensor parallel without sequence parallel."
)
MICRO = 16
PIECE = 2048
LAID_CHUNKS = 8  # of a stage, where they don't divide the layers
COLUMNS = (
    "replicas",
    "shards",
    "tensor",
    "stages",
    "context",
    "expert",
    "expert_tensor",
    "zero",
    "micro_batch",
    "schedule",
    "chunks",
    "ends",
    "ulysses",
    "stages_inner",
)


def space(
    work: Workload,
    cards: Cards,
    wishes: Wishes,
    software: Framework,
    count: int | None = None,
    can: Abilities | None = None,
    *,
    laid: bool = False,
) -> Cuts:
    """Every plan over `count` cards (all of them, where not said) that the wishes allow and the software runs.

    `laid`: with those whose chunks don't divide the layers; their stages' layers are for `layouts` to say.
    """
    rows = list(_rows(work, cards, wishes, software, count or cards.count, can or abilities(software.name), laid))
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(COLUMNS))
    columns: dict[str, Any] = {name: table[:, i] for i, name in enumerate(COLUMNS)}
    columns |= {name: columns[name].astype(np.bool_) for name in WORDS}
    nothing = np.zeros(len(rows), dtype=np.int64)
    return Cuts(
        **columns,
        recompute=nothing,
        offload=nothing,
        by_stage=alike(len(rows)),
        layers=alike(len(rows)),
        sequence_parallel=columns["tensor"] > 1,
    )


def possible(work: Workload, cards: Cards, wishes: Wishes, software: Framework, *, laid: bool = False) -> bool:
    """Is there any plan over all these cards?"""
    return any(_rows(work, cards, wishes, software, cards.count, abilities(software.name), laid))


def divides(m: Model, cuts: Cuts) -> NDArray[np.bool_]:
    """Of which plans do the stages' chunks divide the layers, or the layers and the ends?"""
    found: NDArray[np.bool_] = cuts.ends | ((m.layers + m.predicted) % (cuts.stages * cuts.chunks) == 0)
    return found


def divisors(number: int) -> list[int]:
    small = [i for i in range(1, int(number**0.5) + 1) if number % i == 0]
    return sorted({*small, *(number // i for i in small)})


def _rows(
    work: Workload, cards: Cards, wishes: Wishes, software: Framework, count: int, can: Abilities, laid: bool
) -> Iterator[tuple[int, ...]]:
    m = work.model
    for tensor, context, data, stages in _degrees(work, cards, wishes, count, can):
        pipes = {
            micro: list(_pipelines(m, wishes, software, stages, work.sequences // (data * micro), can, laid))
            for micro in divisors(work.sequences // data)
            if micro <= MICRO and allowed(wishes, "micro_batch", micro)
        }
        cuts = list(_zero(wishes, can, data, context, stages, cards.island // (tensor * context)))
        rings = list(_rings(m, tensor, context, can))
        other = stages > 1 and data > 1 and tensor * context * stages <= cards.island < count
        other = other and m.experts is None and "inner" not in can.lacks
        for expert, inner in _experts(m, wishes, tensor, tensor * context * data, can):
            for zero, shards in cuts:
                if shards < data and tensor * context * shards % (expert * inner):
                    continue  # an expert's cards lie inside one copy
                said = {"zero 3": zero == 3, "hybrid": shards < data, "copies": zero == 0 and data > 1,
                        "expert_tensor": inner > 1, "experts at home": m.experts is not None and expert == 1}  # fmt: skip
                if not runs(can, tensor=tensor, context=context, stages=stages, **said):
                    continue
                degrees = (data // shards, shards, tensor, stages, context, expert, inner, zero)
                orders = (0, 1) if other and shards == data else (0,)
                for micro, ways in pipes.items():
                    for schedule, chunks, ends in ways:
                        for ulysses in rings:
                            for nearer in orders:
                                yield (*degrees, micro, schedule, chunks, ends, ulysses, nearer)


def _degrees(work: Workload, cards: Cards, wishes: Wishes, count: int, can: Abilities) -> Iterator[tuple[int, int, int, int]]:
    m = work.model
    for tensor in divisors(m.heads):
        if tensor > max(cards.island, wishes.exactly.get("tensor", 1)) or count % tensor or not allowed(wishes, "tensor", tensor):
            continue
        if m.kv_heads % tensor and tensor % m.kv_heads:
            continue
        for context in (1 << i for i in range(20)):
            if (context > 1 and work.tokens // context < PIECE) or count % (tensor * context):
                break
            if work.tokens % (2 * context) or not allowed(wishes, "context", context):
                continue
            for stages in divisors(count // tensor // context):
                data = count // (tensor * context * stages)
                if stages > m.layers + 2 or work.sequences % data or not allowed(wishes, "stages", stages):
                    continue
                if not allowed(wishes, "data", data) or not runs(can, tensor=tensor, context=context, stages=stages):
                    continue
                yield tensor, context, data, stages


def runs(can: Abilities, tensor: int, context: int, stages: int, **said: bool) -> bool:
    """Does the software have these degrees, and what else is said of the plan, and all of it together?"""
    above = {name for name, degree in (("tensor", tensor), ("context", context), ("stages", stages)) if degree > 1}
    above |= {name for name, holds in said.items() if holds}
    return not (above & can.lacks) and not any(pair <= above for pair in can.apart)


def _rings(m: Model, tensor: int, context: int, can: Abilities) -> Iterator[int]:
    """Ways of the context degree: 0 is a ring, 1 is Ulysses, which cuts heads."""
    if context == 1 or "ring" not in can.lacks:
        yield 0
    if context > 1 and m.heads % (tensor * context) == 0 and m.latent is None and "ulysses" not in can.lacks:
        yield 1


def _experts(m: Model, wishes: Wishes, tensor: int, ranks: int, can: Abilities) -> Iterator[tuple[int, int]]:
    if m.experts is None:
        yield 1, 1
        return
    for expert in (1,) if "expert" in can.lacks else divisors(m.experts.count):
        for inner in (1,) if "expert_tensor" in can.lacks else sorted({1, tensor}):
            fits = ranks % (expert * inner) == 0 and m.experts.width % inner == 0
            if fits and allowed(wishes, "expert", expert) and allowed(wishes, "expert_tensor", inner):
                yield expert, inner


def _pipelines(
    m: Model, wishes: Wishes, software: Framework, stages: int, rounds: int, can: Abilities, laid: bool
) -> Iterator[tuple[int, int, int]]:
    """Schedule, chunks, and whether the ends count as layers."""
    layers = m.layers + m.predicted
    names = wishes.schedules or software.schedules
    if stages == 1:
        if allowed(wishes, "chunks", 1):
            yield 0, 1, 0
        return
    for name in names:
        most = 2 if name in BLOCKS else layers // stages + 1 if name == "interleaved" else 1
        for chunks in range(2 if name in BLOCKS or name == "interleaved" else 1, most + 1):
            if name == "interleaved" and not group(stages, rounds):
                continue
            count = stages * chunks
            even = layers % count == 0
            # The last piece has the predicted layers beside the loss.
            with_ends = (layers + 2) % count == 0 and (layers + 2) // count > m.predicted
            # Layers that don't divide are shared out as evenly as can be where a stage has one piece.
            uneven = chunks == 1 and stages <= layers and "uneven" not in can.lacks
            uneven |= laid and name == "interleaved" and chunks <= LAID_CHUNKS and count <= m.layers
            if allowed(wishes, "chunks", chunks) and (even or with_ends or uneven):
                yield SCHEDULES.index(name), chunks, int(with_ends and not even)


def _zero(wishes: Wishes, can: Abilities, data: int, context: int, stages: int, near: int) -> Iterator[tuple[int, int]]:
    """The ZeRO stage and how many data ranks share the states: all, or for ZeRO 3 those of an island (HSDP)."""
    have, cut = can.piped if stages > 1 else can.zero, data * context > 1
    for zero in have:
        if not allowed(wishes, "zero", zero):
            continue
        if zero == 0:
            # Software whose only ZeRO is FSDP cuts over the context degree whenever there is one.
            fits = (context == 1 and 1 not in have) or wishes.exactly.get("zero") == 0
            shared = [data] if fits else []
        elif zero < 3:
            shared = [data] if cut or zero == 1 else []
        else:
            hybrid = "hybrid" not in can.lacks and 1 <= near < data and data % near == 0 and near * context > 1
            shared = sorted({data, near} if hybrid else {data}) if cut else []
        for shards in shared:
            if allowed(wishes, "shards", shards) and allowed(wishes, "replicas", data // shards):
                yield zero, shards


def allowed(wishes: Wishes, degree: str, value: int) -> bool:
    exact = wishes.exactly.get(degree)
    if exact is not None and value != exact:
        return False
    return wishes.least.get(degree, 0) <= value <= wishes.most.get(degree, value)
