"""A plan as the fabric room's noun: what a step sends, how often, and behind what.

Asked:  this plan on a fabric that is drawn, link by link. What must travel there?
Answer: the exchanges that `time` prices by closed forms, with the same bytes and as many times, for the fabric room to route:
        tensor      gathers and scatters of the activations, or sums of them (Korthikanti et al., arXiv 2205.05198, section 4)
        context     keys and values around the ring, behind attention; or Ulysses' all-to-alls (arXiv 2309.14509, section 3)
        expert      tokens to their experts and back, and gathers and scatters inside an expert's tensor degree
        pipeline    a micro-batch's activations and their gradients, between stages
        data        gradients scattered, weights gathered (ZeRO, Rajbhandari et al., SC 2020); of ZeRO 3 each micro-batch
        What `time` takes as hidden runs behind a window; the share that it takes as exposed has none.
Units:  bytes, seconds.
Limits: plans of one kind. All stages send what the fullest one does, also where their layers are unequal. An all-to-all across
        islands carries to each rank what an island gets once, so what is passed on inside an island is left out, as in the fabric
        room's presets. Computing includes the optimizer, the bubble and stragglers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from forebay.errors import BadInput
from forebay.fabric.traffic import Exchange, Traffic, checked
from forebay.plan.cuts import cuts
from forebay.plan.explain import even_stages
from forebay.plan.model import Workload
from forebay.plan.network import split
from forebay.plan.once import held
from forebay.plan.passes import Site
from forebay.plan.plan import Plan
from forebay.plan.time import INTERLEAVED_SENDS, rhythm, step

Groups = tuple[tuple[int, ...], ...]
COMPUTING, ATTENTION, BACKWARD, FORWARD = "computing", "attention", "last backward", "first forward"


def traffic(work: Workload, plan: Plan, at: Site) -> Traffic:
    """What a step of the plan sends and computes on cards of this site.

    Raises BadInput for a plan over several kinds, or whose stages recompute differently, and for degrees that don't divide each
    other.
    """
    of_one_kind(plan)
    if work.sequences % (plan.data * plan.micro_batch):
        raise BadInput("The batch isn't whole micro-batches on each data rank.", asked=f"{work.sequences} sequences",
                       found=f"{plan.data} data ranks, {plan.micro_batch} sequences a micro-batch")  # fmt: skip
    one = _Plan(work, plan, at)
    outer = {"data": plan.data, "stages": len(plan.stages)}
    grid = {"tensor": plan.tensor, "context": plan.context, **dict(reversed(outer.items()) if plan.inner == "stages" else outer)}
    if plan.inner == "stages" and (plan.replicas > 1 or work.model.experts):
        raise BadInput(
            "Stages inside data are sent of dense plans of one copy only.", asked=f"inner {plan.inner}", hint="inner data"
        )
    found = (*one.tensor(), *one.context(), *one.experts(), *one.pipeline(), *one.data())
    return checked(Traffic(
        name=f"{work.model.name} on {plan.cards} cards",
        grid=grid,
        compute_s=one.compute_s,
        exchanges=tuple(e for e in found if e.times and _size(e, grid) > 1),
        windows=one.windows,
        source=f"forebay plan: {work.sequences} sequences of {work.tokens} tokens in {work.number_format}",
    ))  # fmt: skip


def of_one_kind(plan: Plan) -> str:
    """The chip of a plan of one kind. Raises BadInput for another plan."""
    if not even_stages(replace(plan, layers=())):
        raise BadInput("Only a plan of one kind can be sent over a drawn fabric: alike chips, data ranks and recomputing.",
                       asked=", ".join(f"{n} x {chip}" for chip, n in plan.need().items()),
                       hint="a plan for one kind of cards, whose data ranks have equal shares")  # fmt: skip
    return plan.stages[0]


class _Plan:
    """A plan's figures, once, for its exchanges. Lives for one question."""

    def __init__(self, work: Workload, plan: Plan, at: Site) -> None:
        self.work, self.plan, self.at = work, plan, at
        self.cut = cuts([plan])
        m, p, v = work.model, len(plan.stages), plan.chunks
        self.micro = plan.micro_batches(work.sequences)
        layers = m.layers + m.predicted
        # Of a full stage, as `time` counts them.
        self.layers = float(layers) if p == 1 else (layers + 2) / p if plan.ends else float(ceil(layers / p / v) * v)
        leading = m.experts.dense_layers if m.experts else 0
        self.mixed = (self.layers - leading if p == 1 else self.layers) if m.experts else 0.0
        self.heavier = 1.0  # the fullest stage's weights, over the mean one's
        if plan.layers:
            told = [*plan.layers[:-1], plan.layers[-1] + m.predicted]
            ahead = [sum(plan.layers[:i]) for i in range(p)]
            self.layers = float(max(told))
            self.mixed = (
                max(n - min(max(leading - before, 0), n) for n, before in zip(told, ahead, strict=True)) if m.experts else 0.0
            )
            self.heavier = max(1.0, max(plan.layers) * p / m.layers)
        self.passes = 3 if plan.recompute[0] == "full" else 2  # forward, maybe once more, and backward
        self.tokens = plan.micro_batch * work.tokens / plan.context
        took = step(work, at, self.cut)
        kernels = float(np.squeeze(took.products + took.attention + took.traffic + took.launch))
        self.compute_s = kernels + sum(
            float(np.squeeze(part)) for part in (took.bubble, took.optimizer, took.stragglers, took.fixed)
        )
        stage = float(np.squeeze(rhythm(work, at, self.cut, np.array([float(self.micro)])).slowest.total))
        chunked = p * (1 - 1 / v) if v > 1 else 1.0  # a chunk's gradients go while others compute
        self.windows = {
            COMPUTING: kernels,
            ATTENTION: float(np.squeeze(took.attention)),
            BACKWARD: min(kernels, chunked * stage * 2 / 3),
            FORWARD: min(kernels, chunked * stage / 3),
        }

    def tensor(self) -> Iterator[Exchange]:
        """Of each pass through a layer two gathers and two scatters; the loss has a gather more in each direction."""
        nbytes = self.tokens * self.work.model.width * 2.0
        times, hidden = self.passes * self.layers * self.micro, self.at.framework.hides_tensor
        kinds = (("gather", "all_gather"), ("scatter", "reduce_scatter"))
        for word, kind in kinds if self.plan.sequence_parallel else (("sum", "all_reduce"),):
            whole = Exchange(name=f"tensor {word}", collective=kind, nbytes=nbytes, times=round(2 * times), along=("tensor",))
            yield from _by_times(whole, 1.0 - hidden, COMPUTING)
        yield Exchange(name="loss", collective="all_gather", nbytes=nbytes, times=2 * self.micro, along=("tensor",))

    def context(self) -> Iterator[Exchange]:
        m, plan = self.work.model, self.plan
        layers = self.layers * self.micro
        if plan.context_kind == "ulysses":
            nbytes = plan.micro_batch * m.heads / plan.tensor * m.head * self.work.tokens / plan.context * 2.0
            times = round(4 * self.passes * layers)
            yield Exchange(name="context exchange", collective="all_to_all", nbytes=nbytes, times=times, along=("context",))
            return
        kv = max(1.0, m.kv_heads / plan.tensor) * m.head if m.latent is None else m.heads / plan.tensor * 160
        # Backward keys and values go around, and their gradients.
        yield Exchange(name="context keys and values", collective="ring_all_gather", along=("context",), window=ATTENTION,
                       nbytes=2.0 * kv * plan.micro_batch * self.work.tokens * 2.0,
                       times=round((self.passes + 1) * layers))  # fmt: skip

    def experts(self) -> Iterator[Exchange]:
        m, plan, soft = self.work.model, self.plan, self.at.framework
        if m.experts is None:
            return
        chosen, n = float(m.experts.chosen), plan.expert
        sent = self.tokens / plan.tensor * chosen * m.width * 2.0 * self.at.imbalance
        once = sent
        if soft.deduplicated:
            # Of `chosen` experts spread evenly, so many distinct cards are met; between islands, so many islands.
            stride = plan.expert_tensor if soft.folded else plan.tensor * plan.context
            islands = float(split(self.at.links, n, stride)[1])
            met = [size * (1 - (1 - 1 / size) ** chosen) / chosen for size in ((n, islands) if islands > 1 else (n,))]
            once = sent * min(met)
        among, inside, _ = self.expert_groups()
        times = self.passes * self.mixed * self.micro
        for way in ("there", "back"):
            whole = Exchange(name=f"experts {way}", collective="all_to_all", nbytes=once, times=round(times), groups=among)
            yield from _by_times(whole, 1.0 - soft.hides_expert, COMPUTING)
        for word, kind in (("gather", "all_gather"), ("scatter", "reduce_scatter")):
            whole = Exchange(name=f"experts' tensor {word}", collective=kind, nbytes=sent * plan.expert_tensor,
                             times=round(times), groups=inside)  # fmt: skip
            yield from _by_times(whole, 1.0 - soft.hides_expert, COMPUTING)

    def pipeline(self) -> Iterator[Exchange]:
        """Between neighbours, there and back, for each chunk; while the pipeline fills and drains nothing hides them."""
        plan, p = self.plan, len(self.plan.stages)
        nbytes = self.tokens * self.work.model.width * 2.0 / plan.tensor
        exposed = INTERLEAVED_SENDS if plan.chunks > 1 and self.at.framework.hides_sends else 1.0
        steady, ends = 2 * plan.chunks * self.micro, 2 * (p - 1)
        whole = Exchange(name="pipeline", collective="send_recv", nbytes=nbytes, times=steady + ends, along=("stages",))
        yield from _by_times(whole, (steady * exposed + ends) / (steady + ends), COMPUTING)

    def data(self) -> Iterator[Exchange]:
        m, plan, soft = self.work.model, self.plan, self.at.framework
        stages, micro = len(plan.stages), self.micro
        last = min(1.0, stages / m.layers)  # the last layer's gradients have nothing to hide behind
        share = last if soft.hides_data else 1.0
        slowed = max(last, soft.disturbs)  # gathered a layer ahead; it costs the layers that compute meanwhile
        sharded, piped = plan.zero >= 2, stages > 1
        late = 1.0 if sharded and piped and plan.chunks == 1 else share  # as `once`: after the last backward
        size = soft.gradient_bytes
        for whose, count, to, copies in self._states():
            gradients = replace(to, name=f"{whose}gradients", collective="reduce_scatter", nbytes=count * size)
            weights = replace(to, name=f"{whose}weights", collective="all_gather", nbytes=count * (2.0 if plan.zero else size))
            again = replace(weights, name=f"{whose}weights of each pass")
            more = replace(gradients, name=f"{whose}gradients before the last", times=micro - 1)
            if copies is not None:
                nbytes = count * size / (plan.shards * plan.context)
                yield replace(copies, name=f"{whose}gradients of copies", collective="all_reduce", nbytes=nbytes)
            if plan.zero == 3 and not piped:
                yield from _by_bytes(replace(again, times=2 * micro), slowed, COMPUTING)
                yield from _by_bytes(replace(gradients, times=micro), slowed, COMPUTING)
                continue
            yield from _by_bytes(gradients, late, BACKWARD)
            if plan.zero == 3:
                yield from _by_bytes(replace(again, times=micro + min(micro, stages)), slowed, COMPUTING)
                continue
            yield from _by_bytes(weights, share, FORWARD)
            if sharded and not piped:
                yield from _by_bytes(more, slowed, COMPUTING)
                if soft.regathers:
                    yield from _by_bytes(replace(again, times=micro - 1), slowed, COMPUTING)

    def _states(self) -> Iterator[tuple[str, float, Exchange, Exchange | None]]:
        """Weights that are cut alike: whose, how many a card has, who share them, and who have copies of a share."""
        plan = self.plan
        plain, routed = (float(np.squeeze(size)) * self.heavier for size in held(self.work, self.cut))
        alone = Exchange(name="", collective="", nbytes=0.0)
        if plan.replicas == 1:
            yield "", plain, replace(alone, along=("context", "data")), None
        else:
            ranks = np.arange(plan.cards).reshape(len(plan.stages), plan.replicas, plan.shards * plan.context, plan.tensor)
            share, copies = (_rows(ranks.transpose(order)) for order in ((0, 1, 3, 2), (0, 2, 3, 1)))
            yield "", plain, replace(alone, groups=share), replace(alone, groups=copies)
        if self.work.model.experts is not None:
            if plan.replicas > 1:
                raise BadInput("Copies of a mixture of experts can't be sent over a drawn fabric yet.",
                               asked=f"{plan.replicas} copies of {plan.shards} shards", hint="a plan of one copy")  # fmt: skip
            yield "experts' ", routed, replace(alone, groups=self.expert_groups()[2]), None

    def expert_groups(self) -> tuple[Groups, Groups, Groups]:
        """Ranks that exchange tokens, that share an expert's matrices, and that hold the same part of the same experts."""
        plan = self.plan
        e, t, rest = plan.expert, plan.expert_tensor, plan.tensor * plan.context
        a_stage = plan.data * rest
        folded = self.at.framework.folded
        if a_stage % (e * t) or (not folded and (plan.data % e or rest % t)):
            raise BadInput("Experts don't divide the cards of a stage.", asked=f"expert {e}, expert tensor {t}",
                           found=f"{a_stage} cards a stage", hint="degrees that divide them")  # fmt: skip
        # Sides, slowest first: stage, copies, experts, copies inside, an expert's matrices.
        inner = 1 if folded else rest // t
        ranks = np.arange(plan.cards).reshape(len(plan.stages), -1, e, inner, t)

        among = _rows(ranks.transpose(0, 1, 3, 4, 2))
        same = ranks.transpose(0, 2, 4, 1, 3).reshape(-1, a_stage // (e * t))
        return among, _rows(ranks), _rows(same)


def _rows(ranks: NDArray[np.int64]) -> Groups:
    """Groups of ranks: those along the last side."""
    return tuple(tuple(int(rank) for rank in row) for row in ranks.reshape(-1, ranks.shape[-1]))


def _by_times(whole: Exchange, exposed: float, window: str) -> Iterator[Exchange]:
    """The exchange as often as nothing hides it, and the rest of the times behind the window."""
    bare = round(whole.times * exposed)
    if bare:
        yield replace(whole, times=bare)
    if whole.times - bare:
        yield replace(whole, name=f"{whole.name}, hidden", times=whole.times - bare, window=window)


def _by_bytes(whole: Exchange, exposed: float, window: str) -> Iterator[Exchange]:
    """The share of its bytes that nothing hides, and the rest behind the window."""
    if exposed > 0:
        yield replace(whole, nbytes=whole.nbytes * exposed)
    if exposed < 1:
        yield replace(whole, name=f"{whole.name}, hidden", nbytes=whole.nbytes * (1 - exposed), window=window)


def _size(exchange: Exchange, grid: dict[str, int]) -> int:
    if exchange.groups:
        return len(exchange.groups[0])
    size = 1
    for side in exchange.along:
        size *= grid[side]
    return size


__all__ = ["of_one_kind", "traffic"]
