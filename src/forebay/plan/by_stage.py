"""Recomputing by stage: each stage of a pipeline recomputes as little as fits.

Asked:  1F1B holds most on its first stages (`schedule.in_flight`: stages less the stage's place). Must all recompute because
        these do?
Answer: `eased` finds of each plan the variant in which each stage recomputes the least that fits it, where stages then differ,
        once with the optimizer on the card and once in the host's memory. That variant is the fastest of all assignments of ways
        to stages, of which there are ways to the power of stages:
        - what a stage holds depends on its own way alone, so the ways that fit can be chosen stage by stage;
        - less recomputing shortens its stage and no other, and a step is never shorter where a stage takes longer:
          (micro - 1 / chunks) longest + sum / chunks, and what hides gradients and weights behind a stage's passes (`once`)
          shrinks by less than the step grows, since no window is longer than the step.
        Tests compare it with all assignments.
Units:  bytes.
Limits: 1F1B and interleaved. The other schedules hold as much on every stage, so that their stages would differ by their ends
        alone; their array forms want equal stages (`schedule.seconds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forebay.plan.abilities import Abilities
from forebay.plan.cuts import Cuts, joined
from forebay.plan.memory import at_stage, each_stage
from forebay.plan.model import Workload
from forebay.plan.plan import RECOMPUTE, SCHEDULES
from forebay.plan.wishes import Wishes

Floats = NDArray[np.float64]


def ways(can: Abilities, wishes: Wishes) -> tuple[int, ...]:
    """The ways of recomputing that stages may have beside each other, least first. Of fewer than two: none."""
    known = RECOMPUTE if wishes.by_stage else can.by_stage
    found = tuple(i for i, name in enumerate(RECOMPUTE) if name in known and (not wishes.recompute or name in wishes.recompute))
    return found if len(found) > 1 else ()


def eased(work: Workload, cuts: Cuts, room: float, wishes: Wishes, can: Abilities) -> tuple[Cuts, Floats]:
    """Of these plans the variants whose stages recompute differently and fit, and their bytes."""
    could = (cuts.stages > 1) & (cuts.schedule <= SCHEDULES.index("interleaved"))
    if not (can.by_stage_chunks or wishes.by_stage):
        could &= cuts.chunks == 1
    allowed, few = ways(can, wishes), cuts[could]
    if not allowed or not len(few):
        return cuts[:0], np.zeros(0)
    variants = [_least(work, replace(few, offload=np.full(len(few), where)), room, allowed)
                for where in ((0, 1) if wishes.offload else (0,))]  # fmt: skip
    return joined([one for one, _ in variants]), np.concatenate([needs for _, needs in variants])


def _least(work: Workload, cuts: Cuts, room: float, allowed: Sequence[int]) -> tuple[Cuts, Floats]:
    """Each stage with the first way that fits it; without plans of which a stage fits in no way, or all have the same way."""
    row, stage = each_stage(cuts)
    level, needs = np.full(len(row), allowed[0]), np.full(len(row), np.inf)
    for way in allowed:
        at = np.flatnonzero(needs > room)
        if at.size:
            needs[at] = at_stage(work, cuts[row[at]], stage[at], np.full(at.size, way))
            level[at] = way
    table = np.full((len(cuts), int(cuts.stages.max())), -1, dtype=np.int64)
    table[row, stage] = level
    most = np.zeros(len(cuts))
    np.maximum.at(most, row, needs)
    highest = table.max(axis=1)
    uneven = (most <= room) & (np.where(table < 0, highest[:, None], table).min(axis=1) < highest)
    kept = replace(cuts, by_stage=table, recompute=highest)[uneven]
    return kept, most[uneven]
