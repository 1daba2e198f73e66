"""When does each flow end, if all start together and the rates are shared anew whenever one ends?

Asked:  the second at which each of F flows has sent its bytes.
Answer: from one end to the next: share the links (as `rates` does), let the flows run to the next end, take the ended ones off,
        and share again, but only among those whom it concerns. Those are the flows that were held back by a link of an ended
        one; then whoever, by the new rates, has a bottleneck that is no longer full or on which somebody is faster, and whoever
        is faster than a flow on the link that holds it back; and so on until nobody is unfairly treated. Rates with a full link
        for every flow on which it is among the fastest are the max-min fair ones (Bertsekas and Gallager, section 6.5.2), so
        this is exact. Of equal flows that start together the fastest end first, and each keeps its first rate to its end.
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

NEARLY = 1e-9  # shares of a rate or a capacity that count as nothing


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
    rate, fresh = np.zeros(flows), np.zeros(flows)
    going = np.zeros(flows, np.bool_)
    active = np.empty(flows, np.int32)  # in no order
    alive = 0
    starts = np.zeros(there + 1, np.int64)  # which flows cross each link, ended ones too
    for f in range(flows):
        if size[f] == 0 or offsets[f + 1] == offsets[f]:
            end[f] = 0.0
        else:
            active[alive] = f
            going[f] = True
            alive += 1
        for k in range(offsets[f], offsets[f + 1]):
            starts[links[k] + 1] += 1
    for link in range(there):
        starts[link + 1] += starts[link]
    crossing, place = np.empty(len(links), np.int32), starts[:-1].copy()
    for f in range(flows):
        for k in range(offsets[f], offsets[f + 1]):
            crossing[place[links[k]]] = f
            place[links[k]] += 1
    left, weight, carried = np.zeros(there), np.zeros(there), np.zeros(there)
    heap, touched, level = np.empty(there, np.int32), np.empty(there, np.int32), np.empty(there)
    bottleneck, narrow = np.full(flows, -1, np.int32), np.full(flows, -1, np.int32)
    chosen, frozen = np.zeros(flows, np.bool_), np.zeros(flows, np.bool_)
    group, ended = np.empty(flows, np.int32), np.empty(flows, np.int32)
    group[:alive] = active[:alive]
    chosen[:] = going
    n, over, now = alive, 0, 0.0  # flows in `group`, flows in `ended`
    while alive > 0:
        # 1. Share anew: first among all, later among those whom the ends may touch, and theirs, until all is fair again.
        for i in range(over):
            for k in range(offsets[ended[i]], offsets[ended[i] + 1]):
                n = _join(links[k], starts, crossing, going, chosen, bottleneck, group, n)
        while n > 0:
            _fill(
                offsets, links, capacity, starts, crossing, rate, fresh, narrow, group, n, chosen, frozen, carried, left, weight,
                heap, touched, level,
            )  # fmt: skip
            more = _unfair(offsets, links, capacity, starts, crossing, going, rate, fresh, bottleneck, narrow, group, n, chosen,
                           carried)  # fmt: skip
            if more == n:
                break
            n = more
        for i in range(n):
            f = group[i]
            for k in range(offsets[f], offsets[f + 1]):
                if rate[f] < np.inf:
                    carried[links[k]] -= rate[f]
                if fresh[f] < np.inf:
                    carried[links[k]] += fresh[f]
            rate[f], bottleneck[f], chosen[f] = fresh[f], narrow[f], False
        n = 0
        # 2. Run to the next end, and to those so little later that they count as one.
        first = np.inf
        for i in range(alive):
            f = active[i]
            if rate[f] > 0:
                first = min(first, remaining[f] / rate[f])
        if first == np.inf:
            break  # what is left never ends
        step = first + tolerance * (now + first)
        over = i = 0
        while i < alive:
            f = active[i]
            if rate[f] > 0 and remaining[f] / rate[f] <= step * (1 + 1e-12):
                end[f] = now + remaining[f] / rate[f]
                going[f] = False
                if rate[f] < np.inf:
                    for k in range(offsets[f], offsets[f + 1]):
                        carried[links[k]] -= rate[f]
                ended[over] = f
                over += 1
                alive -= 1
                active[i] = active[alive]
            else:
                remaining[f] = max(0.0, remaining[f] - rate[f] * step)
                i += 1
        now += step
    return end


@njit(cache=True)  # type: ignore[untyped-decorator]
def _join(link: Any, starts: Any, crossing: Any, going: Any, chosen: Any, bottleneck: Any, group: Any, n: Any) -> Any:
    """Add the flows that this link holds back: they may rise when something on it ends."""
    for k in range(starts[link], starts[link + 1]):
        f = crossing[k]
        if going[f] and not chosen[f] and bottleneck[f] == link:
            chosen[f] = True
            group[n] = f
            n += 1
    return n


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fill(
    offsets: Any, links: Any, capacity: Any, starts: Any, crossing: Any, rate: Any, fresh: Any, narrow: Any, group: Any, n: Any,
    chosen: Any, frozen: Any, carried: Any, left: Any, weight: Any, heap: Any, touched: Any, level: Any,
) -> None:  # fmt: skip
    """Max-min fair `fresh` rates of the group beside all others at theirs, and the link that holds each back: `narrow`."""
    links_used = 0
    for i in range(n):
        f = group[i]
        frozen[f] = False
        for k in range(offsets[f], offsets[f + 1]):
            link = links[k]
            if weight[link] == 0.0:
                heap[links_used] = link
                left[link] = capacity[link] - carried[link]
                links_used += 1
            weight[link] += 1.0
            if rate[f] < np.inf:
                left[link] += rate[f]
    for at in range(links_used):
        left[heap[at]] = max(0.0, left[heap[at]])
        level[at] = left[heap[at]] / weight[heap[at]]
    for at in range(links_used // 2 - 1, -1, -1):
        _sift(heap, level, at, links_used)
    reached = 0.0
    while links_used > 0:
        link = heap[0]
        if weight[link] > 0.5:
            fills = left[link] / weight[link]
            if fills > level[0] and fills > reached:
                level[0] = fills
                _sift(heap, level, 0, links_used)
                continue
        links_used -= 1
        heap[0] = heap[links_used]
        level[0] = level[links_used]
        _sift(heap, level, 0, links_used)
        if weight[link] < 0.5:
            continue
        reached = max(reached, left[link] / weight[link])
        for k in range(starts[link], starts[link + 1]):
            f = crossing[k]
            if not chosen[f] or frozen[f]:
                continue
            frozen[f] = True
            fresh[f], narrow[f] = reached, link
            for j in range(offsets[f], offsets[f + 1]):
                left[links[j]] = max(0.0, left[links[j]] - reached)
                weight[links[j]] -= 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _unfair(
    offsets: Any, links: Any, capacity: Any, starts: Any, crossing: Any, going: Any, rate: Any, fresh: Any, bottleneck: Any,
    narrow: Any, group: Any, n: Any, chosen: Any, carried: Any,
) -> Any:  # fmt: skip
    """Add to the group who has lost his certificate by its fresh rates, or stands in the way of one; gives the new size.

    Outside the group a flow is fair while its bottleneck is full and nobody there is faster. In the group a flow is fair if
    nobody outside is faster on the link that holds it back.
    """
    size = n
    for i in range(n):
        f = group[i]
        for j in range(offsets[f], offsets[f + 1]):
            link = links[j]
            load, fastest = carried[link], 0.0
            for k in range(starts[link], starts[link + 1]):
                g = crossing[k]
                if not going[g]:
                    continue
                mine = fresh[g] if chosen[g] and narrow[g] >= 0 else rate[g]
                fastest = max(fastest, mine)
                if mine < np.inf and rate[g] < np.inf:
                    load += mine - rate[g]
            full = load >= capacity[link] * (1 - NEARLY)
            for k in range(starts[link], starts[link + 1]):
                g = crossing[k]
                if not going[g] or chosen[g]:
                    continue
                lost = bottleneck[g] == link and (not full or fastest > rate[g] * (1 + NEARLY))
                blocks = narrow[f] == link and rate[g] > fresh[f] * (1 + NEARLY)
                if lost or blocks:
                    chosen[g] = True
                    narrow[g] = -1
                    group[size] = g
                    size += 1
    return size
