"""Published fabrics as designs: what somebody else counted, to be counted again.

Asked:  which design does a record of published.json describe, and which of its figures can be held against ours?
Answer: the record's words say the family and its parameters the size; nothing depends on which record it is. What a source leaves
        out is taken from where it stands: HPN's switch (SIGCOMM 2024), MRC's eight planes of 100 Gbit/s. "Links" is what the
        record says it is: cables between switches, or between cards where there are no switches.
Limits: a record without a shape (savings in per cent, a price for "about 1000 endpoints") is no wiring; `refused` says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import build, slim_fly
from forebay.fabric.counts import counts
from forebay.fabric.design import Design
from forebay.fabric.hops import hops
from forebay.fabric.wiring import Wiring
from forebay.units import parse_bytes_per_s

HPN_SHAPE, HPN_PORTS = (128, 60, 8), 128
MRC_PLANES, MRC_PORTS = 8, 64
PER_HOST = 8
KNOWN_PORTS = (64, 128, 144, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published fabric as a design, with the published figures under our names.

    It doesn't say whether they agree: `figures` counts what is built.
    """

    id: str
    status: str
    design: Design | None
    published: Mapping[str, int] = field(default_factory=dict)
    note: str = ""  # what was assumed
    slip: str = ""  # of the source
    refused: str = ""  # why there is no design


def read(path: Path | None = None) -> tuple[Case, ...]:
    """The cases of a file of records; of the house's own copy if none is named."""
    text = path.read_text() if path else (files("forebay.fabric") / "data" / "published.json").read_text()
    return tuple(case for record in json.loads(text)["topologies"] for case in cases(record))


def cases(record: Mapping[str, Any]) -> tuple[Case, ...]:
    """A record as cases: one, or several where it is a table of its own."""
    head: dict[str, Any] = {"id": str(record["id"]), "status": str(record["status"])}
    try:
        return tuple(
            Case(**head, design=design, published=published, note=note, slip=_slip(record, design))
            for design, published, note in _designs(record)
        )
    except (KeyError, ValueError, TypeError) as odd:
        return (Case(**head, design=None, refused=str(odd).strip("'\"")),)


def figures(case: Case) -> dict[str, int]:
    """What we count of what is published of this case. Raises BadInput if the design can't be built."""
    d, asked = case.design, case.published
    if d is None:
        raise BadInput(f"{case.id} is no wiring.", found=case.refused)
    c = counts(d)
    found = {"cards": c.cards, "switches": c.switches, "switch_cables": c.switch_cables, "card_cables": c.card_cables}
    found |= {"access_cables": c.access_cables, "circuit_switches": c.circuit_switches}
    found |= dict(zip(("leaf", "spine", "core"), (*c.by_tier, 0, 0, 0), strict=False))
    if asked.keys() - found.keys():
        found |= _measured(build(d), asked)
    return {name: found[name] for name in asked}


def _measured(w: Wiring, asked: Mapping[str, int]) -> dict[str, int]:
    low = np.minimum(w.router_tier[w.cable_a], w.router_tier[w.cable_b])
    degree = np.bincount(np.concatenate([w.cable_a, w.cable_b]), minlength=w.routers)
    found = {"leaf_spine": int((low == 1).sum()), "spine_core": int((low == 2).sum())}
    found |= {"radix": int(degree.max()) if degree.min() == degree.max() else -1}
    if "diameter" in asked:
        found["diameter"] = hops(w).diameter - (0 if w.direct else 2)
    return found


def _slip(record: Mapping[str, Any], d: Design) -> str:
    """What contradicts itself in a record. It is named, and nothing is bent to it."""
    if d.kind == "slim-fly" and not slim_fly.possible(d.shape[0]):
        return f"no Slim Fly graph has q = {d.shape[0]}: the row is a formula"
    cards = record["endpoints"]
    if d.kind == "rail-optimised" and cards != d.cards:
        return f"the row prints {cards:,} GPUs, its {d.hosts:,} nodes of {d.cards_per_host} are {d.cards:,}"
    return ""


Found = Iterator[tuple[Design, dict[str, int], str]]


def _designs(record: Mapping[str, Any]) -> Found:
    """(design, published figures, note) of a record. Raises KeyError or ValueError with the reason where there is none."""
    words, p, other = record["topology"].lower(), record["parameters"], record.get("other") or {}
    for pattern, reader in READERS:
        if re.search(pattern, words):
            yield from reader(record, words, p, other)
            return
    raise ValueError(f"no family is known by the words {record['topology']!r}")


def _common(record: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Fields of Design and published figures that all families have."""
    p, other = record["parameters"], record.get("other") or {}
    said: dict[str, Any] = {}
    if "switch_ports" in p:
        said["switch_ports"] = int(p["switch_ports"])
    if "port_Gbps" in p:
        said["port_bytes_per_s"] = parse_bytes_per_s(f"{p['port_Gbps']} Gbit/s")
    figures = {"cards": record["endpoints"], "switches": record["switches"], "switch_cables": record["links"]}
    for ours, theirs in (
        ("leaf", "leaf"),
        ("spine", "spine"),
        ("core", "core"),
        ("access_cables", "cables_node_leaf"),
        ("access_cables", "access_links_200G"),
        ("leaf_spine", "cables_leaf_spine"),
        ("spine_core", "cables_spine_core"),
    ):
        if theirs in other:
            figures[ours] = other[theirs]
    return said, {name: int(n) for name, n in figures.items() if n is not None}


def _hosts(record: Mapping[str, Any], cards: int) -> dict[str, Any]:
    """Hosts of eight cards where they come out whole, else of one."""
    each = PER_HOST if cards % PER_HOST == 0 else 1
    return {"hosts": cards // each, "cards_per_host": each, "nics_per_host": each}


def _endpoints(record: Mapping[str, Any]) -> int:
    if not record["endpoints"]:
        raise ValueError("no number of endpoints")
    return int(record["endpoints"])


def _counted(record: Mapping[str, Any]) -> None:
    """Savings and prices of a size class are no wiring."""
    if record["switches"] is None and record["links"] is None and not record["parameters"].keys() - {"size", "workload"}:
        raise ValueError("no parameter says what is built")


def _tree(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    said, published = _common(record)
    three = "3-tier" in words or words.startswith("ft3")
    if "nodes" in p:  # a SuperPOD's table: rail-optimised, whatever it is called
        yield from _rails(record, words, p, other)
        return
    if "racks" in p:
        hosts = _hosts(record, _endpoints(record))
        spare = float(str(other.get("spine_redundancy", "1:1")).split(":")[1])
        down = int(p["gpus_per_rack"])
        wide = int(next(n for name, n in p.items() if name.startswith("ctsw_ports")))
        note = "a rack's switch has ports for its cards and 1.125 times as many up; our one kind of switch has those of the spine"
        design = Design(kind="clos-2", **hosts, switch_ports=wide, shape=(down, round(down * spare)))
        yield design, published | {"leaf": int(p["racks"])}, note
        return
    if not three and "switch_ports" not in p:
        _counted(record)
    hosts = _hosts(record, _endpoints(record))
    kind = "clos-3" if three else "clos-2"
    note = "" if "switch_ports" in said else "the source names no switch; the smallest usual one that reaches so many"
    for ports in (said.get("switch_ports"),) if "switch_ports" in said else KNOWN_PORTS:
        reach = int(ports or 0) ** (3 if three else 2) // (4 if three else 2)
        if "switch_ports" in said or reach >= _endpoints(record):
            yield Design(kind=kind, **hosts, **(said | {"switch_ports": ports})), published, note
            return


def _rails(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    if "vs" in words:
        raise ValueError("a comparison, no wiring")
    said, published = _common(record)
    cards = _endpoints(record)
    hosts = int(p.get("nodes", cards // PER_HOST))
    if hosts * PER_HOST != cards:
        published["cards"] = hosts * PER_HOST
    tiers = next((int(n) for n in re.findall(r"(\d)-tier", words)), 0)
    yield Design(kind="rail-optimised", hosts=hosts, tiers=tiers, **said), published, ""


def _rail_only(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    if " vs" in words:
        raise ValueError("a comparison, no wiring")
    said, published = _common(record)
    told = re.search(r"(\d+) rails", str(other.get("check", "")))
    if "hb_domain" in p:
        rails = int(p["hb_domain"])
    elif told:
        rails = int(told[1])
        said |= {"planes": MRC_PLANES, "switch_ports": MRC_PORTS, "port_bytes_per_s": parse_bytes_per_s("800 Gbit/s")}
    else:
        rails = PER_HOST
    hosts = _endpoints(record) // rails
    yield Design(kind="rail-only", hosts=hosts, cards_per_host=rails, nics_per_host=rails, **said), published, ""


def _planes(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    said, published = _common(record)
    said["planes"] = planes = int(p["planes"])
    narrow = next((name for name in p if re.fullmatch(r"switch_ports_\d+G", name)), None)
    if narrow:  # ports of the split speed: every NIC is in all planes
        speed = parse_bytes_per_s(f"{re.findall(r'[0-9]+', narrow)[0]} Gbit/s") * planes
        said |= {"switch_ports": int(p[narrow]) // planes, "port_bytes_per_s": speed}
    hosts = _hosts(record, _endpoints(record))
    yield Design(kind="multi-plane" if narrow else "mpft", **hosts, **said), published, ""


def _hpn(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    if not p:
        raise ValueError("failures and gains of a fabric, not its wiring")
    _, published = _common(record)
    cards = _endpoints(record)
    down, up, above = HPN_SHAPE
    ports, tiers, note = HPN_PORTS, 0, ""
    told = re.search(r"(\d+) down : (\d+) up", str(other.get("agg_core_oversubscription", "")))
    if "segment" in words:
        down, up = (
            int(next(n for name, n in p.items() if re.fullmatch(key, name))) for key in (r"tor_down_\d+G", r"tor_up_\d+G")
        )
        spare = sum(int(n) for name, n in p.items() if re.fullmatch(r"tor_down_backup_\d+G", name))
        ports, tiers, note = up + (down + spare) // 2, 1, "counts a segment's ToRs, nothing above them"
    elif "segments" in p and told:
        down, up, above = cards // PER_HOST // int(p["segments"]), int(p["agg_per_plane"]), int(told[2])
        ports, tiers = int(told[1]) + above, 2
    speed = parse_bytes_per_s("400 Gbit/s")
    design = Design(
        kind="hpn",
        hosts=cards // PER_HOST,
        planes=2,
        switch_ports=ports,
        port_bytes_per_s=speed,
        shape=(down, up, above),
        tiers=tiers,
    )
    yield design, published, note


def _slim_fly(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    said, published = _common(record)
    table = next((value for name, value in other.items() if name.startswith("q:")), None)
    if table:
        for q, (switches, radix, links) in table.items():
            figures = {"switches": switches, "radix": radix, "switch_cables": links, "diameter": 2}
            ends = {"hosts": switches, "cards_per_host": 1, "nics_per_host": 1}
            yield Design(kind="slim-fly", **ends, shape=(int(q),), concentration=1), figures, "one NIC a switch"
        return
    if "q" not in p:
        raise ValueError("no q, and no number of endpoints")
    said.setdefault("switch_ports", int(p["network_radix"]) + int(p["concentration"]))
    hosts = _hosts(record, _endpoints(record))
    if "network_radix" in p:
        published["radix"] = int(p["network_radix"])
    yield Design(kind="slim-fly", **hosts, **said, shape=(int(p["q"]),), concentration=int(p["concentration"])), published, ""


def _dragonfly(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    _counted(record)
    said, published = _common(record)
    a, h = int(p["a"]), int(p["h"])
    groups, most = int(p.get("groups", a * h + 1)), a * h + 1
    note = f"{groups} groups where {most} are possible" if groups < most else ""
    hosts = _hosts(record, _endpoints(record))
    yield Design(kind="dragonfly", **hosts, **said, shape=(a, h, groups), concentration=int(p["p"])), published, note


def _boxes(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    """HyperX, torus and full meshes in several dimensions, by `dims`; a full mesh by its endpoints."""
    said, published = _common(record)
    links = published.pop("switch_cables", None)
    if "hyperx" in words:
        _counted(record)
        each: dict[str, Any] = {"concentration": int(p["concentration"])} if "concentration" in p else {}
        published |= {"switch_cables": links} if links is not None else {}
        design = Design(kind="hyperx", **_hosts(record, _endpoints(record)), **said, **each, shape=tuple(map(int, p["dims"])))
        yield design, published, ""
        return
    bundles = re.search(r"= (\d+) bundles", str(other.get("links_direct", "")))
    if links is not None or bundles:
        published["card_cables"] = links if links is not None else int(bundles[1]) if bundles else 0
    published |= {name: int(p[name]) for name in ("radix", "diameter") if name in p}
    if "cube" in p:
        del said
        published["circuit_switches"] = published.pop("switches", 0) or int(p["ocs"])
        yield (
            Design(kind="ocs-torus", **_hosts(record, _endpoints(record))),
            published,
            "optical circuit switches; none of packets",
        )
        return
    if "dims" in p:
        kind = "torus" if "torus" in words else "nd-full-mesh"
        yield Design(kind=kind, **_hosts(record, _endpoints(record)), **said, shape=tuple(map(int, p["dims"]))), published, ""
        return
    if words != "full mesh":
        raise ValueError("no parameter says its sides")
    yield Design(kind="full-mesh", **_hosts(record, _endpoints(record)), **said), published, ""


def _supernode(record: Mapping[str, Any], words: str, p: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    _, published = _common(record)
    design = Design(
        kind="supernode",
        hosts=int(p["nodes"]),
        cards_per_host=int(p["npu_per_node"]),
        nics_per_host=int(p["npu_per_node"]),
        planes=int(p["L2_subplanes"]),
        shape=(int(p["L2_chips_per_subplane"]),),
        switch_ports=int(p["L2_ports"]),
        port_bytes_per_s=parse_bytes_per_s("392 GB/s"),
    )
    yield design, published, ""


READERS = (
    (r"hx\dmesh", lambda record, words, p, other: _none("HammingMesh isn't among the families")),
    (r"slim fly|\bsf\b", _slim_fly),
    (r"dragonfly", _dragonfly),
    (r"hpn", _hpn),
    (r"cloudmatrix", _supernode),
    (r"rail-only", _rail_only),
    (r"rail-optimised", _rails),
    (r"hyperx|torus|mesh", _boxes),
    (r"plane", _planes),
    (r"tapered", lambda record, words, p, other: _none("no parameter says what is built")),
    (r"fat tree|clos|2-tier|3-tier", _tree),
)


def _none(why: str) -> Found:
    raise ValueError(why)
