"""Can a plan, and what it is for, be meant?

Asked:  a file holds a plan and a workload, of which a person or another program wrote every number. Do they make sense?
Answer: `checked` gives the plan back, `checked_work` the workload, or one error with the field, what stands there and what could.
Limits: whether degrees divide the model, the batch or the cards is for those who price or export it.
"""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite

from forebay.errors import BadInput
from forebay.plan.model import Workload
from forebay.plan.plan import INNER, OFFLOAD, RECOMPUTE, SCHEDULES, Plan

MOST = 10**9  # of any degree: beyond it arrays of 64 bits overflow
DEGREES = ("replicas", "shards", "tensor", "context", "expert", "expert_tensor", "chunks", "micro_batch")
CONTEXT = ("ring", "ulysses")


def checked(plan: Plan) -> Plan:
    """The plan. Raises BadInput for a degree below one, a word that is none, or a list of the wrong length."""
    for name in DEGREES:
        if not 1 <= getattr(plan, name) <= MOST:
            _wrong(name, getattr(plan, name), "a whole number, 1 or more")
    stages = len(plan.stages)
    if not stages or not all(plan.stages):
        _wrong("stages", plan.stages, "the chip under each stage")
    if plan.cards > MOST:
        _wrong("cards", plan.cards, f"at most {MOST:,}")
    for name, words in (("schedule", SCHEDULES), ("offload", OFFLOAD), ("inner", INNER), ("context_kind", CONTEXT)):
        _one_of(name, getattr(plan, name), words)
    _one_of("zero", plan.zero, (0, 1, 2, 3))
    for word in plan.recompute:
        _one_of("recompute", word, RECOMPUTE)
    for name, lengths in (
        ("recompute", {1, stages}),
        ("layers", {0, stages}),
        ("shares", {0, plan.data}),
        ("data_chips", {0, plan.data}),
    ):
        if len(getattr(plan, name)) not in lengths:
            _wrong(name, getattr(plan, name), f"{max(lengths)} of them" + (", or none" if 0 in lengths else ", or one for all"))
    for name in ("layers", "shares"):
        if any(not 0 <= one <= MOST for one in getattr(plan, name)):
            _wrong(name, getattr(plan, name), "whole numbers, none below zero")
    return plan


def checked_work(work: Workload) -> Workload:
    """The workload. Raises BadInput for a batch or a model of no size."""
    m = work.model
    for name, value in (
        ("sequences", work.sequences),
        ("tokens", work.tokens),
        ("model.layers", m.layers),
        ("model.width", m.width),
        ("model.heads", m.heads),
        ("model.kv_heads", m.kv_heads),
    ):
        if not (isfinite(value) and 1 <= value <= MOST):
            _wrong(name, value, "a whole number, 1 or more")
    if not 0 <= m.vocabulary <= MOST or not 0 <= m.mlp_width <= MOST:
        _wrong("model", (m.vocabulary, m.mlp_width), "a vocabulary and an MLP of a size")
    if m.experts is not None and not 1 <= m.experts.chosen <= m.experts.count <= MOST:
        _wrong("model.experts", (m.experts.chosen, m.experts.count), "no more experts chosen than there are")
    return work


def _one_of(name: str, value: object, words: Collection[object]) -> None:
    if value not in words:
        _wrong(name, value, ", ".join(str(one) for one in words))


def _wrong(name: str, value: object, could: str) -> None:
    raise BadInput(f"{name}: no plan can have that.", found=repr(value), hint=could)
