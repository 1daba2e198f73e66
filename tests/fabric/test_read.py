"""Fabrics from files: what is read, and what is refused. The files under files/ were written by hand."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadInput, Unknown
from forebay.fabric import design_file, read
from forebay.fabric.build import build
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.health import Fault, broken
from forebay.fabric.quantity import names, speed
from forebay.fabric.read import exact, whole
from forebay.fabric.wiring import Wiring
from forebay.units import parse_bytes_per_s, write_bytes_per_s

FILES = Path(__file__).parent / "files"
TOML = (FILES / "two-leaves.toml").read_text()
NETWORKX = (FILES / "networkx.graphml").read_text()
GEPHI = (FILES / "gephi.graphml").read_text()
SUBNET = (FILES / "subnet.ibnetdiscover").read_text()
SMALL = Design(kind="clos-2", hosts=16, switch_ports=16)


def same(a: Wiring, b: Wiring) -> bool:
    pairs = [(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(Wiring)]
    return all(np.array_equal(x, y) and x.dtype == y.dtype if isinstance(x, np.ndarray) else x == y for x, y in pairs)


def test_tables_by_hand_become_cables_that_are_kept_apart():
    w = read.load(FILES / "two-leaves.toml")
    assert (w.name, w.hosts, w.cards, w.units, w.routers, w.nics) == ("two leaves", 4, 32, 32, 3, 32)
    assert w.router_names == ("leaf1", "leaf2", "spine1")
    assert w.router_tier.tolist() == [1, 1, 2]  # the spine's by its name
    assert w.port_unit.tolist() == list(range(32))
    assert w.port_router.tolist() == [0] * 16 + [1] * 16
    assert w.cable_a.tolist() == [0] * 4 + [1] * 4
    assert set(w.cable_bytes_per_s) == {100e9}
    assert w.scale_up_bytes_per_s == 450e9
    assert w.domain_of.tolist() == w.host_of.tolist()
    assert w.link_name(0) == "node1 card 0 NIC -> leaf1"


def test_the_same_tables_in_json():
    import tomllib

    assert same(read.parse(json.dumps(tomllib.loads(TOML), indent=1)), read.parse(TOML))


def test_a_nic_can_be_named_and_cards_share_the_nics_of_a_host_that_has_fewer():
    w = read.parse(
        """
        hosts = [{name = "n[0-1]", cards = 8, nics = 4}]
        switches = [{name = "rail[0-3]"}, {name = "top", tier = 2}]
        [[links]]
        from = "n[0-1]:2"
        to = "rail2"
        speed = "400 Gbit/s"
        [[links]]
        from = "n[0-1]:[0-1]"
        to = "rail0"
        speed = "400 Gbit/s"
        [[links]]
        from = "n[0-1]:3"
        to = "rail[1,3]"
        speed = "200 Gbit/s"
        [[links]]
        from = "rail[0-3]"
        to = "top"
        speed = "400 Gbit/s"
        """
    )
    assert w.units == 8
    assert w.unit_of[:8].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert list(zip(w.port_unit.tolist(), w.port_router.tolist(), strict=True)) == [
        (2, 2), (6, 2), (0, 0), (1, 0), (4, 0), (5, 0), (3, 1), (3, 3), (7, 1), (7, 3)]  # fmt: skip
    assert w.nics == 8


def test_two_tors_take_the_same_nics_in_turn():
    w = read.parse(
        'hosts = [{name="n", cards=4}]\nswitches=[{name="a"},{name="b"}]\n'
        + "\n".join(f'[[links]]\nfrom="n"\nto="{x}"\nspeed="200 Gbit/s"\ncount=4' for x in "ab")
    )
    assert w.port_unit.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_hosts_joined_to_hosts_pass_traffic_on():
    w = read.parse(
        'hosts = [{name = "n[0-2]"}]\nlinks = [{from="n0", to="n[1-2]", speed="25 GB/s"}, {from="n1", to="n2", speed="25 GB/s"}]'
    )
    assert w.direct
    assert (w.routers, len(w.cable_a)) == (3, 3)
    assert np.isinf(w.port_bytes_per_s).all()
    assert w.router_names == ("n0", "n1", "n2")


def test_graphml_as_networkx_writes_it():
    w = read.load(FILES / "networkx.graphml")
    assert (w.hosts, w.cards, w.units, w.routers) == (2, 4, 4, 3)
    assert w.port_unit.tolist() == [0, 1, 2, 3]
    assert sorted(zip(w.cable_a.tolist(), w.cable_b.tolist(), strict=True)) == [(0, 2), (0, 2), (1, 2)]
    assert (w.port_bytes_per_s == 25e9).all()
    assert (w.cable_bytes_per_s == 50e9).all()
    assert w.router_tier.tolist() == [1, 1, 2]


def test_graphml_as_gephi_writes_it_labels_defaults_and_no_weights():
    w = read.load(FILES / "gephi.graphml")
    assert w.host_names == ("node-1", "node-2")
    assert w.router_names == ("leaf-1", "leaf-2", "spine-1")
    assert w.router_tier.tolist() == [1, 1, 2]
    assert set(w.port_bytes_per_s) == {12.5e9}
    assert len(w.cable_a) == 2


def graph(nodes: str, edges: str, kind: str = "undirected") -> str:
    tags = "".join(f'<node id="{n}"/>\n' for n in nodes)
    return f'<graphml><graph edgedefault="{kind}">\n{tags}' + "".join(
        f'<edge source="{a}" target="{b}"/>\n' for a, b in edges.split()) + "</graph></graphml>"  # fmt: skip


def test_a_bare_star_has_hosts_at_its_ends_and_its_speed_is_said_to_be_assumed():
    w = read.parse(graph("abcs", "as bs cs"), "star")
    assert (w.hosts, w.routers, w.name) == (3, 1, "star (400 Gbit/s assumed)")
    assert set(w.port_bytes_per_s) == {50e9}


def test_a_bare_ring_is_of_cards_that_pass_traffic_on():
    w = read.parse(graph("abcd", "ab bc cd da"))
    assert w.direct
    assert (w.cards, w.routers, len(w.cable_a)) == (4, 4, 4)


def test_in_a_directed_graph_an_edge_and_its_way_back_are_one_cable():
    one_way = read.parse(graph("abcs", "as bs cs", "directed"))
    both = read.parse(graph("abcs", "as sa bs sb cs sc", "directed"))
    assert len(one_way.port_unit) == len(both.port_unit) == 3
    with pytest.raises(BadInput, match="as fast each way"):
        read.parse(graph("abs", "as sa as bs sb", "directed"))


def test_cards_that_name_the_same_host_are_in_it():
    text = """<graphml><key id="k" for="node" attr.name="kind"/><key id="h" for="node" attr.name="host"/>
    <key id="s" for="edge" attr.name="speed"><default>100 Gbit/s</default></key><graph>
    <node id="g0"><data key="k">gpu</data><data key="h">n1</data></node>
    <node id="g1"><data key="k">gpu</data><data key="h">n1</data></node>
    <node id="t"><data key="k">leaf</data></node>
    <edge source="t" target="g1"/><edge source="t" target="g0"/></graph></graphml>"""
    w = read.parse(text)
    assert (w.hosts, w.cards, w.host_names) == (1, 2, ("n1",))
    assert w.port_unit.tolist() == [1, 0]


def test_a_subnet_as_ibnetdiscover_prints_it():
    w = read.load(FILES / "subnet.ibnetdiscover")
    assert w.host_names == ("node01", "node02", "H-946dae03000000ff")  # the last one's description names no host
    assert w.host_of.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert w.router_names == ("leaf01", "leaf02", "spine01")
    assert w.router_tier.tolist() == [1, 1, 2]
    assert w.router_ports.tolist() == [64, 64, 64]  # the 65th is SHARP's
    assert len(w.cable_a) == 4  # two and two in parallel
    assert set(w.port_bytes_per_s) | set(w.cable_bytes_per_s) == {50e9}
    # mlx5_0, mlx5_2, mlx5_10 in this order, at ports 1, 3 and 2 of the leaf: unit 1 is the one that was listed third
    assert w.port_unit.tolist()[:3] == [0, 2, 1]


@pytest.mark.parametrize(
    "rate, gbit", [("4xHDR", 200), ("2xHDR", 100), ("4xEDR", 100), ("1xNDR", 100), ("4xXDR", 800), ("4xQDR", 32)]
)
def test_speed_is_width_times_generation(rate, gbit):
    w = read.parse(SUBNET.replace("4xNDR", rate))
    assert set(w.cable_bytes_per_s) == {parse_bytes_per_s(f"{gbit} Gbit/s")}


BAD_TOML = [
    ('speed = "800 Gbit/s"', 'speed = "800"', r"line 33: speed: a speed without its unit"),
    ('speed = "800 Gbit/s"', "speed = 800", r"line 33: speed: a speed without its unit"),
    ('speed = "800 Gbit/s"', "speed = -800", r"line 33: speed: a speed is above zero"),
    ('speed = "800 Gbit/s"', 'speed = "-800 Gbit/s"', r"line 33: speed: a speed is above zero"),
    ('speed = "800 Gbit/s"', 'speed = "0 Gbit/s"', r"line 33: speed: a speed is above zero"),
    ('speed = "800 Gbit/s"', 'speed = "800 Gb/s"', r"line 33: speed: bits or bytes"),
    ('speed = "800 Gbit/s"', 'speed = "fast"', r"line 33: speed: that is no speed"),
    ('speed = "800 Gbit/s"', "", r"line 31: links: no speed"),
    ('scale_up = "450 GB/s"', "scale_up = 450", r"line 3: scale_up: a speed without its unit"),
    ('to = "spine1"', 'to = "spin1"', r"line 31: links: a link to what isn't there(.|\n)*try:   spine1"),
    ('to = "spine1"', 'to = "leaf1"', r"line 31: links: a link from a thing to itself"),
    ('from = "leaf[1-2]"', 'from = "leaf1"', r"in pieces(.|\n)*2 hosts, 1 switches: node3, node4, leaf2"),
    ('name = "spine1"', 'name = "leaf2"', r"line 15: name: a name stands for one thing"),
    ("count = 4", "count = 0", r"line 34: count: a whole number, 1 or more"),
    ("count = 4", "count = 2.5", r"line 34: count: a whole number"),
    ("cards = 8", "cards = 0", r"line 7: cards: a whole number, 1 or more"),
    ("cards = 8", "cards = 8\nnics = 3", r"line 6: host node1: its cards share"),
    ("ports = 64\ntier = 1", "ports = 8\ntier = 1", r"fewer ports than cables(.|\n)*20 cables at leaf1"),
    ("cards = 8", "card = 8", r"line 7: hosts: no field of that name(.|\n)*cards"),
    ("count = 4", "count = 99999999", r"more than I hold"),
    ('scale_up = "450 GB/s"', "scale_up_cards = 8", r"scale_up_cards: a domain without"),
    ('from = "node[1-2]"', 'from = "node1:[0-8]"', r"line 19: links: node1 has no NIC 8(.|\n)*8 NICs"),
    ('from = "node[1-2]"', 'from = "node[1-2]:x"', r"line 19: links: a link to what isn't there(.|\n)*node1"),
    ("count = 4", "count = ", r"can't be read(.|\n)*line 34"),
]


@pytest.mark.parametrize("before, after, words", BAD_TOML, ids=[after or "left out" for _, after, _ in BAD_TOML])
def test_a_table_that_cant_be_meant_is_one_clear_error_with_its_line(before, after, words):
    assert before in TOML
    with pytest.raises(BadInput) as told:
        read.parse(TOML.replace(before, after))
    assert re.search(words, str(told.value)), told.value


BAD_GRAPHS = [
    (">400 Gbit/s<", ">400<", r"line 18: speed: a speed without its unit"),
    ("<data key=\"d3\">200 Gbit/s", "<data key=\"d3\">-1 Gbit/s", r"line 14: speed: a speed is above zero"),
    ('source="y" target="z"', 'source="y" target="y"', r"line 20: links: a link from a thing to itself"),
    ('source="y" target="z"', 'source="y" target="q"', r"line 20: links: a link to what isn't there"),
    ('    <edge source="y" target="z" id="0"><data key="d3">400 Gbit/s</data></edge>\n', "", r"in pieces"),
    ('<node id="y">', '<node id="x">', r"line 12: a name stands for one thing(.|\n)*line 11"),
    ('switch</data><data key="d1">2', 'banana</data><data key="d1">2', r"line 13: kind: no kind of node"),
    ("</graph>", "", r"line 22: that is no XML"),
    ('<edge source="a"', '<edge sauce="a"', r"line 14: <edge> lacks an attribute"),
]  # fmt: skip


@pytest.mark.parametrize("before, after, words", BAD_GRAPHS, ids=[words for *_, words in BAD_GRAPHS])
def test_a_graph_that_cant_be_meant_is_one_clear_error_with_its_line(before, after, words):
    assert before in NETWORKX
    with pytest.raises(BadInput) as told:
        read.parse(NETWORKX.replace(before, after, 1))
    assert re.search(words, str(told.value)), told.value


def test_entities_are_not_expanded():
    laughs = '<!DOCTYPE g [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>\n'
    with pytest.raises(BadInput, match="DOCTYPE"):
        read.parse(NETWORKX.replace("<graphml", laughs + "<graphml", 1))


BAD_SUBNETS = [
    ("4xNDR", "4xZDR", r"line 12: no generation of InfiniBand"),
    ("lid 21 4xNDR", "lid 21", r"line 12: a link without its speed"),
    ('"H-946dae0300000010"[1](946dae0300000010)', '"H-00"[1](00)', r"line 12: a link to what isn't there"),
    ('[33]\t"S-b83fd20300000003"[1]', '[33]\t"S-b83fd20300000001"[34]', r"line 16: a link from a thing to itself"),
    ('Switch\t65 "S-b83fd20300000002"', 'Switch\t65 "S-b83fd20300000001"', r"a name stands for one thing"),
    ('[33]\t"S-b83fd20300000003"[1]', "[33]\tS-b83fd20300000003[1]", r"line 16: that is no line of ibnetdiscover"),
    ('lid 3 4xNDR', 'lid 3 4xHDR', r"the two ends of a cable say different speeds"),
]  # fmt: skip


@pytest.mark.parametrize("before, after, words", BAD_SUBNETS, ids=[words for *_, words in BAD_SUBNETS])
def test_a_subnet_that_cant_be_meant_is_one_clear_error_with_its_line(before, after, words):
    assert before in SUBNET
    with pytest.raises(BadInput) as told:
        read.parse(SUBNET.replace(before, after, 1))
    assert re.search(words, str(told.value)), told.value


def test_a_subnet_in_pieces_says_what_is_cut_off():
    cut = "\n".join(line for line in SUBNET.splitlines() if not re.match(r'\[(33|34)\].*spine01|\[[34]\]\t"S-.*leaf02', line))
    cut = "\n".join(line for line in cut.splitlines() if not re.match(r'\[[12]\]\t"S-.*leaf01', line))
    with pytest.raises(BadInput, match="in pieces"):
        read.parse(cut)


@pytest.mark.parametrize("body", [b"", b"hello", b"[1, 2]", b"{", b"<html></html>", b"\xff\xfe", b"a = 1", b"\x1f\x8b123"])
def test_what_is_no_fabric_is_refused(body):
    with pytest.raises(BadInput):
        read.parse(body)


def test_a_file_that_isnt_there():
    with pytest.raises(Unknown):
        read.load(FILES / "no-such.toml")


@pytest.mark.parametrize("name", ["f.json", "f.json.gz"])
@pytest.mark.parametrize(
    "wiring", [build(SMALL), read.parse(TOML), read.parse(graph("abcd", "ab bc cd da"))], ids=["built", "hand", "ring"]
)
def test_a_wiring_survives_a_trip_through_our_own_json(tmp_path, wiring, name):
    read.save(wiring, tmp_path / name)
    assert same(read.load(tmp_path / name), wiring)
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith("gz")


def changed(**change):
    return json.dumps(exact.to_data(build(SMALL)) | change)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"wiring": 2}, "a version"),
        ({"cable_bytes_per_s": -1}, r"cable_bytes_per_s\[0\]: above zero"),
        ({"cable_bytes_per_s": "400 Gbit/s"}, r"a speed in bytes per second"),
        ({"cable_a": [0]}, r"cable_a: as many as there are"),
        ({"cable_a": 99}, r"cable_a\[0\]: a link to what isn't there"),
        ({"cable_a": 0, "cable_b": 0}, r"cable 0: a link from a thing to itself"),
        ({"port_router": 1}, r"in pieces"),
        ({"unit_of": 3}, r"unit_of: numbered"),
        ({"colour": 3}, r"no field of that name"),
        ({"router_names": ["a"]}, r"router_names: one each"),
        ({"cards": -1}, r"cards: a whole number"),
    ],
    ids=str,
)
def test_our_own_json_is_checked_too(change, words):
    change = {"cables": 0, "cable_a": [], "cable_b": [], "cable_bytes_per_s": []} | change if "port_router" in change else change
    with pytest.raises(BadInput, match=words):
        read.parse(changed(**change))


def test_a_fabric_that_failures_have_cut_may_be_read_again():
    wiring = build(SMALL)
    cut = broken(wiring, tuple(Fault(kind="spine", number=i) for i in range(int((wiring.router_tier == 2).sum()))))
    assert whole.pieces(cut).max() > 0
    assert same(read.parse(read.dump(cut)), cut)
    with pytest.raises(BadInput, match="above zero"):
        read.parse(json.dumps(exact.to_data(cut) | {"whole": True}))


DESIGN = """kind = "clos-2"
hosts = 16
port_speed = "400 Gbit/s"
shape = [2, 3]
oversubscription = 1.5

[scale_up]
cards = 8
speed = "450 GB/s"
"""


def test_a_design_with_units():
    design = read.parse(DESIGN)
    assert design == Design(kind="clos-2", hosts=16, port_bytes_per_s=50e9, shape=(2, 3), oversubscription=1.5,
                            scale_up=ScaleUp(cards=8, bytes_per_s=450e9))  # fmt: skip
    assert 'port_speed = "400 Gbit/s"' in read.dump(design)


@given(
    st.builds(
        Design,
        kind=st.text(min_size=1),
        hosts=st.integers(1, 10**6),
        port_bytes_per_s=st.floats(1e-3, 1e15),
        oversubscription=st.floats(1e-3, 1e3),
        shape=st.lists(st.integers(0, 99)).map(tuple),
        scale_up=st.none() | st.builds(ScaleUp, cards=st.integers(1, 999), bytes_per_s=st.floats(1, 1e13)),
    )
)
def test_a_design_survives_a_trip_through_toml_and_json(design):
    assert read.parse(read.dump(design, toml=True)) == design
    assert read.parse(read.dump(design, toml=False)) == design


def test_the_noun_as_json_is_read_too():
    from forebay.codec import encode

    design = read.parse(DESIGN)
    assert design_file.from_data(encode(design)) == design


@pytest.mark.parametrize(
    "before, after, words",
    [
        ('"400 Gbit/s"', "400", "line 3: port_speed: a speed without its unit"),
        ('"400 Gbit/s"', '"-400 Gbit/s"', "line 3: port_speed: a speed is above zero"),
        ('"450 GB/s"', '"450"', "line 9: speed: a speed without its unit"),
        ("hosts = 16", "hosts = -16", "line 2: hosts: a whole number, 1 or more"),
        ("hosts = 16", 'hosts = "16"', "line 2: hosts: a whole number, 1 or more"),
        ("hosts = 16", "", "hosts is missing"),
        ("hosts", "host", "line 2: design: no field of that name"),
        ("1.5", "-1.5", "line 5: oversubscription: down over up, above zero"),
        ("[2, 3]", "[2, -3]", r"shape\[1\]: a whole number"),
        ("cards = 8", "cards = true", "line 8: cards: a whole number"),
    ],
)
def test_a_design_that_cant_be_meant_names_the_field_and_the_line(before, after, words):
    with pytest.raises(BadInput, match=words):
        read.parse(DESIGN.replace(before, after, 1))


@given(st.floats(1e-6, 1e18))
def test_a_speed_that_is_written_is_read_back_to_the_last_digit(x):
    assert parse_bytes_per_s(write_bytes_per_s(x)) == x


@pytest.mark.parametrize(
    "text, bytes_per_s",
    [("400 Gbit/s", 50e9), ("400Gbps", 50e9), ("400 gbps", 50e9), ("1.6 Tbit/s", 200e9), ("8 kbit/s", 1e3), ("8 bit/s", 1.0),
     ("450 GB/s", 450e9), ("450 GBps", 450e9), ("3.35 TB/s", 3.35e12), ("1 B/s", 1.0)],
)  # fmt: skip
def test_bits_are_read_as_bits_and_bytes_as_bytes(text, bytes_per_s):
    assert parse_bytes_per_s(text) == pytest.approx(bytes_per_s, rel=1e-15)


@pytest.mark.parametrize("text", ["400 Gb/s", "400gb/s", "1.6 Tb/s", "100 mb/s", "9 b/s"])
def test_a_small_b_alone_is_refused_with_both_that_it_may_be(text):
    with pytest.raises(BadInput, match="Bits or bytes") as error:
        parse_bytes_per_s(text)
    bits, whole = error.value.hint.split(" or ")
    assert parse_bytes_per_s(whole) == pytest.approx(8 * parse_bytes_per_s(bits), rel=1e-15)


@pytest.mark.parametrize("text", ["400Gbps", "400 Gbit/s", "0.4 Tbit/s", "50 GB/s", "400000 Mbit/s"])
def test_ways_to_write_400_gigabits(text):
    assert speed(text, "speed") == 50e9


def test_patterns_of_names():
    assert names("a[08-10]b[1,3]", "name") == ["a08b1", "a08b3", "a09b1", "a09b3", "a10b1", "a10b3"]
    with pytest.raises(BadInput):
        names("a[3-1]", "name")
    with pytest.raises(BadInput):
        names("a[1-99999999]", "name")


def test_a_card_without_a_cable_needs_a_scale_up():
    text = 'hosts=[{name="a", cards=2}, {name="b", cards=2}]\nswitches=[{name="s"}]'
    text += "".join(f'\n[[links]]\nfrom="{x}:0"\nto="s"\nspeed="1 GB/s"' for x in "ab")
    with pytest.raises(BadInput, match=r"no cable, and no scale-up(.|\n)*a, card 1 and 1 more"):
        read.parse(text)
    assert read.parse('scale_up = "450 GB/s"\n' + text).units == 4


def test_a_name_twice_in_json_is_refused():
    with pytest.raises(BadInput, match="'hosts' twice"):
        read.parse('{"kind": "clos-2", "hosts": 1, "hosts": 2}')


def test_a_gzip_that_unfolds_too_far_is_no_way_in(monkeypatch):
    monkeypatch.setattr(read, "GIB", 1000)
    with pytest.raises(BadInput, match="unfolds"):
        read.parse(gzip.compress(b" " * 5000))


@st.composite
def multigraphs(draw):
    """Switches in a random tree with more cables thrown in, and hosts on some: (hosts, switches, [(a, b, Gbit/s)])."""
    n = draw(st.integers(1, 8))
    edges = [(f"s{i}", f"s{draw(st.integers(0, i - 1))}", draw(st.sampled_from([100, 200, 400]))) for i in range(1, n)]
    more = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([100, 200])), max_size=12))
    edges += [(f"s{a}", f"s{b}", gbit) for a, b, gbit in more if a != b]
    hosts = draw(st.integers(1, 6))
    edges += [(f"h{i}", f"s{draw(st.integers(0, n - 1))}", 400) for i in range(hosts)]
    return hosts, n, draw(st.permutations(edges))


def joined(w: Wiring) -> list[tuple[str, str, float]]:
    """Every port and cable by the names of its ends, in order."""
    ports = zip(w.port_unit.tolist(), w.port_router.tolist(), w.port_bytes_per_s.tolist(), strict=True)
    cables = zip(w.cable_a.tolist(), w.cable_b.tolist(), w.cable_bytes_per_s.tolist(), strict=True)
    told = [(w.host_names[u], w.router_names[r], x) for u, r, x in ports]
    return sorted(told + [(*sorted((w.router_names[a], w.router_names[b])), x) for a, b, x in cables])


@given(multigraphs())
def test_a_multigraph_is_the_same_by_tables_and_by_graphml_and_no_cable_is_lost(told):
    hosts, switches, edges = told
    text = "".join(f'<node id="h{i}"><data key="k">host</data></node>' for i in range(hosts))
    text += "".join(f'<node id="s{i}"><data key="k">switch</data></node>' for i in range(switches))
    text += "".join(f'<edge source="{a}" target="{b}"><data key="s">{gbit} Gbit/s</data></edge>' for a, b, gbit in edges)
    keys = '<key id="k" for="node" attr.name="kind"/><key id="s" for="edge" attr.name="speed"/>'
    xml = read.parse(f'<graphml>{keys}<graph edgedefault="undirected">{text}</graph></graphml>')
    table = {"hosts": [{"name": f"h[0-{hosts - 1}]"}], "switches": [{"name": f"s[0-{switches - 1}]"}]}
    table["links"] = [{"from": a, "to": b, "speed": f"{gbit} Gbit/s"} for a, b, gbit in edges]
    hand = read.parse(json.dumps(table))
    wanted = sorted((*sorted((a, b)), gbit * 125e6) for a, b, gbit in edges)
    assert joined(xml) == joined(hand) == joined(read.parse(read.dump(hand))) == wanted


PAGE = (Path(__file__).parents[2] / "docs" / "fabric-files.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block, found", list(zip(BLOCKS, [Design, Wiring, Wiring, Wiring], strict=True)))
def test_the_examples_of_the_page_are_read(block, found):
    assert type(read.parse(block)) is found
