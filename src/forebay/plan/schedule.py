"""How long is a pipeline's step, and how many activations does a stage hold? For many plans at once.

Asked:  arrays of plans whose stages are alike but for extra work on the first (embedding) and the last (vocabulary, loss).
Answer: `seconds` is the longest of a few chains of passes, each of which `plan/timeline.py` would have to run one after the
        other; per micro-batch and per stage their lengths are fixed by the schedule's order. With f, b, w seconds of a stage's
        forward, input and weight gradient, n = stages - 1, and no extra, no sends, what is added to m (f + b + w) is
        1f1b          n (f + b + w)                                 arXiv 2104.04473, section 2.2.1
        interleaved   n (f + b + w) / chunks                        the same, section 2.2.2
        zb-1p         n max(f + b - w, f, b)                        arXiv 2401.10241, table 1 (there with f >= w, b >= w)
        zb-2p         n max(f + b - 2 w, f, b - f)                  the same; without f: nothing where f + b <= 2 w
        zb-v          n max(f / 2, b / 2, f - min(b, w) / 2, b - w / 2)
        v-half, v-min as zb-v, and a micro-batch takes longer than its work where f, b and w differ: arXiv 2405.15362, section 3
        All steps end together here (gradient norms are summed over stages), so the last stage waits n f at the start, or half
        of it in a V; `Timeline.period_s` is the time without that wait, which the papers count. interleaved without even rounds
        (`orders.group`) is inf; zb-v, v-half and v-min have two chunks, whatever is said.
Units:  seconds of one micro-batch through one stage, all its chunks; in_flight counts whole stages' micro-batches.
Limits: stages that differ otherwise are simulated. Against the simulation, on random shapes with f = 1, b of 0.8 to 1.5 and w of
        0.6 to 1.1: the same without extras and sends, but for zb-v on fewer micro-batches than stages (11 % short), v-half and
        v-min (5 %; 11 % on two or three stages); sends of a tenth of a pass: 1f1b 0.5 %, interleaved the same, zb-* 5 %, V forms
        15 %; extras of half a stage and more: 1f1b the same, the others up to 11 %, mean 0.5 to 3 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forebay.plan.orders import limit
from forebay.plan.plan import SCHEDULES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def seconds(
    schedule: ArrayLike,
    stages: ArrayLike,
    chunks: ArrayLike,
    micro_batches: ArrayLike,
    forward: ArrayLike,
    backward_input: ArrayLike,
    backward_weight: ArrayLike,
    first_extra: ArrayLike = 0.0,
    last_extra: ArrayLike = 0.0,
    send: ArrayLike = 0.0,
) -> Floats:
    """Seconds from the first pass to the last. `schedule` is an index into SCHEDULES; extras are of all three passes together, a
    third in each.
    """
    whole = [np.asarray(x, dtype=np.int64) for x in (schedule, stages, chunks, micro_batches)]
    times = (forward, backward_input, backward_weight, first_extra, last_extra, send)
    kind, p, v, m, f, b, w, e0, e1, s = np.broadcast_arrays(*whole, *(np.asarray(x, dtype=np.float64) for x in times))
    found = np.empty(kind.shape)
    for which in np.unique(kind):
        at = kind == which
        found[at] = _WAYS[which](_Alike(*(x[at] for x in (p, v, m, f, b, w, e0, e1, s))))
    return found


def in_flight(schedule: ArrayLike, stages: ArrayLike, chunks: ArrayLike, micro_batches: ArrayLike, stage: ArrayLike) -> Floats:
    """The most activations that a stage holds, in micro-batches of a whole stage. In a V, what the fullest stage holds."""
    given = (schedule, stages, chunks, micro_batches, stage)
    kind, p, v, m, i = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in given))
    warm = (p - i - 1) * 2 + (v - 1) * (m // np.maximum(m // p, 1))
    chunked = np.where((v > 1) & (kind == 1), np.minimum(warm + 1, v * m) / v, np.minimum(m, p - i))
    found = np.array(chunked, dtype=np.float64)  # of 1f1b too, which has one chunk
    for name, most in (("zb-1p", p), ("zb-2p", 2 * p - 1), ("zb-v", p)):
        found = np.where(kind == SCHEDULES.index(name), np.minimum(m, most), found)
    for name in ("v-half", "v-min"):
        for count in np.unique(p[at := kind == SCHEDULES.index(name)]):
            here = at & (p == count)
            found[here] = np.minimum(m[here], limit(name, int(count), int(m[here].max())) / 2)
    return found


class _Alike:
    """Columns of plans with one schedule: stages p, chunks v, micro-batches m, and seconds as above; `a` is all of a stage."""

    __slots__ = ("a", "b", "e0", "e1", "f", "m", "n", "p", "s", "v", "w")

    def __init__(self, p: Ints, v: Ints, m: Ints, f: Floats, b: Floats, w: Floats, e0: Floats, e1: Floats, s: Floats) -> None:
        self.p, self.v, self.m, self.n = p, v, m, p - 1
        self.f, self.b, self.w, self.a, self.s = f, b, w, f + b + w, s
        alone = p == 1
        self.e0, self.e1 = np.where(alone, e0 + e1, e0), np.where(alone, 0.0, e1)


def _plain(x: _Alike) -> Floats:
    """1F1B. A chain may go down and up the pipeline again and again, and meets 2 n sends each time; or it stays with the stage
    that has most to do."""
    first, last = x.a + x.e0, x.a + x.e1
    below = np.where(x.n > 0, (x.n - 1) * x.a + last, 0.0)  # all stages but the first
    hops = 2 * x.n * x.s
    long = x.m >= x.p
    stay0 = np.maximum(x.m - x.n, 0) * first + 2 * (below + hops)
    busy0 = below + hops + (x.m - x.n) * first + x.n * (x.f + x.e0 / 3)
    short0 = first + below + hops + (x.m - 1) * np.maximum(x.f + x.e0 / 3, x.b + x.w + x.e0 * 2 / 3)
    stay1 = np.where(x.n > 0, first + (x.n - 1) * x.a + hops, 0.0) + x.m * np.where(x.n > 0, last, first)
    inner = x.e0 + 2 * x.e1 + (x.m + x.n) * x.a + 2 * hops - 2 * x.s
    times, rest = np.divmod(x.m - 1, x.p)
    again = (1 + times) * (first + below + hops) + rest * x.a + 2 * np.maximum(rest - 1, 0) * x.s
    ways = [stay1, np.where(x.m > x.p, stay0, 0.0), np.where(long, busy0, short0), again, np.where(long & (x.p > 2), inner, 0.0)]
    found: Floats = np.maximum.reduce(ways)
    return found


def _interleaved(x: _Alike) -> Floats:
    """Rounds of `group` micro-batches: in one round, the extras of the first and the last stage lie one after the other."""
    late = np.maximum(x.p - x.m, 0) * (x.v - 1)  # so few micro-batches that each chunk's first comes round late
    fill = (x.n + late) * x.a / x.v
    group = x.m // np.maximum(x.m // x.p, 1)
    slack = np.maximum(group - x.p, 0)  # passes that hide the way round
    hops = 2 * x.n * x.s
    for way in (x.f, x.b + x.w):
        hops = hops + (x.v - 1) * np.maximum(x.p * x.s - slack * way / x.v, 0.0) * (x.n > 0)
    most, least = np.maximum(x.e0, x.e1), np.minimum(x.e0, x.e1)
    found = x.m * (x.a + most) + group * least + fill + hops
    found = np.where(x.v == 1, _plain(x), found)
    uneven: Floats = np.where((x.v > 1) & (x.m % np.maximum(x.m // x.p, 1) > 0), np.inf, found)
    return uneven


def _zb_1p(x: _Alike) -> Floats:
    return _split(x, 1)


def _zb_2p(x: _Alike) -> Floats:
    return _split(x, 2)


def _split(x: _Alike, room: int) -> Floats:
    """ZB-H1 and ZB-H2: on the first stage it waits for the first backward, and after the last forward; on the last, for the
    first forward, and others wait for its last backwards, which run ahead of `room` weight gradients a stage."""
    third0, third1 = x.e0 / 3, x.e1 / 3
    hops = 2 * x.n * x.s
    early = np.maximum(x.b - (room - 1) * x.f - room * third0, 0.0) if room > 1 else np.maximum(x.b - third0, 0.0)
    late = np.maximum(x.f - room * x.w - 2 * third0, 0.0) if room == 1 else 0.0
    at0 = x.m * (x.a + x.e0) + x.n * (early + late) + x.e1
    at1 = x.n * x.f + x.m * (x.a + x.e1) + x.n * np.maximum(x.b - room * (x.w + third1), 0.0) + x.e0
    fill = np.maximum.reduce([x.f + x.b - room * x.w, x.f, x.b - (room - 1) * x.f])
    inner = np.where(x.p > 2, x.m * x.a + x.n * fill + x.e0 + x.e1, 0.0)
    chain = x.p * (x.f + x.b) + (x.e0 + x.e1) * 2 / 3 + third0
    few = np.maximum((x.m - 1) * (x.f + x.b + 2 * third1) + x.w, (x.m - 1) * x.b + x.m * x.w)
    found: Floats = np.maximum.reduce([at0, at1, inner, chain + few]) + hops
    return found


def _v(x: _Alike) -> Floats:
    """What fills a V. Embedding and loss are both on the first stage."""
    found: Floats = x.n * np.maximum.reduce([x.f / 2, x.b / 2, x.f - np.minimum(x.b, x.w) / 2, x.b - x.w / 2])
    return found


def _zb_v(x: _Alike) -> Floats:
    extra = x.e0 + x.e1
    at0 = x.m * (x.a + extra) + np.maximum(_v(x) - x.n * extra / 3, 0.0)
    inner = np.where(x.p > 1, x.m * x.a + _v(x) + extra, 0.0)
    chain = x.p * (x.f + x.b) + (x.m - 1) * (x.f + x.b) / 2 + x.w / 2 + extra
    found: Floats = np.maximum.reduce([at0, inner, chain]) + 4 * x.n * x.s
    return found


def _v_half(x: _Alike) -> Floats:
    """The longest of seven chains of the order that equal passes have: forwards, backwards and weight gradients a micro-batch,
    and once, in stages. Each chain runs along one direction of the order's lattice; the first three are a stage's own work.
    """
    p = x.p
    chains = [
        ((1, 1, 1), (p / 2, 1.5 * p - 1, -(p + 3) / 2)),
        ((1, 1, 1), (p / 2 + 1, p - 3, -0.5)),
        ((1, 1, 1), (p + 0.5, p / 2 - 2.5, -0.5)),
        ((2, 0.5, 0.5), (p - 2, 0.75 * p - 2, 1.5 - p / 4)),
        ((2, 0.5, 0.5), (p - 2, 0.75 * p, -p / 4 - 0.5)),
        ((1.5, 1, 0.5), (p / 4 - 1, 1.5 * p - 1, -p / 4 - 0.5)),
        ((0.5, 2, 0), (0.75 * p + 1, p - 3, 0.5)),
    ]
    return _folded(x, chains, 1)


def _v_min(x: _Alike) -> Floats:
    p = x.p
    chains = [
        ((1, 1, 1), (0.75 * p, 1.25 * p, -0.2 * p)),
        ((1, 1, 1), (1.25 * p, 0.75 * p, -0.2 * p)),
        ((3, 0, 0), (p - 3, p, 0.5)),
        ((0, 3, 0), (p, p - 3, 0.5)),
    ]
    return _folded(x, chains, 2)


def _folded(x: _Alike, chains: Sequence[tuple[tuple[float, float, float], tuple[Any, Any, Any]]], sends: int) -> Floats:
    f, b, w, extra = x.f + sends * x.s, x.b + sends * x.s, x.w, x.e0 + x.e1
    ways = [x.p * (x.f + x.b) + (x.m - 1) * (x.f + x.b) / 2 + x.w / 2 + 4 * x.n * x.s]
    for each, once in chains:
        work = x.a if each == (1, 1, 1) else each[0] * f + each[1] * b + each[2] * w
        ways.append(x.m * work + once[0] * f + once[1] * b + once[2] * w)
    alone = x.m * (x.a + extra)
    found = np.maximum(np.maximum.reduce(ways) + extra, alone + x.n * (x.f + x.b) / 2)
    either: Floats = np.where(x.p > 1, found, alone)
    return either


_WAYS = (_plain, _interleaved, _zb_1p, _zb_2p, _zb_v, _v_half, _v_min)
