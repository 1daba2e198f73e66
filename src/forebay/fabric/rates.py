"""Share links between flows, max-min fairly.

Asked:  which rate does each flow get on the links that it crosses?
Answer: raise all rates together; when a link is full, freeze the flows on it; go on with the rest (progressive filling;
        Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2). A heap of links holds the level at which each would be
        full, which only rises as flows freeze, so every entry is a lower bound and is corrected when it comes up.
        A flow may cross a link with a weight: the share of its bytes that goes that way, or how many equal flows it stands for.
Units:  bytes per second in and out.
Cost:   linear in flows times hops; the figures are in docs/benchmarks.md.
Limits: a flow is a fluid. No packets, queues or loss, so short incast looks better here than it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from forebay.errors import BadInput
from forebay.fabric.wiring import Floats, Ints

Longs = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rates:
    """The rate of each flow, and the certificate: the full link on which no other flow is faster.

    A flow that crosses no link has rate `inf` and bottleneck -1.
    """

    bytes_per_s: Floats  # (F,)
    bottleneck: Ints  # (F,) a link


def rates(offsets: Longs, links: Ints, bytes_per_s: Floats, weights: Floats | None = None) -> Rates:
    """Max-min fair rates of F flows: flow f crosses links[offsets[f]:offsets[f + 1]], of capacity bytes_per_s[link].

    offsets (F + 1,), links and weights (offsets[-1],), bytes_per_s (L,). Raises BadInput for a link that isn't there, a
    capacity below zero or a weight that isn't above. A flow over a link of capacity zero gets rate 0.
    """
    offsets, links, capacity = checked(offsets, links, bytes_per_s)
    one = np.ones(0) if weights is None else np.ascontiguousarray(weights, np.float64)
    if weights is not None and len(one) != len(links):
        raise BadInput("Each link of a flow has a weight.", asked=f"{len(links)} links", found=f"{len(one)} weights")
    if len(one) and not (one > 0).all():
        raise BadInput("A weight is above zero.", asked=f"{one.min():g}", hint="leave out links that a flow doesn't use")
    rate, bottleneck = _fill(offsets, links, one, capacity)
    return Rates(bytes_per_s=rate, bottleneck=bottleneck)


def checked(offsets: Longs, links: Ints, bytes_per_s: Floats) -> tuple[Longs, Ints, Floats]:
    """Flows and capacities as the loops need them: those look at nothing twice."""
    offsets = np.ascontiguousarray(offsets, np.int64)
    links = np.ascontiguousarray(links, np.int32)
    capacity = np.ascontiguousarray(bytes_per_s, np.float64)
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(links) or (np.diff(offsets) < 0).any():
        ends = f"from {offsets[0]} to {offsets[-1]}" if len(offsets) else "none"
        raise BadInput("Offsets rise from 0 to the number of links.", asked=f"0 to {len(links)}", found=ends)
    if len(links) and not 0 <= int(links.min()) <= int(links.max()) < len(capacity):
        worst = int(links.min()) if links.min() < 0 else int(links.max())
        raise BadInput("A flow crosses a link that isn't there.", asked=f"link {worst}", found=f"{len(capacity)} links")
    if len(capacity) and not (capacity >= 0).all():
        raise BadInput("A link's capacity is zero or more.", found=f"{capacity.min():g} bytes/s")
    return offsets, links, capacity


def load(offsets: Longs, links: Ints, rate: Floats, links_there: int, weights: Floats | None = None) -> Floats:
    """What each link carries at these rates: (L,) bytes a second."""
    each = np.repeat(np.where(np.isfinite(rate), rate, 0.0), np.diff(offsets))
    return np.bincount(links, each if weights is None else each * weights, minlength=links_there).astype(np.float64)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fill(offsets: Any, links: Any, weights: Any, capacity: Any) -> Any:
    flows, there = len(offsets) - 1, len(capacity)
    plain = len(weights) == 0
    # Which flows cross each link: the transpose, by counting.
    starts = np.zeros(there + 1, np.int64)
    weight = np.zeros(there)
    for k in range(len(links)):
        starts[links[k] + 1] += 1
        weight[links[k]] += 1.0 if plain else weights[k]
    for link in range(there):
        starts[link + 1] += starts[link]
    place = starts[:-1].copy()
    crossing = np.empty(len(links), np.int32)
    for f in range(flows):
        for k in range(offsets[f], offsets[f + 1]):
            crossing[place[links[k]]] = f
            place[links[k]] += 1

    left = capacity.copy()
    rate = np.full(flows, np.inf)
    bottleneck = np.full(flows, -1, np.int32)
    heap = np.empty(there, np.int32)
    level = np.empty(there)  # of the heap's entries
    size = 0
    for link in range(there):
        if starts[link + 1] > starts[link]:
            heap[size] = link
            level[size] = left[link] / weight[link] if weight[link] > 0 else np.inf
            size += 1
    for at in range(size // 2 - 1, -1, -1):
        _sift(heap, level, at, size)
    waiting = starts[1:] - starts[:-1]  # flows on each link that are not frozen
    reached = 0.0
    while size > 0:
        link = heap[0]
        now = left[link] / weight[link] if weight[link] > 0 else np.inf
        if waiting[link] > 0 and now > level[0] and now > reached:  # others froze meanwhile: it fills up later
            level[0] = now
            _sift(heap, level, 0, size)
            continue
        size -= 1
        heap[0] = heap[size]
        level[0] = level[size]
        _sift(heap, level, 0, size)
        if waiting[link] == 0:
            continue
        reached = max(reached, now)
        for k in range(starts[link], starts[link + 1]):
            f = crossing[k]
            if bottleneck[f] >= 0:
                continue
            rate[f] = reached
            bottleneck[f] = link
            for j in range(offsets[f], offsets[f + 1]):
                w = 1.0 if plain else weights[j]
                left[links[j]] = max(0.0, left[links[j]] - w * reached)
                weight[links[j]] -= w
                waiting[links[j]] -= 1
    return rate, bottleneck


@njit(cache=True)  # type: ignore[untyped-decorator]
def _sift(heap: Any, level: Any, at: Any, size: Any) -> None:
    """Let the entry sink to its place."""
    link, mine = heap[at], level[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and level[child + 1] < level[child]:
            child += 1
        if level[child] >= mine:
            break
        heap[at], level[at] = heap[child], level[child]
        at = child
    if at < len(heap):
        heap[at], level[at] = link, mine
