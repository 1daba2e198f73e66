"""A training step on a fabric: how long it takes, what is exposed, which links are busiest.

Asked:  this traffic on this wiring. Seconds a step?
Answer: computing, plus what each exchange adds. An exchange without a window adds all its seconds. Those that share a window
        run at the same time behind computing, and share the links: together they take what the busiest link needs for all of
        them, and add only what is longer than the window.
        Ranks sit on cards in order unless a placement says otherwise, so the first side of the grid lies inside the hosts.
Units:  seconds.
Limits: within a window the exchanges are fluids that keep the busiest link busy from start to end: a bound from below, met where
        that link is the bottleneck of each. Exchanges without a window don't disturb those with one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.mesh import Mesh, MeshPlace, Work
from forebay.fabric.timing import Place, Timed, timed
from forebay.fabric.traffic import Exchange, Traffic, checked
from forebay.fabric.wiring import Floats, Ints, Wiring

BUSIEST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What one exchange took in a step."""

    name: str
    collective: str  # the algorithm
    ranks: int  # in a group
    groups: int
    nbytes: float
    times: int
    seconds: float  # in all, if it ran alone
    window: str
    averaged: bool
    sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A link and how long it worked in a step."""

    link: str
    seconds: float
    share: float  # of the step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """A step, timed. It says what was exposed, never why the plan is as it is."""

    traffic: str
    fabric: str
    ranks: int
    seconds: float  # `inf`: the job stops
    compute_s: float
    exposed_s: float
    exposed: dict[str, float]  # by window, and by exchange where it has none
    took: tuple[Took, ...]
    busiest: tuple[Busy, ...]
    cut: int  # pairs that find no way: the job stops

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from forebay.fabric.draw import of

        return of(self)._repr_html_()


def step(at: Place | MeshPlace, traffic: Traffic, cards: Ints | None = None) -> StepTime:
    """Time a step. `cards` (ranks,): each rank's card. Raises BadInput for more ranks than cards, or traffic that can't be."""
    return step_with_load(at, traffic, cards)[0]


def step_with_load(at: Place | MeshPlace, traffic: Traffic, cards: Ints | None = None) -> tuple[StepTime, Any]:
    """The same, with the seconds that each link works (L,): for heat maps. Of a mesh that isn't laid, its `mesh.Work`."""
    t, w = checked(traffic), at.wiring
    if t.ranks > w.cards:
        raise BadInput(
            "The step has more ranks than the fabric has cards.",
            asked=f"{t.ranks} ranks",
            found=f"{w.cards} cards",
            hint=_fits(t, w),
        )
    seat = np.arange(t.ranks, dtype=np.int32) if cards is None else np.ascontiguousarray(cards, np.int32)
    if len(seat) != t.ranks or len(np.unique(seat)) != len(seat):
        raise BadInput(
            "Each rank sits on a card of its own.", asked=f"{t.ranks} ranks", found=f"{len(np.unique(seat))} cards named"
        )
    exposed: dict[str, float] = {}
    behind: dict[str, tuple[float, Any, float]] = {}  # window -> latency, busy seconds of links, the longest alone
    total: Any = at.idle()
    took, cut = [], 0
    for e in t.exchanges:
        groups = seat[ranks_of(t, e)]
        one = timed(at, e.collective, groups, e.nbytes) if groups.shape[1] > 1 and e.times else _nothing(at)
        alone = one.seconds * e.times
        took.append(_took(e, one, groups.shape, alone))
        total = total + one.busy_s * e.times
        cut += one.cut
        if not e.window:
            exposed[e.name] = exposed.get(e.name, 0.0) + alone
            continue
        latency, busy, longest = behind.get(e.window, (0.0, at.idle(), 0.0))
        behind[e.window] = (latency + one.latency_s * e.times, busy + one.busy_s * e.times, max(longest, alone))
    for window, (latency, busy, longest) in behind.items():
        together = max(longest, latency + float(busy.max(initial=0.0)))
        exposed[window] = max(0.0, together - t.windows[window])
    seconds = float("inf") if cut else t.compute_s + sum(exposed.values())
    return StepTime(
        traffic=t.name,
        fabric=w.name,
        ranks=t.ranks,
        seconds=seconds,
        compute_s=t.compute_s,
        exposed_s=sum(exposed.values()),
        exposed=exposed,
        took=tuple(took),
        busiest=_busiest(w, total, seconds) if isinstance(w, Wiring) else _busiest_of_mesh(w, total, seconds),
        cut=cut,
    ), total


def ranks_of(traffic: Traffic, exchange: Exchange) -> Ints:
    """The ranks of each group of an exchange: (G, n). Along the grid, the first of `along` is the fastest inside a group."""
    if exchange.groups:
        return np.asarray(exchange.groups, np.int32)
    names = list(traffic.grid)
    axis = {name: len(names) - 1 - k for k, name in enumerate(names)}  # the first side is the last axis: neighbours
    ranks = np.arange(traffic.ranks, dtype=np.int32).reshape([traffic.grid[name] for name in reversed(names)])
    inside = [axis[name] for name in reversed(exchange.along)]
    outside = [k for k in range(len(names)) if k not in inside]
    size = int(np.prod([traffic.grid[name] for name in exchange.along]))
    return np.ascontiguousarray(ranks.transpose(outside + inside).reshape(-1, size))


def in_order(wiring: Wiring | Mesh, ranks: int) -> Ints:
    """Rank r on card r."""
    return np.arange(ranks, dtype=np.int32)


def rails_unaligned(wiring: Wiring | Mesh, ranks: int) -> Ints:
    """Rank r on the host where it would be, but turned by one place from host to host: a ring never stays on its rail."""
    card = np.arange(ranks)
    host = wiring.host_of[card]
    width = int(np.bincount(wiring.host_of).max())
    return (card - wiring.rail_of[card] + (wiring.rail_of[card] + host) % width).astype(np.int32)


def hosts_shuffled(wiring: Wiring | Mesh, ranks: int, seed: int = 0) -> Ints:
    """Whole hosts in random order, as a scheduler that knows no fabric hands them out."""
    width = int(np.bincount(wiring.host_of).max())
    hosts = np.random.default_rng(seed).permutation(wiring.hosts)
    order = (hosts[:, None] * width + np.arange(width)).reshape(-1)
    return order[:ranks].astype(np.int32)


def sides_reordered(traffic: Traffic, order: tuple[str, ...]) -> Ints:
    """The card of each rank when the sides of the grid lie in another order, the first of `order` inside the hosts."""
    names = list(traffic.grid)
    cards = np.arange(traffic.ranks).reshape([traffic.grid[name] for name in reversed(order)])
    axes = [len(order) - 1 - order.index(name) for name in reversed(names)]
    return cards.transpose(axes).reshape(-1).astype(np.int32)


def _nothing(at: Place | MeshPlace) -> Timed:
    return Timed(collective="-", seconds=0.0, latency_s=0.0, busy_s=at.idle(), rounds=0)


def _took(e: Exchange, one: Timed, shape: tuple[int, ...], alone: float) -> Took:
    return Took(
        name=e.name,
        collective=one.collective,
        ranks=shape[1],
        groups=shape[0],
        nbytes=e.nbytes,
        times=e.times,
        seconds=alone,
        window=e.window,
        averaged=one.averaged,
        sampled=one.sampled,
    )


def _busiest(wiring: Wiring, total: Floats, seconds: float) -> tuple[Busy, ...]:
    """The busiest link of each sort, most first: all 10,240 equal NIC links are named once."""
    found = []
    kinds = wiring.link_kinds()
    for kind in np.unique(kinds[total > 0]):
        mine = np.flatnonzero(kinds == kind)
        link = int(mine[np.argmax(total[mine])])
        share = float(total[link]) / seconds if 0 < seconds < float("inf") else 0.0
        found.append(Busy(link=wiring.link_name(link), seconds=float(total[link]), share=share))
    return tuple(sorted(found, key=lambda one: -one.seconds)[:BUSIEST])


def _busiest_of_mesh(mesh: Mesh, total: Work, seconds: float) -> tuple[Busy, ...]:
    """The busiest cable, and the busiest scale-up out of a card and into one."""
    busy, x, y = total.cable()
    found = [(busy, f"{mesh.card_name(x)} -> {mesh.card_name(y)}")]
    for way, word in enumerate(("out of", "into")):
        card = int(np.argmax(total.up[way::2]))
        found.append((float(total.up[2 * card + way]), f"scale-up {word} {mesh.card_name(card)}"))
    shares = 0 < seconds < float("inf")
    told = [Busy(link=link, seconds=busy, share=busy / seconds if shares else 0.0) for busy, link in found if busy > 0]
    return tuple(sorted(told, key=lambda one: -one.seconds))


def _fits(traffic: Traffic, wiring: Wiring | Mesh) -> str:
    """The nearest grid that fits, made smaller along its last side."""
    *inner, last = traffic.grid.items()
    below = int(np.prod([size for _, size in inner])) if inner else 1
    if below > wiring.cards:
        return f"a fabric of {traffic.ranks} cards or more"
    return f"{last[0]} = {wiring.cards // below} instead of {last[1]}"
