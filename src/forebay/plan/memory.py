"""What does a card of each stage hold at the worst moment?

Asked:  a workload and a plan (`memory`), or many plans of one chip (`fullest`).
Answer: weights, gradients and optimizer by what cuts them; activations by what each layer keeps (`plan/activations.py`) times the
        micro-batches in flight (`plan/schedule.py`); and the larger of what the loss and what one layer's backward need on top.
            bytes a weight      weights      gradients        optimizer
            ZeRO 0, 1           2            4                12, by ZeRO 1 cut over shards x context
            ZeRO 2              2            4 cut            12 cut
            ZeRO 3 (FSDP2)      4 cut        4 cut            8 cut, and gathered layers (all of a stage in a pipeline)
        (Megatron-LM docs: distributed optimizer, bf16 parameters and float32 gradients; Rajbhandari et al., arXiv 1910.02054,
        section 5.) Matrices in 8 or 4 bits stand beside the 16-bit ones, once for each direction of product. Experts are cut by
        expert x expert tensor degree, and their optimizer over what data degree is left to them.
Units:  bytes; tokens of one card's micro-batch are micro_batch x tokens / context.
Limits: routing is balanced. Stages of `Cuts` have as even layers as can be (`even`). Optimizer steps need less than backward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.activations import EIGHT_BIT, FOUR_BIT, kept, width
from forebay.plan.cuts import Cuts, cuts
from forebay.plan.habits import FSDP, MEGATRON, Habits
from forebay.plan.model import Workload
from forebay.plan.orders import BLOCKS
from forebay.plan.plan import OFFLOAD, RECOMPUTE, SCHEDULES, Memory, Plan
from forebay.plan.schedule import in_flight

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

V_KINDS = tuple(SCHEDULES.index(name) for name in BLOCKS)


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
    """Of one card of each stage. Without a framework: FSDP2 for ZeRO 3, Megatron-LM else."""
    stages = len(plan.stages)
    layers = np.array(plan.layers or even(workload.model.layers, stages, plan.ends), dtype=np.int64)
    before = np.concatenate([[0], np.cumsum(layers)[:-1]])
    one = cuts([plan])[np.zeros(stages, dtype=np.int64)]
    recompute = np.array([RECOMPUTE.index(plan.recomputed(i)) for i in range(stages)])
    m = np.full(stages, max(1, plan.micro_batches(workload.sequences)))
    cards = _Cards(workload, one, np.arange(stages), layers, before, m, recompute, habits)
    parts = cards.parts()
    return tuple(Memory(**{name: int(np.ceil(values[i])) for name, values in parts.items()}) for i in range(stages))


def fullest(workload: Workload, plans: Cuts, habits: Habits | None = None) -> Floats:
    """Bytes on the fullest card of each plan, stages and recomputing even.

    It is on the first stage, the second, the last, or the first one with experts only.
    """
    model = workload.model
    last = plans.stages - 1
    dense = model.experts.dense_layers if model.experts else 0
    pure = -(-dense // np.maximum(model.layers // plans.stages, 1)) + 1
    m = np.maximum(workload.sequences // (plans.data * plans.micro_batch), 1)
    found = np.zeros(len(plans))
    for stage in (np.zeros_like(last), np.minimum(1, last), last, np.minimum(pure, last)):
        layers = even_at(model.layers, plans.stages, plans.ends, stage)
        rest = (model.layers + np.where(plans.ends, 2, 0)) % plans.stages
        before = stage * ((model.layers + np.where(plans.ends, 2, 0)) // plans.stages) + np.minimum(
            np.maximum(stage - 1, 0), rest
        )
        before = before - np.where(plans.ends & (stage > 0), 1, 0)
        cards = _Cards(workload, plans, stage, layers, before, m, plans.recompute, habits)
        found = np.maximum(found, sum(np.ceil(one) for one in cards.parts().values()))
    return found


@dataclass(frozen=True, slots=True)
class _Cards:
    """One card of one stage of each plan; columns of one length."""

    workload: Workload
    plans: Cuts
    stage: Ints
    layers: Ints
    before: Ints  # layers of the stages before
    micro_batches: Ints
    recompute: Ints
    habits: Habits | None

    def parts(self) -> dict[str, Floats]:
        """By the names of Memory's fields."""
        fsdp = self.plans.zero == 3
        if self.habits is not None or not (fsdp.any() and not fsdp.all()):
            how = self.habits or (FSDP if fsdp.all() else MEGATRON)
            return _Parts(self, how).all()
        sharded, whole = _Parts(self, FSDP).all(), _Parts(self, MEGATRON).all()
        return {name: np.where(fsdp, sharded[name], whole[name]) for name in whole}


class _Parts:
    def __init__(self, cards: _Cards, how: Habits) -> None:
        self.how, self.model, self.form = how, cards.workload.model, cards.workload.number_format
        self.cards, self.plans = cards, cards.plans
        p, model = cards.plans, cards.workload.model
        folded = np.isin(p.schedule, V_KINDS)
        self.first = cards.stage == 0
        self.last = np.where(folded, cards.stage == 0, cards.stage == p.stages - 1)
        dense = model.experts.dense_layers if model.experts else model.layers
        self.dense = np.clip(dense - cards.before, 0, cards.layers)
        self.expert = cards.layers - self.dense + np.where(self.last & (model.experts is not None), model.predicted, 0)
        self.dense = self.dense + np.where(self.last & (model.experts is None), model.predicted, 0)
        self.tokens = p.micro_batch * cards.workload.tokens / p.context
        self.cut = np.where(p.sequence_parallel, p.tensor, 1)
        self.w = width(self.form)
        self.zero3 = p.zero == 3

    def all(self) -> dict[str, Floats]:
        states = self._states()
        activations, top = self._activations()
        buffers = top + self._gathered() + self.how.workspace_bytes
        groups = self.how.groups + sum(
            (degree > 1) * 1 for degree in (self.plans.data, self.plans.tensor, self.plans.stages, self.plans.context)
        )
        groups = groups + (self.plans.expert > 1)
        reserve = self.how.context_bytes + groups * self.how.group_bytes + self.how.fragments * (activations + buffers)
        return {**states, "activations": activations, "buffers": buffers, "reserve": reserve}

    # Weights

    def _layer(self) -> tuple[Any, Any, Any]:
        """Weights a card has of a layer: attention, dense MLP, and what of an expert layer sees every token."""
        model, t = self.model, self.plans.tensor
        a = model.latent
        whole = model.width * (a.query_rank + a.kv_rank + a.rotary) if a else 0  # projections down stand on every tensor rank
        attention = (model.attention_parameters - whole) / t + whole
        router = model.width * model.experts.count if model.experts else 0
        return attention, model.mlp_parameters / t, (model.shared_parameters - router) / t + router

    def _routed(self) -> Any:
        return self.model.routed_parameters / (self.plans.expert * self.plans.expert_tensor)

    def _vocabulary(self) -> Any:
        """Weights a card has of the vocabulary, once."""
        unit = self.how.pad_vocabulary * self.plans.tensor
        padded = self.model.vocabulary if self.how.pad_vocabulary == 1 else -(-self.model.vocabulary // unit) * unit
        return padded * self.model.width / self.plans.tensor

    def _ends(self) -> Any:
        once = self._vocabulary()
        shared = self.model.tied_embeddings & self.first & self.last
        return once * (self.first * 1 + self.last * 1 - shared * 1) + self.first * self.model.positions * self.model.width

    def _states(self) -> dict[str, Floats]:
        p, w = self.plans, self.w
        attention, mlp, shared = self._layer()
        matrices = self.dense * (attention + mlp) + self.expert * (attention + shared)
        routed = self.expert * self._routed()
        weights, gradients, optimizer = 0.0, 0.0, 0.0
        spread = p.shards * p.context
        left = np.maximum(p.tensor * spread / (p.expert * p.expert_tensor), 1)
        copies = 2.0 if self.form in EIGHT_BIT else 1.125 if self.form in FOUR_BIT else 0.0
        if copies and self.how.eight_bit_weights:
            copies -= w
        gradient = self.how.gradient_bytes
        states = 8.0 if w == 4 else float(self.how.optimizer_bytes)
        for count, over, extra in ((matrices, spread, copies), (self._ends(), spread, 0.0), (routed, left, copies)):
            weights = weights + count * np.where(self.zero3, 4 / over, w + extra)
            gradients = gradients + count * np.where(p.zero >= 2, 4 / over, gradient)
            optimizer = optimizer + count * np.where(self.zero3, 8 / over, np.where(p.zero >= 1, states / over, states))
        optimizer = np.where(p.offload == OFFLOAD.index("optimizer"), 0.0, optimizer)
        return {"weights": weights, "gradients": gradients, "optimizer": optimizer}

    # Activations

    def _kept(self, recompute: str) -> tuple[Any, Any]:
        p = self.plans
        turned = p.ulysses & (p.context > 1)
        found = kept(
            self.model, self.cards.workload.tokens, self.form, self.how, recompute, p.tensor, self.cut, p.expert_tensor, turned
        )
        return found.dense * self.tokens, found.expert * self.tokens

    def _activations(self) -> tuple[Floats, Floats]:
        """What is kept for the backward, and the most that the loss or a layer's backward needs on top."""
        p, model, t = self.plans, self.model, self.tokens
        whole_dense, whole_expert = self._kept("none")
        dense, expert = whole_dense, whole_expert
        for kind in ("selective", "full"):
            here = self.cards.recompute == RECOMPUTE.index(kind)
            if here.any():
                some_dense, some_expert = self._kept(kind)
                dense, expert = np.where(here, some_dense, dense), np.where(here, some_expert, expert)
        held = in_flight(p.schedule, p.stages, p.chunks, self.cards.micro_batches, self.cards.stage)
        activations = held * (self.dense * dense + self.expert * expert)
        ends = self.last * (2 * self.w * model.width / self.cut * t)  # the last norm's input and output
        again = np.maximum((self.dense > 0) * (whole_dense - dense), (self.expert > 0) * (whole_expert - expert))
        if self.how.receives_all:
            passed = self.w * model.width / self.cut * t * p.chunks  # between stages, for each micro-batch
            m = self.cards.micro_batches
            ends = (
                ends
                + (p.stages > 1) * passed * np.where(self.first, 0, m - held)
                + (p.stages > 1) * passed * np.where(self.last, 0, m + held)
            )
        top = np.maximum(again + self._backward(), self.last * self._loss())
        return activations + ends, top + self._empty()

    def _backward(self) -> Any:
        """Gradients of one layer's widest part: an MLP's two inner ones, its input gathered, and its gradient."""
        model, p, w = self.model, self.plans, self.w
        outer = 2 * model.width * w
        inner = model.matrices * w
        dense = (self.dense > 0) * (inner * model.mlp_width / p.tensor + outer)
        if (e := model.experts) is None:
            return dense * self.tokens
        routed = e.chosen * (inner * e.width / p.expert_tensor + outer) / self.cut
        return np.maximum(dense, (self.expert > 0) * (routed + outer)) * self.tokens

    def _loss(self) -> Any:
        model, p = self.model, self.plans
        logits = self.how.logit_bytes * model.vocabulary / p.tensor * self.tokens
        return logits + 2 * model.width * self.w * self.tokens + np.where(self.zero3, 0, self._vocabulary() * self.w)

    def _empty(self) -> Any:
        """One empty gradient of each shape of matrix."""
        if not self.how.empty_gradients:
            return 0.0
        attention, mlp, shared = self._layer()
        one = self.model.experts
        routed = self.model.matrices * self.model.width * one.width / self.plans.expert_tensor if one else 0
        return self.w * (attention + (self.dense > 0) * mlp + (self.expert > 0) * (shared + routed))

    def _gathered(self) -> Any:
        """FSDP: two layers and the vocabulary gathered, a layer's gradient whole and on its way; all of a stage in a pipeline."""
        if not self.zero3.any():
            return 0.0
        attention, mlp, shared = self._layer()
        routed = self._routed()
        layer = attention + np.maximum((self.dense > 0) * mlp, (self.expert > 0) * (shared + routed))
        stage = self.dense * (attention + mlp) + self.expert * (attention + shared + routed)
        alone = self.plans.stages == 1
        layers = np.where(alone, layer * (2 * self.w + 2 * 4), stage * (self.w + 4))
        return np.where(self.zero3, layers + self._ends() * (self.w + np.where(alone, 0, 4)), 0.0)
