"""Every family wires what its paper says, and refuses what can't be with what can."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.fabric.build import FAMILIES, as_scale_up, build, candidates, fill, propose
from forebay.fabric.build.field import Field, prime_power
from forebay.fabric.build.slim_fly import edges, possible, radix
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.hops import attachments, hops, islands

NVLINK = ScaleUp(cards=8, bytes_per_s=450e9)
WIRED = [kind for kind in FAMILIES if kind != "supernode"]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Loops are compiled once a machine, which is no test's business."""
    hops(build(propose("clos-2", 8)))


def degrees(w):
    """Cables and ports at each router; the port of a card in a direct network isn't one."""
    ports = w.port_router[w.router_tier[w.port_router] > 0]
    return sum(np.bincount(ends, minlength=w.routers) for ends in (ports, w.cable_a, w.cable_b))


def tiers(w):
    return tuple(np.bincount(w.router_tier, minlength=2)[1:])


# What holds for every family.


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(WIRED),
    hosts=st.integers(1, 60),
    cards=st.sampled_from([1, 2, 4, 8]),
    share=st.sampled_from([1, 2, 4]),
    ports=st.sampled_from([16, 32, 36, 64]),
    ratio=st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]),
    many=st.booleans(),
)
def test_whatever_is_built_keeps_the_laws(kind, hosts, cards, share, ports, ratio, many):
    nics = cards * share if many else max(1, cards // share)
    up = ScaleUp(cards=cards, bytes_per_s=450e9)
    design = Design(
        kind=kind, hosts=hosts, cards_per_host=cards, nics_per_host=nics, switch_ports=ports, oversubscription=ratio, scale_up=up
    )
    try:
        w = build(design)
    except BadInput as no:
        assert no.hint and no.asked
        return
    built = w.design
    assert built.hosts >= hosts and w.cards == built.cards
    assert (degrees(w) <= w.router_ports).all(), "no router has more cables than ports"
    assert (w.cable_a != w.cable_b).all(), "no cable leads back to where it came from"
    joined_alone = (
        kind in ("rail-only", "mpft") or (kind == "hpn" and built.tiers == 1) or (kind == "rail-optimised" and built.tiers == 2)
    )
    assert len(set(islands(w))) == 1, "every card reaches every other, over scale-up if need be"
    assert joined_alone or len(set(islands(w, scale_up=False))) == 1
    access = w.router_tier[w.port_router] > 0
    speed = np.bincount(w.port_unit, weights=np.where(access, w.port_bytes_per_s, 0), minlength=w.units)
    if w.direct:
        speed = sum(np.bincount(ends, weights=w.cable_bytes_per_s, minlength=w.routers) for ends in (w.cable_a, w.cable_b))
    assert speed == pytest.approx(nics * design.port_bytes_per_s * built.hosts / w.units), "a card's NICs are all there, whole"
    again = build(built)
    assert again.design == built, "what was built says all that was filled in"
    assert (again.cable_a == w.cable_a).all() and (again.port_router == w.port_router).all()
    assert decode(Design, encode(built)) == built


BAD = [
    Design(kind="clos-2", hosts=1280),
    Design(kind="clos-2", hosts=400, oversubscription=3.0),
    Design(kind="clos-2", hosts=4, tiers=3),
    Design(kind="clos-2", hosts=4, planes=2),
    Design(kind="clos-2", hosts=4, oversubscription=200.0),
    Design(kind="clos-2", hosts=4, oversubscription=0.0),
    Design(kind="clos-2", hosts=4, shape=(60, 60)),
    Design(kind="clos-3", hosts=9000),
    Design(kind="clos-3", hosts=1),
    Design(kind="clos-2", hosts=0),
    Design(kind="clos-2", hosts=4, nics_per_host=3),
    Design(kind="clos-2", hosts=5, scale_up=ScaleUp(cards=16, bytes_per_s=1.0)),
    Design(kind="rail-optimised", hosts=3000, tiers=2),
    Design(kind="rail-optimised", hosts=9000),
    Design(kind="rail-optimised", hosts=4, tiers=4),
    Design(kind="rail-optimised", hosts=4, tiers=3),
    Design(kind="rail-only", hosts=3000),
    Design(kind="rail-only", hosts=100, tiers=1),
    Design(kind="mpft", hosts=100, planes=3),
    Design(kind="multi-plane", hosts=100, tiers=3),
    Design(kind="hpn", hosts=100, tiers=1),
    Design(kind="hpn", hosts=1000, tiers=2),
    Design(kind="hpn", hosts=1000, shape=(128, 60, 8)),
    Design(kind="hpn", hosts=4, cards_per_host=64, nics_per_host=64),
    Design(kind="dragonfly", hosts=1280, shape=(16, 8, 200)),
    Design(kind="dragonfly", hosts=1280, shape=(16, 8, 80), concentration=4),
    Design(kind="dragonfly", hosts=1280, shape=(60, 30, 2)),
    Design(kind="dragonfly", hosts=10**7),
    Design(kind="dragonfly-plus", hosts=10**7),
    Design(kind="dragonfly-plus", hosts=128, shape=(32, 32, 32)),
    Design(kind="slim-fly", hosts=1280, shape=(28,)),
    Design(kind="slim-fly", hosts=1280, shape=(6,)),
    Design(kind="slim-fly", hosts=4, shape=(2,)),
    Design(kind="slim-fly", hosts=1280, shape=(5,)),
    Design(kind="slim-fly", hosts=4, shape=(49,)),
    Design(kind="slim-fly", hosts=10**6),
    Design(kind="hyperx", hosts=1280, shape=(4, 4)),
    Design(kind="hyperx", hosts=1280, shape=(1, 40)),
    Design(kind="hyperx", hosts=1280, shape=(20, 20), concentration=10),
    Design(kind="hyperx", hosts=10**7),
    Design(kind="torus", hosts=1280, shape=(10, 10, 10)),
    Design(kind="torus", hosts=1280, shape=(10240, 1)),
    Design(kind="torus", hosts=1280, shape=(10240,)),
    Design(kind="ocs-torus", hosts=512, shape=(16, 16, 16, 5)),
    Design(kind="nd-full-mesh", hosts=1280, shape=(8, 8, 8, 8)),
    Design(kind="full-mesh", hosts=1280),
    Design(kind="full-mesh", hosts=4, shape=(2, 16)),
    Design(kind="full-mesh", hosts=1, cards_per_host=1, nics_per_host=1),
    Design(kind="supernode", hosts=49, shape=(16,), switch_ports=48),
    Design(kind="supernode", hosts=49),
    Design(kind="fat-tree", hosts=4),
    Design(kind="dragonfli", hosts=400),
]


@pytest.mark.parametrize("design", BAD, ids=lambda d: f"{d.kind}-{d.hosts}-{d.shape}-{d.planes}-{d.tiers}-{d.oversubscription:g}")
def test_bad_input_is_refused_with_a_hint_that_then_works(design):
    with pytest.raises(BadInput) as no:
        build(design)
    hints = re.findall(r"(\w+) = (.+?)(?: or |$)", no.value.hint)
    assert hints, no.value
    for name, text in hints:
        value = text if name == "kind" else ast.literal_eval(text)
        fill(replace(design, **{name: value}))


@pytest.mark.parametrize("kind", WIRED)
def test_ten_thousand_cards_are_wired_by_saying_a_kind_and_the_hosts(kind):
    if kind == "full-mesh":
        assert propose(kind, 1280).cards == 10_240
        return
    w = build(propose(kind, 1280, switch_ports=256 if kind == "clos-2" else 64))
    assert w.cards == 10_240
    assert (degrees(w) <= w.router_ports).all()


@pytest.mark.parametrize("kind", WIRED)
def test_all_candidates_can_be_built_and_have_the_hosts(kind):
    found = candidates(kind, 64, scale_up=NVLINK)
    assert len(set(found)) == len(found) >= (1 if kind in ("full-mesh", "ocs-torus") else 2)
    for design in found:
        assert build(design).cards >= 512


# Each family.


def test_hosts_fill_leaves_in_order_and_keep_their_nics_together():
    w = build(propose("clos-2", 10))
    assert (w.port_router.reshape(10, 8) == np.arange(10)[:, None] // 4).all()


def test_spines_come_in_counts_that_divide_a_leafs_uplinks():
    for hosts, expected in [(72, 4), (144, 8), (288, 18), (576, 36), (1296, 72)]:
        w = build(propose("rail-optimised", hosts, switch_ports=144))
        spines = tiers(w)[1]
        pairs = np.unique(np.stack([w.cable_a, w.cable_b]), axis=1, return_counts=True)[1]
        assert spines == expected and set(pairs) == {72 // spines}


def test_cores_take_equally_many_cables_from_every_pod():
    w = build(propose("clos-3", 1280))
    assert tiers(w) == (320, 320, 171)
    up = w.router_tier[w.cable_b] == 3
    pod = w.router_group[w.cable_a[up]]
    table = np.zeros((10, w.routers), int)
    np.add.at(table, (pod, w.cable_b[up]), 1)
    assert (table == table[0]).all()


def test_oversubscription_is_what_a_leaf_has_down_over_up():
    for ratio in (1.5, 2.0, 3.0, 4.0, 7.0):
        w = build(propose("clos-2", 120, oversubscription=ratio))
        down = np.bincount(w.port_router).max()
        up = np.bincount(w.cable_a).max()
        assert down / up == pytest.approx(ratio, rel=0.07)
        assert down % 8 == 0


def test_equal_nics_of_a_group_of_hosts_meet_on_one_leaf():
    w = build(propose("rail-optimised", 64))
    leaf = w.port_router.reshape(64, 8)
    assert (leaf[:32] == np.arange(8)).all() and (leaf[32:] == 8 + np.arange(8)).all()


def test_spines_are_split_by_rail_group_where_one_cannot_reach_every_leaf():
    w = build(propose("rail-optimised", 512, tiers=2))
    assert tiers(w) == (128, 64)
    assert len(set(islands(w, scale_up=False))) == 2
    assert len(set(islands(build(replace(w.design, scale_up=NVLINK))))) == 1


def test_rails_apart_are_islands_until_scale_up_joins_them():
    for kind in ("rail-only", "mpft"):
        w = build(propose(kind, 128, scale_up=NVLINK))
        assert (islands(w, scale_up=False).reshape(128, 8) == np.arange(8)).all()
        assert (islands(w) == 0).all()


def test_a_rail_that_fits_on_one_switch_is_one_switch():
    assert tiers(build(propose("rail-only", 64))) == (8,)
    assert tiers(build(propose("rail-only", 65))) == (24, 16)


def test_a_split_nic_has_a_slower_port_in_every_plane():
    w = build(propose("multi-plane", 64, planes=8, port_bytes_per_s=100e9))
    assert (np.bincount(w.port_unit) == 8).all() and set(w.port_bytes_per_s) == {12.5e9}
    assert set(w.router_ports) == {512}
    assert (w.router_plane[w.port_router].reshape(8, -1) == np.arange(8)[:, None]).all()


def test_a_nic_of_hpn_is_on_two_tors_of_two_planes_at_half_speed():
    w = build(Design(kind="hpn", hosts=256, switch_ports=128, shape=(128, 60, 8)))
    order = np.argsort(w.port_unit, kind="stable")
    assert (w.router_plane[w.port_router[order]].reshape(-1, 2) == [0, 1]).all()
    assert set(w.port_bytes_per_s) == {25e9} and set(w.cable_bytes_per_s) == {50e9}
    tors = w.router_tier == 1
    assert set(w.router_ports[tors]) == {196}, "128 down, 8 spare, 60 up"
    assert (w.router_plane[w.cable_a] == w.router_plane[w.cable_b]).all(), "planes never meet"


@pytest.mark.parametrize("groups, ports", [(2, 8), (3, 4), (9, 8), (7, 8), (8, 9), (20, 512), (5, 7), (511, 512)])
def test_every_two_groups_of_a_dragonfly_have_equally_many_cables_give_or_take_one(groups, ports):
    from forebay.fabric.build.dragonfly import global_cables

    a, port_a, b, port_b = global_cables(groups, ports)
    ends = np.concatenate([a * ports + port_a, b * ports + port_b])
    assert len(np.unique(ends)) == len(ends), "a port has one cable"
    assert len(ends) == groups * (ports - (groups % 2 and ports % 2))
    table = np.zeros((groups, groups), int)
    np.add.at(table, (a, b), 1)
    table = (table + table.T)[~np.eye(groups, dtype=bool)]
    assert table.max() - table.min() <= 1 and table.min() >= 1


def test_switches_of_a_dragonfly_group_form_a_full_mesh():
    w = build(Design(kind="dragonfly", hosts=9, shape=(4, 2, 9)))
    inside = w.router_group[w.cable_a] == w.router_group[w.cable_b]
    assert inside.sum() == 9 * 6 and (~inside).sum() == 9 * 8 // 2
    assert hops(w).switches == 4


@pytest.mark.parametrize("q", [q for q in range(3, 33) if possible(q)])
def test_every_slim_fly_graph_has_its_degree_and_diameter_two(q):
    a, b = edges(q)
    count = 2 * q * q
    near = np.zeros((count, count), np.float32)
    near[a, b] = near[b, a] = 1
    assert len(a) == near.sum() / 2 == count * radix(q) // 2, "no cable twice"
    assert (near.sum(axis=0) == radix(q)).all()
    if q <= 19:
        assert ((near @ near + near) > 0).all(), "two hops reach everything"


def test_the_largest_slim_fly_of_64_ports_has_diameter_two():
    w = build(Design(kind="slim-fly", hosts=3827, shape=(27,)))
    assert tiers(w) == (1458,) and hops(w).switches == 3


@pytest.mark.parametrize("q", [2, 3, 4, 5, 7, 8, 9, 16, 25, 27, 49, 64])
def test_a_finite_field_is_one(q):
    f = Field(q)
    rows = np.arange(q)
    assert (np.sort(f.add, axis=1) == rows).all() and (f.add[rows, f.minus] == 0).all()
    assert (np.sort(f.times[1:, 1:], axis=1) == rows[1:]).all() and sorted(f.powers) == list(range(1, q))
    assert (f.times[:, f.add] == f.add[f.times[:, :, None], f.times[:, None, :]]).all(), "a (b + c) = a b + a c"


def test_only_prime_powers_are_prime_powers():
    assert [q for q in range(2, 33) if prime_power(q) is None] == [6, 10, 12, 14, 15, 18, 20, 21, 22, 24, 26, 28, 30]


def test_the_graph_of_q_5_is_hoffman_and_singletons():
    a, b = edges(5)
    near = np.zeros((50, 50), int)
    near[a, b] = near[b, a] = 1
    assert (near @ near + near - 6 * np.eye(50, dtype=int) == 1).all(), "the only such graph: A^2 + A - 6 I = J"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=2, max_size=3), st.integers(1, 2))
def test_a_hyperx_is_a_full_mesh_along_each_side(sides, parallel):
    w = build(Design(kind="hyperx", hosts=prod(sides), cards_per_host=1, nics_per_host=1, shape=tuple(sides), parallel=parallel))
    assert (degrees(w) == 1 + parallel * sum(n - 1 for n in sides)).all()
    assert hops(w).diameter == 2 + len(sides)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=2, max_size=3))
def test_a_torus_has_two_cables_a_side_and_half_of_each_side_as_diameter(sides):
    w = build(Design(kind="torus", hosts=prod(sides), cards_per_host=1, nics_per_host=1, shape=tuple(sides)))
    assert (degrees(w) == 2 * len(sides)).all() and len(w.cable_a) == len(sides) * prod(sides)
    assert hops(w).diameter == sum(n // 2 for n in sides)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=2, max_size=4))
def test_a_full_mesh_in_each_dimension_is_as_many_hops_as_dimensions(sides):
    w = build(Design(kind="nd-full-mesh", hosts=prod(sides), cards_per_host=1, nics_per_host=1, shape=tuple(sides)))
    assert (degrees(w) == sum(n - 1 for n in sides)).all()
    assert hops(w).diameter == len(sides)


def test_a_full_mesh_is_laid_while_it_is_small():
    w = build(Design(kind="full-mesh", hosts=16))
    assert len(w.cable_a) == 128 * 127 // 2 and hops(w).mean == 1.0


def test_a_supernode_of_two_levels_is_non_blocking_and_one_of_one_level_has_no_cables():
    w = build(Design(kind="supernode", hosts=48, planes=7, shape=(16,), switch_ports=48, port_bytes_per_s=392e9))
    down = np.bincount(w.port_router, weights=w.port_bytes_per_s, minlength=w.routers)
    up = np.bincount(w.cable_a, weights=w.cable_bytes_per_s, minlength=w.routers)
    assert tiers(w) == (336, 112) and down[:336] == pytest.approx(up[:336])
    nvl72 = build(Design(kind="supernode", hosts=18, cards_per_host=4, planes=18, switch_ports=72, port_bytes_per_s=900e9))
    assert tiers(nvl72) == (18,) and len(nvl72.cable_a) == 0 and len(nvl72.port_unit) == 1296


def test_a_supernode_goes_under_another_fabric():
    nvl72 = Design(kind="supernode", hosts=18, cards_per_host=4, planes=18, switch_ports=72, port_bytes_per_s=900e9)
    cloud = Design(kind="supernode", hosts=48, planes=7, shape=(16,), switch_ports=48, port_bytes_per_s=392e9)
    assert as_scale_up(nvl72) == ScaleUp(cards=72, bytes_per_s=900e9, switches=18, links=1296)
    assert as_scale_up(cloud) == ScaleUp(cards=384, bytes_per_s=392e9, switches=448, links=5376 + 7 * 384)
    w = build(propose("rail-only", 36, cards_per_host=4, nics_per_host=4, scale_up=as_scale_up(nvl72)))
    assert set(np.bincount(w.domain_of)) == {72}


def test_cards_that_share_a_nic_are_one_unit_and_several_nics_of_a_card_are_ports_of_one():
    assert build(Design(kind="clos-2", hosts=4, nics_per_host=4)).units == 16
    w = build(Design(kind="clos-2", hosts=4, cards_per_host=4, nics_per_host=8))
    assert w.units == 16 and (np.bincount(w.port_unit) == 2).all()
    assert len(attachments(w)[0]) == 1


@pytest.mark.parametrize("kind, more", [("multi-plane", {"planes": 8}), ("clos-3", {"switch_ports": 128}), ("torus", {})])
def test_131072_endpoints_are_built_in_seconds(kind, more):
    w = build(propose(kind, 16_384, **more))
    assert w.cards == 131_072


@pytest.mark.parametrize("kind", ["clos-2", "rail-only", "mpft", "multi-plane"])
def test_one_switch_has_no_oversubscription_and_isnt_named_by_it(kind):
    from forebay.fabric.choose import named

    found = [d for d in candidates(kind, 8 if kind != "clos-2" else 4) if not len(build(d).cable_a)]
    assert found and all(d.tiers == 1 and d.oversubscription == 1 and ":1" not in named(d) for d in found)
    assert len(set(map(named, found))) == len(found)
    assert [fill(d) for d in found] == found


def test_where_more_ports_down_make_room_on_one_leaf_it_isnt_named_either():
    from forebay.fabric.choose import named

    five = fill(Design(kind="clos-2", hosts=5, oversubscription=7.0))
    assert tiers(build(five)) == (1,) and named(five) == "clos-2" and fill(five) == five
    with pytest.raises(BadInput, match="One tier is one leaf"):
        fill(Design(kind="clos-2", hosts=5, tiers=1))


@pytest.mark.parametrize("more", [{"hosts": 10**12}, {"hosts": 16, "cards_per_host": 10**8}, {"hosts": 20_000_000}])
def test_more_than_arrays_hold_is_refused_before_they_are_made(more):
    with pytest.raises(BadInput, match="more than can be laid out") as no:
        build(Design(kind="torus", **more))
    assert no.value.hint.startswith("hosts = ")
