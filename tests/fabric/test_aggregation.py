"""What is added up without listing equals what is listed."""

from __future__ import annotations

import numpy as np
import pytest

from forebay.fabric import lattice, loads
from forebay.fabric.build import build, propose
from forebay.fabric.design import ScaleUp
from forebay.fabric.graph import graph
from forebay.fabric.health import broken, parse
from forebay.fabric.routes import Routing
from forebay.fabric.timing import place
from forebay.fabric.verify import ways

UP = ScaleUp(cards=8, bytes_per_s=450e9)
FABRICS = ["clos-2", "rail-optimised", "rail-only", "hpn", "mpft", "multi-plane", "dragonfly", "slim-fly", "hyperx", "torus",
           "nd-full-mesh"]  # fmt: skip


def every_pair(n):
    source, target = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    keep = source != target
    return source[keep], target[keep]


@pytest.mark.parametrize("scale_up", [None, UP], ids=["bare", "nvlink"])
@pytest.mark.parametrize("fault", [None, "port:0", "link:0"])
@pytest.mark.parametrize("kind", FABRICS)
def test_an_all_to_all_of_256_cards_equals_its_65280_flows(kind, fault, scale_up):
    wiring = build(propose(kind, 32, scale_up=scale_up))
    if fault and (not wiring.direct if fault == "port:0" else len(wiring.cable_a)):
        wiring = broken(wiring, (parse(fault),))
    index, n = graph(wiring), wiring.cards
    together = loads.of_groups(wiring, index, np.arange(n)[None], 1.0, Routing())
    source, target = every_pair(n)
    offsets, links, shares = ways(place(wiring), source, target)
    listed = np.bincount(links, shares, minlength=wiring.links)
    assert together.nbytes == pytest.approx(listed, abs=1e-6, rel=1e-6)
    one_by_one = loads.of_pairs(wiring, index, source, target, 1.0, Routing())
    assert together.nbytes == pytest.approx(one_by_one.nbytes, abs=1e-6)
    assert together.cut == one_by_one.cut == int((np.diff(offsets) == 0).sum())


def test_an_all_to_all_of_512_cards_does_too():
    wiring = build(propose("rail-only", 64, scale_up=UP))
    source, target = every_pair(512)
    together = loads.of_groups(wiring, graph(wiring), np.arange(512)[None], 1.0, Routing())
    one_by_one = loads.of_pairs(wiring, graph(wiring), source, target, 1.0, Routing())
    assert together.nbytes == pytest.approx(one_by_one.nbytes, abs=1e-6)


@pytest.mark.parametrize("scale_up", [None, UP], ids=["bare", "nvlink"])
@pytest.mark.parametrize("convolved", [0, 1e9], ids=["convolved", "moved"])
@pytest.mark.parametrize(
    "kind, shape", [("torus", (16, 16)), ("torus", (8, 8, 4)), ("torus", (2, 8, 16)), ("nd-full-mesh", (8, 8, 4))]
)
def test_a_lattice_gives_what_the_long_way_gives(kind, shape, convolved, scale_up, monkeypatch):
    wiring = build(propose(kind, 32, shape=shape, scale_up=scale_up))
    index = graph(wiring)
    dice = np.random.default_rng(0)
    target, size = dice.permutation(256), dice.uniform(1, 2, 256)
    monkeypatch.setattr(lattice, "CONVOLVED", convolved)
    assert lattice.lattice(wiring, index) is not None
    short = loads.of_pairs(wiring, index, np.arange(256), target, size, Routing())
    monkeypatch.setattr(loads, "lattice", lambda *_: None)
    long = loads.of_pairs(wiring, index, np.arange(256), target, size, Routing())
    assert short.nbytes == pytest.approx(long.nbytes, abs=1e-9)


@pytest.mark.parametrize("kind", ["dragonfly", "slim-fly", "hyperx"])
def test_ugal_is_never_slower_than_either_of_what_it_mixes(kind):
    wiring = build(propose(kind, 64))
    index, capacity = graph(wiring), wiring.capacities()
    shift = (np.arange(wiring.cards) + wiring.cards // 2) % wiring.cards

    def seconds(routing):
        return loads.of_pairs(wiring, index, np.arange(wiring.cards), shift, 1.0, Routing(kind=routing)).seconds(capacity)

    mixed = seconds("ugal")
    assert mixed <= seconds("spray") * (1 + 1e-9)
    assert mixed <= seconds("valiant") * (1 + 1e-9)


def test_bytes_are_conserved_on_valiants_detour():
    """Each pair of different leaves goes over a middle: what enters the network leaves it."""
    wiring = build(propose("slim-fly", 25, shape=(5,), switch_ports=32))
    dice = np.random.default_rng(1)
    target, size = dice.permutation(wiring.cards), dice.uniform(1, 2, wiring.cards)
    found = loads.of_pairs(wiring, graph(wiring), np.arange(wiring.cards), target, size, Routing(kind="valiant")).nbytes
    ports = found[: wiring.first_cable_link].reshape(-1, 2)
    moved = target != np.arange(wiring.cards)
    assert ports[:, 0].sum() == pytest.approx(size[moved].sum())
    assert ports[:, 1].sum() == pytest.approx(size[moved].sum())
