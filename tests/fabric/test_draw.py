"""Pictures: well-formed, by day and by night, no text upon another, and what they say is so."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.errors import BadInput
from forebay.fabric import draw, read
from forebay.fabric.build import FAMILIES, build, propose
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.draw import Bar, Point
from forebay.fabric.draw.facts import sides, tiered
from forebay.fabric.draw.svg import Sheet, place, ticks
from forebay.fabric.health import Fault, broken

FILES = Path(__file__).parent / "files"
NS = "{http://www.w3.org/2000/svg}"
HOSTS = {"full-mesh": 4, "supernode": 6}


def texts(svg: str) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Each text with the box it takes."""
    found = []
    for text in ET.fromstring(svg).iter(f"{NS}text"):
        x, y, size = (float(text.attrib[name]) for name in ("x", "y", "font-size"))
        found.append((text.text or "", place(x, y, text.text or "", size, text.attrib["text-anchor"])))
    return found


def check(svg: str) -> str:
    """Well-formed, titled, on its sheet, legible by night, no text upon another. Gives all words."""
    root = ET.fromstring(svg)
    wide, high = (float(root.attrib[name]) for name in ("width", "height"))
    assert root.find(f"{NS}title").text
    assert "prefers-color-scheme:dark" in svg
    found = texts(svg)
    outside = [words for words, (x, y, w, h) in found if x < 0 or y < 0 or x + w > wide or y + h > high]
    assert outside == []
    boxes = np.array([box for _, box in found])
    x, y, w, h = boxes.T
    upon = (
        (x[:, None] < (x + w)[None]) & ((x + w)[:, None] > x[None]) & (y[:, None] < (y + h)[None]) & ((y + h)[:, None] > y[None])
    )
    np.fill_diagonal(upon, False)
    assert [(found[i][0], found[j][0]) for i, j in np.argwhere(upon)] == []
    return "\n".join(words for words, _ in found)


def fabric(kind: str, hosts: int, **more):
    return build(propose(kind, hosts, **more))


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("hosts", [8, 16, 128, 1280])
def test_every_family_is_drawn_small_and_large(kind, hosts):
    try:
        w = fabric(kind, hosts, switch_ports=64 if hosts > 16 else 16)
    except BadInput:
        try:
            w = fabric(kind, hosts, switch_ports=128)
        except BadInput:
            pytest.skip("no such fabric")
    words = check(draw.fabric(w))
    assert f"{w.cards:,} cards" in words
    assert f"{len(w.cable_a):,} cables" in words


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.name)
def test_a_fabric_from_a_file_is_drawn_by_its_names(path):
    w = read.load(path)
    svg = draw.fabric(w)
    assert all(name in svg for name in (*w.router_names, *w.host_names))
    check(svg)


def test_a_small_tree_is_the_true_graph():
    w = fabric("clos-2", 8, switch_ports=16)
    root = ET.fromstring(draw.fabric(w))
    lines = [line for line in root.iter(f"{NS}line") if line.attrib["class"] == "s0"]
    assert len(lines) == len(w.cable_a) + len(w.port_unit) + 1  # the legend's
    assert len({tuple(line.attrib[a] for a in ("x1", "y1", "x2", "y2")) for line in lines}) == len(lines)  # none upon another
    assert len(list(root.iter(f"{NS}circle"))) == w.cards


def test_a_small_torus_is_the_true_graph():
    w = fabric("torus", 8, shape=(4, 4, 4))
    root = ET.fromstring(draw.fabric(w))
    cables = [x for tag in ("line", "path") for x in root.iter(f"{NS}{tag}") if x.attrib["class"] in ("s1", "s2", "s3")]
    assert len(cables) == len(w.cable_a) + 3
    assert len(list(root.iter(f"{NS}circle"))) == w.cards


def test_a_small_dragonfly_is_the_true_graph():
    w = fabric("dragonfly", 8, switch_ports=16)
    root = ET.fromstring(draw.fabric(w))
    assert len(list(root.iter(f"{NS}path"))) == len(w.cable_a)
    assert len(list(root.iter(f"{NS}circle"))) == w.routers + w.cards


def test_ten_thousand_cards_are_a_sketch_with_counts():
    w = fabric("clos-3", 1280)
    svg = draw.fabric(w)
    words = check(svg)
    assert len(svg) < 100_000
    assert "320 leaves" in words
    assert "64 ports each" in words
    assert "32 down, 32 up" in words
    assert "10,240 cables of 400 Gbit/s" in words
    assert "1,280 hosts" in words


def test_planes_stand_side_by_side():
    words = check(draw.fabric(fabric("mpft", 1280)))
    assert words.count("40 leaves") == 8


def test_a_torus_is_a_box_with_its_sides():
    words = check(draw.fabric(fabric("torus", 1280)))
    assert "32 × 20 × 16 = 10,240 cards" in words
    assert "32 into the depth, a ring" in words


def test_which_way_of_drawing_fits():
    assert tiered(fabric("rail-optimised", 128))
    assert not tiered(fabric("dragonfly-plus", 128))
    assert sides(fabric("torus", 128, shape=(16, 8, 8))) == ((16, 8, 8), True)
    assert sides(fabric("nd-full-mesh", 128, shape=(16, 8, 8))) == ((16, 8, 8), False)
    assert sides(fabric("dragonfly", 128)) is None


def test_what_is_down_is_drawn_apart():
    w = broken(fabric("clos-2", 8, switch_ports=16), (Fault(kind="link", number=3), Fault(kind="port", number=0)))
    svg = draw.fabric(w)
    assert "2 of them down" in check(svg)
    assert len([x for x in ET.fromstring(svg).iter(f"{NS}line") if x.attrib["class"] == "s5"]) == 3  # one is the legend's


def test_a_notebook_shows_a_wiring():
    w = fabric("clos-2", 8)
    assert w._repr_svg_() == draw.fabric(w)


def test_names_of_files_are_escaped():
    w = dataclasses.replace(fabric("clos-2", 8), name="<script>&\"'\x00\ud800 ]]>")
    assert "<script>" not in draw.fabric(w)
    check(draw.fabric(w))


POINTS = [
    Point(name="3-tier tree", cost_micro=76_600_000_000_000, step_s=10.0, power_w=9e5),
    Point(name="rail-only", cost_micro=45_000_000_000_000, step_s=10.1, power_w=5e5, on_front=True),
    Point(name="crossbar", cost_micro=90_000_000_000_000, step_s=9.9, power_w=5e5, on_front=True),
    Point(name="quoted by nobody", cost_micro=None, step_s=10.0),
]


def test_the_scatter_names_the_front_and_says_what_is_unpriced():
    words = check(draw.scatter(POINTS, currency="USD"))
    assert "rail-only" in words
    assert "crossbar" in words
    assert "3 fabrics; 1 unpriced, not drawn" in words
    assert "quoted by nobody" not in words
    check(draw.scatter([]))
    check(draw.scatter(POINTS[:1]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(
            Point,
            name=st.text(min_size=1, max_size=50),
            cost_micro=st.integers(0, 10**16),
            step_s=st.floats(1e-3, 1e5),
            power_w=st.floats(0, 1e8),
            on_front=st.booleans(),
        ),
        max_size=60,
    )
)
def test_no_text_of_a_scatter_lies_upon_another(points):
    check(draw.scatter(points, currency="USD"))


def test_a_scatter_refuses_what_cant_be():
    with pytest.raises(BadInput):
        draw.scatter([Point(name="a", cost_micro=1, step_s=float("nan"))])
    with pytest.raises(BadInput):
        draw.scatter([Point(name="a", cost_micro=-1, step_s=1.0)])


def cells(svg: str) -> list[str]:
    return [t.text for r in ET.fromstring(svg).iter(f"{NS}rect") for t in r.iter(f"{NS}title")]


def test_the_heat_map_shows_the_fullest_link_of_each_pair_of_places():
    w = fabric("clos-2", 8, switch_ports=64, scale_up=ScaleUp(cards=8, bytes_per_s=450e9))
    used = np.zeros(w.links)
    used[0] = 0.5  # card 0 to its leaf
    used[w.first_cable_link + 1] = 0.875  # down the first cable
    used[w.first_scale_up_link] = 0.25
    svg = draw.heat(w, used)
    check(svg)
    told = "\n".join(cells(svg))
    assert f"cards -> {w.router_name(int(w.port_router[0]))}: fullest 50 %" in told
    assert f"{w.router_name(int(w.cable_b[0]))} -> {w.router_name(int(w.cable_a[0]))}: fullest 87.5 %" in told
    assert "cards -> scale-up: fullest 25 %" in told
    assert "scale-up -> cards: fullest 0 %" in told


@pytest.mark.parametrize("kind", ["clos-3", "hpn", "dragonfly", "torus", "mpft"])
def test_the_heat_map_of_ten_thousand_cards_counts_every_link_once(kind):
    w = fabric(kind, 1280)
    svg = draw.heat(w, np.linspace(0, 1, w.links))
    check(svg)
    counted = sum(int(re.search(r"([\d,]+) links", told)[1].replace(",", "")) for told in cells(svg))
    assert counted == int(np.isfinite(w.capacities()[: w.first_scale_up_link]).sum())


def test_a_heat_map_needs_a_number_a_link():
    w = fabric("clos-2", 8)
    with pytest.raises(BadInput, match="for each link"):
        draw.heat(w, np.zeros(3))
    with pytest.raises(BadInput, match="zero or more"):
        draw.heat(w, np.full(w.links, np.nan))


def test_bars_say_seconds_and_kinds():
    rows = [
        Bar(name="rail-only", compute_s=7.0, exposed_s={"data": 1.0, "expert": 0.5}),
        Bar(name="tree", compute_s=7.0, exposed_s={"data": 0.1}),
    ]
    words = check(draw.bars(rows))
    assert "8.50 s" in words
    assert "7.10 s" in words
    assert "expert, exposed" in words
    check(draw.bars([]))
    with pytest.raises(BadInput):
        draw.bars([Bar(name="a", compute_s=-1.0, exposed_s={})])


def test_a_table_as_text_and_in_a_notebook():
    table = draw.table("Counts", ["fabric", "switches"], [["tree", 1280], ["mesh <b>", None]])
    assert str(table) == "Counts\nfabric    switches\ntree         1,280\nmesh <b>         -"
    html = table._repr_html_()
    ET.fromstring(html)
    assert "mesh &lt;b&gt;" in html
    assert ("kind", "torus") in draw.of(Design(kind="torus", hosts=8)).rows


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_inside(low, span):
    found = ticks(low, low + span)
    assert len(found) <= 8
    slack = span * 1e-6 + abs(low) * 1e-12
    assert all(low - slack <= x <= low + span + slack for x in found)


def test_a_sheet_knows_what_is_taken():
    sheet = Sheet(200, 100, "title")
    assert not sheet.free((30, 20, 10, 10))
    assert sheet.free((30, 60, 10, 10))
