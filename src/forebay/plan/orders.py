"""In which order does a pipeline stage run its forwards and backwards?

Asked:  the schedule's name, stages, chunks a stage, micro-batches; for one stage, what comes after what?
Answer: `order` lists (kind, chunk, micro-batch); `place` says where a chunk lies in the model.
        1f1b           Narayanan et al., SC21 (arXiv 2104.04473), section 2.2.1.
        interleaved    the same, section 2.2.2, in Megatron-LM's order: groups of `stages` micro-batches go through chunk after
                       chunk (megatron/core/pipeline_parallel/schedules.py: get_schedule_table, get_pp_rank_microbatches).
                       Where stages don't divide the micro-batches, groups are larger, as torch's, or the shape is refused.
        zb-1p, zb-2p   ZB-H1 and ZB-H2 of Qi et al., arXiv 2401.10241, section 2: as 1f1b, with 1 or 2 forwards more in flight a
                       stage, and weight gradients run where there is a gap or where memory is full.
        zb-v, v-half, v-min   building blocks of Qi et al., arXiv 2405.15362, section 3: two chunks a stage, the second on the way
                       back; one block a micro-batch, six passes apart. A block is given by how many passes apart neighbouring
                       stages run F of chunk 0, F of chunk 1, B of chunk 1 and B of chunk 0; the sum, over six, is what a stage
                       holds: (4, 2, 4, 2), (2, 1, 2, 1), (1, 1, 1, 1) times the stages.
Limits: weight gradients of the last five have no place here: `plan/timeline.py` puts them where they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

from forebay.errors import BadInput, nearest
from forebay.plan.plan import SCHEDULES

FORWARD, BACKWARD, WEIGHT = 0, 1, 2
SPLIT = ("zb-1p", "zb-2p", "zb-v", "v-half", "v-min")  # weight gradients are passes of their own
BLOCKS = {"zb-v": (4, 2, 4, 2), "v-half": (2, 1, 2, 1), "v-min": (1, 1, 1, 1)}
PASSES = 6  # of a block: F, B and W of two chunks

Pass = tuple[int, int, int]  # kind, chunk, micro-batch


def check(schedule: str, stages: int, chunks: int, micro_batches: int) -> None:
    """Raises BadInput where there is no such pipeline."""
    if schedule not in SCHEDULES:
        close = nearest(schedule, list(SCHEDULES)) or list(SCHEDULES)
        raise BadInput("There is no schedule of that name.", asked=schedule, hint=", ".join(close))
    if stages < 1 or micro_batches < 1:
        raise BadInput("A pipeline has at least one stage and one micro-batch.", asked=f"{stages} and {micro_batches}")
    wanted = 2 if schedule in BLOCKS else chunks if schedule == "interleaved" else 1
    if chunks != wanted or chunks < 1:
        hint = f"chunks={max(wanted, 1)}" + (", or schedule=interleaved" if wanted == 1 and chunks > 1 else "")
        raise BadInput(f"{schedule} has not that many chunks a stage.", asked=f"{chunks} chunks", hint=hint)
    if schedule == "interleaved" and chunks > 1 and not group(stages, micro_batches):
        down = next(m for m in range(micro_batches, 0, -1) if group(stages, m))
        up = next(m for m in range(micro_batches, 2 * micro_batches + stages) if group(stages, m))
        raise BadInput(
            "Interleaved stages run micro-batches in even rounds of as many as there are stages, or more.",
            asked=f"{micro_batches} micro-batches on {stages} stages",
            hint=f"{down} or {up} micro-batches",
        )


def place(schedule: str, stages: int, stage: int, chunk: int) -> int:
    """Where in the model the chunk lies: 0 is the first piece. V schedules turn back at the last stage."""
    if schedule in BLOCKS:
        return stage if chunk == 0 else 2 * stages - 1 - stage
    return chunk * stages + stage


def order(schedule: str, stages: int, chunks: int, micro_batches: int, stage: int) -> list[Pass]:
    """Forwards and backwards of one stage, first to last."""
    if schedule in BLOCKS:
        return _block_order(schedule, stages, micro_batches, stage)
    if schedule == "interleaved" and chunks > 1:
        forwards, backwards, warm = _interleaved(stages, chunks, micro_batches, stage)
    else:
        forwards = [(FORWARD, 0, j) for j in range(micro_batches)]
        backwards = [(BACKWARD, 0, j) for j in range(micro_batches)]
        warm = 2 * (stages - stage) - 2 if schedule == "zb-2p" else stages - stage - 1
    warm = min(warm, len(forwards))
    steady = [one for pair in zip(forwards[warm:], backwards, strict=False) for one in pair]
    return forwards[:warm] + steady + backwards[len(forwards) - warm :]


def limit(schedule: str, stages: int, micro_batches: int) -> int:
    """Chunk-micro-batches that a stage of a schedule with split backwards may hold; weight gradients run when it is reached."""
    if schedule in BLOCKS:
        return min(2 * micro_batches, _block(schedule, stages)[1])
    return min(micro_batches, 2 * stages - 1 if schedule == "zb-2p" else stages)


def group(stages: int, micro_batches: int) -> int:
    """Micro-batches that go through a chunk before the next chunk's turn: the stages, and more where they don't divide.

    As torch.distributed.pipelining's ScheduleInterleaved1F1B. 0: these micro-batches make no even rounds.
    """
    rounds = max(1, micro_batches // stages)
    return 0 if micro_batches % rounds else micro_batches // rounds


def _interleaved(stages: int, chunks: int, micro_batches: int, stage: int) -> tuple[list[Pass], list[Pass], int]:
    size = group(stages, micro_batches)
    forwards: list[Pass] = []
    backwards: list[Pass] = []
    for start in range(0, micro_batches, size):
        some = range(start, start + size)
        forwards += [(FORWARD, c, j) for c in range(chunks) for j in some]
        backwards += [(BACKWARD, c, j) for c in reversed(range(chunks)) for j in some]
    return forwards, backwards, (stages - stage - 1) * 2 + (chunks - 1) * size


def _block_order(schedule: str, stages: int, micro_batches: int, stage: int) -> list[Pass]:
    starts, _ = _block(schedule, stages)
    times = starts[stage]
    kinds = ((FORWARD, 0), (FORWARD, 1), (BACKWARD, 1), (BACKWARD, 0))
    timed = [(PASSES * j + t, kind, c, j) for j in range(micro_batches) for t, (kind, c) in zip(times, kinds, strict=True)]
    return [(kind, c, j) for _, kind, c, j in sorted(timed)]


@cache
def _block(schedule: str, stages: int) -> tuple[tuple[tuple[int, int, int, int], ...], int]:
    """When each stage runs F0, F1, B1, B0 of one block, in passes, and how many activations the fullest stage holds.

    Waits at the turns are the shortest with which blocks, repeated every six passes, never meet on a stage.
    """
    best: tuple[int, tuple[tuple[int, int, int, int], ...]] | None = None
    for waits in product(range(PASSES), repeat=3):
        starts = tuple(_starts(BLOCKS[schedule], stages, i, waits) for i in range(stages))
        if all(len({t % PASSES for t in times}) == 4 for times in starts) and (best is None or sum(waits) < best[0]):
            best = sum(waits), starts
    if best is None:
        raise AssertionError(f"no block of {schedule} for {stages} stages")
    return best[1], max(_held(times) for times in best[1])


def _starts(apart: tuple[int, int, int, int], stages: int, stage: int, waits: Sequence[int]) -> tuple[int, int, int, int]:
    last = stages - 1
    turn = apart[0] * last + 1 + waits[0]
    loss = turn + apart[1] * last + 1 + waits[1]
    back = loss + apart[2] * last + 1 + waits[2]
    return apart[0] * stage, turn + apart[1] * (last - stage), loss + apart[2] * stage, back + apart[3] * (last - stage)


def _held(times: tuple[int, int, int, int]) -> int:
    """Activations that a stage holds in the steady state: from a forward's start until its weight gradient's end."""
    free = [t for t in range(PASSES) if t not in {one % PASSES for one in times}]
    f0, f1, b1, b0 = times
    fewest = 0
    for w1, w0 in (free, free[::-1]):
        lives = ((f0, b0 + 1 + (w0 - b0 - 1) % PASSES + 1), (f1, b1 + 1 + (w1 - b1 - 1) % PASSES + 1))
        held = max(sum((t - start) // PASSES - (t - end) // PASSES for start, end in lives) for t in range(60, 60 + PASSES))
        fewest = held if not fewest else min(fewest, held)
    return fewest
