"""When does each flow end, if all start together and the rates are shared anew whenever one ends?

Asked:  the second at which each of F flows has sent its bytes.
Answer: from one end to the next: share the links (as `rates` does), let the flows run to the next end, take the ended ones off,
        and share again, but only among those that the end can touch. A flow that was frozen at level x crosses no link that was
        full below x, so the slower flows keep their rates (progressive filling fills in order of level): only the flows at x
        and above are shared anew. Where there are none, nothing is: of equal flows that start together the fastest end first,
        so each keeps its first rate to its end.
        Ends that lie within `tolerance` of the time that has passed are taken together, at the later moment, and shares are
        renewed then: a time is off by up to a few times the tolerance, mostly too long. (It may be too short: a flow whose
        neighbour rises when a third one ends would have become slower at once.)
        Of equal flows that start together the last ends at bytes x max(flows on a link / its capacity): the link where that is
        largest fills first, keeps its flows at the lowest rate of all until they end together, and no other flow is ever slower.
        `last_of_equals` says just this, without sharing anything; collectives are priced with it.
Units:  bytes, bytes per second, seconds.
Limits: fluids, as in `rates`; a flow whose route is full of capacity zero never ends (`inf`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from forebay.errors import BadInput
from forebay.fabric.rates import Longs, _sift, checked
from forebay.fabric.wiring import Floats, Ints


def completions(offsets: Longs, links: Ints, bytes_per_s: Floats, nbytes: Floats, tolerance: float = 0.0) -> Floats:
    """Seconds until each flow has sent its bytes (F,). Flows as in `rates.rates`; `tolerance` 0.001 is a thousandth."""
    offsets, links, capacity = checked(offsets, links, bytes_per_s)
    size = np.ascontiguousarray(nbytes, np.float64)
    if len(size) != len(offsets) - 1:
        raise BadInput("Each flow has a size.", asked=f"{len(offsets) - 1} flows", found=f"{len(size)} sizes")
    if len(size) and not (size >= 0).all():
        raise BadInput("A flow has zero bytes or more.", found=f"{size.min():g}")
    if not np.isfinite(size).all():
        raise BadInput("A flow's bytes end.", found=f"{size.max():g}")
    if not 0 <= tolerance < 0.5:
        raise BadInput("The tolerance is a share of the time.", asked=f"{tolerance}", hint="0 (exact) or 0.0005")
    return np.asarray(_run(offsets, links, capacity, size, tolerance))


def last_of_equals(carried: Floats, bytes_per_s: Floats) -> float:
    """Seconds until the last of equal flows ends, from the bytes that each link must carry in all (L,)."""
    used = carried > 0
    if not used.any():
        return 0.0
    with np.errstate(divide="ignore"):
        return float((carried[used] / bytes_per_s[used]).max())


@njit(cache=True)  # type: ignore[untyped-decorator]
def _run(offsets: Any, links: Any, capacity: Any, size: Any, tolerance: Any) -> Any:
    flows, there = len(offsets) - 1, len(capacity)
    end = np.full(flows, np.inf)
    remaining = size.copy()
    rate = np.zeros(flows)
    active = np.empty(flows, np.int32)  # in no order
    alive = 0
    for f in range(flows):
        if size[f] == 0 or offsets[f + 1] == offsets[f]:
            end[f] = 0.0
        else:
            active[alive] = f
            alive += 1
    left = np.zeros(there)
    weight = np.zeros(there)
    heap = np.empty(there, np.int32)
    level = np.empty(there)
    starts = np.zeros(there + 1, np.int64)
    crossing = np.empty(len(links), np.int32)
    touched = np.zeros(flows, np.bool_)  # to be shared anew
    frozen = np.zeros(flows, np.bool_)
    carried = np.zeros(there)  # by flows that keep their rates
    floor = 0.0
    now = 0.0
    while alive > 0:
        # 1. Share anew among the flows whose rate is `floor` or more, if there are any.
        among = 0
        for i in range(alive):
            among += rate[active[i]] >= floor
        if among:
            _share(offsets, links, capacity, active[:alive], rate, floor, weight, carried, left, heap, level, starts, crossing,
                   touched, frozen)  # fmt: skip
        # 2. Run to the next end, and to those so little later that they count as one.
        first = np.inf
        for i in range(alive):
            f = active[i]
            if rate[f] > 0:
                first = min(first, remaining[f] / rate[f])
        if first == np.inf:
            break  # what is left never ends
        step = first + tolerance * (now + first)
        floor = np.inf
        i = 0
        while i < alive:
            f = active[i]
            if rate[f] > 0 and remaining[f] / rate[f] <= step * (1 + 1e-12):
                end[f] = now + remaining[f] / rate[f]
                floor = min(floor, rate[f])
                alive -= 1
                active[i] = active[alive]
            else:
                remaining[f] = max(0.0, remaining[f] - rate[f] * step)
                i += 1
        floor *= 1 - 1e-12
        now += step
    return end


@njit(cache=True)  # type: ignore[untyped-decorator]
def _share(
    offsets: Any, links: Any, capacity: Any, active: Any, rate: Any, floor: Any, weight: Any, carried: Any, left: Any, heap: Any,
    level: Any, starts: Any, crossing: Any, touched: Any, frozen: Any,
) -> None:  # fmt: skip
    """Fill the links again with the flows at `floor` and above, beside those that keep their rates. Arrays are the caller's."""
    there = len(capacity)
    weight[:] = 0.0
    carried[:] = 0.0
    for i in range(len(active)):
        f = active[i]
        touched[f] = rate[f] >= floor
        for k in range(offsets[f], offsets[f + 1]):
            if touched[f]:
                weight[links[k]] += 1.0
            else:
                carried[links[k]] += rate[f]
    total = 0
    for link in range(there):
        starts[link] = total
        total += int(weight[link])
    starts[there] = total
    place = starts[:-1].copy()
    for i in range(len(active)):
        f = active[i]
        if touched[f]:
            frozen[f] = False
            for k in range(offsets[f], offsets[f + 1]):
                crossing[place[links[k]]] = f
                place[links[k]] += 1
    n = 0
    for link in range(there):
        if weight[link] > 0:
            left[link] = max(0.0, capacity[link] - carried[link])
            heap[n] = link
            level[n] = left[link] / weight[link]
            n += 1
    for at in range(n // 2 - 1, -1, -1):
        _sift(heap, level, at, n)
    reached = 0.0
    while n > 0:
        link = heap[0]
        if weight[link] > 0.5:
            fills = left[link] / weight[link]
            if fills > level[0] and fills > reached:
                level[0] = fills
                _sift(heap, level, 0, n)
                continue
        n -= 1
        heap[0] = heap[n]
        level[0] = level[n]
        _sift(heap, level, 0, n)
        if weight[link] < 0.5:
            continue
        reached = max(reached, left[link] / weight[link])
        for k in range(starts[link], starts[link + 1]):
            f = crossing[k]
            if frozen[f]:
                continue
            frozen[f] = True
            rate[f] = reached
            for j in range(offsets[f], offsets[f + 1]):
                left[links[j]] = max(0.0, left[links[j]] - reached)
                weight[links[j]] -= 1.0
