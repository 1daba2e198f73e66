"""The noun Hops: how far cards are from each other, in cables.

Asked:  how many cables does a message cross from card to card, at most and on average? Which cards reach each other at all?
Answer: breadth-first from every switch (or card, in direct networks) that NICs are on; 64 sources at a time, a bit each, so a
        level of the search is one pass over the cables (multi-source BFS: Then et al., PVLDB 8, 2014). Cards on the same switches
        are one source. Exact, unless the sources are so many that a sample of them is taken: then `exact` is false.
Units:  cables; to and from a NIC they count too, so cards on one switch are 2 apart. In direct networks neighbours are 1 apart.
Limits: the fabric's own paths. A hop through scale-up isn't among them; `islands` knows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from forebay.fabric.build.lay import Array
from forebay.fabric.wiring import Wiring

MOST = 70_000_000  # batches of sources times directed cables, before a sample is taken
SAMPLE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """How far cards are from each other, in cables.

    Pairs that share a NIC, or that no path joins, are left out of diameter and mean.
    """

    diameter: int
    mean: float
    reached: float  # part of the pairs that the fabric joins without scale-up
    exact: bool  # false: from a sample of sources

    @property
    def switches(self) -> int:
        """Switches on the longest of the shortest paths, in a network of switches."""
        return max(0, self.diameter - 1)


def hops(w: Wiring) -> Hops:
    """Diameter and mean distance between cards."""
    entry = 0 if w.direct else 2
    keys, unit_key = attachments(w)
    weight = np.bincount(w.unit_of, minlength=w.units)  # cards
    key_weight = np.bincount(unit_key, weights=weight, minlength=len(keys))
    start, to = adjacency(w)
    sources = np.arange(len(keys))
    exact = -(-len(keys) // 64) * len(to) <= MOST
    if not exact:
        sources = np.sort(np.random.default_rng(0).choice(len(keys), min(SAMPLE, len(keys)), replace=False))
    # For each source and distance, the cards found there; a card of several ports counts at its nearest.
    flat = np.concatenate(keys) if keys else np.zeros(0, np.int32)
    ends = np.cumsum([0, *map(len, keys)])
    found = _levels(start, to, flat, ends, key_weight, sources)
    per_source = key_weight[sources]
    sharing = np.bincount(unit_key, weights=weight.astype(float) ** 2, minlength=len(keys))[
        sources
    ]  # pairs on one NIC, selves too
    joined = np.diff(ends)[sources] > 0  # a NIC without a port finds not even itself
    found[:, 0] -= joined * sharing / np.maximum(per_source, 1)
    pairs = per_source @ found  # by distance between routers
    levels = np.arange(len(pairs)) + entry
    reached = pairs.sum()
    asked = (per_source * key_weight.sum()).sum() - sharing.sum()
    far = int(levels[np.nonzero(pairs > 0.5)[0][-1]]) if (pairs > 0.5).any() else 0
    mean = float(pairs @ levels / reached) if reached else 0.0
    return Hops(diameter=far, mean=mean, reached=float(reached / asked) if asked else 1.0, exact=exact)


def attachments(w: Wiring) -> tuple[list[Array], Array]:
    """The different sets of routers that units are on, and which of these each unit has."""
    order = np.lexsort((w.port_router, w.port_unit))
    order = order[w.port_bytes_per_s[order] > 0]
    unit, router = w.port_unit[order], w.port_router[order]
    count = np.bincount(unit, minlength=w.units)
    widest = int(count.max()) if len(count) else 0
    table = np.full((w.units, widest), -1, np.int32)
    column = np.arange(len(unit)) - np.repeat(np.cumsum(count) - count, count)
    table[unit, column] = router
    if widest > 1:
        again = np.zeros_like(table, bool)
        again[:, 1:] = table[:, 1:] == table[:, :-1]
        table[again] = -1
        table.sort(axis=1)
    keys, inverse = np.unique(table, axis=0, return_inverse=True)
    return [row[row >= 0] for row in keys], np.asarray(inverse, np.int32).ravel()


def adjacency(w: Wiring) -> tuple[Array, Array]:
    """Neighbours of every router, each once, over cables that carry anything: `to[start[r]:start[r + 1]]`."""
    up = w.cable_bytes_per_s > 0
    a, b = np.concatenate([w.cable_a[up], w.cable_b[up]]), np.concatenate([w.cable_b[up], w.cable_a[up]])
    pair = np.unique(a.astype(np.int64) * w.routers + b)
    start = np.searchsorted(pair // w.routers, np.arange(w.routers + 1)) if w.routers else np.zeros(1, int)
    return start.astype(np.int64), (pair % w.routers).astype(np.int32) if w.routers else np.zeros(0, np.int32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _levels(start, to, flat, ends, weight, sources):  # type: ignore[no-untyped-def] # pragma: no cover
    """(source, distance) -> weight of the keys whose nearest router is so far away."""
    routers, keys = len(start) - 1, len(ends) - 1
    out = np.zeros((len(sources), 8))
    seen, front, after = np.zeros(routers, np.uint64), np.zeros(routers, np.uint64), np.zeros(routers, np.uint64)
    met = np.zeros(keys, np.uint64)
    for first in range(0, len(sources), 64):
        batch = min(64, len(sources) - first)
        seen[:] = 0
        front[:] = 0
        met[:] = 0
        for i in range(batch):
            k = sources[first + i]
            for e in range(ends[k], ends[k + 1]):
                front[flat[e]] |= np.uint64(1) << np.uint64(i)
        seen[:] = front
        level = 0
        going = True
        while going:
            if level == out.shape[1]:
                wider = np.zeros((len(sources), 2 * level))
                wider[:, :level] = out
                out = wider
            for k in range(keys):
                here = np.uint64(0)
                for e in range(ends[k], ends[k + 1]):
                    here |= front[flat[e]]
                here &= ~met[k]
                if here:
                    met[k] |= here
                    for i in range(batch):
                        if (here >> np.uint64(i)) & np.uint64(1):
                            out[first + i, level] += weight[k]
            going = False
            for r in range(routers):
                new = np.uint64(0)
                for e in range(start[r], start[r + 1]):
                    new |= front[to[e]]
                new &= ~seen[r]
                after[r] = new
                if new:
                    going = True
            for r in range(routers):
                front[r] = after[r]
                seen[r] |= after[r]
            level += 1
    return out


def islands(w: Wiring, scale_up: bool = True) -> Array:
    """The island of each card: cards with the same number reach each other, over the fabric or, unless told not to, scale-up."""
    up = scale_up and w.scale_up_bytes_per_s > 0
    domain = int(w.domain_of.max()) + 1 if w.cards else 0
    port, cable = w.port_bytes_per_s > 0, w.cable_bytes_per_s > 0
    a = [w.port_unit[port], w.units + w.cable_a[cable], w.unit_of if up else w.unit_of[:0]]
    b = [w.units + w.port_router[port], w.units + w.cable_b[cable], w.units + w.routers + w.domain_of if up else w.domain_of[:0]]
    root = _joined(np.concatenate(a), np.concatenate(b), w.units + w.routers + domain)
    _, found = np.unique(root[w.unit_of], return_inverse=True)
    return np.asarray(found, np.int32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _joined(a, b, n):  # type: ignore[no-untyped-def] # pragma: no cover
    """Union and find."""
    root = np.arange(n)
    for i in range(len(a)):
        x, y = a[i], b[i]
        while root[x] != x:
            root[x] = root[root[x]]
            x = root[x]
        while root[y] != y:
            root[y] = root[root[y]]
            y = root[y]
        root[max(x, y)] = min(x, y)
    for i in range(n):
        x = i
        while root[x] != x:
            x = root[x]
        root[i] = x
    return root
