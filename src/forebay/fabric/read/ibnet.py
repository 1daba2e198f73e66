"""A fabric from the output of `ibnetdiscover` (infiniband-diags; format: its manual page, "TOPOLOGY FILE FORMAT").

Asked:  which hosts hang on which switches of an InfiniBand subnet, and how fast?
Answer: a block a node: its type, ports, GUID in quotes and description; under it a line a port that leads somewhere. Each cable
        stands in both blocks and is taken once, by GUID and port, so parallel cables stay apart. Speed is width x generation
        ("4xNDR"), as the data rate of a lane. HCAs whose descriptions begin with the same word are of one host ("node7 mlx5_3");
        where a description names no host, the HCA is a host of its own, called by its GUID. An HCA counts as one card.
Limits: which hosts are storage it can't tell. Aggregation nodes (SHARP) and routers out of the subnet are left out. What runs at
        memory speed between the cards isn't in such a file.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from forebay.errors import BadInput
from forebay.fabric.read.listing import Cable, Host, Listing, Switch
from forebay.units import parse_bytes_per_s

# Gbit/s of data of one lane: 8b/10b coding to QDR, 64b/66b from FDR10 on (InfiniBand Trade Association's table of rates).
LANE = {"SDR": 2, "DDR": 4, "QDR": 8, "FDR10": 10, "FDR": 13.64, "EDR": 25, "HDR": 50, "NDR": 100, "XDR": 200}

NODE = re.compile(r'^(Switch|Ca|Rt)\s+(\d+)\s+"([^"]+)"(.*)$')
PORT = re.compile(r'^\[(\d+)\](?:\[[^\]]*\]|\([^)]*\))*\s+"([^"]+)"\[(\d+)\](.*)$')
RATE = re.compile(r"\b(\d+)x([A-Z]+\d*)\b")
DEVICE = re.compile(r"(HCA-?\d+|mlx\d+_\w+|ib\w*|hfi\w*|qib\w*|rdma\w*|roce\w*|rocep\w*|bnxt\w*|p\d+|nic\d+)$", re.IGNORECASE)
NOBODY = {"localhost", "mt", "(none)"}


class _Node(NamedTuple):
    kind: str
    ports: int
    guid: str
    told: str  # its description
    line: int


def looks(text: str) -> bool:
    return bool(re.search(r'^(?:Switch|Ca|Rt)\s+\d+\s+"', text, re.MULTILINE)) or "# Topology file: generated on" in text[:2000]


def listing(text: str, name: str) -> Listing:
    """The listing in the output of ibnetdiscover."""
    nodes, ends = _blocks(text)
    left_out = {n.guid for n in nodes.values() if n.kind == "Rt" or "Aggregation Node" in n.told}
    names = _switch_names([n for n in nodes.values() if n.kind == "Switch"])
    hosts: dict[str, list[_Node]] = {}
    for node in nodes.values():
        if node.kind == "Ca" and node.guid not in left_out:
            hosts.setdefault(_host(node)[0], []).append(node)
    place = {}
    for host, cas in hosts.items():
        cas.sort(key=lambda ca: (_natural(_host(ca)[1]), ca.line))
        place.update({ca.guid: (host, i) for i, ca in enumerate(cas)})
    place.update({guid: (said, -1) for guid, said in names.items()})
    cables = []
    for (one, two), (speed, line) in ends.items():
        for guid, _ in (one, two):
            if guid not in nodes:
                raise BadInput(f"line {line}: a link to what isn't there.", found=f"no block for {guid!r}")
        if one[0] not in left_out and two[0] not in left_out:
            (a, i), (b, j) = place[one[0]], place[two[0]]
            cables.append(Cable(a, b, speed, 1, i, j, line))
    return Listing(
        name=name,
        hosts=tuple(Host(host, len(cas), len(cas), cas[0].line) for host, cas in hosts.items()),
        switches=tuple(
            Switch(names[n.guid], ports=_box_ports(n.ports), line=n.line) for n in nodes.values() if n.kind == "Switch"
        ),
        cables=tuple(cables),
    )


End = tuple[str, int]  # GUID, port


def _blocks(text: str) -> tuple[dict[str, _Node], dict[tuple[End, End], tuple[float, int]]]:
    nodes: dict[str, _Node] = {}
    ends: dict[tuple[End, End], tuple[float, int]] = {}
    here: _Node | None = None
    for line, words in enumerate(text.splitlines(), 1):
        node, port = NODE.match(words), PORT.match(words)
        if node:
            told = re.search(r'#\s*"([^"]*)"', node[4])
            here = _Node(node[1], int(node[2]), node[3], told[1] if told else "", line)
            if here.guid in nodes:
                raise BadInput(
                    f"line {line}: a name stands for one thing.",
                    found=f"{here.guid!r} twice; first on line {nodes[here.guid].line}",
                )
            nodes[here.guid] = here
        elif port:
            if here is None:
                raise BadInput(f"line {line}: a port of no node.", found=words.strip()[:80])
            one, two = (here.guid, int(port[1])), (port[2], int(port[3]))
            pair = (min(one, two), max(one, two))
            speed = _speed(port[4], line)
            if one[0] == two[0]:
                raise BadInput(
                    f"line {line}: a link from a thing to itself.", found=f"{here.told or here.guid}, ports {one[1]} and {two[1]}"
                )
            if pair in ends and ends[pair][0] != speed:
                raise BadInput(
                    f"line {line}: the two ends of a cable say different speeds.",
                    found=words.strip()[-60:],
                    hint=f"the other end is on line {ends[pair][1]}",
                )
            ends.setdefault(pair, (speed, line))
        elif words.startswith("["):
            raise BadInput(f"line {line}: that is no line of ibnetdiscover that I can read.", found=words.strip()[:80])
    return nodes, ends


def _speed(rest: str, line: int) -> float:
    rates = RATE.findall(rest.rpartition('"')[2]) or RATE.findall(rest)
    if not rates:
        raise BadInput(
            f"line {line}: a link without its speed.", found=rest.strip()[-60:], hint="width x generation, such as 4xNDR"
        )
    width, kind = rates[-1]
    if kind not in LANE:
        raise BadInput(f"line {line}: no generation of InfiniBand that I know.", found=f"{width}x{kind}", hint=", ".join(LANE))
    return parse_bytes_per_s(f"{int(width) * LANE[kind]:.2f} Gbit/s")


def _box_ports(ports: int) -> int:
    """Switches with SHARP list one port more than the box has: the one to their aggregation node."""
    return ports - 1 if ports % 2 else ports


def _host(ca: _Node) -> tuple[str, str]:
    """The host and the device that a description tells of."""
    host, _, rest = ca.told.strip().partition(" ")
    device = rest.strip()
    if host and host.lower() not in NOBODY and (not device or DEVICE.match(device.split()[-1])):
        return host, device
    return ca.guid, device


def _switch_names(switches: list[_Node]) -> dict[str, str]:
    """GUID -> name: the middle of "MF0;leaf01:MQM9700/U1", or the description; where two are the same, with the GUID."""
    told = {}
    for node in switches:
        inside = re.fullmatch(r"[^;]*;([^:;]+)(?::[^/]*)?(?:/(.*))?", node.told)
        told[node.guid] = (inside[1].strip() if inside else node.told.strip()) or node.guid
    often = list(told.values())
    count = {name: often.count(name) for name in set(often)}
    return {guid: name if count[name] == 1 else f"{name} {guid}" for guid, name in told.items()}


def _natural(words: str) -> tuple[tuple[int, str], ...]:
    """mlx5_2 before mlx5_10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", words))
