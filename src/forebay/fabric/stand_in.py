"""Cards whose host lends them a NIC: traffic of a card that has lost its own way out.

Asked:  card a, or card b, has no port left. Which cards of their hosts send and receive for them?
Answer: two of one rail that are joined: of b's rail if b has a port, else of a's; then of the next rails in turn. So what goes
        from a to b is handed over through the scale-up at one end or both, and crosses the network between two ports. NCCL does
        that where a GPU has no NIC of its own when a job starts (PXN; NVIDIA/nccl, src/graph/search.cc). A job that runs
        doesn't change its ways, it stops: so this is asked for, with `Routing.stand_in`.
Limits: one stand-in a flow; libraries spread a card's channels over several. Only cards without any port: who has one that leads
        nowhere is cut off.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.fabric.graph import Graph, parts
from forebay.fabric.rates import Longs
from forebay.fabric.wiring import Floats, Ints, Wiring


def portless(wiring: Wiring, graph: Graph) -> Any:
    """(N,) cards without any port that carries something."""
    return graph.home_of[wiring.unit_of] < 0


def stand_ins(wiring: Wiring, graph: Graph, source: Ints, target: Ints) -> tuple[Ints, Ints]:
    """Who sends and who receives for each pair (F,): itself, unless one of the two has no port and there are others."""
    w, lost = wiring, portless(wiring, graph)
    x, y = source.astype(np.int32).copy(), target.astype(np.int32).copy()
    near = (w.domain_of[source] == w.domain_of[target]) & (w.scale_up_bytes_per_s > 0)
    left = np.flatnonzero((lost[source] | lost[target]) & ~near)
    if not len(left):
        return x, y
    first = np.searchsorted(w.host_of, np.arange(w.hosts + 1))
    part = parts(graph.step_start, graph.step_to)
    width = int(np.diff(first).max())
    for k in range(-1, width):
        a, b = source[left], target[left]
        rail = w.rail_of[a] if k < 0 else (w.rail_of[b] + k) % width
        if k < 0:
            rail = np.where(lost[b], rail, w.rail_of[b])
        sends, gets = first[w.host_of[a]] + rail, first[w.host_of[b]] + rail
        there = (sends < first[w.host_of[a] + 1]) & (gets < first[w.host_of[b] + 1])
        sends, gets = np.where(there, sends, a), np.where(there, gets, b)
        good = there & ~lost[sends] & ~lost[gets] & _joined(graph, part, w.unit_of[sends], w.unit_of[gets])
        x[left[good]], y[left[good]] = sends[good], gets[good]
        left = left[~good]
    return x, y


def spliced(
    offsets: Longs, links: Ints, shares: Floats, wiring: Wiring, source: Ints, target: Ints, x: Ints, y: Ints
) -> tuple[Longs, Ints, Floats]:
    """The ways from x to y (F,) with the hand-overs from a to x before them and from y to b behind them."""
    length = np.diff(offsets)
    before, after = (x != source) & (length > 0), (y != target) & (length > 0)
    found: Longs = np.concatenate([[0], np.cumsum(length + 2 * before + 2 * after)]).astype(np.int64)
    all_links, all_shares = np.empty(int(found[-1]), np.int32), np.ones(int(found[-1]))
    flow = np.repeat(np.arange(len(length)), length)
    at = np.arange(len(links)) - offsets[flow] + found[flow] + 2 * before[flow]
    all_links[at], all_shares[at] = links, shares
    up = wiring.first_scale_up_link
    starts, ends = found[:-1][before], found[1:][after]
    all_links[starts], all_links[starts + 1] = up + 2 * source[before], up + 2 * x[before] + 1
    all_links[ends - 2], all_links[ends - 1] = up + 2 * y[after], up + 2 * target[after] + 1
    return found, all_links, all_shares


def _joined(graph: Graph, part: Ints, one: Ints, two: Ints) -> Any:
    """Whether units have ports in the same part of the fabric (F,)."""
    count = int(part.max(initial=0)) + 1
    unit = np.repeat(np.arange(len(graph.port_start) - 1, dtype=np.int64), np.diff(graph.port_start))
    codes = np.unique(unit * count + part[graph.port_router])
    widest = int(np.diff(graph.port_start).max(initial=0))
    found = np.zeros(len(one), bool)
    for j in range(widest):
        port = graph.port_start[one] + j
        there = port < graph.port_start[one + 1]
        where = part[graph.port_router[np.where(there, port, 0)]]
        found |= there & np.isin(two.astype(np.int64) * count + where, codes)
    return found
