"""The noun Listing: hosts, switches and cables as a file lists them; and the Wiring that it makes.

Asked:  how do a table written by hand, a graph from Gephi and the output of `ibnetdiscover` become the same arrays?
Answer: each is read into a Listing, names and all; `wire` checks it once and numbers what is in it.
Limits: what can't be meant (a loop, a piece that nothing joins, a link to nothing, a name given twice) is refused: the first such
        thing is told, with its line. A host's cards count as joined when pieces are looked for: its own bus joins them.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from forebay.errors import BadInput, nearest
from forebay.fabric.quantity import where
from forebay.fabric.read.whole import refuse_pieces
from forebay.fabric.wiring import Ints, Wiring


class Host(NamedTuple):
    name: str
    cards: int = 1
    nics: int = 0  # 0: one a card, or as many as it has cables
    line: int = 0


class Switch(NamedTuple):
    name: str
    tier: int = 0  # 0: by its name ("leaf-3"), else by its distance to the hosts
    plane: int = 0
    group: int = 0
    ports: int = 0  # 0: not known
    line: int = 0


class Cable(NamedTuple):
    a: str  # a host or a switch
    b: str
    bytes_per_s: float
    parallel: int = 1  # so many: each becomes a cable of its own
    a_nic: int = -1  # of a host; -1: its NICs in turn
    b_nic: int = -1
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A fabric as a file lists it, by names.

    It says what stood in the file, not yet that it makes sense: `wire` does.
    """

    name: str
    hosts: tuple[Host, ...]
    switches: tuple[Switch, ...]
    cables: tuple[Cable, ...]
    scale_up_bytes_per_s: float = 0.0
    scale_up_cards: int = 0  # in one domain; 0: a host is one


def wire(told: Listing) -> Wiring:
    """The wiring that the listing tells of. Raises BadInput for the first thing that can't be."""
    _check_names(told)
    host_at = {host.name: i for i, host in enumerate(told.hosts)}
    switch_at = {switch.name: i for i, switch in enumerate(told.switches)}
    _check_ends(told, host_at, switch_at)
    units, nics = _units(told)
    unit_0 = np.concatenate([[0], np.cumsum(units)]).astype(np.int64)
    total = int(unit_0[-1])
    turn = [0] * len(told.hosts)

    def number(name: str, nic: int, cable: Cable) -> int:
        """Units first, then switches."""
        if name in switch_at:
            return total + switch_at[name]
        i = host_at[name]
        if nic >= nics[i]:
            raise BadInput(f"{where('links', cable.line)}: {name} has no NIC {nic}.", found=f"{nics[i]} NICs, the first is 0")
        if nic < 0:
            turn[i] += 1
            return int(unit_0[i]) + (turn[i] - 1) % units[i]
        return int(unit_0[i]) + nic * units[i] // nics[i]

    ends = [(number(c.a, c.a_nic, c), number(c.b, c.b_nic, c), c.bytes_per_s) for c in told.cables for _ in range(c.parallel)]
    a, b = np.array([e[0] for e in ends], np.int64), np.array([e[1] for e in ends], np.int64)
    return _lay(told, units, sum(nics), a, b, np.array([e[2] for e in ends], float))


def _lay(told: Listing, units: list[int], nics: int, a: Any, b: Any, bytes_per_s: Any) -> Wiring:
    """Arrays from ends that are numbered: units 0 .. total-1, then switches."""
    total, cards = sum(units), np.array([host.cards for host in told.hosts])
    host_of = np.repeat(np.arange(len(cards)), cards)
    rail_of = np.arange(len(host_of)) - np.repeat(np.cumsum(cards) - cards, cards)
    share = np.repeat(cards // np.array(units), cards)
    unit_of = np.repeat(np.cumsum(units) - units, cards) + rail_of // share
    joined = told.scale_up_bytes_per_s > 0
    domain = host_of if not told.scale_up_cards else np.arange(len(host_of)) // told.scale_up_cards
    tiers = _tiers(told)
    direct = bool(((a < total) & (b < total)).any())  # hosts joined to hosts pass traffic on: each unit gets a router of its own
    extra = total if direct else 0
    to_switch = np.zeros(len(a), bool) if direct else (a < total) | (b < total)
    shift = 0 if direct else total
    names = [f"{host.name}" + (f":{i}" if n > 1 else "") for host, n in zip(told.hosts, units, strict=True) for i in range(n)]
    wiring = Wiring(
        name=told.name,
        design=None,
        host_of=_ints(host_of),
        rail_of=_ints(rail_of),
        domain_of=_ints(domain if joined else np.arange(len(host_of))),
        unit_of=_ints(unit_of),
        scale_up_bytes_per_s=told.scale_up_bytes_per_s,
        router_tier=_ints([0] * extra + tiers),
        router_plane=_ints([0] * extra + [s.plane for s in told.switches]),
        router_group=_ints([0] * extra + [s.group for s in told.switches]),
        router_ports=_ints([0] * extra + [s.ports for s in told.switches]),
        port_unit=_ints(np.arange(total) if direct else np.minimum(a, b)[to_switch]),
        port_router=_ints(np.arange(total) if direct else np.maximum(a, b)[to_switch] - total),
        port_bytes_per_s=np.full(total, np.inf) if direct else bytes_per_s[to_switch],
        cable_a=_ints(a[~to_switch] - shift),
        cable_b=_ints(b[~to_switch] - shift),
        cable_bytes_per_s=bytes_per_s[~to_switch],
        router_names=tuple((names if direct else []) + [s.name for s in told.switches]),
        host_names=tuple(host.name for host in told.hosts),
        nics=nics,
    )
    _check_ports(wiring)
    refuse_pieces(wiring)
    return wiring


def _ints(x: Any) -> Ints:
    return np.ascontiguousarray(x, dtype=np.int32)


def _check_names(told: Listing) -> None:
    if not told.hosts:
        raise BadInput("The fabric has no hosts.", asked=told.name)
    seen: dict[str, int] = {}
    for name, line in [(t.name, t.line) for t in told.hosts] + [(t.name, t.line) for t in told.switches]:
        if name in seen:
            first = f"; first on line {seen[name]}" if seen[name] else ""
            raise BadInput(f"{where('name', line)}: a name stands for one thing.", found=f"{name!r} twice{first}")
        seen[name] = line


def _check_ends(told: Listing, host_at: dict[str, int], switch_at: dict[str, int]) -> None:
    for cable in told.cables:
        for end in (cable.a, cable.b):
            if end not in host_at and end not in switch_at:
                near = nearest(end, [*host_at, *switch_at])
                raise BadInput(
                    f"{where('links', cable.line)}: a link to what isn't there.",
                    asked=f"{cable.a} - {cable.b}",
                    found=f"no host or switch {end!r}",
                    hint=", ".join(near),
                )
        if cable.a == cable.b:
            raise BadInput(f"{where('links', cable.line)}: a link from a thing to itself.", found=f"{cable.a} - {cable.b}")
        if not cable.bytes_per_s > 0:
            raise BadInput(f"{where('links', cable.line)}: a speed is above zero.", found=f"{cable.bytes_per_s:g} B/s")


def _units(told: Listing) -> tuple[list[int], list[int]]:
    """Of each host the units (cards that share a NIC are one) and the NICs."""
    links: Counter[str] = Counter()
    picked = set()
    for cable in told.cables:
        for name, nic in ((cable.a, cable.a_nic), (cable.b, cable.b_nic)):
            links[name] += cable.parallel
            if nic >= 0:
                picked.add(name)
    units, nics = [], []
    for host in told.hosts:
        n, at = host.nics, where(f"host {host.name}", host.line)
        if host.cards < 1:
            raise BadInput(f"{at}: a host has a card at least.", found=f"{host.cards} cards")
        if not n and (host.name in picked or links[host.name] % host.cards == 0):
            n = host.cards
        n = n or links[host.name]
        if host.cards % n and n % host.cards:
            raise BadInput(
                f"{at}: its cards share its NICs evenly, or have equally many each.",
                found=f"{host.cards} cards, {n} NICs or cables",
                hint="say how many `nics` it has",
            )
        units.append(min(n, host.cards))
        nics.append(n)
    if told.scale_up_cards and sum(host.cards for host in told.hosts) % told.scale_up_cards:
        raise BadInput(
            "scale_up_cards: the cards fill whole scale-up domains.",
            found=f"{sum(host.cards for host in told.hosts)} cards in domains of {told.scale_up_cards}",
        )
    return units, nics


WORDS = ((1, r"leaf|tor|edge|access|rail"), (2, r"spine|agg|aggregation|dist|distribution"), (3, r"core|superspine|super-spine"))


def tier_word(name: str) -> int:
    """The tier that a name tells of: 1 for "dc1-leaf-03", 0 for "sw12". A superspine is no spine."""
    parts = [re.sub(r"\d+$", "", part) for part in re.split(r"[^a-zA-Z0-9]+", name.lower())]
    return next((tier for tier, words in reversed(WORDS) for part in parts if re.fullmatch(words, part)), 0)


def _tiers(told: Listing) -> list[int]:
    """As told; else by name; else one more than the least number of cables to a switch with hosts."""
    near: dict[str, list[str]] = {switch.name: [] for switch in told.switches}
    away: dict[str, int] = {}
    for cable in told.cables:
        for one, two in ((cable.a, cable.b), (cable.b, cable.a)):
            if one in near and two in near:
                near[one].append(two)
            elif one in near:
                away[one] = 1
    todo = deque(away)
    while todo:
        here = todo.popleft()
        for other in near[here]:
            if other not in away:
                away[other] = away[here] + 1
                todo.append(other)
    return [switch.tier or tier_word(switch.name) or away.get(switch.name, 1) for switch in told.switches]


def _check_ports(wiring: Wiring) -> None:
    ends = np.concatenate([wiring.cable_a, wiring.cable_b])
    used = np.bincount(ends, minlength=wiring.routers)
    if not wiring.direct:
        used += np.bincount(wiring.port_router, minlength=wiring.routers)
    over = np.flatnonzero((wiring.router_ports > 0) & (used > wiring.router_ports))
    if len(over):
        i = int(over[0])
        raise BadInput("A switch has fewer ports than cables.", asked=f"{used[i]} cables at {wiring.router_name(i)}",
                       found=f"{wiring.router_ports[i]} ports")  # fmt: skip
