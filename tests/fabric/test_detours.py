"""Valiant and UGAL against every detour listed, and what loads and times refuse."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.fabric import detours, loads
from forebay.fabric import verify as verifying
from forebay.fabric.build import build, propose
from forebay.fabric.design import ScaleUp
from forebay.fabric.graph import graph
from forebay.fabric.health import broken, parse
from forebay.fabric.presets import preset
from forebay.fabric.routes import Routing
from forebay.fabric.timing import place, timed
from forebay.fabric.verify import verify, ways

UP = ScaleUp(cards=8, bytes_per_s=450e9)


def away_from(wiring, home):
    """Cables from each router to `home`, by a search of our own."""
    there = {home: 0}
    queue = deque([home])
    live = wiring.cable_bytes_per_s > 0
    while queue:
        at = queue.popleft()
        for a, b in ((wiring.cable_a, wiring.cable_b), (wiring.cable_b, wiring.cable_a)):
            for to in b[live & (a == at)]:
                if int(to) not in there:
                    there[int(to)] = there[at] + 1
                    queue.append(int(to))
    return there


def spray(wiring, start, end, nbytes, carried, known):
    """Put so many bytes on all shortest ways, each router splitting by the speed of what leads closer."""
    away = known.setdefault(end, away_from(wiring, end))
    held = {start: nbytes}
    for distance in range(away[start], 0, -1):
        for router in [r for r in held if away[r] == distance]:
            out = [(2 * c, int(wiring.cable_b[c]), wiring.cable_bytes_per_s[c]) for c in np.flatnonzero(wiring.cable_a == router)]
            out += [
                (2 * c + 1, int(wiring.cable_a[c]), wiring.cable_bytes_per_s[c]) for c in np.flatnonzero(wiring.cable_b == router)
            ]
            closer = [(link, to, speed) for link, to, speed in out if speed > 0 and away.get(to) == distance - 1]
            total = sum(speed for _, _, speed in closer)
            for link, to, speed in closer:
                carried[wiring.first_cable_link + link] += held[router] * speed / total
                held[to] = held.get(to, 0.0) + held[router] * speed / total
            del held[router]


def listed(wiring, pairs, middles):
    """Each pair by way of each of these routers alike, or straight; the cards hang by one port each, whose loads stand too."""
    at = {int(unit): (p, int(wiring.port_router[p])) for p, unit in enumerate(wiring.port_unit)}
    carried, known = np.zeros(wiring.links), {}
    for a, b in pairs:
        (out, start), (into, end) = at[int(wiring.unit_of[a])], at[int(wiring.unit_of[b])]
        carried[2 * out] += 1.0
        carried[2 * into + 1] += 1.0
        for middle in middles or [start]:
            part = 1.0 / len(middles or [start])
            spray(wiring, start, middle, part, carried, known)
            spray(wiring, middle, end, part, carried, known)
    return carried


SMALL = {
    "dragonfly": {"switch_ports": 8, "hosts": 36},
    "slim-fly": {"switch_ports": 16},
    "hyperx": {"switch_ports": 8},
    "torus": {"shape": (4, 4), "cards_per_host": 4, "nics_per_host": 4},
    "clos-2": {"switch_ports": 8, "cards_per_host": 4, "nics_per_host": 4},
}


def small(kind):
    more = {"cards_per_host": 2, "nics_per_host": 2} | SMALL[kind]
    return build(propose(kind, more.pop("hosts", 16 // more["cards_per_host"]), **more))


def shift(wiring, by):
    return [(a, (a + by) % wiring.cards) for a in range(wiring.cards)]


@pytest.mark.parametrize("fault", [None, "link:0", "link:1@50%"])
@pytest.mark.parametrize("kind", SMALL)
def test_valiants_loads_are_those_of_every_detour_listed(kind, fault):
    wiring = small(kind) if not fault else broken(small(kind), (parse(fault),))
    pairs = (shift(wiring, 3) + shift(wiring, 5))[:: max(1, wiring.cards // 16)]
    source, target = np.array(pairs).T
    leaves = np.unique(wiring.port_router).tolist()
    found = loads.of_pairs(wiring, graph(wiring), source, target, 1.0, Routing(kind="valiant"))
    np.testing.assert_allclose(found.nbytes, listed(wiring, pairs, leaves), atol=1e-9)
    straight = loads.of_pairs(wiring, graph(wiring), source, target, 1.0, Routing())
    np.testing.assert_allclose(straight.nbytes, listed(wiring, pairs, []), atol=1e-9)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("by", [1, 3, 8])
def test_ugal_is_the_best_of_a_thousand_mixes(kind, by):
    wiring = small(kind)
    pairs = shift(wiring, by)
    source, target = np.array(pairs).T
    near, far = listed(wiring, pairs, []), listed(wiring, pairs, np.unique(wiring.port_router).tolist())
    capacity = wiring.capacities()
    used = (near + far > 0) & (capacity > 0)
    best = min(((near + x * (far - near))[used] / capacity[used]).max() for x in np.linspace(0, 1, 1001))
    found = loads.of_pairs(wiring, graph(wiring), source, target, 1.0, Routing(kind="ugal")).seconds(capacity)
    assert best * (1 - 2e-3) <= found <= best * (1 + 1e-9)


@pytest.mark.parametrize("scale_up", [None, ScaleUp(cards=2, bytes_per_s=450e9)], ids=["bare", "nvlink"])
@pytest.mark.parametrize("kind", ["dragonfly", "slim-fly", "hyperx"])
@pytest.mark.parametrize("routing, share", [("valiant", 1.0), ("ugal", None)])
def test_the_ways_of_each_flow_that_goes_round_add_up_to_the_loads(kind, scale_up, routing, share):
    """Listed by themselves, with the hand-over through the scale-up."""
    wiring = replace(small(kind), scale_up_bytes_per_s=scale_up.bytes_per_s if scale_up else 0.0)
    wiring = replace(wiring, domain_of=wiring.host_of) if scale_up else wiring
    index = graph(wiring)
    source, target = np.array(shift(wiring, 3)[::2]).T
    found = loads.of_pairs(wiring, index, source, target, 1.0, Routing(kind=routing)).nbytes
    if share is None:
        near, far = (loads.of_pairs(wiring, index, source, target, 1.0, Routing(kind=one)).nbytes for one in ("spray", "valiant"))
        used = near + far > 0
        share = loads.best_share(near[used] / wiring.capacities()[used], far[used] / wiring.capacities()[used])
    _, links, shares = detours.mixed(wiring, index, ways(place(wiring), source, target), share)
    np.testing.assert_allclose(np.bincount(links, shares, minlength=wiring.links), found, atol=1e-9)


@pytest.mark.parametrize("kind", ["dragonfly", "slim-fly", "hyperx"])
def test_a_step_that_goes_round_is_verified_flow_by_flow(kind, monkeypatch):
    wiring = build(propose(kind, 64, scale_up=UP))
    at = place(wiring, Routing(kind="ugal"))
    traffic = preset("dense-70b", wiring.cards, catalogue.find("h100-sxm"))
    sure = verify(at, traffic)
    assert sure.worst < 1e-6 and sure.flows > 100
    # Claimed to carry less than it does.
    real = verifying.round_loads
    monkeypatch.setattr(verifying, "round_loads", lambda *asked: replace(real(*asked), nbytes=real(*asked).nbytes * 0.9))
    assert verify(at, traffic).worst > 0.01


def test_nics_of_several_ports_are_not_listed_with_detours():
    wiring = build(propose("multi-plane", 8, scale_up=UP))
    pairs = np.array([0, 8]), np.array([16, 24])
    with pytest.raises(BadInput, match="NICs of one port"):
        detours.mixed(wiring, graph(wiring), ways(place(wiring), *pairs), 0.5)


@pytest.mark.parametrize("kind", ["torus", "nd-full-mesh", "clos-2", "rail-optimised"])
@pytest.mark.parametrize("routing", ["spray", "ecmp", "valiant", "ugal"])
def test_a_card_that_sends_to_itself_uses_no_link(kind, routing):
    wiring = build(propose(kind, 8, scale_up=UP))
    card = np.arange(wiring.cards)
    assert not loads.of_pairs(wiring, graph(wiring), card, card, 1.0, Routing(kind=routing)).nbytes.any()


@pytest.fixture(scope="module")
def rails():
    return build(propose("rail-optimised", 8, scale_up=UP))


@pytest.mark.parametrize(
    "groups, nbytes, name, words",
    [
        ([[0, 64]], 1.0, "ring_all_reduce", "card 64"),
        ([[0, -1]], 1.0, "ring_all_reduce", "card -1"),
        ([[0, 1], [1, 2]], 1.0, "ring_all_reduce", "share no card"),
        ([0, 1], 1.0, "ring_all_reduce", "rows of cards"),
        ([[0, 1]], -1.0, "ring_all_reduce", "zero bytes or more"),
        ([[0, 1]], float("nan"), "ring_all_reduce", "zero bytes or more"),
        ([[0, 1]], float("inf"), "ring_all_reduce", "zero bytes or more"),
    ],
)
def test_a_collective_that_cannot_be_timed_is_refused(rails, groups, nbytes, name, words):
    with pytest.raises(BadInput, match=words):
        timed(place(rails), name, groups, nbytes)


def test_a_misspelt_collective_is_told_one_that_works(rails):
    with pytest.raises(BadInput) as told:
        timed(place(rails), "ring_all_redcue", [[0, 8]], 1.0)
    assert timed(place(rails), told.value.hint.split(", ")[0], [[0, 8]], 1.0).seconds > 0


def test_loads_that_cannot_be_are_refused(rails):
    index = graph(rails)
    for source, target, nbytes in [
        ([0], [64], 1.0),
        ([-1], [0], 1.0),
        ([0], [1], -1.0),
        ([0], [1], float("nan")),
        ([0], [1, 2], 1.0),
    ]:
        with pytest.raises(BadInput):
            loads.of_pairs(rails, index, np.array(source), np.array(target), nbytes, Routing())
    for groups, nbytes in [([[0, 0]], 1.0), ([[0, 99]], 1.0), ([[0, 1]], -1.0), ([0, 1], 1.0)]:
        with pytest.raises(BadInput):
            loads.of_groups(rails, index, np.array(groups), nbytes, Routing())
    with pytest.raises(BadInput, match="spray, ecmp"):
        Routing(kind="adaptive")
    with pytest.raises(BadInput, match="at least one"):
        Routing(kind="ecmp", subflows=0)
