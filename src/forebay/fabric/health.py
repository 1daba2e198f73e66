"""Break a fabric, and say what stops, what slows and by how much.

Asked:  a cable, a NIC, a ToR, a spine or a plane is down, or slower than it should be. Which hosts are cut off? What does the
        step take now?
Answer: the links of what is broken get a share of their speed, 0 for what is down; routes are found anew over what is left, as
        routing protocols do; the step is timed before and after. A job stops when two of its ranks find no way to each other:
        that is an answer, with the hosts that are cut off, and no error. Started anew, it goes on where cards that lost their
        ports may use those of others of their host (`stand_in`): that is timed too.
        *Balanced* traffic may leave a host by any of its ports (through the scale-up), *synchronous* traffic of a card by that
        card's own; one lost port of sixteen costs the first a sixteenth and the second half (HPN, SIGCOMM 2024, section 4.2).
Limits: what happens between the break and the new routes (seconds, or a restart from a checkpoint) is not in the step time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.graph import Graph, graph, parts
from forebay.fabric.step import StepTime, step
from forebay.fabric.timing import Place, place
from forebay.fabric.traffic import Traffic
from forebay.fabric.wiring import Ints, Wiring

KINDS = {
    "port": "one cable between a NIC and its switch",
    "nic": "a NIC: all its ports",
    "link": "one cable between switches, or between cards",
    "leaf": "a switch of the first tier, a ToR",
    "spine": "a switch of the second tier",
    "core": "a switch of the third tier",
    "plane": "all switches of a plane",
    "host": "all NICs of a host",
}
_TIER = {"leaf": 1, "spine": 2, "core": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is broken. It says how much is left, never what follows from it."""

    kind: str  # a key of KINDS
    number: int  # counted within the kind, from 0
    left: float = 0.0  # share of its speed that is left; 0: it is down

    def __str__(self) -> str:
        state = "down" if self.left == 0 else f"at {self.left:.0%}"
        return f"{self.kind} {self.number} {state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What a fault does to a step."""

    faults: tuple[Fault, ...]
    cut_hosts: tuple[int, ...]  # that can't reach the largest part of the fabric
    before: StepTime
    after: StepTime  # of the job that runs
    restarted: StepTime | None = None  # where that one stops: of a job that is started anew on what is left

    @property
    def stops(self) -> bool:
        return self.after.cut > 0

    @property
    def slower(self) -> float:
        """Seconds a step over those before; 1: nothing changes."""
        if self.before.seconds == 0:
            return 1.0 if self.after.seconds == 0 else float("inf")
        return self.after.seconds / self.before.seconds


def parse(text: str) -> Fault:
    """ "leaf:3" is down, "link:17@50%" runs at half its speed."""
    found = re.fullmatch(r"\s*([a-z]+):(\d+)(?:@(\d+(?:\.\d+)?)(%?))?\s*", text)
    if not found:
        raise BadInput("That is no fault that I can read.", asked=text, hint="leaf:3, plane:0, or link:17@50%")
    kind, number, share, percent = found.groups()
    if kind not in KINDS:
        raise BadInput("Nothing of that kind breaks.", asked=kind, hint=", ".join(KINDS))
    left = float(share) / (100 if percent else 1) if share else 0.0
    if not 0 <= left <= 1:
        raise BadInput("What is left is a share of the speed.", asked=text, hint=f"{kind}:{number}@50%")
    return Fault(kind=kind, number=int(number), left=left)


def broken(wiring: Wiring, faults: tuple[Fault, ...]) -> Wiring:
    """The same fabric with less speed where something is broken. Numbers stay, so links keep their names."""
    ports, cables = wiring.port_bytes_per_s.copy(), wiring.cable_bytes_per_s.copy()
    for fault in faults:
        hit_ports, hit_cables = _hit(wiring, fault)
        ports[hit_ports] = ports[hit_ports] * fault.left if fault.left else 0.0  # inf stays inf, and inf x 0 is no number
        cables[hit_cables] *= fault.left
    said = ", ".join(str(fault) for fault in faults)
    return replace(
        wiring, name=f"{wiring.name}, {said}" if said else wiring.name, port_bytes_per_s=ports, cable_bytes_per_s=cables
    )


def _hit(w: Wiring, fault: Fault) -> tuple[Any, Any]:
    """The ports and the cables that a fault slows."""
    none = np.zeros(0, np.int32)
    routers: Any
    ports, cables = np.arange(len(w.port_unit)), np.arange(len(w.cable_a))
    cabled = ports[np.isfinite(w.port_bytes_per_s)]
    if fault.kind == "port":
        return _one(cabled, fault), none
    if fault.kind == "link":
        return none, _one(cables, fault)
    if fault.kind in ("nic", "host"):
        hosts = w.host_of == (_one(np.arange(w.hosts), fault)[0] if fault.kind == "host" else -1)
        units = np.unique(w.unit_of[hosts]) if fault.kind == "host" else _one(np.arange(w.units), fault)
        mine = np.isin(w.port_unit, units)
        routers = w.port_router[mine & np.isinf(w.port_bytes_per_s)]  # in a direct network a card's cables are its NIC's
        return ports[mine], cables[np.isin(w.cable_a, routers) | np.isin(w.cable_b, routers)]
    if fault.kind == "plane":
        planes = np.unique(w.router_plane)
        routers = np.flatnonzero(w.router_plane == _one(planes, fault)[0])
    else:
        routers = _one(np.flatnonzero(w.router_tier == _TIER[fault.kind]), fault)
    return ports[np.isin(w.port_router, routers)], cables[np.isin(w.cable_a, routers) | np.isin(w.cable_b, routers)]


def _one(of: Any, fault: Fault) -> Any:
    there = np.asarray(of, np.int32)
    if fault.number >= len(there):
        last = f"{fault.kind}:0 to {fault.kind}:{len(there) - 1}" if len(there) else "it has none of that kind"
        raise BadInput(
            "The fabric has no such part.", asked=f"{fault.kind}:{fault.number}", found=f"{len(there)} of them", hint=last
        )
    return there[fault.number : fault.number + 1]


def pooled(wiring: Wiring) -> Wiring:
    """The same fabric with traffic balanced over all ports of a host: each host is one unit, whichever card sends."""
    first = np.searchsorted(wiring.unit_of, np.arange(wiring.units))  # units stand in the order of their cards
    return replace(
        wiring,
        name=f"{wiring.name}, balanced",
        unit_of=wiring.host_of.astype(np.int32),
        port_unit=wiring.host_of[first][wiring.port_unit].astype(np.int32),
    )


def cut_off(wiring: Wiring, index: Graph | None = None) -> Ints:
    """Hosts that can't reach the largest part of the fabric, by any way, hand-over between the cards of a domain included."""
    g = index or graph(wiring)
    part = parts(g.step_start, g.step_to)
    count = int(part.max(initial=-1)) + 1
    leader = np.arange(count + wiring.cards)  # parts of the fabric, then cards: joined while they share a port or a domain
    joins = [(count + card, count + int(first)) for card, first in _same_domain(wiring)]
    for card in range(wiring.cards):
        unit = g.unit_of[card]
        joins += [(count + card, int(part[router])) for router in g.port_router[g.port_start[unit] : g.port_start[unit + 1]]]

    def top(x: int) -> int:
        while leader[x] != x:
            leader[x] = leader[leader[x]]
            x = int(leader[x])
        return x

    for a, b in joins:
        leader[top(a)] = top(b)
    of_card = np.array([top(count + card) for card in range(wiring.cards)])
    if not len(of_card):
        return np.zeros(0, np.int32)
    values, sizes = np.unique(of_card, return_counts=True)
    return np.unique(wiring.host_of[of_card != values[np.argmax(sizes)]]).astype(np.int32)


def _same_domain(wiring: Wiring) -> list[tuple[int, int]]:
    if wiring.scale_up_bytes_per_s <= 0:
        return []
    first = np.searchsorted(wiring.domain_of, np.arange(int(wiring.domain_of.max()) + 1))
    return [(card, int(first[wiring.domain_of[card]])) for card in range(wiring.cards)]


def damage(at: Place, faults: tuple[Fault, ...], traffic: Traffic, cards: Ints | None = None) -> Damage:
    """Time the step before and after, and find who is cut off."""
    hurt = place(broken(at.wiring, faults), at.routing, at.physics)
    after = step(hurt, traffic, cards)
    return Damage(
        faults=faults,
        cut_hosts=tuple(int(host) for host in cut_off(hurt.wiring, hurt.graph)),
        before=step(at, traffic, cards),
        after=after,
        restarted=step(anew(hurt), traffic, cards) if after.cut else None,
    )


def anew(at: Place) -> Place:
    """The same fabric for a job that starts on it as it is: cards without a port use another's of their host."""
    return replace(at, routing=replace(at.routing, stand_in=True), known={})
