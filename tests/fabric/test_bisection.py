"""Bounds on the bisection hold against every cut there is, and meet where theory has a figure."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.codec import decode, encode
from forebay.fabric.bisection import Bisection, bisection
from forebay.fabric.build import build, propose
from forebay.fabric.counts import counts
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.hops import hops

NVLINK = ScaleUp(cards=8, bytes_per_s=450e9)
ONE = {"cards_per_host": 1, "nics_per_host": 1, "port_bytes_per_s": 1.0}


def by_trying_all(w):
    """The least cut over all halves of the cards and all places of the switches."""
    free = [r for r in range(w.routers) if w.router_tier[r] > 0]
    least = np.inf
    for half in combinations(range(w.cards), w.cards // 2):
        if 0 not in half and w.cards % 2 == 0:
            continue
        card = np.isin(np.arange(w.cards), half)
        at = np.zeros(w.routers, bool)
        if w.direct:
            at[w.port_router] = card
        unit = np.zeros(w.units, bool)
        unit[w.unit_of] = card
        for places in product((False, True), repeat=len(free)):
            at[free] = places
            cables = w.cable_bytes_per_s[at[w.cable_a] != at[w.cable_b]].sum()
            ports = w.port_bytes_per_s[at[w.port_router] != unit[w.port_unit]].sum()
            least = min(least, cables + ports)
    return least


@pytest.mark.parametrize(
    "design",
    [
        Design(kind="torus", hosts=8, shape=(2, 4), **ONE),
        Design(kind="torus", hosts=9, shape=(3, 3), **ONE),
        Design(kind="nd-full-mesh", hosts=8, shape=(4, 2), **ONE),
        Design(kind="nd-full-mesh", hosts=9, shape=(3, 3), **ONE),
        Design(kind="full-mesh", hosts=7, **ONE),
        Design(kind="hyperx", hosts=8, shape=(2, 2), **ONE),
        Design(kind="hyperx", hosts=6, shape=(3, 2), **ONE),
        Design(kind="dragonfly", hosts=6, shape=(2, 1, 3), **ONE),
        Design(kind="clos-2", hosts=8, switch_ports=4, **ONE),
        Design(kind="clos-2", hosts=7, switch_ports=4, **ONE),
        Design(kind="clos-2", hosts=8, switch_ports=6, oversubscription=2.0, **ONE),
        Design(kind="rail-only", hosts=4, cards_per_host=2, nics_per_host=2, port_bytes_per_s=1.0, switch_ports=4),
        Design(kind="multi-plane", hosts=6, switch_ports=2, planes=2, **ONE),
    ],
    ids=lambda d: f"{d.kind}-{d.shape}-{d.hosts}-{d.oversubscription:g}",
)
def test_the_bounds_hold_against_every_cut(design):
    w = build(design)
    b, true = bisection(w), by_trying_all(w)
    assert b.lower_bytes_per_s <= true * (1 + 1e-9) and b.upper_bytes_per_s >= true * (1 - 1e-9), b
    if b.exact:
        assert b.lower_bytes_per_s == pytest.approx(true)


@pytest.mark.parametrize(
    "kind, more",
    [("clos-2", {}), ("clos-3", {}), ("rail-optimised", {}), ("rail-only", {}), ("mpft", {}), ("multi-plane", {}), ("hpn", {})],
)
def test_a_tree_that_is_not_oversubscribed_has_full_bisection(kind, more):
    b = bisection(build(propose(kind, 128, scale_up=NVLINK, **more)))
    assert b.exact and b.fraction == 1.0 and b.full_bytes_per_s == 512 * 50e9


@pytest.mark.parametrize("ratio, on_a_leaf", [(2.0, 5), (3.0, 6), (4.0, 6)])
def test_an_oversubscribed_tree_has_its_part(ratio, on_a_leaf):
    hosts = 4 * on_a_leaf  # whole leaves, an even number of them
    w = build(propose("clos-2", hosts, oversubscription=ratio))
    b = bisection(w)
    assert b.exact and b.fraction == pytest.approx(1 / ratio)


def test_two_pods_of_hpn_have_what_their_cores_carry():
    w = build(Design(kind="hpn", hosts=3840, switch_ports=128, shape=(128, 60, 8), scale_up=NVLINK))
    b = bisection(w)
    assert b.exact and b.lower_bytes_per_s == pytest.approx(2 * 60 * 8 * 50e9), "every uplink of the one pod's aggregation"


def test_rails_apart_have_none_unless_scale_up_joins_them():
    assert bisection(build(propose("rail-only", 64))).upper_bytes_per_s == 0
    assert bisection(build(propose("rail-only", 64, scale_up=NVLINK))).fraction == 1.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([2, 4, 6, 8]), min_size=2, max_size=3))
def test_a_torus_of_even_sides_has_two_cables_a_line_of_its_longest_side(sides):
    n = prod(sides)
    w = build(Design(kind="torus", hosts=n, shape=tuple(sides), **ONE))
    b = bisection(w)
    assert b.exact and b.lower_bytes_per_s == pytest.approx(2 * n / max(sides) / (2 * len(sides)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([2, 4, 6]), min_size=1, max_size=3), st.integers(1, 2))
def test_a_hyperx_of_even_sides_has_a_quarter_of_its_shortest_side_a_switch(sides, parallel):
    n = prod(sides)
    w = build(
        Design(kind="hyperx", hosts=64 * n, shape=tuple(sides), switch_ports=256, parallel=parallel, concentration=64, **ONE)
    )
    b = bisection(w)
    assert b.exact and b.lower_bytes_per_s == pytest.approx(min(32, min(sides) / 4 * parallel) * n)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(
        ["clos-2", "rail-optimised", "dragonfly", "dragonfly-plus", "slim-fly", "hyperx", "torus", "nd-full-mesh"]
    ),
    hosts=st.integers(8, 60),
    speed=st.sampled_from([1e9, 50e9]),
)
def test_bounds_are_in_order_and_go_with_the_speed(kind, hosts, speed):
    w = build(propose(kind, hosts, port_bytes_per_s=speed))
    b = bisection(w)
    assert 0 < b.lower_bytes_per_s <= b.upper_bytes_per_s <= b.full_bytes_per_s * (1 + 1e-12)
    twice = bisection(build(replace(w.design, port_bytes_per_s=2 * speed)))
    assert twice.lower_bytes_per_s == pytest.approx(2 * b.lower_bytes_per_s)
    assert decode(Bisection, json.loads(json.dumps(encode(b)))) == b


def test_what_is_taken_out_is_missed():
    w = build(propose("clos-2", 64))
    speed = w.cable_bytes_per_s
    broken = replace(w, cable_bytes_per_s=np.where(np.arange(len(speed)) % 2, speed, 0))
    b = bisection(broken)
    assert b.upper_bytes_per_s <= 0.5 * bisection(w).upper_bytes_per_s * (1 + 1e-9) and b.lower_bytes_per_s > 0
    apart = replace(w, cable_bytes_per_s=0 * speed)
    assert bisection(apart).upper_bytes_per_s == 0


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["torus", "nd-full-mesh"]), st.lists(st.integers(2, 6), min_size=2, max_size=3))
def test_the_closed_form_of_all_to_all_is_what_counting_loads_gives(kind, sides):
    w = build(Design(kind=kind, hosts=prod(sides), shape=tuple(sides), **ONE))
    counted = bisection(replace(w, design=None))
    assert bisection(w).lower_bytes_per_s == pytest.approx(counted.lower_bytes_per_s)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["clos-2", "dragonfly", "dragonfly-plus", "slim-fly", "hyperx", "torus"]),
    st.integers(8, 30),
    st.integers(0, 99),
)
def test_distances_and_bounds_do_not_depend_on_the_numbers_of_switches(kind, hosts, seed):
    w = replace(build(propose(kind, hosts)), design=None)
    other = np.random.default_rng(seed).permutation(w.routers).astype(np.int32)
    back = np.argsort(other)
    same = replace(
        w,
        port_router=other[w.port_router],
        cable_a=other[w.cable_b],
        cable_b=other[w.cable_a],
        router_tier=w.router_tier[back],
        router_plane=w.router_plane[back],
        router_group=w.router_group[back],
        router_ports=w.router_ports[back],
    )
    assert hops(same) == replace(hops(w), mean=pytest.approx(hops(w).mean))
    assert bisection(same).lower_bytes_per_s == pytest.approx(bisection(w).lower_bytes_per_s)
    assert counts(same) == counts(w)
