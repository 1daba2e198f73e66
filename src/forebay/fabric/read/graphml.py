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
Limits: what graphml_text refuses. Other attributes are left alone.
"""

from __future__ import annotations

from collections import Counter

from forebay.errors import BadInput
from forebay.fabric import quantity
from forebay.fabric.quantity import where, whole
from forebay.fabric.read.graphml_text import Reader, Thing, parse
from forebay.fabric.read.listing import Cable, Host, Listing, Switch, tier_word

ASSUMED = "400 Gbit/s"
SPEEDS = {"speed": "", "bandwidth": "", "capacity": "", "rate": "", "bw": "", "bytes_per_s": "B/s", "gbps": "Gbit/s",
          "speed_gbps": "Gbit/s", "bandwidth_gbps": "Gbit/s", "gbit_s": "Gbit/s"}  # fmt: skip
HOSTS = {"host", "server", "node", "compute", "machine", "endpoint", "terminal"}
CARDS = {"card", "gpu", "npu", "accelerator", "chip"}
SWITCHES = {"switch", "router", "sw"}
HOST_WORDS = ("host", "node", "server", "gpu", "card", "compute", "dgx", "hgx", "worker")


def listing(text: str, name: str) -> Listing:
    """The listing in a GraphML file."""
    reader = parse(text)
    nodes = [(node, reader.said(node, "node")) for node in reader.nodes]
    known = _names(nodes)
    hosts, switches, inside = _things(reader, nodes, known)
    cables = _cables(reader, known, inside)
    assumed = not any(set(SPEEDS) & set(reader.said(edge, "edge")) for edge in reader.edges) and not _speed(reader.graph)
    title = reader.graph.get("name") or name
    return Listing(name=title + (f" ({ASSUMED} assumed)" if assumed else ""), hosts=tuple(hosts), switches=tuple(switches),
                   cables=tuple(cables))  # fmt: skip


def _names(nodes: list[tuple[Thing, dict[str, str]]]) -> dict[str, str]:
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
    reader: Reader, nodes: list[tuple[Thing, dict[str, str]]], known: dict[str, str]
) -> tuple[list[Host], list[Switch], dict[str, tuple[str, int]]]:
    """Hosts, switches, and for each node that is a card of a named host: (the host, its NIC there)."""
    kinds = _kinds(reader, nodes, known)
    hosts, switches, grouped, inside = [], [], Counter[str](), {}
    first: dict[str, int] = {}
    for (node, said), kind in zip(nodes, kinds, strict=True):
        name = known[node.ends[0]]

        def count(*keys: str, least: int = 0, said: dict[str, str] = said, node: Thing = node, name: str = name) -> int:
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


def _kinds(reader: Reader, nodes: list[tuple[Thing, dict[str, str]]], known: dict[str, str]) -> list[str]:
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


def _cables(reader: Reader, known: dict[str, str], inside: dict[str, tuple[str, int]]) -> list[Cable]:
    there = [reader.said(edge, "edge") for edge in reader.edges]
    base = _speed(reader.graph) or (None if any(map(_speed, there)) else ("speed", ASSUMED))
    ways: dict[tuple[frozenset[str], float], Counter[tuple[str, str]]] = {}
    found: dict[tuple[frozenset[str], float], list[tuple[Thing, int]]] = {}
    cables = []

    def cable(edge: Thing, bytes_per_s: float, count: int) -> Cable:
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
