"""Hashed ways behave as they do in life: collisions, rails that help, ports that fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import forebay.fabric
from forebay.fabric.build import build, propose
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.graph import graph
from forebay.fabric.rates import load, rates
from forebay.fabric.routes import Routing, routes

NIC = 50e9
RECORDS = json.loads((Path(forebay.fabric.__file__).parent / "data" / "published.json").read_text())["collectives"]


@pytest.fixture(scope="module")
def tree():
    """A 3-tier fat tree of 10,240 hosts of one NIC."""
    wiring = build(Design(kind="clos-3", hosts=10_240, cards_per_host=1, nics_per_host=1))
    return wiring, graph(wiring)


def hashed(wiring, index, source, target, **how):
    found = routes(wiring, index, source, target, Routing(kind="ecmp", **how))
    got = rates(found.offsets, found.links, wiring.capacities())
    return found, got


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_permutation_gets_two_fifths_of_the_line_rate(tree, seed):
    wiring, index = tree
    target = np.random.default_rng(seed).permutation(wiring.cards)
    source = np.flatnonzero(target != np.arange(wiring.cards))
    found, got = hashed(wiring, index, source, target[source], seed=seed)
    assert got.bytes_per_s.mean() / NIC == pytest.approx(0.42, abs=0.02)
    # The certificate: a full link on which nobody is faster.
    carried = load(found.offsets, found.links, got.bytes_per_s, wiring.links)
    assert (carried <= wiring.capacities() * (1 + 1e-9)).all()
    assert carried[got.bottleneck] == pytest.approx(NIC)


def test_a_ring_in_the_order_of_the_hosts_runs_at_line_rate(tree):
    wiring, index = tree
    ring = np.arange(wiring.cards)
    _, got = hashed(wiring, index, ring, np.roll(ring, -1))
    assert got.bytes_per_s.min() / NIC == pytest.approx(1.0)


def test_more_queue_pairs_that_are_split_evenly_help_a_little(tree):
    """Equal split: a flow is as fast as its slowest sub-flow. Figures of our own prototype: 0.505 for 4, 0.633 for 16."""
    wiring, index = tree
    n = wiring.cards
    target = np.random.default_rng(5).permutation(n)
    source = np.flatnonzero(target != np.arange(n))
    for pairs, expected in [(4, 0.505), (16, 0.633)]:
        flows = np.repeat(source, pairs)
        found = routes(wiring, index, flows, target[flows], Routing(kind="ecmp"), np.arange(len(flows)))
        got = rates(found.offsets, found.links, wiring.capacities()).bytes_per_s.reshape(-1, pairs)
        assert (pairs * got.min(axis=1)).mean() / NIC == pytest.approx(expected, abs=0.03)


def test_hashes_that_all_switches_share_polarise(tree):
    wiring, index = tree
    target = np.random.default_rng(1).permutation(wiring.cards)
    source = np.flatnonzero(target != np.arange(wiring.cards))
    _, apart = hashed(wiring, index, source, target[source])
    _, alike = hashed(wiring, index, source, target[source], polarised=True)
    assert alike.bytes_per_s.mean() < apart.bytes_per_s.mean()


def busbw(system: str) -> float:
    """GB/s at the largest message of a simulated system of the published records."""
    return max((r["message_bytes"], r["busbw_GBps"]) for r in RECORDS if r["system"] == system)[1]


def rings(wiring, seed):
    """Eight rings of 32 hosts at once, a rail each: the rate of each, that of its slowest flow."""
    host, rail = np.divmod(np.arange(256), 8)
    source, target = host * 8 + rail, (host + 1) % 32 * 8 + rail
    _, got = hashed(wiring, graph(wiring), source, target, seed=seed)
    return got.bytes_per_s.reshape(32, 8).min(axis=0)


def test_rails_that_are_aligned_beat_those_that_are_not_as_in_simai():
    """aliyun/SimAI, docs/Tutorial: `-topo Spectrum-X -g 256` against `-topo DCN+ -g 256 -psn 64 -bw 400Gbps`: 64 NICs a ToR,
    64 spines, a 400 Gbit/s cable from each ToR to each. One efficiency for both: what its aligned ring reaches of 50 GB/s."""
    up = ScaleUp(cards=8, bytes_per_s=180e9)
    railed = build(propose("rail-optimised", 32, switch_ports=128, scale_up=up))
    plain = build(propose("clos-2", 32, switch_ports=128, scale_up=up))
    tors, spines = 4, 64
    single = replace(
        plain,
        router_tier=np.repeat([1, 2], [tors, spines]).astype(np.int32),
        router_plane=np.zeros(tors + spines, np.int32),
        router_group=np.zeros(tors + spines, np.int32),
        router_ports=np.zeros(tors + spines, np.int32),
        port_router=(np.arange(256) // 64).astype(np.int32),
        cable_a=np.repeat(np.arange(tors), spines).astype(np.int32),
        cable_b=np.tile(tors + np.arange(spines), tors).astype(np.int32),
        cable_bytes_per_s=np.full(tors * spines, NIC),
    )
    efficiency = busbw("S28") * 1e9 / NIC
    aligned = np.mean([rings(railed, seed).mean() for seed in range(20)]) * efficiency / 1e9
    unaligned = np.mean([rings(single, seed).mean() for seed in range(20)]) * efficiency / 1e9
    assert busbw("S28") == pytest.approx(45.7, abs=0.1) and busbw("S29") == pytest.approx(36.2, abs=0.1)
    assert aligned == pytest.approx(45.7, rel=0.15)
    assert unaligned == pytest.approx(36.2, rel=0.15)
    assert unaligned < 0.9 * aligned
