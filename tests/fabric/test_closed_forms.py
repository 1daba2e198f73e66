"""Collectives take what their closed forms say, within a thousandth, on the fabrics for which those hold."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from math import log2

import numpy as np
import pytest

from forebay.fabric.build import build, propose
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.ideal import crossbar
from forebay.fabric.physics import DEFAULT, Physics, bus_factor
from forebay.fabric.timing import place, timed
from forebay.units import GB

B, S = 50e9, 1e9
LATE = Physics(message_s=2e-6)
THOUSANDTH = 1e-3


def at_crossbar(n, physics=LATE):
    return place(crossbar(Design(kind="crossbar", hosts=n, cards_per_host=1, nics_per_host=1)), physics=physics)


def one_group(n):
    return np.arange(n)[None]


@pytest.mark.parametrize("n", [2, 7, 64, 500])
@pytest.mark.parametrize("name, parts", [("ring_all_reduce", 2), ("ring_reduce_scatter", 1), ("ring_all_gather", 1)])
def test_rings(name, parts, n):
    form = parts * (n - 1) * 2e-6 + parts * (n - 1) / n * S / B
    assert timed(at_crossbar(n), name, one_group(n), S).seconds == pytest.approx(form, rel=THOUSANDTH)


@pytest.mark.parametrize("n", [2, 16, 256])
def test_halving_and_doubling(n):
    form = 2 * log2(n) * 2e-6 + 2 * (n - 1) / n * S / B
    assert timed(at_crossbar(n), "halving_all_reduce", one_group(n), S).seconds == pytest.approx(form, rel=THOUSANDTH)
    small = log2(n) * (2e-6 + 1024 / B)
    assert timed(at_crossbar(n), "doubling_all_reduce", one_group(n), 1024).seconds == pytest.approx(small, rel=THOUSANDTH)


def test_a_double_tree_is_a_pipeline_of_two_buffers():
    n, depth = 256, 8
    best = min((2 * depth - 1 + k) * (2e-6 + 4 * S / (2 * k) / B) for k in (8, 64, 512, 4096))
    assert timed(at_crossbar(n), "double_tree_all_reduce", one_group(n), S).seconds == pytest.approx(best, rel=0.02)
    at_once = timed(at_crossbar(n, Physics()), "double_tree_all_reduce", one_group(n), S).seconds
    assert at_once == pytest.approx(2 * S / B, rel=0.02)


@pytest.mark.parametrize("kind, hosts", [("clos-2", 128), ("clos-3", 256), ("rail-optimised", 128), ("hpn", 64)])
def test_an_all_to_all_on_full_bisection_is_bound_by_the_nics(kind, hosts):
    wiring = build(propose(kind, hosts))
    n = wiring.cards
    took = timed(place(wiring), "all_to_all", one_group(n), S).seconds
    assert took == pytest.approx((n - 1) / n * S / B, rel=THOUSANDTH)


@pytest.mark.parametrize("shape", [(8, 8), (4, 4, 4), (8, 4)])
def test_an_all_to_all_on_a_torus_is_bound_by_its_longest_side(shape):
    wiring = build(propose("torus", int(np.prod(shape)) // 8, shape=shape))
    link = wiring.cable_bytes_per_s[0]
    took = timed(place(wiring), "all_to_all", one_group(wiring.cards), S).seconds
    assert took == pytest.approx(S * max(shape) / 8 / link, rel=THOUSANDTH)


@pytest.mark.parametrize("kind, shape, cube", [("torus", (8, 8), ()), ("torus", (4, 4, 4), ()), ("ocs-torus", (8, 8, 8), (4,))])
def test_a_bucket_all_reduce_uses_every_link_of_a_torus(kind, shape, cube):
    """With faces that meet in circuit switches too: a circuit is a cable."""
    wiring = build(propose(kind, int(np.prod(shape)) // 8, shape=(*shape, *cube)))
    n, d, link = wiring.cards, len(shape), wiring.cable_bytes_per_s[0]
    took = timed(place(wiring), "bucket_all_reduce", one_group(n), S)
    assert took.seconds == pytest.approx(2 * (n - 1) / n * S / (2 * d * link), rel=THOUSANDTH)
    assert timed(place(wiring), "all_reduce", one_group(n), S).seconds <= took.seconds


def test_a_hierarchical_all_reduce_goes_inside_then_along_the_rails():
    g, m, inside = 8, 16, 450e9
    wiring = build(propose("rail-optimised", m, scale_up=ScaleUp(cards=g, bytes_per_s=inside)))
    form = 2 * (g - 1) / g * S / inside + 2 * (m - 1) / m * (S / g) / B
    took = timed(place(wiring), "hierarchical_all_reduce", one_group(g * m), S)
    assert took.seconds == pytest.approx(form, rel=THOUSANDTH)
    assert took.latency_s == 0.0


@pytest.mark.parametrize("m", [2, 16])
def test_in_slices_its_steps_overlap_and_the_slowest_sets_the_pace(m):
    """Both steps inside share the scale-up, both between hosts the NICs: the busier of the two, and the first slice's way."""
    g, inside, k = 8, 450e9, 128
    wiring = build(propose("rail-optimised", m, scale_up=ScaleUp(cards=g, bytes_per_s=inside)))
    within, between = 2 * (g - 1) / g * S / inside, 2 * (m - 1) / m * (S / g) / B
    form = (within + between) / k + (k - 1) / k * max(within, between)
    took = timed(place(wiring), "all_reduce", one_group(g * m), S)
    assert took.collective == "pipelined_all_reduce"
    assert took.seconds == pytest.approx(form, rel=THOUSANDTH)
    assert took.busy_s.max() == pytest.approx(max(within, between), rel=THOUSANDTH)
    for name, inner, outer in (
        ("pipelined_all_gather", (g - 1) / g * S / inside, (m - 1) / m * S / g / B),
        ("pipelined_reduce_scatter", (g - 1) / g * S / inside, (m - 1) / m * S / g / B),
    ):
        half = timed(place(wiring), name, one_group(g * m), S).seconds
        assert half == pytest.approx((inner + outer) / k + (k - 1) / k * max(inner, outer), rel=THOUSANDTH)


@pytest.mark.parametrize("m", [2, 16])
def test_rings_over_all_rails_use_every_nic_for_the_whole_way(m):
    """A gather alone, as libraries do it: no card's bytes are spared the way between hosts."""
    g, inside = 8, 450e9
    wiring = build(propose("rail-optimised", m, scale_up=ScaleUp(cards=g, bytes_per_s=inside)))
    n = g * m
    form = (n - 1) / n * S * max(1 / g / B, (g - 1) / g / inside)
    took = timed(place(wiring), "all_gather", one_group(n), S)
    assert took.collective == "rails_all_gather"
    assert took.seconds == pytest.approx(form, rel=THOUSANDTH)
    assert timed(place(wiring), "rails_all_reduce", one_group(n), S).seconds == pytest.approx(2 * form, rel=THOUSANDTH)


def test_slices_cost_their_latency_so_small_buffers_are_not_cut():
    wiring = build(propose("rail-optimised", 64, scale_up=ScaleUp(cards=8, bytes_per_s=450e9)))
    at, everyone = place(wiring, physics=LATE), one_group(512)
    assert timed(at, "all_reduce", everyone, 1e5).collective != "pipelined_all_reduce"
    for size in (1e5, 1e7, 1e9):
        whole, cut = (timed(at, f"{how}_all_reduce", everyone, size).seconds for how in ("hierarchical", "pipelined"))
        assert cut <= whole


def test_a_pipeline_is_what_two_hosts_of_eight_rails_were_measured_at():
    """Nothing fitted: NVLink's and the NICs' rates of the data sheets, and the room's usual physics. One step after the other
    comes out 40 % below."""
    data = json.loads((files("forebay.fabric") / "data" / "published.json").read_text())
    records = [r for r in data["collectives"] if r["id"].startswith(("C10.", "C11."))]
    wiring = build(propose("rail-optimised", 2, scale_up=ScaleUp(cards=8, bytes_per_s=450e9)))
    at = place(wiring, physics=DEFAULT)

    def off(name, record):
        took = timed(at, name, one_group(16), record["message_bytes"]).seconds
        return bus_factor("all_reduce", 16) * record["message_bytes"] / took / (record["busbw_GBps"] * GB) - 1

    assert len(records) == 8
    assert np.median([abs(off("all_reduce", r)) for r in records]) <= 0.05
    assert max(abs(off("all_reduce", r)) for r in records) <= 0.08
    assert np.median([off("hierarchical_all_reduce", r) for r in records]) < -0.35


@pytest.mark.parametrize("ratio", [1.0, 3.0, 7.0])
def test_an_oversubscribed_leaf_divides_the_rate(ratio):
    wiring = build(propose("clos-2", 128, oversubscription=ratio))
    down = int(np.bincount(wiring.port_router).max())
    up = int((wiring.cable_a == 0).sum())
    n = wiring.cards
    shifted = np.stack([np.arange(n), (np.arange(n) + down) % n], axis=1).reshape(-1, 2)
    half = shifted[: n // (2 * down) * 2 * down]
    pairs = half[(half[:, 0] // down) % 2 == 0]
    took = timed(place(wiring), "send_recv", pairs, S).seconds
    assert took == pytest.approx(S / B * max(1.0, down / up), rel=THOUSANDTH)


def test_faster_links_never_make_anything_slower():
    wiring = build(propose("slim-fly", 25, shape=(5,), switch_ports=32))
    slow = [timed(place(wiring), name, one_group(wiring.cards), S).seconds for name in ("ring_all_reduce", "all_to_all")]
    faster = replace(wiring, cable_bytes_per_s=wiring.cable_bytes_per_s * 1.5)
    fast = [timed(place(faster), name, one_group(wiring.cards), S).seconds for name in ("ring_all_reduce", "all_to_all")]
    assert all(b <= a * (1 + 1e-12) for a, b in zip(slow, fast, strict=True))


def striped(leaves, ports, spines):
    """A two-tier tree of leaves half down, half up, whose uplinks go round over so many spines, on from where the last leaf
    ended: each leaf has the floor or the ceiling of its share to each spine."""
    even = build(propose("clos-2", leaves * ports // 2, cards_per_host=1, nics_per_host=1, switch_ports=ports))
    up = ports // 2
    kept = np.concatenate([np.arange(leaves), leaves + np.arange(spines)])
    ends = leaves + np.arange(leaves * up) % spines
    assert np.bincount(ends)[leaves:].max() <= ports
    return even, replace(
        even,
        **{name: getattr(even, name)[kept] for name in ("router_tier", "router_plane", "router_group", "router_ports")},
        cable_a=np.repeat(np.arange(leaves), up).astype(np.int32),
        cable_b=ends.astype(np.int32),
        cable_bytes_per_s=np.full(leaves * up, B),
    )


@pytest.mark.parametrize("leaves, ports, spines", [(10, 16, 5), (40, 64, 20)])
def test_uneven_stripes_save_spines_and_lose_more_of_an_all_to_all(leaves, ports, spines):
    """A leaf spreads over its uplinks, blind to how many lead down from a spine: two arrive and one leads on."""
    even, uneven = striped(leaves, ports, spines)
    assert int((even.router_tier == 2).sum()) == ports // 2 > spines
    took = [timed(place(w), "all_to_all", one_group(w.cards), S).seconds for w in (even, uneven)]
    assert took[0] == pytest.approx((even.cards - 1) / even.cards * S / B, rel=0.01)
    fewer = spines / (ports // 2)
    # A spine brings 1 / spines of all that a leaf gets, over one cable where it has the floor of ports / 2 / spines.
    crossing = (leaves - 1) / leaves * ports / 2 / spines
    assert took[1] == pytest.approx(crossing * S / B, rel=0.05)
    assert took[0] / took[1] == pytest.approx(fewer, rel=0.1)
