"""What published fabrics have of everything is what we count, except where the source slipped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.fabric.build import FAMILIES, build, propose
from forebay.fabric.counts import Counts, counts
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.hops import hops, islands
from forebay.fabric.published import cases, figures, read

CASES = read()
BY_ID = {case.id: case for case in CASES}
SLIM_FLY_28 = "T03"


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.status != "recalled" and c.design and c.id != SLIM_FLY_28], ids=lambda c: c.id
)
def test_every_published_count_is_met_exactly(case):
    assert case.published and figures(case) == dict(case.published)


def test_deepseeks_slim_fly_of_q_28_is_a_formula_and_no_graph():
    case, q = BY_ID[SLIM_FLY_28], 28
    assert case.published == {"cards": 2 * q * q * 21, "switches": 2 * q * q, "switch_cables": q * q * 42, "radix": 42}
    assert case.slip
    with pytest.raises(BadInput, match="28 is no prime power; the nearest are 27 and 29"):
        figures(case)
    real = counts(Design(kind="slim-fly", hosts=30_618, cards_per_host=1, nics_per_host=1, shape=(27,), concentration=21))
    assert (real.switches, real.cards, real.switch_ports_free) == (1458, 30_618, 1458 * (64 - 41 - 21))


def test_deepseeks_dragonfly_has_511_groups_where_513_are_possible():
    assert BY_ID["T04"].note == "511 groups where 513 are possible"
    most = counts(Design(kind="dragonfly", hosts=262_656 // 8, shape=(32, 16, 513)))
    assert (most.switches, most.cards, most.switch_cables) == (16_416, 262_656, 385_776)


def test_nvidias_row_of_9216_gpus_has_10368_as_its_nodes_and_cables_say():
    case = BY_ID["T20"]
    assert (
        case.slip == "the row prints 9,216 GPUs, its 1,296 nodes of 8 are 10,368"
        and case.published["cards"] == case.published["access_cables"] == 10_368
    )


def test_a_segment_of_hpn_counts_its_tors_and_has_eight_spare_ports_on_each():
    c = counts(BY_ID["T22"].design)
    assert c.switches == 16 and c.switch_ports_free == 16 * (60 + 8), "uplinks unused as well: nothing is above"


def test_the_two_tier_ceiling_of_144_ports_is_10368_and_not_one_more():
    case = BY_ID["T32"]
    assert figures(case)["cards"] == 144**2 // 2
    with pytest.raises(BadInput, match="at most 10,368"):
        build(Design(kind="clos-2", hosts=1297, switch_ports=144))


def test_tpu_v4_has_6144_fibres_to_48_circuit_switches_of_128_ports():
    c = counts(BY_ID["T29"].design)
    assert (c.circuit_switches, c.switches, c.card_cables) == (48, 0, 12_288)
    assert 2 * c.optical_cables == 6144 == c.transceivers == 48 * 128


def test_the_rail_only_table_follows_from_5n_over_k_and_3n_over_k():
    rows = {case.id: figures(case) for case in CASES if case.id in ("T36", "T37", "T38", "T39", "T40")}
    assert {name: row["switches"] for name, row in rows.items()} == {
        "T36": 2560,
        "T37": 1536,
        "T38": 1280,
        "T39": 256,
        "T40": 384,
    }
    optics = [counts(BY_ID[name].design).transceivers for name in ("T36", "T37", "T38", "T39", "T40")]
    assert optics == [196_608, 131_072, 196_608, 65_536, 131_072]


def test_two_rails_do_not_share_a_switch_though_a_recalled_row_has_them_do_so():
    case = BY_ID["T41"]
    assert case.published["switches"] == 128 and figures(case)["switches"] == 256


def test_a_record_that_is_no_wiring_says_why():
    assert {c.id: c.refused for c in CASES if c.design is None and c.status == "seen"} == {
        "T25": "failures and gains of a fabric, not its wiring",
        "T27": "no parameter says its sides",
        "T35": "a comparison, no wiring",
        **{f"T{n}": "HammingMesh isn't among the families" for n in range(58, 63)},
        "T63": "no q, and no number of endpoints",
    }


@pytest.mark.parametrize(
    "record, published",
    [
        (("rail-optimised fat tree, 2-tier", {"SU": 4, "nodes": 128, "switch_ports": 64}, 1024), {"switches": 48}),
        (("rail-optimised fat tree, 3-tier", {"SU": 32, "nodes": 1024, "switch_ports": 64}, 8192), {"switches": 640}),
        (("rail-optimised fat tree, 2-tier", {"SU": 16, "nodes": 1024}, 8192), {"switches": 384}),
        (
            ("rail-optimised fat tree, 2-tier, 144-port XDR", {"SU": 8, "nodes": 576, "switch_ports": 144}, 4608),
            {"switches": 100},
        ),
        (("2D HyperX", {"dims": [20, 20], "concentration": 26, "switch_ports": 64}, 10400), {"switches": 400}),
        (("3D torus", {"dims": [22, 22, 22]}, 10648), {"switches": 0}),
        (("full mesh", {}, 128), {"switches": 0}),
        (("DF (Dragonfly)", {"p": 8, "a": 16, "h": 8, "switch_ports": 64}, 8 * 16 * 129), {"switches": 16 * 129}),
    ],
    ids=lambda value: value[0].replace(" ", "-") if isinstance(value, tuple) else "",
)
def test_records_that_are_not_here_are_read_by_their_words(record, published):
    words, parameters, endpoints = record
    told = {"id": "X", "status": "seen", "topology": words, "parameters": parameters, "endpoints": endpoints, "links": None}
    (case,) = cases(told | published | {"other": {}})
    assert figures(case) == {"cards": endpoints, **published}


# Counting itself.


def test_a_full_mesh_of_ten_thousand_cards_is_counted_and_not_laid():
    c = counts(Design(kind="full-mesh", hosts=1250))
    assert (c.cards, c.card_cables, c.switches) == (10_000, 49_995_000, 0)
    assert c.copper_cables == 1250 * 28 and c.transceivers == 2 * (49_995_000 - 35_000)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.sampled_from([1, 2, 8]), st.integers(0, 20), st.sampled_from(["optical", "copper", None]))
def test_the_formula_of_a_full_mesh_is_what_counting_gives(hosts, cards, block, medium):
    from forebay.fabric.counts import _meshed

    d = Design(kind="full-mesh", hosts=hosts, cards_per_host=cards, nics_per_host=cards)
    assert _meshed(d, medium, block) == counts(d, cards=medium, block=block)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(
        ["clos-2", "clos-3", "rail-optimised", "rail-only", "hpn", "mpft", "multi-plane", "dragonfly", "slim-fly", "torus"]
    ),
    hosts=st.integers(8, 100),
    access=st.sampled_from(["optical", "copper"]),
)
def test_sums_add_up(kind, hosts, access):
    c = counts(propose(kind, hosts), access=access)
    assert c.switches == sum(c.by_tier)
    assert c.switch_ports_used == c.access_cables + 2 * c.switch_cables and c.switch_ports_free >= 0
    assert c.cables == c.access_cables + c.switch_cables + c.card_cables == c.copper_cables + c.optical_cables
    assert c.transceivers == 2 * c.optical_cables
    assert kind == "torus" or c.copper_cables == (c.access_cables if access == "copper" else 0)
    assert decode(Counts, json.loads(json.dumps(encode(c)))) == c


def test_scale_up_is_counted_apart():
    nvl72 = ScaleUp(cards=72, bytes_per_s=900e9, switches=18, links=1296)
    c = counts(propose("rail-only", 36, cards_per_host=4, nics_per_host=4, scale_up=nvl72))
    assert (c.scale_up_domains, c.scale_up_switches, c.scale_up_links) == (2, 36, 2592)
    assert c.switches == 4 and c.switch_cables == 0


def test_a_medium_is_copper_or_optical():
    with pytest.raises(BadInput, match="optical or copper"):
        counts(propose("clos-2", 8), access="wool")


# Hops.


@pytest.mark.parametrize(
    "kind, hosts, diameter",
    [("clos-2", 128, 4), ("clos-3", 512, 6), ("rail-optimised", 128, 4), ("dragonfly-plus", 1280, 5), ("slim-fly", 128, 4)],
)
def test_the_diameter_is_what_the_family_promises(kind, hosts, diameter):
    h = hops(build(propose(kind, hosts)))
    assert h.diameter == diameter and h.exact and h.reached == 1.0


def test_the_mean_distance_of_a_torus_is_its_closed_form():
    for sides in [(4, 6), (5, 7), (4, 4, 8)]:
        n = prod(sides)
        h = hops(build(Design(kind="torus", hosts=n, cards_per_host=1, nics_per_host=1, shape=sides)))
        ring = [side / 4 if side % 2 == 0 else (side * side - 1) / (4 * side) for side in sides]
        assert h.mean == pytest.approx(sum(ring) * n / (n - 1))


def test_pairs_on_one_leaf_are_two_cables_apart_and_others_four():
    h = hops(build(propose("clos-2", 8)))  # two leaves of 32
    assert h.mean == pytest.approx((31 * 2 + 32 * 4) / 63)


def test_rails_apart_reach_an_eighth_of_the_pairs():
    h = hops(build(propose("rail-only", 64)))
    assert h.reached == pytest.approx(63 / 511) and h.diameter == 2


def test_what_carries_nothing_leads_nowhere():
    w = build(propose("clos-2", 8))
    assert hops(replace(w, cable_bytes_per_s=0 * w.cable_bytes_per_s)).reached == pytest.approx(31 / 63)
    cut_off = replace(w, port_bytes_per_s=np.where(w.port_unit == 5, 0, w.port_bytes_per_s))
    island = islands(cut_off)
    assert (island != island[5]).sum() == 63 and hops(cut_off).reached == pytest.approx(63 * 62 / (64 * 63))


def test_cards_that_share_a_nic_are_no_pair():
    h = hops(build(propose("clos-2", 8, nics_per_host=4)))
    assert h.diameter == 2 and h.mean == 2.0 and h.reached == 1.0


# The page.

PAGE = Path(__file__).parents[2] / "docs" / "fabric-designs.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if re.match(r"\| `[a-z0-9-]+`(, \w+ = \d+)? \| [\d,+ ]+ \|", line)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_of_the_page_is_what_is_built(row):
    kind = re.findall(r"`(.+?)`", row[0])[0]
    fields = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", row[0])}
    d = propose(kind, 1280, scale_up=ScaleUp(cards=8, bytes_per_s=450e9), **fields)
    c = counts(d)
    found = [c.access_cables, c.switch_cables + c.card_cables, c.transceivers, c.switch_ports_free]
    assert [int(cell.replace(",", "")) for cell in row[2:6]] == found
    assert [int(n) for n in row[1].split(" + ")] == list(c.by_tier or (0,))
    if kind != "full-mesh":
        h = hops(build(d))
        assert row[6:8] == [str(h.diameter), f"{h.mean:.2f}"]


def test_the_table_has_every_family_but_the_supernode():
    assert {re.findall(r"`(.+?)`", row[0])[0] for row in ROWS} == set(FAMILIES) - {"supernode"}
