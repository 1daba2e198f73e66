"""The noun Wiring: a fabric cable by cable, as arrays.

Asked:  how are 131,072 endpoints and half a million cables held so that counting, routing and breaking them takes seconds?
Answer: no object a link. Cards, routers, ports and cables are numbers; what is known of them stands in arrays.
Units:  bytes per second, each way.

        cards    0 .. cards-1, host by host. Cards that share a NIC share a *unit*; else each card is a unit of its own.
        routers  0 .. routers-1: whatever passes traffic on. Tier 0 is a card itself (torus, full mesh), 1 a leaf, 2 a spine,
                 3 a core.
        ports    from a unit to a router: the access cables. In direct networks the port of a card leads to its own router, has
                 no cable and no limit (`inf`).
        cables   from router to router. Parallel cables are cables of their own.
        links    one direction of a port, a cable or a card's scale-up: see `Wiring.links`.

Limits: tiers and planes are labels for counting and drawing; routing looks at the cables alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forebay.fabric.design import Design

Ints = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wiring:
    """A fabric cable by cable.

    It says what is joined to what, never what flows or costs. Letters: N cards, U units, R routers, P ports, C cables.
    """

    name: str
    design: Design | None  # None: read from a file
    host_of: Ints  # (N,) the host of each card
    rail_of: Ints  # (N,) its place in the host
    domain_of: Ints  # (N,) its scale-up domain
    unit_of: Ints  # (N,)
    scale_up_bytes_per_s: float  # of a card, each way; 0: none
    router_tier: Ints  # (R,)
    router_plane: Ints  # (R,)
    router_group: Ints  # (R,) pod, rail or Dragonfly group: for drawing and for breaking
    router_ports: Ints  # (R,) that the box has, used or not; 0: not known
    port_unit: Ints  # (P,)
    port_router: Ints  # (P,)
    port_bytes_per_s: Floats  # (P,)
    cable_a: Ints  # (C,)
    cable_b: Ints  # (C,)
    cable_bytes_per_s: Floats  # (C,)
    router_names: tuple[str, ...] = ()  # where a file names them; else they are made from tier and number
    host_names: tuple[str, ...] = ()  # the same
    nics: int = 0  # in the whole fabric

    @property
    def cards(self) -> int:
        return len(self.host_of)

    @property
    def hosts(self) -> int:
        return int(self.host_of.max()) + 1 if self.cards else 0

    @property
    def units(self) -> int:
        return int(self.unit_of.max()) + 1 if self.cards else 0

    @property
    def routers(self) -> int:
        return len(self.router_tier)

    @property
    def direct(self) -> bool:
        """Cards pass traffic on themselves; there may be switches too."""
        return bool((self.router_tier == 0).any())

    @property
    def links(self) -> int:
        """Links by number: port p is 2p out of its unit and 2p + 1 into it; cable c is 2P + 2c from a to b and + 1 back; the
        scale-up of card i is 2P + 2C + 2i out of it and + 1 into it."""
        return 2 * (len(self.port_unit) + len(self.cable_a) + self.cards)

    @property
    def first_cable_link(self) -> int:
        return 2 * len(self.port_unit)

    @property
    def first_scale_up_link(self) -> int:
        return 2 * (len(self.port_unit) + len(self.cable_a))

    def capacities(self) -> Floats:
        """Bytes a second of each link, in the order of `links`. A card without scale-up has 0 there."""
        scale_up = np.full(self.cards, self.scale_up_bytes_per_s)
        return np.repeat(np.concatenate([self.port_bytes_per_s, self.cable_bytes_per_s, scale_up]), 2)

    def router_name(self, router: int) -> str:
        """ "leaf 12 of plane 3", or what the file calls it."""
        if self.router_names:
            return self.router_names[router]
        tier, plane = int(self.router_tier[router]), int(self.router_plane[router])
        if tier == 0:
            return f"card {router}"
        first = int(np.argmax(self.router_tier == tier))
        word = {1: "leaf", 2: "spine", 3: "core"}.get(tier, f"tier-{tier}")
        return f"{word} {router - first}" + (f" of plane {plane}" if (self.router_plane > 0).any() else "")

    def link_name(self, link: int) -> str:
        """ "host 3 card 5 -> leaf 12": for people."""
        one, back = divmod(link, 2)
        if link >= self.first_scale_up_link:
            card = one - self.first_scale_up_link // 2
            return f"scale-up {'into' if back else 'out of'} {self.card_name(card)}"
        if link >= self.first_cable_link:
            cable = one - self.first_cable_link // 2
            ends = [self.router_name(int(self.cable_a[cable])), self.router_name(int(self.cable_b[cable]))]
        else:
            ends = [self.unit_name(int(self.port_unit[one])), self.router_name(int(self.port_router[one]))]
        return " -> ".join(reversed(ends) if back else ends)

    def link_kinds(self) -> Ints:
        """What sort each link is of (L,): out of and into a card, from tier to tier, scale-up. Equal numbers are of one sort."""
        low, high = self.router_tier[self.cable_a], self.router_tier[self.cable_b]
        cables = np.stack([100 + 10 * low + high, 100 + 10 * high + low], axis=1).reshape(-1)
        return np.concatenate([np.tile([0, 1], len(self.port_unit)), cables, np.full(2 * self.cards, 2)]).astype(np.int32)

    def card_name(self, card: int) -> str:
        return f"{self.host_name(int(self.host_of[card]))} card {int(self.rail_of[card])}"

    def host_name(self, host: int) -> str:
        return self.host_names[host] if self.host_names else f"host {host}"

    def unit_name(self, unit: int) -> str:
        card = int(np.argmax(self.unit_of == unit))
        return f"{self.card_name(card)} NIC"

    def _repr_svg_(self) -> str:
        """What a notebook shows."""
        from forebay.fabric.draw import fabric

        return fabric(self)
