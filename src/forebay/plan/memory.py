"""What does a card of each stage hold at the worst moment?

Asked:  a workload and a plan (`memory`), or many plans of one chip (`fullest`).
Answer: weights, gradients and optimizer by what cuts them; activations by what each layer keeps (`plan/activations.py`) times the
        micro-batches in flight (`plan/schedule.py`); and the larger of what the loss and what one layer's backward need on top.
            bytes a weight      weights      gradients        optimizer
            ZeRO 0, 1           2            4                12, by ZeRO 1 cut over shards x context
            ZeRO 2              2            4 cut            12 cut; in a pipeline gradients are whole, as FSDP2 keeps them there
            ZeRO 3 (FSDP2)      4 cut        4 cut            8 cut, and gathered layers (all of a stage in a pipeline)
        (Megatron-LM docs: distributed optimizer, bf16 parameters and float32 gradients; Rajbhandari et al., arXiv 1910.02054,
        section 5.) Matrices in 8 or 4 bits stand beside the 16-bit ones, once for each direction of product. Experts are cut by
        expert x expert tensor degree, and their optimizer over what data degree is left to them.
Units:  bytes; tokens of one card's micro-batch are micro_batch x tokens / context.
Limits: routing is balanced. Stages of `Cuts` whose layers aren't said have as even ones as can be (`even`). Where a stage's
        chunks differ in layers, all that are held count as the largest. Optimizer steps need less than backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.cuts import Cuts, cuts
from forebay.plan.divide import leading
from forebay.plan.habits import FSDP, MEGATRON, Habits
from forebay.plan.holding import Holding
from forebay.plan.model import Model, Workload
from forebay.plan.plan import RECOMPUTE, Memory, Plan

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def even(layers: int, stages: int, ends: bool, predicted: int = 0) -> tuple[int, ...]:
    """Layers of each stage, as even as can be; with `ends`, the embedding and the loss count as one each. What is left over goes
    to stages after the first, one each. Layers that predict further tokens count as the last stage's, and aren't told.
    """
    counts = even_at(np.array([layers]), np.array([stages]), np.array([ends]), np.arange(stages)[:, None], predicted)
    return tuple(int(one) for one in counts[:, 0])


def even_at(layers: Any, stages: Any, ends: Any, stage: Any, predicted: int = 0) -> Ints:
    """As `even`, of one stage, for arrays."""
    each, rest = np.divmod(layers + predicted + np.where(ends, 2, 0), stages)
    more = np.where((stage >= 1) & (stage <= rest), 1, 0)
    last = (stage == stages - 1) * 1
    found = each + more - np.where(ends, (stage == 0) * 1 + last, 0) - last * predicted
    return np.asarray(found, dtype=np.int64)


def memory(workload: Workload, plan: Plan, habits: Habits | None = None) -> tuple[Memory, ...]:
    """Of one card of each stage. Without a framework: FSDP2 for ZeRO 2 and 3, Megatron-LM else."""
    stages = len(plan.stages)
    layers = np.array(plan.layers or even(workload.model.layers, stages, plan.ends, workload.model.predicted), dtype=np.int64)
    before, largest = np.concatenate([[0], np.cumsum(layers)[:-1]]), np.ones(stages)
    one = cuts([plan])[np.zeros(stages, dtype=np.int64)]
    if plan.layers and len(set(plan.stages)) == 1:
        before, largest = (one[0] for one in _laid(workload.model, layers[None], one.chunks[:1]))
    recompute = np.array([RECOMPUTE.index(plan.recomputed(i)) for i in range(stages)])
    m = np.full(stages, max(1, plan.micro_batches(workload.sequences)))
    how = habits or (FSDP if plan.zero >= 2 else MEGATRON)
    parts = Holding(how, workload, one, np.arange(stages), layers, before, m, recompute, largest).parts()
    return tuple(Memory(**{name: int(np.ceil(values[i])) for name, values in parts.items()}) for i in range(stages))


def fullest(workload: Workload, plans: Cuts, habits: Habits | None = None) -> Floats:
    """Bytes on the fullest card of each plan.

    It is on the first stage, the second, the last, or the first one with experts only; where stages recompute differently or
    their layers are said it may be on any.
    """
    found = np.zeros(len(plans))
    for here, how in by_habits(plans, habits):
        found[here] = _fullest(workload, plans[here] if not here.all() else plans, how)
    for table in (plans.by_stage, plans.layers):
        if table.shape[1]:
            uneven = table[:, 0] >= 0
            found[uneven] = _of_all_stages(workload, plans[uneven], habits)
    return found


def _of_all_stages(workload: Workload, plans: Cuts, habits: Habits | None) -> Floats:
    row, stage = each_stage(plans)
    recompute = plans.recompute[row]
    if plans.by_stage.shape[1]:
        recompute = np.where(plans.by_stage[row, 0] >= 0, plans.by_stage[row, stage], recompute)
    found = np.zeros(len(plans))
    np.maximum.at(found, row, at_stage(workload, plans[row], stage, recompute, habits))
    return found


def each_stage(plans: Cuts) -> tuple[Ints, Ints]:
    """The plan and the place of every stage of all plans."""
    row = np.repeat(np.arange(len(plans)), plans.stages)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(plans.stages) - plans.stages, plans.stages)


def by_habits(plans: Cuts, habits: Habits | None) -> tuple[tuple[NDArray[np.bool_], Habits], ...]:
    """Which plans have whose habits, without those that none has."""
    sharded = plans.zero >= 2
    both = ((sharded, habits or FSDP), (~sharded, habits or MEGATRON))
    return tuple((here, how) for here, how in both if here.any())


def at_stage(workload: Workload, plans: Cuts, stage: Ints, recompute: Ints, habits: Habits | None = None) -> Floats:
    """Bytes on a card of one stage of each plan, which recomputes so."""
    found = np.zeros(len(plans))
    for here, how in by_habits(plans, habits):
        found[here] = _held(workload, plans[here], how, stage[here], recompute[here])
    return found


def _fullest(workload: Workload, plans: Cuts, how: Habits) -> Floats:
    model, last = workload.model, plans.stages - 1
    stages = [np.zeros_like(last), np.minimum(1, last), last]
    if model.experts and model.experts.dense_layers:
        pure = -(-model.experts.dense_layers // np.maximum(model.layers // plans.stages, 1)) + 1
        stages.append(np.minimum(pure, last))
    found = np.zeros(len(plans))
    for stage in stages:
        found = np.maximum(found, _held(workload, plans, how, stage, plans.recompute))
    return found


def _held(workload: Workload, plans: Cuts, how: Habits, stage: Ints, recompute: Ints) -> Floats:
    layers_of, predicted = workload.model.layers, workload.model.predicted
    each, rest = np.divmod(layers_of + predicted + np.where(plans.ends, 2, 0), plans.stages)
    layers, largest = even_at(layers_of, plans.stages, plans.ends, stage, predicted), np.ones(len(plans))
    before = stage * each + np.minimum(np.maximum(stage - 1, 0), rest) - np.where(plans.ends & (stage > 0), 1, 0)
    if plans.layers.shape[1] and (said := plans.layers[:, 0] >= 0).any():
        ahead, uneven = _laid(workload.model, plans.layers[said], plans.chunks[said])
        at = np.arange(len(ahead)), stage[said]
        layers[said], before[said], largest[said] = plans.layers[said][at], ahead[at], uneven[at]
    return held(workload, plans, how, stage, layers, before, recompute, largest)


def held(
    workload: Workload, plans: Cuts, how: Habits, stage: Ints, layers: Ints, before: Ints, recompute: Ints, largest: Any = 1.0
) -> Floats:
    """Bytes on a card of a stage with so many layers; see Holding."""
    m = np.maximum(workload.sequences // (plans.data * plans.micro_batch), 1)
    parts = Holding(how, workload, plans, stage, layers, before, m, recompute, largest).parts()
    return np.asarray(sum(np.ceil(one) for one in parts.values()))


def _laid(model: Model, layers: Ints, chunks: Ints) -> tuple[Ints, Floats]:
    """Of layers that are said, (plans, stages): how many of the leading layers lie before each stage, and the largest chunk
    over the mean."""
    layers = np.maximum(layers, 0)
    ahead = leading(layers, chunks)
    before = np.cumsum(ahead, axis=1) - ahead
    lead = model.experts.dense_layers if model.experts else 0
    dense = np.clip(lead - before, 0, ahead)
    whole = (-(-layers.max(axis=1) // chunks) * chunks)[:, None]
    return lead - dense, np.where((chunks[:, None] > 1) & (layers > 0), whole / np.maximum(layers, 1), 1.0)
