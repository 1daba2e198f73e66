"""Which stage gets how many layers, and which data rank how many micro-batches, when their chips differ?

Asked:  seconds of a layer on each stage's chip, seconds of what else a stage does, and how many layers it can hold.
Answer: layers one after the other, each to the stage that is done first with it. Stages' times only grow with their layers, so no
        other split has a shorter slowest stage, and none with as short a one has a shorter second slowest of those that could
        still change (an exchange argument; tests compare with all splits of small cases). The same for micro-batches.
Units:  seconds of forward and backward of one micro-batch.
Limits: layers are alike on one chip. What is shortest is the slowest stage; filling and draining are not weighed.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from forebay.errors import BadInput, DoesNotFit


def layers(
    count: int,
    seconds: Sequence[float],
    *,
    first_extra: float = 0.0,
    last_extra: float = 0.0,
    most: Sequence[int] = (),
    chunks: int = 1,
) -> tuple[int, ...]:
    """Layers of each stage: at least one a chunk, at most `most`, and as many in each chunk.

    `seconds` are of one layer on each stage; extras are of the embedding and of the loss. Raises DoesNotFit where the stages
    cannot hold all layers, BadInput where there are too few, or chunks don't divide them.
    """
    stages = len(seconds)
    if not stages:
        raise BadInput("There is no stage.", asked=f"{count} layers")
    if count % chunks or count < stages * chunks:
        near = max(count - count % chunks, stages * chunks)
        raise BadInput(
            "Each chunk of each stage gets a layer, and the chunks of a stage get as many.",
            asked=f"{count} layers on {stages} stages of {chunks} chunks",
            hint=f"{near} layers, or {max(1, count // stages)} chunks at most",
        )
    extra = [0.0] * stages
    extra[0] += first_extra
    extra[-1] += last_extra
    room = [one // chunks for one in most] if most else [count] * stages
    if len(room) != stages or min(room) < 1 or sum(room) * chunks < count:
        raise DoesNotFit(
            "The stages cannot hold the layers.",
            asked=f"{count} layers, {chunks} or a multiple on each of {stages} stages",
            found=f"room for {', '.join(str(one) for one in most)}",
            hint="more stages, a larger tensor degree, or more recomputing",
        )
    return tuple(one * chunks for one in _evened(count // chunks, [s * chunks for s in seconds], extra, room, 1))


def shares(count: int, seconds: Sequence[float], *, most: Sequence[int] = ()) -> tuple[int, ...]:
    """Micro-batches of each data rank so that the slowest is done soonest; `seconds` are of one micro-batch on each rank."""
    if count < len(seconds) or not seconds:
        raise BadInput("Each data rank gets a micro-batch.", asked=f"{count} micro-batches", found=f"{len(seconds)} ranks")
    room = list(most) or [count] * len(seconds)
    if len(room) != len(seconds) or min(room) < 1 or sum(room) < count:
        raise DoesNotFit("The data ranks cannot take the micro-batches.", asked=f"{count}", found=f"room for {sum(room)}")
    return tuple(_evened(count, list(seconds), [0.0] * len(seconds), room, 1))


def slowest(counts: Sequence[int], seconds: Sequence[float], *, first_extra: float = 0.0, last_extra: float = 0.0) -> float:
    """Seconds of the slowest stage of this split."""
    times = [n * s for n, s in zip(counts, seconds, strict=True)]
    times[0] += first_extra
    times[-1] += last_extra
    return max(times)


def _evened(count: int, seconds: list[float], extra: list[float], room: list[int], least: int) -> list[int]:
    got = [least] * len(seconds)
    done = [(extra[i] + (least + 1) * seconds[i], i) for i in range(len(seconds)) if room[i] > least]
    heapq.heapify(done)
    for _ in range(count - least * len(seconds)):
        _, i = done[0]
        got[i] += 1
        if got[i] < room[i]:
            heapq.heapreplace(done, (extra[i] + (got[i] + 1) * seconds[i], i))
        else:
            heapq.heappop(done)
    return got
