"""A fabric from GraphML, as networkx and Gephi write it.

Asked:  which nodes are hosts, which are switches, and how fast is an edge?
Answer: what their attributes say, under the names that people use:
            nodes  kind (or type, role): host, server, card, gpu; switch, leaf, spine, core ...   tier   plane   group (pod)
                   ports   cards (gpus), nics   host (of a card: cards that name the same host are in it)
            edges  speed (or bandwidth, capacity, rate): "400 Gbit/s"; gbps, bytes_per_s: a bare number   count (parallel)
        Where no node has a kind: tier 0 is a host; else names tell ("leaf3", "node7"); else nodes with a single neighbour are
        hosts; and where there are none, each node is a card that passes traffic on. A graph without any speed is taken at
        400 Gbit/s and its name says so. A Gephi label is the name if each node has one of its own. In a directed graph an edge
        and its way back are one cable. `weight` isn't read: it means too many things.
Limits: no entities, no DOCTYPE, no nested graphs, no hyperedges. The parser is expat's own, which names the line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from forebay.errors import BadInput
from forebay.fabric import quantity
from forebay.fabric.quantity import where, whole
from forebay.fabric.read.listing import Cable, Host, Listing, Switch, tier_word

ASSUMED = "400 Gbit/s"
SPEEDS = {"speed": "", "bandwidth": "", "capacity": "", "rate": "", "bw": "", "bytes_per_s": "B/s", "gbps": "Gbit/s",
          "speed_gbps": "Gbit/s", "bandwidth_gbps": "Gbit/s", "gbit_s": "Gbit/s"}  # fmt: skip
HOSTS = {"host", "server", "node", "compute", "machine", "endpoint", "terminal"}
CARDS = {"card", "gpu", "npu", "accelerator", "chip"}
SWITCHES = {"switch", "router", "sw"}
HOST_WORDS = ("host", "node", "server", "gpu", "card", "compute", "dgx", "hgx", "worker")


@dataclass(slots=True)
class _Thing:
    """A node or an edge while it is read."""

    line: int
    ends: tuple[str, ...]  # its id, or source and target
    directed: bool = False
    data: dict[str, str] = field(default_factory=dict)


class _Reader:
    """What expat calls. Holds what was read so far."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.keys: dict[str, tuple[str, str]] = {}  # id -> (for, name)
        self.defaults: dict[tuple[str, str], str] = {}
        self.nodes: list[_Thing] = []
        self.edges: list[_Thing] = []
        self.graph: dict[str, str] = {}
        self.depth = 0
        self.directed = False
        self.open: _Thing | None = None
        self.key = ""
        self.words: list[str] | None = None

    @property
    def line(self) -> int:
        return self.parser.CurrentLineNumber

    def _refuse(self, *_: Any) -> None:
        raise BadInput(f"line {self.line}: a GraphML file with a DOCTYPE or entities isn't read.", hint="save it without")

    def _start(self, name: str, attrs: dict[str, str]) -> None:
        kind = name.rpartition(" ")[2]
        try:
            if kind == "key":
                self.key = attrs["id"]
                self.keys[self.key] = (attrs.get("for", "all"), attrs.get("attr.name", self.key).lower())
            elif kind == "graph":
                self.depth += 1
                self.directed = attrs.get("edgedefault") == "directed"
                if self.depth > 1 or self.nodes:
                    raise BadInput(f"line {self.line}: one graph a file.", found="a second graph")
            elif kind == "node":
                self.open = _Thing(self.line, (attrs["id"],))
                self.nodes.append(self.open)
            elif kind == "edge":
                directed = attrs.get("directed", str(self.directed)).lower() == "true"
                self.open = _Thing(self.line, (attrs["source"], attrs["target"]), directed)
                self.edges.append(self.open)
            elif kind == "hyperedge":
                raise BadInput(f"line {self.line}: an edge joins two nodes.", found="a hyperedge")
            elif kind in ("data", "default"):
                self.key = attrs.get("key", self.key)
                self.words = []
        except KeyError as missing:
            raise BadInput(f"line {self.line}: <{kind}> lacks an attribute.", found=str(missing)) from None

    def _text(self, words: str) -> None:
        if self.words is not None:
            self.words.append(words)

    def _end(self, name: str) -> None:
        kind = name.rpartition(" ")[2]
        if kind in ("data", "default") and self.words is not None:
            kept, attr = self.keys.get(self.key, ("all", self.key.lower()))
            said = "".join(self.words).strip()
            if kind == "default":
                self.defaults[kept, attr] = said
            else:
                (self.graph if self.open is None else self.open.data)[attr] = said
            self.words = None
        elif kind in ("node", "edge"):
            self.open = None
        elif kind == "graph":
            self.depth -= 1

    def said(self, thing: _Thing, kind: str) -> dict[str, str]:
        """The attributes of a node or an edge, with the defaults that the keys give."""
        first = {name: said for (kept, name), said in self.defaults.items() if kept in (kind, "all")}
        return {name: said for name, said in (first | thing.data).items() if said != ""}


def listing(text: str, name: str) -> Listing:
    """The listing in a GraphML file."""
    reader = _Reader()
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as bad:
        raise BadInput(f"line {bad.lineno}: that is no XML.", found=expat.ErrorString(bad.code)) from None
    nodes = [(node, reader.said(node, "node")) for node in reader.nodes]
    known = _names(nodes)
    hosts, switches, inside = _things(reader, nodes, known)
    cables = _cables(reader, known, inside)
    assumed = not any(set(SPEEDS) & set(reader.said(edge, "edge")) for edge in reader.edges) and not _speed(reader.graph)
    title = reader.graph.get("name") or name
    return Listing(name=title + (f" ({ASSUMED} assumed)" if assumed else ""), hosts=tuple(hosts), switches=tuple(switches),
                   cables=tuple(cables))  # fmt: skip


def _names(nodes: list[tuple[_Thing, dict[str, str]]]) -> dict[str, str]:
    """Node id -> name: the labels, where each node has one of its own."""
    seen: dict[str, int] = {}
    for node, _ in nodes:
        if node.ends[0] in seen:
            raise BadInput(
                f"line {node.line}: a name stands for one thing.",
                found=f"node {node.ends[0]!r} twice; first on line {seen[node.ends[0]]}",
            )
        seen[node.ends[0]] = node.line
    labels = [said.get("label", "") for _, said in nodes]
    good = all(labels) and len(set(labels)) == len(labels)
    return {node.ends[0]: label if good else node.ends[0] for (node, _), label in zip(nodes, labels, strict=True)}


def _things(
    reader: _Reader, nodes: list[tuple[_Thing, dict[str, str]]], known: dict[str, str]
) -> tuple[list[Host], list[Switch], dict[str, tuple[str, int]]]:
    """Hosts, switches, and for each node that is a card of a named host: (the host, its NIC there)."""
    kinds = _kinds(reader, nodes, known)
    hosts, switches, grouped, inside = [], [], Counter[str](), {}
    first: dict[str, int] = {}
    for (node, said), kind in zip(nodes, kinds, strict=True):
        name = known[node.ends[0]]

        def count(*keys: str, least: int = 0, said: dict[str, str] = said, node: _Thing = node, name: str = name) -> int:
            key = next((key for key in keys if key in said), "")
            return whole(said[key], f"{name}: {key}", node.line, least=least) if key else 0

        if kind == "switch":
            tier = count("tier", "layer", "level") or tier_word(said.get("kind", said.get("type", said.get("role", ""))))
            switches.append(Switch(name, tier, count("plane"), count("group", "pod"), count("ports", "radix"), node.line))
        elif said.get("host") and kind == "card":
            inside[node.ends[0]] = (said["host"], grouped[said["host"]])
            first.setdefault(said["host"], node.line)
            grouped[said["host"]] += 1
        else:
            hosts.append(Host(name, count("cards", "gpus", least=1) or 1, count("nics", least=1), node.line))
    return hosts + [Host(name, cards, cards, first[name]) for name, cards in grouped.items()], switches, inside


def _kinds(reader: _Reader, nodes: list[tuple[_Thing, dict[str, str]]], known: dict[str, str]) -> list[str]:
    told = [_kind(said, node.line) for node, said in nodes]
    if not any(told):
        told = ["switch" if tier_word(known[n.ends[0]]) or known[n.ends[0]].lower().startswith(("sw", "tor")) else
                "host" if known[n.ends[0]].lower().startswith(HOST_WORDS) else "" for n, _ in nodes]  # fmt: skip
    if not any(told):
        near: dict[str, set[str]] = {node.ends[0]: set() for node, _ in nodes}
        for edge in reader.edges:
            a, b = edge.ends
            near.setdefault(a, set()).add(b)
            near.setdefault(b, set()).add(a)
        single = [len(near[node.ends[0]]) == 1 for node, _ in nodes]
        return ["host" if one or not any(single) else "switch" for one in single]
    missing = next((node for (node, _), kind in zip(nodes, told, strict=True) if not kind), None)
    if missing:
        raise BadInput(
            f"line {missing.line}: is {known[missing.ends[0]]!r} a host or a switch?", hint='kind = "host" or "switch"'
        )
    return told


def _kind(said: dict[str, str], line: int) -> str:
    for key in ("kind", "type", "role", "node_type"):
        word = said.get(key, "").lower()
        if word in HOSTS:
            return "host"
        if word in CARDS:
            return "card"
        if word in SWITCHES or tier_word(word):
            return "switch"
        if word:
            raise BadInput(f"line {line}: {key}: no kind of node that I know.", found=said[key], hint="host, card or switch")
    if "tier" in said:
        return "switch" if whole(said["tier"], "tier", line) else "host"
    return ""


def _speed(said: dict[str, str]) -> tuple[str, str] | None:
    return next(((key, said[key]) for key in SPEEDS if key in said), None)


def _cables(reader: _Reader, known: dict[str, str], inside: dict[str, tuple[str, int]]) -> list[Cable]:
    there = [reader.said(edge, "edge") for edge in reader.edges]
    base = _speed(reader.graph) or (None if any(map(_speed, there)) else ("speed", ASSUMED))
    ways: dict[tuple[frozenset[str], float], Counter[tuple[str, str]]] = {}
    found: dict[tuple[frozenset[str], float], list[tuple[_Thing, int]]] = {}
    cables = []

    def cable(edge: _Thing, bytes_per_s: float, count: int) -> Cable:
        (a, i), (b, j) = (inside.get(end, (known.get(end, end), -1)) for end in edge.ends)
        return Cable(a, b, bytes_per_s, count, i, j, edge.line)

    for edge, said in zip(reader.edges, there, strict=True):
        given = _speed(said) or base
        if given is None:
            raise BadInput(
                f"{where('edge', edge.line)}: no speed, where others have one.", found=" - ".join(edge.ends), hint=quantity.HINT
            )
        bytes_per_s = quantity.speed(given[1], given[0], edge.line, bare=SPEEDS[given[0]])
        count = whole(said.get("count", 1), "count", edge.line, least=1)
        if edge.directed:
            key = (frozenset(edge.ends), bytes_per_s)
            ways.setdefault(key, Counter())[edge.ends[0], edge.ends[-1]] += count
            found.setdefault(key, []).append((edge, count))
        else:
            cables.append(cable(edge, bytes_per_s, count))
    # Where a directed graph has ways back, a cable is an edge and its way back, and each has one.
    back = {frozenset(pair) for way in ways.values() for pair in way if any(pair[::-1] in other for other in ways.values())}
    for key, way in ways.items():
        edge = found[key][0][0]
        if key[0] in back and (len(way) < 2 or len(set(way.values())) > 1):
            raise BadInput(
                f"{where('edge', edge.line)}: a cable is as fast each way, and this one has no way back like it.",
                found=f"{' -> '.join(edge.ends)} at {key[1]:g} B/s",
            )
        cables += [cable(one, key[1], n) for one, n in found[key] if key[0] not in back or one.ends == edge.ends]
    return cables
