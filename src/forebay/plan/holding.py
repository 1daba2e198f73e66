"""What one card of a stage holds, part by part, for arrays of plans. The sums of `plan/memory.py`, which says what they are.

Asked:  a framework's habits, a workload, plans as arrays, and for each a stage with its layers.
Answer: weights, gradients, optimizer, activations, buffers and reserve, in bytes.
Limits: as `plan/memory.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.plan.activations import EIGHT_BIT, FOUR_BIT, kept, width
from forebay.plan.cuts import Cuts
from forebay.plan.habits import Habits
from forebay.plan.model import Workload
from forebay.plan.orders import BLOCKS
from forebay.plan.plan import OFFLOAD, RECOMPUTE, SCHEDULES
from forebay.plan.schedule import in_flight

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

V_KINDS = tuple(SCHEDULES.index(name) for name in BLOCKS)


class Holding:
    """One card of one stage of each plan; columns of one length. Lives for one reckoning."""

    def __init__(
        self,
        how: Habits,
        workload: Workload,
        plans: Cuts,
        stage: Ints,
        layers: Ints,
        before: Ints,
        micro_batches: Ints,
        recompute: Ints,
        largest: Any = 1.0,
    ) -> None:
        """`layers` are the stage's, `before` those of the stages in front of it, `largest` its largest chunk over their mean."""
        self.largest = largest
        self.how, self.model, self.form = how, workload.model, workload.number_format
        self.plans, self.stage, self.micro_batches, self.recompute = plans, stage, micro_batches, recompute
        self.sequence = workload.tokens
        p, model = plans, workload.model
        self.first = stage == 0
        self.last = np.where(np.isin(p.schedule, V_KINDS), stage == 0, stage == p.stages - 1)
        self.mixed = model.experts is not None
        extra = np.where(self.last, model.predicted, 0)
        dense = np.clip(model.experts.dense_layers - before, 0, layers) if model.experts else layers + extra
        self.dense: Ints = dense
        self.expert: Ints = layers + extra - dense
        self.tokens = p.micro_batch * workload.tokens / p.context
        self.cut = np.where(p.sequence_parallel, p.tensor, 1)
        self.w = width(self.form)
        self.zero3 = p.zero == 3

    def parts(self) -> dict[str, Floats]:
        """By the names of Memory's fields."""
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
        weights = gradients = optimizer = np.zeros(len(p))
        spread = p.shards * p.context
        left = np.maximum(p.tensor * spread / (p.expert * p.expert_tensor), 1)
        copies = 2.0 if self.form in EIGHT_BIT else 1.125 if self.form in FOUR_BIT else 0.0
        if copies and self.how.eight_bit_weights:
            copies -= w
        gradient = self.how.gradient_bytes
        states = 8.0 if w == 4 else float(self.how.optimizer_bytes)
        # FSDP2 sums gradients whole until the last micro-batch of a pipeline; of ZeRO 3 `_gathered` has them.
        cut_gradients = (p.zero == 3) | ((p.zero == 2) & (p.stages == 1))
        kinds = [(matrices, spread, copies), (self._ends(), spread, 0.0)]
        if self.mixed:
            kinds.append((self.expert * self._routed(), left, copies))
        for count, over, extra in kinds:
            weights = weights + count * np.where(self.zero3, 4 / over, w + extra)
            gradients = gradients + count * np.where(cut_gradients, 4 / over, gradient)
            optimizer = optimizer + count * np.where(self.zero3, 8 / over, np.where(p.zero >= 1, states / over, states))
        optimizer = np.where(p.offload == OFFLOAD.index("optimizer"), 0.0, optimizer)
        return {"weights": weights, "gradients": gradients, "optimizer": optimizer}

    # Activations

    def _kept(self, recompute: str) -> tuple[Any, Any]:
        p = self.plans
        turned = p.ulysses & (p.context > 1)
        found = kept(self.model, self.sequence, self.form, self.how, recompute, p.tensor, self.cut, p.expert_tensor, turned)
        return found.dense * self.tokens, found.expert * self.tokens

    def _activations(self) -> tuple[Floats, Floats]:
        """What is kept for the backward, and the most that the loss or a layer's backward needs on top."""
        p, model, t = self.plans, self.model, self.tokens
        whole_dense, whole_expert = self._kept("none")
        dense, expert = whole_dense, whole_expert
        for kind in ("selective", "full"):
            here = self.recompute == RECOMPUTE.index(kind)
            if here.any():
                some_dense, some_expert = self._kept(kind)
                dense, expert = np.where(here, some_dense, dense), np.where(here, some_expert, expert)
        held = in_flight(p.schedule, p.stages, p.chunks, self.micro_batches, self.stage)
        # Which chunks are held is not followed where they differ: as if all were the largest.
        activations = held * self.largest * (self.dense * dense + self.expert * expert)
        ends = self.last * (2 * self.w * model.width / self.cut * t)  # the last norm's input and output
        again = np.maximum((self.dense > 0) * (whole_dense - dense), (self.expert > 0) * (whole_expert - expert))
        if self.how.receives_all:
            passed = self.w * model.width / self.cut * t * p.chunks  # between stages, for each micro-batch
            m = self.micro_batches
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
