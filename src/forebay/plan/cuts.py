"""The noun Cuts: many plans at once, an array a degree.

Asked:  pricing a plan takes some hundred operations; how are fifty thousand priced in a second?
Answer: the same operations on arrays. Here all stages of a plan have the same chip, and as even a share of the layers as can be
        where `layers` doesn't say them; plans over several chips are priced one by one (`plan/mixed.py`).
Limits: words (schedule, recompute, offload) are indices into the tuples of `plan/plan.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.plan import INNER, OFFLOAD, RECOMPUTE, SCHEDULES, Plan

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cuts:
    """Plans as arrays of one length; entry i of each is the i-th plan. The chip is not part of it."""

    replicas: Ints
    shards: Ints
    tensor: Ints
    stages: Ints  # their number
    context: Ints
    expert: Ints
    expert_tensor: Ints
    chunks: Ints
    schedule: Ints
    micro_batch: Ints
    zero: Ints
    recompute: Ints
    offload: Ints
    sequence_parallel: Bools
    ulysses: Bools
    ends: Bools
    stages_inner: Bools  # ranks count stages before data
    by_stage: Ints  # (plans, stages): how each stage recomputes where they differ, else -1; no columns where no plan's do
    layers: Ints  # (plans, stages): each stage's layers where they are said, else -1; no columns where no plan's are

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, which: Any) -> Cuts:
        """The plans at these places: a slice, a mask or indices."""
        return Cuts(**{one.name: getattr(self, one.name)[which] for one in fields(self)})

    @property
    def data(self) -> Ints:
        return self.replicas * self.shards

    @property
    def cards(self) -> Ints:
        return self.data * self.tensor * self.context * self.stages

    @property
    def shape(self) -> Ints:
        """One number for each tensor, stages, context, expert, and whether weights are cut."""
        found = self.tensor
        for column, width in ((self.stages, 1 << 14), (self.context, 1 << 20), (self.expert, 1 << 14), (self.zero == 3, 2)):
            found = found * width + column
        return found

    def plan(self, i: int, chip: str) -> Plan:
        """The i-th plan, on this chip."""
        return Plan(
            replicas=int(self.replicas[i]),
            shards=int(self.shards[i]),
            tensor=int(self.tensor[i]),
            stages=(chip,) * int(self.stages[i]),
            context=int(self.context[i]),
            expert=int(self.expert[i]),
            expert_tensor=int(self.expert_tensor[i]),
            layers=self._layers(i),
            ends=bool(self.ends[i]),
            chunks=int(self.chunks[i]),
            schedule=SCHEDULES[self.schedule[i]],
            micro_batch=int(self.micro_batch[i]),
            zero=int(self.zero[i]),
            sequence_parallel=bool(self.sequence_parallel[i]),
            context_kind="ulysses" if self.ulysses[i] else "ring",
            recompute=self._recompute(i),
            offload=OFFLOAD[self.offload[i]],
            inner=INNER[int(self.stages_inner[i])],
        )

    def _layers(self, i: int) -> tuple[int, ...]:
        said = self.layers[i, : self.stages[i]]
        return tuple(int(n) for n in said) if said.size and said[0] >= 0 else ()

    def _recompute(self, i: int) -> tuple[str, ...]:
        levels = self.by_stage[i, : self.stages[i]]
        return tuple(RECOMPUTE[one] for one in levels) if levels.size and levels[0] >= 0 else (RECOMPUTE[self.recompute[i]],)


def alike(count: int) -> Ints:
    """`by_stage` or `layers` of so many plans whose stages are all alike."""
    return np.zeros((count, 0), dtype=np.int64)


def joined(parts: Sequence[Cuts]) -> Cuts:
    """Plans one after the other. Of no part: no plans."""
    names = [one.name for one in fields(Cuts)]
    if not parts:
        return cuts([])
    wide, wider = (max(getattr(one, name).shape[1] for one in parts) for name in ("by_stage", "layers"))
    parts = [replace(one, by_stage=_wider(one.by_stage, wide), layers=_wider(one.layers, wider)) for one in parts]
    return Cuts(**{name: np.concatenate([getattr(one, name) for one in parts]) for name in names})


def _wider(table: Ints, width: int) -> Ints:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=-1)


def cuts(plans: Sequence[Plan]) -> Cuts:
    """Plans of one chip each, as arrays."""

    def ints(values: list[int]) -> Ints:
        return np.array(values, dtype=np.int64)

    return Cuts(
        replicas=ints([p.replicas for p in plans]),
        shards=ints([p.shards for p in plans]),
        tensor=ints([p.tensor for p in plans]),
        stages=ints([len(p.stages) for p in plans]),
        context=ints([p.context for p in plans]),
        expert=ints([p.expert for p in plans]),
        expert_tensor=ints([p.expert_tensor for p in plans]),
        chunks=ints([p.chunks for p in plans]),
        schedule=ints([SCHEDULES.index(p.schedule) for p in plans]),
        micro_batch=ints([p.micro_batch for p in plans]),
        zero=ints([p.zero for p in plans]),
        recompute=ints([max(RECOMPUTE.index(one) for one in p.recompute) for p in plans]),
        offload=ints([OFFLOAD.index(p.offload) for p in plans]),
        sequence_parallel=np.array([p.sequence_parallel for p in plans], dtype=np.bool_),
        ulysses=np.array([p.context_kind == "ulysses" for p in plans], dtype=np.bool_),
        ends=np.array([p.ends for p in plans], dtype=np.bool_),
        stages_inner=np.array([p.inner == "stages" for p in plans], dtype=np.bool_),
        by_stage=_table([[RECOMPUTE.index(one) for one in p.recompute] if len(set(p.recompute)) > 1 else [] for p in plans]),
        layers=_table([p.layers for p in plans]),
    )


def _table(rows: Sequence[Sequence[int]]) -> Ints:
    """Rows of several lengths, with -1 behind them."""
    found = np.full((len(rows), max((len(one) for one in rows), default=0)), -1, dtype=np.int64)
    for i, one in enumerate(rows):
        found[i, : len(one)] = one
    return found
