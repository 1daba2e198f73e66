"""All ways to cut a workload over cards of one kind, as arrays.

Asked:  which plans are there at all?
Answer: every product of degrees that divides what it must: tensor the heads, expert the experts, context the sequence, data the
        batch, stages and chunks the layers (or layers and two, when the ends count as layers). `LEFT_OUT` says in words what is
        not looked at, and is printed with each answer.
Units:  cards, sequences, tokens.
Limits: what saves memory for time (recompute, offload) is not part of the space: `search` takes the least of it that fits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forebay.plan.cuts import Cuts
from forebay.plan.framework import Framework
from forebay.plan.model import Model, Workload
from forebay.plan.orders import BLOCKS, group
from forebay.plan.plan import SCHEDULES
from forebay.plan.pool import Cards
from forebay.plan.wishes import Wishes

LEFT_OUT = (
    "Left out: tensor degrees beyond an island, micro-batches above 16 sequences, context pieces below 2,048 tokens, ZeRO 2, "
    "ZeRO 3 with a pipeline, tensor parallel without sequence parallel."
)
MICRO = 16
PIECE = 2048
COLUMNS = (
    "replicas",
    "shards",
    "tensor",
    "stages",
    "context",
    "expert",
    "expert_tensor",
    "chunks",
    "schedule",
    "micro_batch",
    "zero",
    "ulysses",
    "ends",
)


def space(work: Workload, cards: Cards, wishes: Wishes, software: Framework, count: int | None = None) -> Cuts:
    """Every plan over `count` cards (all of them, where not said) that the wishes allow."""
    rows = list(_rows(work, cards, wishes, software, count or cards.count))
    table = np.array(rows, dtype=np.int64).reshape(len(rows), len(COLUMNS))
    columns = {name: table[:, i] for i, name in enumerate(COLUMNS)}
    nothing = np.zeros(len(rows), dtype=np.int64)
    return Cuts(
        **{name: column for name, column in columns.items() if name not in ("ulysses", "ends")},
        ulysses=columns["ulysses"].astype(np.bool_),
        ends=columns["ends"].astype(np.bool_),
        recompute=nothing,
        offload=nothing,
        sequence_parallel=columns["tensor"] > 1,
    )


def divisors(number: int) -> list[int]:
    small = [i for i in range(1, int(number**0.5) + 1) if number % i == 0]
    return sorted({*small, *(number // i for i in small)})


def _rows(work: Workload, cards: Cards, wishes: Wishes, software: Framework, count: int) -> Iterator[tuple[int, ...]]:
    m = work.model
    for tensor, context, data, stages in _degrees(work, cards, wishes, count):
        for expert, inner in _experts(m, wishes, tensor, tensor * context * data):
            for micro in divisors(work.sequences // data):
                if micro > MICRO or not allowed(wishes, "micro_batch", micro):
                    continue
                rounds = work.sequences // (data * micro)
                for schedule, chunks, ends in _pipelines(m, wishes, software, stages, rounds):
                    for zero, shards in _zero(wishes, data, stages, cards.island // tensor):
                        for ulysses in (0, 1) if context > 1 and m.heads % (tensor * context) == 0 and m.latent is None else (0,):
                            yield (
                                data // shards,
                                shards,
                                tensor,
                                stages,
                                context,
                                expert,
                                inner,
                                chunks,
                                schedule,
                                micro,
                                zero,
                                ulysses,
                                ends,
                            )


def _degrees(work: Workload, cards: Cards, wishes: Wishes, count: int) -> Iterator[tuple[int, int, int, int]]:
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
                if not allowed(wishes, "data", data):
                    continue
                yield tensor, context, data, stages


def _experts(m: Model, wishes: Wishes, tensor: int, ranks: int) -> Iterator[tuple[int, int]]:
    if m.experts is None:
        yield 1, 1
        return
    for expert in divisors(m.experts.count):
        for inner in sorted({1, tensor}):
            fits = ranks % (expert * inner) == 0 and m.experts.width % inner == 0
            if fits and allowed(wishes, "expert", expert) and allowed(wishes, "expert_tensor", inner):
                yield expert, inner


def _pipelines(m: Model, wishes: Wishes, software: Framework, stages: int, rounds: int) -> Iterator[tuple[int, int, int]]:
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
            even, with_ends = layers % (stages * chunks) == 0, (layers + 2) % (stages * chunks) == 0
            # Layers that don't divide are shared out as evenly as can be where a stage has one piece.
            if allowed(wishes, "chunks", chunks) and (even or with_ends or (chunks == 1 and stages <= layers)):
                yield SCHEDULES.index(name), chunks, int(with_ends and not even)


def _zero(wishes: Wishes, data: int, stages: int, near: int) -> Iterator[tuple[int, int]]:
    """The ZeRO stage and how many data ranks share the states: all, or for ZeRO 3 those of an island (HSDP)."""
    for zero in (0, 1) if data == 1 or wishes.exactly.get("zero") == 0 else (1,):
        if allowed(wishes, "zero", zero) and allowed(wishes, "shards", data) and allowed(wishes, "replicas", 1):
            yield zero, data
    if stages == 1 and data > 1 and allowed(wishes, "zero", 3):
        for shards in sorted({data, near} if 1 < near < data and data % near == 0 else {data}):
            if allowed(wishes, "shards", shards) and allowed(wishes, "replicas", data // shards):
                yield 3, shards


def allowed(wishes: Wishes, degree: str, value: int) -> bool:
    exact = wishes.exactly.get(degree)
    if exact is not None and value != exact:
        return False
    return wishes.least.get(degree, 0) <= value <= wishes.most.get(degree, value)
