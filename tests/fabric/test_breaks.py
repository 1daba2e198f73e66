"""What stops, what slows, and by how much."""

from __future__ import annotations

import numpy as np
import pytest

from forebay.errors import BadInput
from forebay.fabric.build import build, propose
from forebay.fabric.design import ScaleUp
from forebay.fabric.health import broken, cut_off, damage, parse, pooled
from forebay.fabric.loads import of_groups
from forebay.fabric.routes import Routing, routes
from forebay.fabric.timing import place, timed
from forebay.fabric.traffic import Exchange, Traffic
from forebay.fabric.verify import ways

UP = ScaleUp(cards=8, bytes_per_s=450e9)


def ring_traffic(wiring, nbytes=1e9):
    """A ring on each rail, and nothing else."""
    rings = Exchange(name="ring", collective="ring_all_reduce", nbytes=nbytes, along=("host",))
    return Traffic(name="rings", grid={"rail": 8, "host": wiring.hosts}, compute_s=0.0, exchanges=(rings,), windows={})


@pytest.fixture(scope="module")
def dual():
    return build(propose("hpn", 64, scale_up=UP))


def test_a_lost_dual_tor_link_halves_a_synchronous_ring_through_that_nic(dual):
    hurt = damage(place(dual), (parse("port:0"),), ring_traffic(dual))
    assert not hurt.stops
    assert hurt.slower == pytest.approx(2.0, rel=1e-6)


def test_a_lost_dual_tor_link_costs_a_sixteenth_where_traffic_is_balanced_over_the_host(dual):
    def rate(wiring):
        at = place(pooled(wiring))
        groups = np.arange(wiring.cards)[None]
        return 1 / of_groups(at.wiring, at.graph, groups, 1.0, at.routing).seconds(at.capacity)

    lost = 1 - rate(broken(dual, (parse("port:0"),))) / rate(dual)
    assert lost == pytest.approx(0.0625, abs=0.005)


def test_with_a_single_tor_the_job_stops_and_is_told_who_is_cut_off():
    single = build(propose("rail-optimised", 64))
    hurt = damage(place(single), (parse("port:0"),), ring_traffic(single))
    assert hurt.stops and hurt.after.seconds == float("inf")
    assert hurt.cut_hosts == (0,)


def test_a_partition_is_an_answer():
    tree = build(propose("clos-2", 64))
    hosts_of_a_leaf = 32 // 8
    hurt = damage(place(tree), (parse("leaf:1"),), ring_traffic(tree))
    assert hurt.stops
    assert hurt.cut_hosts == tuple(range(hosts_of_a_leaf, 2 * hosts_of_a_leaf))


def test_a_lost_spine_costs_its_share_of_an_all_to_all_and_a_plane_half():
    tree = build(propose("clos-2", 128))
    spines = int((tree.router_tier == 2).sum())

    def all_to_all(wiring):
        return timed(place(wiring), "all_to_all", np.arange(wiring.cards)[None], 1e9).seconds

    # 31 of 32 leaves' worth of every leaf's bytes cross the spines; without the fault they just fit.
    crossing = (tree.cards - 32) / (tree.cards - 1)
    assert all_to_all(broken(tree, (parse("spine:0"),))) / all_to_all(tree) == pytest.approx(
        crossing * spines / (spines - 1), rel=1e-6
    )
    planes = build(propose("multi-plane", 128, planes=2, scale_up=UP))
    assert all_to_all(broken(planes, (parse("plane:1"),))) / all_to_all(planes) == pytest.approx(2.0, rel=1e-6)


def test_a_link_at_half_speed_is_half_a_link():
    tree = build(propose("clos-2", 64))
    half = broken(tree, (parse("port:3@50%"),))
    assert half.capacities()[6] == tree.capacities()[6] / 2
    assert not len(cut_off(half))


@pytest.mark.parametrize(
    "text, says",
    [("tor:1", "Nothing of that kind"), ("leaf", "no fault"), ("leaf:1@200%", "share"), ("leaf:99", "no such part")],
)
def test_a_fault_that_cannot_be_says_what_can(text, says):
    with pytest.raises(BadInput, match=says) as error:
        broken(build(propose("clos-2", 16)), (parse(text),))
    assert error.value.hint


@pytest.mark.parametrize("kind", ["rail-optimised", "rail-only", "mpft", "clos-2"])
def test_a_job_that_a_lost_port_stops_goes_on_when_it_is_started_anew(kind):
    """In and out through the scale-up and the next card's NIC, which then carries two rings: twice the time."""
    whole = build(propose(kind, 64, scale_up=UP))
    hurt = damage(place(whole), (parse("port:0"),), ring_traffic(whole))
    assert hurt.stops and not hurt.cut_hosts
    assert hurt.restarted is not None and hurt.restarted.cut == 0
    assert hurt.restarted.seconds / hurt.before.seconds == pytest.approx(2.0, rel=1e-6)


def test_started_anew_without_scale_up_it_still_stops():
    bare = build(propose("rail-optimised", 64))
    hurt = damage(place(bare), (parse("port:0"),), ring_traffic(bare))
    assert hurt.restarted is not None and hurt.restarted.cut > 0


@pytest.mark.parametrize("faults", [("port:0",), ("port:0", "port:1", "port:17"), ("leaf:0",)])
@pytest.mark.parametrize("kind", ["rail-optimised", "rail-only", "mpft", "clos-3", "multi-plane"])
def test_stand_ins_carry_what_their_flows_listed_carry(kind, faults):
    wiring = broken(build(propose(kind, 40, scale_up=UP, switch_ports=16)), tuple(map(parse, faults)))
    groups = np.arange(320).reshape(2, 160)
    at = place(wiring, Routing(stand_in=True))
    together = of_groups(wiring, at.graph, groups, 1.0, at.routing)
    pairs = np.array([(a, b) for row in groups for a in row for b in row if a != b])
    offsets, links, shares = ways(at, pairs[:, 0], pairs[:, 1])
    assert together.nbytes == pytest.approx(np.bincount(links, shares, minlength=wiring.links), abs=1e-6)
    assert together.cut == int((np.diff(offsets) == 0).sum())
    if len(faults) == 1:
        hashed = routes(wiring, at.graph, pairs[:, 0], pairs[:, 1], Routing(kind="ecmp", stand_in=True))
        crossed = np.bincount(hashed.links, minlength=wiring.links)
        scale_up = slice(wiring.first_scale_up_link, None)
        assert len(hashed.cut) == together.cut and crossed[scale_up] == pytest.approx(together.nbytes[scale_up])
