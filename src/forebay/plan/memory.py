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
Limits: routing is balanced. Stages of `Cuts` have as even layers as can be (`even`). Optimizer steps need less than backward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.cuts import Cuts, cuts
from forebay.plan.habits import FSDP, MEGATRON, Habits
from forebay.plan.holding import Holding
from forebay.plan.model import Workload
from forebay.plan.plan import RECOMPUTE, Memory, Plan

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def even(layers: int, stages: int, ends: bool) -> tuple[int, ...]:
    """Layers of each stage, as even as can be; with `ends`, the embedding and the loss count as one each. What is left over goes
    to stages after the first, one each.
    """
    counts = even_at(np.array([layers]), np.array([stages]), np.array([ends]), np.arange(stages)[:, None])
    return tuple(int(one) for one in counts[:, 0])


def even_at(layers: Any, stages: Any, ends: Any, stage: Any) -> Ints:
    """As `even`, of one stage, for arrays."""
    whole = layers + np.where(ends, 2, 0)
    each, rest = np.divmod(whole, stages)
    more = np.where((stage >= 1) & (stage <= rest), 1, 0)
    found: Ints = np.asarray(each + more - np.where(ends, (stage == 0) * 1 + (stage == stages - 1) * 1, 0), dtype=np.int64)
    return found


def memory(workload: Workload, plan: Plan, habits: Habits | None = None) -> tuple[Memory, ...]:
    """Of one card of each stage. Without a framework: FSDP2 for ZeRO 2 and 3, Megatron-LM else."""
    stages = len(plan.stages)
    layers = np.array(plan.layers or even(workload.model.layers, stages, plan.ends), dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(layers)[:-1]])
    one = cuts([plan])[np.zeros(stages, dtype=np.int64)]
    recompute = np.array([RECOMPUTE.index(plan.recomputed(i)) for i in range(stages)])
    m = np.full(stages, max(1, plan.micro_batches(workload.sequences)))
    how = habits or (FSDP if plan.zero >= 2 else MEGATRON)
    parts = Holding(how, workload, one, np.arange(stages), layers, before, m, recompute).parts()
    return tuple(Memory(**{name: int(np.ceil(values[i])) for name, values in parts.items()}) for i in range(stages))


def fullest(workload: Workload, plans: Cuts, habits: Habits | None = None) -> Floats:
    """Bytes on the fullest card of each plan, stages even.

    It is on the first stage, the second, the last, or the first one with experts only; where stages recompute differently it may
    be on any.
    """
    found = np.zeros(len(plans))
    for here, how in _by_habits(plans, habits):
        found[here] = _fullest(workload, plans[here] if not here.all() else plans, how)
    if plans.by_stage.shape[1]:
        uneven = plans.by_stage[:, 0] >= 0
        few = plans[uneven]
        row, stage = each_stage(few)
        most = np.zeros(len(few))
        np.maximum.at(most, row, at_stage(workload, few[row], stage, few.by_stage[row, stage], habits))
        found[uneven] = most
    return found


def each_stage(plans: Cuts) -> tuple[Ints, Ints]:
    """The plan and the place of every stage of all plans."""
    row = np.repeat(np.arange(len(plans)), plans.stages)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(plans.stages) - plans.stages, plans.stages)


def _by_habits(plans: Cuts, habits: Habits | None) -> tuple[tuple[NDArray[np.bool_], Habits], ...]:
    """Which plans have whose habits, without those that none has."""
    sharded = plans.zero >= 2
    both = ((sharded, habits or FSDP), (~sharded, habits or MEGATRON))
    return tuple((here, how) for here, how in both if here.any())


def at_stage(workload: Workload, plans: Cuts, stage: Ints, recompute: Ints, habits: Habits | None = None) -> Floats:
    """Bytes on a card of one stage of each plan, which recomputes so."""
    found = np.zeros(len(plans))
    for here, how in _by_habits(plans, habits):
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
    layers_of = workload.model.layers
    m = np.maximum(workload.sequences // (plans.data * plans.micro_batch), 1)
    each, rest = np.divmod(layers_of + np.where(plans.ends, 2, 0), plans.stages)
    layers = even_at(layers_of, plans.stages, plans.ends, stage)
    before = stage * each + np.minimum(np.maximum(stage - 1, 0), rest) - np.where(plans.ends & (stage > 0), 1, 0)
    parts = Holding(how, workload, plans, stage, layers, before, m, recompute).parts()
    return np.asarray(sum(np.ceil(one) for one in parts.values()))
