"""What all builders share: checks of what was asked, hosts and NICs as arrays, and the arrays of a Wiring while they grow.

Asked:  how does a builder say "these leaves, these cables" without an object a cable?
Answer: `Lay` collects arrays of routers, ports and cables; `Lay.wiring` puts the routers in the order of their tiers and numbers
        them anew.
Limits: what is refused says "name = value" of what would work, several with "or" between.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring

Array = np.ndarray[Any, Any]
MOST = 2**24  # ends of a fabric, a hundred times more than anybody has wired: arrays of them fit a laptop


def hosts(design: Design) -> dict[str, Any]:
    """host_of, rail_of, domain_of, unit_of, nics and scale_up_bytes_per_s of a design, ready for Wiring(**...)."""
    d = design
    card = np.arange(d.cards, dtype=np.int32)
    sharing = max(1, d.cards_per_host // d.nics_per_host)
    return {
        "host_of": card // d.cards_per_host,
        "rail_of": card % d.cards_per_host,
        "domain_of": card // (d.scale_up.cards if d.scale_up else 1),
        "unit_of": card // sharing,
        "nics": d.hosts * d.nics_per_host,
        "scale_up_bytes_per_s": d.scale_up.bytes_per_s if d.scale_up else 0.0,
    }


def check(design: Design) -> None:
    """What holds for every family."""
    d = design
    for name in ("hosts", "cards_per_host", "nics_per_host", "switch_ports", "planes", "parallel"):
        if getattr(d, name) < 1:
            raise BadInput(f"{name} is at least 1.", asked=f"{name} = {getattr(d, name)}", hint=f"{name} = 1")
    for name in ("tiers", "concentration"):
        if getattr(d, name) < 0:
            raise BadInput(f"{name} is at least 1, or 0 for what fits.", asked=f"{name} = {getattr(d, name)}", hint=f"{name} = 0")
    if not (d.port_bytes_per_s > 0 and math.isfinite(d.port_bytes_per_s)):
        raise BadInput("The speed of a port is above zero.", asked=f"port_bytes_per_s = {d.port_bytes_per_s}")
    if not (d.oversubscription > 0 and math.isfinite(d.oversubscription)):
        asked = f"oversubscription = {d.oversubscription}"
        raise BadInput("Oversubscription is above zero: 1 is full bandwidth.", asked=asked, hint="oversubscription = 1.0")
    if d.cards_per_host % d.nics_per_host and d.nics_per_host % d.cards_per_host:
        fits = [n for n in range(1, 2 * d.cards_per_host + 1) if d.cards_per_host % n == 0 or n % d.cards_per_host == 0]
        close = min(fits, key=lambda n: abs(n - d.nics_per_host))
        raise BadInput(
            "The cards of a host share its NICs evenly, or have equally many each.",
            asked=f"{d.nics_per_host} NICs for {d.cards_per_host} cards",
            hint=f"nics_per_host = {close}",
        )
    if d.scale_up and (d.scale_up.cards < 1 or d.cards % d.scale_up.cards):
        whole = math.lcm(max(1, d.scale_up.cards), d.cards_per_host) // d.cards_per_host
        raise BadInput(
            "The cards fill whole scale-up domains.",
            asked=f"{d.cards} cards in domains of {d.scale_up.cards}",
            hint=alternatives("hosts", sorted({max(whole, d.hosts // whole * whole), -(-d.hosts // whole) * whole})),
        )


def small_enough(design: Design) -> Design:
    """The design. Raises BadInput for more ends than arrays are made for."""
    d = design
    if (ends := d.hosts * max(d.cards_per_host, d.nics_per_host)) > MOST:
        raise BadInput(
            "That is more than can be laid out.",
            asked=f"{d.hosts} hosts of {d.cards_per_host} cards and {d.nics_per_host} NICs: {ends:,} ends",
            hint=f"hosts = {MOST // max(d.cards_per_host, d.nics_per_host) or 1}",
        )
    return d


def alternatives(name: str, values: list[Any]) -> str:
    """ "q = 27 or q = 29": what would work, for a hint."""
    return " or ".join(f"{name} = {value}" for value in values)


def one_plane(design: Design) -> None:
    if design.planes != 1:
        raise BadInput(
            f"A {design.kind} has one plane.",
            asked=f"planes = {design.planes}",
            hint="planes = 1 or kind = multi-plane or kind = rail-only",
        )


def shape_of(design: Design, lengths: tuple[int, ...], words: str) -> tuple[int, ...]:
    """The shape, if it has one of these lengths and no number below 1."""
    if len(design.shape) not in lengths or any(n < 1 for n in design.shape):
        asked = f"shape = {design.shape}"
        raise BadInput(f"The shape of {design.kind} is {words}.", asked=asked, hint="shape = ()" if 0 in lengths else "")
    return design.shape


class Nics(NamedTuple):
    """Every NIC of a fabric, host by host."""

    host: Array
    place: Array  # in its host
    unit: Array


def nics(d: Design) -> Nics:
    number = np.arange(d.hosts * d.nics_per_host, dtype=np.int32)
    each = max(1, d.nics_per_host // d.cards_per_host)
    return Nics(number // d.nics_per_host, number % d.nics_per_host, number // each)


def card_bytes_per_s(d: Design) -> float:
    """What a card's NICs carry each way, all its ports together."""
    return d.nics_per_host * d.port_bytes_per_s / d.cards_per_host


def balanced(n: int, sides: int) -> tuple[int, ...] | None:
    """n as a product of so many sides, each at least 2, the largest as small as may be; None if there is no such product."""
    if sides == 1:
        return (n,) if n > 1 else None
    best: tuple[int, ...] | None = None
    for first in range(2, int(n ** (1 / sides) + 1e-9) + 1):
        if n % first == 0 and (rest := balanced(n // first, sides - 1)) and rest[0] >= first:
            found = (first, *rest)
            if best is None or found[-1] - found[0] < best[-1] - best[0]:
                best = found
    return best


def good_shape(d: Design, sides: int) -> tuple[int, tuple[int, ...]]:
    """Hosts, at least as many as asked for, and a shape for their cards: no side over twice another, if one is near."""
    whole = math.lcm(d.scale_up.cards, d.cards_per_host) // d.cards_per_host if d.scale_up else 1
    best: tuple[float, int, tuple[int, ...]] | None = None
    for more in range(max(32, d.hosts // 8) + 1):
        hosts = d.hosts + more
        found = balanced(hosts * d.cards_per_host, sides) if hosts % whole == 0 else None
        if found and (best is None or found[-1] / found[0] < best[0]):
            best = (found[-1] / found[0], hosts, found)
        if best and best[0] <= 2:
            break
    if best is None:
        raise BadInput(
            f"No {sides} sides of 2 or more make {d.cards} cards.", asked=f"hosts = {d.hosts}", hint="kind = full-mesh"
        )
    return best[1], tuple(reversed(best[2]))


def ints(x: Any) -> Array:
    return np.ascontiguousarray(x, dtype=np.int32)


class Lay:
    """The arrays of a wiring while a builder lays them."""

    def __init__(self) -> None:
        self.count = 0
        self._routers: list[Array] = []
        self._ports: list[tuple[Array, Array, Any]] = []
        self._cables: list[tuple[Array, Array, Any]] = []

    def routers(self, n: int, tier: int, ports: int, plane: Any = 0, group: Any = 0) -> Array:
        """n more routers; their numbers while the wiring grows."""
        first, self.count = self.count, self.count + n
        self._routers.append(np.stack([np.broadcast_to(ints(x), n) for x in (tier, plane, group, ports)]))
        return np.arange(first, self.count, dtype=np.int32)

    def ports(self, unit: Array, router: Array, bytes_per_s: float) -> None:
        self._ports.append((ints(unit), ints(router), np.full(len(unit), bytes_per_s)))

    def cables(self, a: Array, b: Array, bytes_per_s: float) -> None:
        self._cables.append((ints(a), ints(b), np.full(len(a), bytes_per_s)))

    def wiring(self, design: Design, name: str, **changed: Any) -> Wiring:
        tier, plane, group, ports = np.concatenate(self._routers, axis=1)
        order = np.argsort(tier, kind="stable")
        number = np.empty(self.count, np.int32)
        number[order] = np.arange(self.count, dtype=np.int32)
        unit, router, port_speed = _joined(self._ports)
        a, b, cable_speed = _joined(self._cables)
        return Wiring(
            name=name,
            design=design,
            router_tier=ints(tier[order]),
            router_plane=ints(plane[order]),
            router_group=ints(group[order]),
            router_ports=ints(ports[order]),
            port_unit=unit,
            port_router=number[router],
            port_bytes_per_s=port_speed,
            cable_a=number[a],
            cable_b=number[b],
            cable_bytes_per_s=cable_speed,
            **(hosts(design) | changed),
        )


def _joined(parts: list[tuple[Array, Array, Any]]) -> tuple[Array, Array, Any]:
    if not parts:
        return ints([]), ints([]), np.zeros(0)
    a, b, speed = zip(*parts, strict=True)
    return np.concatenate(a), np.concatenate(b), np.concatenate(speed)
