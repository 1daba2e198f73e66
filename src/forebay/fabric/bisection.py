"""The noun Bisection: what passes between two halves of the cards, at worst.

Asked:  how many bytes a second can one half of the cards send to the other, whichever halves they are?
Answer: a number between two bounds, exact where they meet. Upper: the least of several balanced cuts, each laid out in full:
        halves by number, along each side of a box, by place in the host, and by the second eigenvector of the graph (Fiedler
        1973), improved by exchanging switches (Kernighan and Lin 1970). Lower, trees: if every switch passes up the part r of
        what its NICs send, spread evenly over its cables, then any pattern runs at r, so also one in which all cards send across
        the cut. Lower, others: if all cards send to all, evenly over shortest paths, at rate f a pair, the pairs across any cut
        of n cards have n^2 / 4 f (Leighton and Rao, JACM 46, 1999, section 1); for tori and full meshes f is a closed form, else
        it is counted. Or, where every switch has NICs, the second eigenvalue of the Laplacian, weighted by cards, times n / 4
        (Fiedler 1973). Cards of one scale-up domain stay on one side: its links are far faster, and rails apart meet there.
Units:  bytes a second, one way.
Limits: the bounds of Dragonflies and Slim Flies are close, but seldom meet. Cuts within a domain or a NIC aren't looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numba import njit

from forebay.fabric.build import FAMILIES, build
from forebay.fabric.build.lay import Array
from forebay.fabric.wiring import Wiring

TREES = {"clos-2", "clos-3", "rail-optimised", "rail-only", "mpft", "multi-plane", "hpn", "supernode"}
MOST_DENSE = 1_500  # switches, beyond which no eigenvalues are taken
BOXES = {"torus", "ocs-torus", "nd-full-mesh", "full-mesh"}
MOST = 2e9  # sources times directed cables, beyond which no loads are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What passes between two halves of the cards, at worst.

    It is of the fabric alone; what scale-up carries is not in it.
    """

    lower_bytes_per_s: float
    upper_bytes_per_s: float
    full_bytes_per_s: float  # all NICs of the smaller half at full speed
    how: str  # the cut, and where the lower bound is from

    @property
    def exact(self) -> bool:
        return self.upper_bytes_per_s - self.lower_bytes_per_s <= 1e-6 * self.full_bytes_per_s

    @property
    def fraction(self) -> float:
        """Of full, as the lower bound has it."""
        return self.lower_bytes_per_s / self.full_bytes_per_s if self.full_bytes_per_s else 0.0

    @property
    def fraction_at_most(self) -> float:
        return self.upper_bytes_per_s / self.full_bytes_per_s if self.full_bytes_per_s else 0.0


def bisection(w: Wiring) -> Bisection:
    """Bounds on the bisection, exact where they meet."""
    full = _card_bytes_per_s(w) * _half(w)
    whole = _intact(w)
    lower, from_what = _lower(w, full, whole)
    upper, cut = full, "all NICs of a half"
    for name, order in _orders(w, whole):
        if upper - lower <= 1e-9 * full:
            break
        here = _cut(w, order, improve=name == "eigenvector")
        if here < upper:
            upper, cut = here, name
    return Bisection(
        lower_bytes_per_s=min(lower, upper),
        upper_bytes_per_s=upper,
        full_bytes_per_s=full,
        how=f"cut: {cut}; lower bound: {from_what}",
    )


def _card_bytes_per_s(w: Wiring) -> float:
    total = 2 * w.cable_bytes_per_s.sum() if w.direct else w.port_bytes_per_s.sum()
    return float(total / w.cards)


def _kept(w: Wiring) -> Array:
    """What stays on one side, as a number of each card: its scale-up domain, or the cards of its NIC where that is more."""
    return w.domain_of if int(w.domain_of.max()) < int(w.unit_of.max()) else w.unit_of


def _half(w: Wiring) -> int:
    """Cards of the smaller half, domains whole."""
    sizes = np.bincount(_kept(w))
    return int(sizes[: len(sizes) // 2].sum())


def _intact(w: Wiring) -> bool:
    """It is what its design builds, nothing taken out."""
    d = w.design
    if d is None or d.kind not in FAMILIES:
        return False
    same = build(d)
    names = ("cable_a", "cable_b", "cable_bytes_per_s", "port_unit", "port_router", "port_bytes_per_s")
    return all(np.array_equal(getattr(w, name), getattr(same, name)) for name in names)


def _lower(w: Wiring, full: float, whole: bool) -> tuple[float, str]:
    d = w.design
    if whole and d and d.kind in TREES:
        return (full * _up(w), "evenly spread") if _alike(w) else (0.0, "none")
    if whole and d and d.kind in BOXES:
        return min(full, _half(w) * (w.cards - _half(w)) * _box_rate(w)), "all to all, closed form"
    weight = np.zeros(w.routers)
    ports = np.bincount(w.port_unit, minlength=w.units)
    cards = np.bincount(w.unit_of, minlength=w.units)
    np.add.at(weight, w.port_router, (cards / np.maximum(ports, 1))[w.port_unit])
    start, to, speed = _neighbours(w)
    if (weight > 0).sum() * len(to) > MOST or (ports == 0).any():
        return 0.0, "none"
    load, joined = _loads(start, to, speed, weight)
    if not joined:
        return 0.0, "none"
    if not load.any():  # all on one switch
        return full, "all to all on shortest paths"
    halves = _half(w) * (w.cards - _half(w))
    routed, spectral = float(halves / (load / speed).max()), halves * _connectivity(w, weight)
    return (min(full, spectral), "eigenvalue") if spectral > routed else (min(full, routed), "all to all on shortest paths")


def _connectivity(w: Wiring, weight: Array) -> float:
    """Bytes a second across any cut, for each card on one side times each on the other: the Laplacian's second eigenvalue
    over the number of cards. 0: some switch has no NIC, or there are too many switches."""
    if w.direct or w.routers > MOST_DENSE or not (weight > 0).all():
        return 0.0
    laplacian = np.zeros((w.routers, w.routers))
    np.add.at(laplacian, (w.cable_a, w.cable_b), -w.cable_bytes_per_s)
    laplacian += laplacian.T
    laplacian[np.diag_indices(w.routers)] = -laplacian.sum(axis=1)
    root = np.sqrt(weight)
    return float(np.linalg.eigvalsh(laplacian / root / root[:, None])[1] / w.cards) * (1 - 1e-9)


def _up(w: Wiring) -> float:
    """The least part of what comes from NICs below that a switch can pass up, where there is anything above."""
    came = np.bincount(w.port_router, weights=w.port_bytes_per_s, minlength=w.routers)
    up = np.bincount(w.cable_a, weights=w.cable_bytes_per_s, minlength=w.routers)  # builders name the lower end first
    least = 1.0
    for tier in (1, 2):
        here = (w.router_tier == tier) & (up > 0) & (came > 0)
        if here.any():
            least = min(least, float((up[here] / came[here]).min()))
        share = np.divide(came, up, out=np.zeros(w.routers), where=up > 0)[w.cable_a] * w.cable_bytes_per_s
        came = np.bincount(w.cable_b, weights=share * (w.router_tier[w.cable_a] == tier), minlength=w.routers)
    return least


def _alike(w: Wiring) -> bool:
    """Every domain has equally many ports in each of the networks that only scale-up joins."""
    from forebay.fabric.hops import _joined

    root = _joined(w.cable_a, w.cable_b, w.routers)
    names, network = np.unique(root[w.port_router], return_inverse=True)
    domain_of_unit = np.zeros(w.units, np.int64)
    domain_of_unit[w.unit_of] = _kept(w)
    domains = int(_kept(w).max()) + 1
    alike = np.bincount(domain_of_unit[w.port_unit] * len(names) + network.ravel(), minlength=domains * len(names))
    table = alike.reshape(domains, len(names))
    return bool((table == table[:1]).all())


def _box_rate(w: Wiring) -> float:
    """Bytes a second of each ordered pair of cards, when all send to all along shortest paths, on a torus or full meshes."""
    assert w.design
    d, n = w.design, w.cards
    sides = d.shape[:3] if d.kind == "ocs-torus" else d.shape or (n,)
    if d.kind in ("torus", "ocs-torus"):
        load = max(n * (k * k - k % 2) / (8 * k) for k in sides)
    else:
        load = max(n / k for k in sides)
    return float(w.cable_bytes_per_s[0]) / load


def _orders(w: Wiring, whole: bool) -> Iterator[tuple[str, Array]]:
    """Names and orders of cards, whose first half is one side of a cut."""
    card = np.arange(w.cards)
    yield "halves by number", card
    d = w.design
    sides = (d.shape[:3] if d.kind == "ocs-torus" else d.shape) if d and whole else ()
    if d and whole and d.kind in BOXES | {"hyperx"} and sides:
        home = np.zeros(w.units, np.int64)
        home[w.port_unit] = w.port_router
        for axis in range(len(sides)):
            place = home[w.unit_of] // prod(sides[axis + 1 :]) % sides[axis]
            yield f"halves of side {axis + 1}", np.lexsort((card, place))
    if w.scale_up_bytes_per_s == 0:
        yield "halves by place in the host", np.lexsort((card, w.rail_of))
    if len(w.cable_a):
        for seed in range(3):
            yield "eigenvector", np.argsort(_second(w, seed), kind="stable")


def _second(w: Wiring, seed: int) -> Array:
    """Of each card, the entry of a vector near the second of the normalised graph of switches, by power iteration."""
    degree = np.bincount(w.cable_a, w.cable_bytes_per_s, w.routers) + np.bincount(w.cable_b, w.cable_bytes_per_s, w.routers)
    root = np.sqrt(np.maximum(degree, 1e-300))
    weight = w.cable_bytes_per_s / root[w.cable_a] / root[w.cable_b]
    top = root / np.linalg.norm(root)
    x = np.random.default_rng(seed).standard_normal(w.routers)
    for _ in range(100):
        x = (
            x
            + np.bincount(w.cable_a, weight * x[w.cable_b], w.routers)
            + np.bincount(w.cable_b, weight * x[w.cable_a], w.routers)
        )
        x -= top * (top @ x)
        x /= np.linalg.norm(x) or 1.0
    x = x / root
    entry = np.bincount(w.port_unit, x[w.port_router], w.units) / np.maximum(np.bincount(w.port_unit, minlength=w.units), 1)
    mean: Array = np.bincount(_kept(w), entry[w.unit_of]) / np.bincount(_kept(w))
    return mean[_kept(w)]


def _cut(w: Wiring, order: Array, improve: bool) -> float:
    """Bytes a second across the cut whose one side are the first half of the domains in the order of their first cards."""
    domain, first = np.unique(_kept(w)[order], return_index=True)
    domain = domain[np.argsort(first)]
    side = np.full(len(domain), -1.0)
    side[domain[: len(domain) // 2]] = 1.0
    start, to, speed = _neighbours(w)
    unit_side = np.zeros(w.units)
    unit_side[w.unit_of] = side[_kept(w)]
    open_ = np.isfinite(w.port_bytes_per_s)
    pull = np.bincount(w.port_router, np.where(open_, w.port_bytes_per_s, 1e30) * unit_side[w.port_unit], w.routers)
    at = _placed(start, to, speed, pull, np.argsort(w.router_tier, kind="stable"))
    least = _across(w, at, unit_side)
    if improve and not w.direct and _at_home(w):
        weight = np.bincount(w.port_router, minlength=w.routers).astype(float)
        at = _exchanged(start, to, speed, weight, _by_router(w, order), 2000)
        least = min(least, _across(w, at, at[_home(w)]))
    return least


def _across(w: Wiring, at: Array, unit_side: Array) -> float:
    cables = w.cable_bytes_per_s[at[w.cable_a] != at[w.cable_b]].sum()
    ports = w.port_bytes_per_s[at[w.port_router] != unit_side[w.port_unit]].sum()
    return float(cables + ports)


def _home(w: Wiring) -> Array:
    home = np.zeros(w.units, np.int64)
    home[w.port_unit] = w.port_router
    return home


def _at_home(w: Wiring) -> bool:
    """Every unit has one port, every domain one router, and routers with NICs equally many: they can be exchanged whole."""
    if len(w.port_unit) != w.units:
        return False
    home = _home(w)[w.unit_of]
    first = np.zeros(int(_kept(w).max()) + 1, np.int64)
    first[_kept(w)] = home
    count = np.bincount(home, minlength=w.routers)
    count = count[count > 0]
    return bool((first[_kept(w)] == home).all() and (count == count[0]).all() and len(count) % 2 == 0)


def _by_router(w: Wiring, order: Array) -> Array:
    """Sides of routers: the first half of those with NICs, in the order of their first cards; others nowhere yet."""
    home, first = np.unique(_home(w)[w.unit_of[order]], return_index=True)
    home = home[np.argsort(first)]
    at = np.zeros(w.routers)
    at[home] = -1.0
    at[home[: len(home) // 2]] = 1.0
    return at


def _neighbours(w: Wiring) -> tuple[Array, Array, Array]:
    """`to[start[r]:start[r+1]]`, parallel cables as one, with their speeds added up."""
    a, b = np.concatenate([w.cable_a, w.cable_b]), np.concatenate([w.cable_b, w.cable_a])
    pair, which = np.unique(a.astype(np.int64) * w.routers + b, return_inverse=True)
    speed = np.bincount(which.ravel(), np.tile(w.cable_bytes_per_s, 2), len(pair))
    pair, speed = pair[speed > 0], speed[speed > 0]
    return np.searchsorted(pair // w.routers, np.arange(w.routers + 1)), pair % w.routers, speed


@njit(cache=True)  # type: ignore[untyped-decorator]
def _placed(start, to, speed, pull, order):  # type: ignore[no-untyped-def] # pragma: no cover
    """Each router on the side that more of its speed leads to, in turn, until none moves: the cut only falls."""
    n = len(pull)
    at = np.zeros(n)
    for sweep in range(100):
        moved = False
        for r in order:
            s = pull[r]
            for e in range(start[r], start[r + 1]):
                s += at[to[e]] * speed[e]
            if abs(s) < 1e-3 and at[r] == 0 and sweep > 2:
                s = 1.0 if r % 2 else -1.0
            if s > 1e-3 and at[r] != 1:
                at[r], moved = 1.0, True
            elif s < -1e-3 and at[r] != -1:
                at[r], moved = -1.0, True
        if not moved and sweep > 3:
            break
    for r in range(n):
        if at[r] == 0:
            at[r] = 1.0
    return at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _exchanged(start, to, speed, weight, at, most):  # type: ignore[no-untyped-def] # pragma: no cover
    """Exchange the pair of routers that gains most, until none gains; routers without NICs follow."""
    n = len(at)
    for r in range(n):
        if at[r] == 0:
            at[r] = 1.0 if r % 2 else -1.0
    gain = np.zeros(n)  # what moving a router to the other side takes off the cut
    for r in range(n):
        for e in range(start[r], start[r + 1]):
            gain[r] += -speed[e] if at[to[e]] == at[r] else speed[e]
    for _ in range(most):
        free, here, there = -1, -1, -1
        for r in range(n):
            if weight[r] == 0:
                if free < 0 or gain[r] > gain[free]:
                    free = r
            elif at[r] > 0:
                if here < 0 or gain[r] > gain[here]:
                    here = r
            elif there < 0 or gain[r] > gain[there]:
                there = r
        turn = np.array([free, -1])
        if free < 0 or gain[free] <= 1e-3:
            if here < 0 or there < 0:
                break
            between = 0.0
            for e in range(start[here], start[here + 1]):
                if to[e] == there:
                    between = speed[e]
            if gain[here] + gain[there] - 2 * between <= 1e-3:
                break
            turn = np.array([here, there])
        for r in turn:
            if r < 0:
                continue
            at[r] = -at[r]
            gain[r] = -gain[r]
            for e in range(start[r], start[r + 1]):
                gain[to[e]] += -2 * speed[e] if at[to[e]] == at[r] else 2 * speed[e]
    return at


@njit(cache=True)  # type: ignore[untyped-decorator]
def _loads(start, to, speed, weight):  # type: ignore[no-untyped-def] # pragma: no cover
    """Load of each direction between neighbours when every card sends 1 to every other, split over shortest paths by speed
    (Brandes 2001); and whether all reach all."""
    n = len(weight)
    load = np.zeros(len(to))
    far = np.empty(n, np.int64)
    paths, owed = np.empty(n), np.empty(n)
    queue = np.empty(n, np.int64)
    heavy = 0
    for r in range(n):
        heavy += weight[r] > 0
    for s in range(n):
        if weight[s] <= 0:
            continue
        far[:] = -1
        paths[:] = 0
        owed[:] = 0
        far[s], paths[s], queue[0] = 0, 1.0, s
        head, tail, met = 0, 1, 0
        while head < tail:
            r = queue[head]
            head += 1
            met += weight[r] > 0
            for e in range(start[r], start[r + 1]):
                v = to[e]
                if far[v] < 0:
                    far[v] = far[r] + 1
                    queue[tail] = v
                    tail += 1
                if far[v] == far[r] + 1:
                    paths[v] += paths[r] * speed[e]
        if met < heavy:
            return load, False
        scale = weight[s]
        for i in range(tail - 1, 0, -1):
            v = queue[i]
            owed[v] += weight[v]
            for e in range(start[v], start[v + 1]):
                u = to[e]
                if far[u] == far[v] - 1:
                    part = owed[v] * paths[u] * speed[e] / paths[v]
                    owed[u] += part
                    load[e] += part * scale  # v to u: as much as u to v, all in all
    return load, True
