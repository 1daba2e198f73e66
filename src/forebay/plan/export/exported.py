"""The noun Exported: a plan in another framework's words; and the checks that all exports share.

Asked:  what is written, what is run, and what did the framework have no words for?
Answer: an Exported holds files by name, command lines and notes. What changes the plan (a degree, a schedule, another split of
        the layers) is refused with the targets that can say it; what the person must set beside the plan is a note.
Limits: files are texts here; `forebay plan export` writes them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NoReturn

from forebay.errors import BadInput
from forebay.plan.export.pieces import pieces
from forebay.plan.model import Workload
from forebay.plan.orders import check
from forebay.plan.plan import INNER, OFFLOAD, RECOMPUTE, SCHEDULES, Plan

TARGETS = ("megatron", "torchtitan", "deepspeed", "flagscale", "torchrun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A plan in the words of one target. Nothing is written yet."""

    target: str  # one of TARGETS
    files: Mapping[str, str] = field(default_factory=dict)  # by their names in the folder
    lines: tuple[str, ...] = ()  # what is run, in the folder
    notes: tuple[str, ...] = ()  # what the target doesn't say, and what is left for the person to set


def checked(work: Workload, plan: Plan) -> None:
    """Raise BadInput where the plan contradicts itself or its workload: a file may have been written by hand."""
    m, rows = work.model, plan.data * plan.micro_batch
    degrees = (plan.replicas, plan.shards, plan.tensor, plan.context, plan.expert, plan.expert_tensor, plan.chunks)
    if min(*degrees, plan.micro_batch, len(plan.stages), work.sequences, work.tokens) < 1:
        raise BadInput("Each degree of a plan, and its batch, is at least 1.", asked=in_words(plan))
    for word, known, name in (
        (plan.schedule, SCHEDULES, "schedule"),
        (plan.offload, OFFLOAD, "offload"),
        (plan.context_kind, ("ring", "ulysses"), "context_kind"),
        (plan.inner, INNER, "inner"),
        *((one, RECOMPUTE, "recompute") for one in plan.recompute),
    ):
        if word not in known:
            raise BadInput(f"No {name} of a plan has that name.", asked=word, hint=", ".join(known))
    if plan.data_chips and len(plan.data_chips) != plan.data:
        raise BadInput("Each data rank has a chip.", asked=f"{plan.data} data ranks", found=f"{len(plan.data_chips)} chips")
    if plan.zero not in (0, 1, 2, 3):
        raise BadInput("ZeRO has the stages 0 to 3.", asked=f"zero={plan.zero}")
    if len(plan.recompute) not in (1, len(plan.stages)):
        raise BadInput(
            "Recomputing is said once, or of each stage.",
            asked=f"{len(plan.stages)} stages",
            found=f"{len(plan.recompute)} ways of recomputing",
        )
    if not plan.shares and work.sequences % rows:
        near = max(rows, round(work.sequences / rows) * rows)
        raise BadInput(
            "The batch isn't divided by the data degree and the micro-batch.",
            asked=f"{work.sequences} sequences over {plan.data} data ranks of {plan.micro_batch}",
            hint=f"a batch of {near} sequences",
        )
    if plan.expert > 1 and (m.experts is None or m.experts.count % plan.expert):
        found = "no experts" if m.experts is None else f"{m.experts.count} experts a layer"
        raise BadInput("The expert degree doesn't divide the experts.", asked=f"expert={plan.expert}", found=found)
    if plan.expert > 1 and (plan.data * plan.context * plan.tensor) % (plan.expert * plan.expert_tensor):
        raise BadInput(
            "Experts lie inside tensor x context x data of a stage.",
            asked=f"expert={plan.expert}, expert_tensor={plan.expert_tensor}",
            found=f"{plan.data * plan.context * plan.tensor} cards a stage",
        )
    if len(plan.stages) > 1:
        check(plan.schedule, len(plan.stages), plan.chunks, plan.micro_batches(work.sequences))
    elif plan.chunks > 1:
        raise BadInput("A single stage isn't cut into pieces.", asked=f"chunks={plan.chunks}", hint="chunks=1")
    pieces(plan, m.layers, m.predicted)


class Cannot(Exception):
    """A target has no words for this part of the plan; `instead` is what else could be planned."""

    def __init__(self, target: str, what: str, instead: str) -> None:
        super().__init__(what)
        self.target, self.what, self.instead = target, what, instead


def cannot(target: str, what: str, instead: str = "") -> NoReturn:
    raise Cannot(target, what, instead)


NAMES = {
    "megatron": "Megatron-LM",
    "torchtitan": "torchtitan",
    "deepspeed": "DeepSpeed",
    "flagscale": "FlagScale",
    "torchrun": "torchrun",
}


def no_shares(target: str, plan: Plan) -> None:
    """Refuse unequal data shares, which only Forebay's own training knows."""
    if len(set(plan.shares)) > 1:
        shares = ", ".join(str(one) for one in plan.shares[:8]) + (", ..." if len(plan.shares) > 8 else "")
        cannot(target, f"unequal data shares: {shares} micro-batches", "equal shares; Forebay's own training knows unequal ones")


def kinds(plan: Plan) -> tuple[tuple[str, int], ...]:
    """Runs of stages on the same chip, in order: (("h100-sxm", 6), ("mi300x", 2))."""
    return tuple((chip, len(list(run))) for chip, run in groupby(plan.stages))


def mixed(plan: Plan) -> bool:
    return len(plan.need()) > 1


def rank_chips(plan: Plan) -> tuple[tuple[str, int], ...]:
    """(chip, cards) in the order of ranks: stages slowest, then data ranks."""
    a_rank = plan.context * plan.tensor
    of_stage = plan.data_chips or None
    chips = [(chip, a_rank) for stage in plan.stages for chip in (of_stage or (stage,) * plan.data)]
    return tuple((chip, sum(n for _, n in run)) for chip, run in groupby(chips, key=lambda one: one[0]))


def in_words(plan: Plan) -> str:
    """ "tensor 8, stages 4 (2 pieces each), data 2 x 16, ...": what differs from doing nothing."""
    words = [f"tensor {plan.tensor}"] if plan.tensor > 1 else []
    if len(plan.stages) > 1:
        said = f" ({layers_in_words(plan.layers)})" if plan.layers and not mixed(plan) else ""
        words.append(f"stages {len(plan.stages)}" + (f" of {plan.chunks} pieces" if plan.chunks > 1 else "") + said)
    words += [f"context {plan.context}"] if plan.context > 1 else []
    words += [f"expert {plan.expert}"] if plan.expert > 1 else []
    words.append(f"data {plan.replicas} x {plan.shards}" if plan.replicas > 1 and plan.shards > 1 else f"data {plan.data}")
    words.append(f"zero {plan.zero}")
    words += [plan.schedule] if len(plan.stages) > 1 else []
    words.append(f"micro-batch {plan.micro_batch}")
    ways = [way for way in dict.fromkeys(plan.recompute) if way != "none"]
    words += [f"recompute {' and '.join(ways)}"] if ways else []
    words += ["stages inside data"] if plan.inner == "stages" and len(plan.stages) > 1 else []
    words += ["optimizer on the host"] if plan.offload == "optimizer" else []
    return ", ".join(words)


def layers_in_words(layers: Sequence[int]) -> str:
    """ "3 layers, 14 of 4, 2": each run of stages with as many."""
    runs = [(n, len(list(run))) for n, run in groupby(layers)]
    words = [f"{count} of {n}" if count > 1 else str(n) for n, count in runs]
    words[0] += f" layer{'s' if runs[0][0] != 1 else ''}"
    return ", ".join(words)


def word(text: object) -> str:
    """A word for the shell, quoted where it must be."""
    return shlex.quote(str(text))
