"""Loads on a torus or a mesh in which every card sees the same: one way is worked out and moved.

Asked:  what do many pairs of cards put on the links of a direct network, without a search for each of 10,240 targets?
Answer: the ways from a to b depend on b - a alone. For each difference that occurs, the shares of one pair are pushed once, from
        card 0; every pair of that difference has the same shares, moved to where it is. The same numbers as `push` gives
        (tests/fabric/test_lattice.py), in a hundredth of the time.
Limits: networks that are whole, with cables of one speed; anything broken goes the long way, through `push`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from forebay.fabric.graph import Graph, search
from forebay.fabric.push import push
from forebay.fabric.wiring import Floats, Ints, Wiring

CONVOLVED = 100  # moves a card, from which on Fourier transforms are cheaper
KINDS = ("torus", "ocs-torus", "nd-full-mesh")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lattice:
    """Coordinates of the cards, and the link that leaves each card in each direction. Letters: N cards, D directions, K sides."""

    sides: Ints  # (K,)
    at: Ints  # (N, K)
    ring: bool  # a torus: distances go round; else every step along a side is one
    link_at: Ints  # (N, D)
    direction: Ints  # (S,) of the graph's steps

    def apart(self, a: Ints, b: Ints) -> Ints:
        """Cables between cards (F,)."""
        gone = (self.at[b] - self.at[a]) % self.sides
        hops: Ints = (np.minimum(gone, self.sides - gone) if self.ring else (gone > 0)).sum(axis=1)
        return hops


def lattice(wiring: Wiring, graph: Graph) -> Lattice | None:
    """The lattice of a wiring. None: it isn't one, or not whole."""
    d, n = wiring.design, wiring.cards
    if d is None or d.kind not in KINDS or wiring.routers != n or not len(graph.step_to) or len(graph.step_to) % n:
        return None
    if graph.step_bytes_per_s.min() != graph.step_bytes_per_s.max() or len(graph.port) != n:
        return None
    degree = len(graph.step_to) // n
    if not np.array_equal(graph.step_start, np.arange(n + 1) * degree):
        return None
    sides = np.asarray(d.shape[:3] if d.kind == "ocs-torus" else d.shape, np.int32)
    if int(sides.prod()) != n:
        return None
    at = np.stack(np.unravel_index(np.arange(n), sides), axis=1).astype(np.int32)
    source = np.repeat(np.arange(n), degree)
    gone = np.ravel_multi_index(tuple(((at[graph.step_to] - at[source]) % sides).T), tuple(sides))
    order = np.lexsort((graph.step_link, gone, source))  # in each card, by difference; parallel cables in turn
    by_card = gone[order].reshape(n, degree)
    if not (by_card == by_card[0]).all():
        return None
    direction = np.empty(len(order), np.int32)
    direction[order] = np.tile(np.arange(degree), n)
    link_at = graph.step_link[order].reshape(n, degree)
    return Lattice(sides=sides, at=at, ring="torus" in d.kind, link_at=link_at, direction=direction)


def carry(found: Lattice, graph: Graph, source: Ints, target: Ints, nbytes: Floats, links: int) -> Floats:
    """Bytes on each link (L,) when card source[i] sends nbytes[i] to target[i] over the network (F,)."""
    gone = np.ravel_multi_index(tuple(((found.at[target] - found.at[source]) % found.sides).T), tuple(found.sides))
    codes, number = np.unique(gone, return_inverse=True)
    starts, step, share = _patterns(
        codes.astype(np.int32), graph.step_start, graph.step_to, graph.step_link, graph.step_bytes_per_s, links
    )
    which: Ints = number.astype(np.int32).reshape(-1)
    node = np.repeat(np.arange(len(found.at), dtype=np.int32), np.diff(graph.step_start))[step]
    # Few pairs or short ways are moved one by one; a wide pattern at many places is a convolution.
    moves = np.bincount(which, minlength=len(codes)) * np.diff(starts)
    wide = moves > CONVOLVED * len(found.at)
    few = ~wide[which]
    moved = _move(
        source[few], which[few], nbytes[few], starts, found.at[node], found.direction[step], share, found.at,
        found.sides, found.link_at, links,
    )  # fmt: skip
    carried = np.asarray(moved)
    if wide.any():
        _convolve(found, np.flatnonzero(wide), source, which, nbytes, starts, node, found.direction[step], share, carried)
    return carried


def _convolve(
    found: Lattice,
    wide: Any,
    source: Ints,
    which: Ints,
    nbytes: Floats,
    starts: Any,
    node: Ints,
    direction: Ints,
    share: Floats,
    carried: Floats,
) -> None:
    """Add what these patterns carry: in each direction, the sum over patterns of sources * shares, through Fourier transforms."""
    sides, n, ways = tuple(int(k) for k in found.sides), len(found.at), found.link_at.shape[1]
    spectra: dict[int, Any] = {}
    order = np.argsort(which, kind="stable")
    first = np.searchsorted(which[order], np.arange(len(starts)))
    for c in wide:
        mine = order[first[c] : first[c + 1]]
        from_here = np.fft.rfftn(np.bincount(source[mine], nbytes[mine], minlength=n).reshape(sides))
        row = slice(starts[c], starts[c + 1])
        for way in np.unique(direction[row]):
            at = direction[row] == way
            pattern = np.bincount(node[row][at], share[row][at], minlength=n).reshape(sides)
            spectra[int(way)] = spectra.get(int(way), 0.0) + from_here * np.fft.rfftn(pattern)
    for way in range(ways):
        if way in spectra:
            load = np.fft.irfftn(spectra[way], s=sides, axes=range(len(sides))).reshape(-1)
            load[load < 1e-9 * load.max()] = 0.0  # rounding, where nothing flows
            np.add.at(carried, found.link_at[:, way], load)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _patterns(codes: Any, step_start: Any, step_to: Any, step_link: Any, step_speed: Any, links: Any) -> Any:
    """For each target the steps that one byte from card 0 takes, and its shares: rows of one array."""
    routers = len(step_start) - 1
    away, order = np.empty(routers, np.int32), np.empty(routers, np.int32)
    wanted, held, carried = np.zeros(routers, np.bool_), np.zeros(routers), np.zeros(links)
    home = np.empty(1, np.int32)
    starts = np.zeros(len(codes) + 1, np.int64)
    steps, shares = np.empty(1024, np.int32), np.empty(1024)
    total = 0
    for c in range(len(codes)):
        home[0] = codes[c]
        wanted[0] = True
        n = search(step_start, step_to, home, wanted, 1, away, order)
        held[0] = 1.0
        push(held, away, order, n, step_start, step_to, step_link, step_speed, carried)
        held[home[0]] = 0.0
        for i in range(n):
            for k in range(step_start[order[i]], step_start[order[i] + 1]):
                if carried[step_link[k]] > 0.0:
                    if total == len(steps):
                        steps = np.concatenate((steps, np.empty(total, np.int32)))
                        shares = np.concatenate((shares, np.empty(total)))
                    steps[total], shares[total] = k, carried[step_link[k]]
                    carried[step_link[k]] = 0.0
                    total += 1
        starts[c + 1] = total
    return starts, steps[:total], shares[:total]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move(
    source: Any, which: Any, nbytes: Any, starts: Any, at: Any, direction: Any, share: Any, place: Any, sides: Any, link_at: Any,
    links: Any,
) -> Any:  # fmt: skip
    carried = np.zeros(links)
    for f in range(len(source)):
        for k in range(starts[which[f]], starts[which[f] + 1]):
            node = 0
            for side in range(len(sides)):
                node = node * sides[side] + (place[source[f], side] + at[k, side]) % sides[side]
            carried[link_at[node, direction[k]]] += nbytes[f] * share[k]
    return carried
