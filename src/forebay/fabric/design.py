"""The nouns Design and ScaleUp: how a fabric is to be wired.

Asked:  what must be said of a fabric so that somebody else draws exactly the same one?
Answer: a family ("rail-optimised"), how many hosts with how many cards and NICs, the switch (ports and speed), and what the
        family adds: planes, oversubscription, a shape. `build.build` makes the Wiring out of it.
Limits: one kind of switch and one speed of port a design; what is wired by hand comes from a file (`read`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleUp:
    """The links at memory speed between the cards of one domain: an NVLink or UB domain, whole hosts or a supernode.

    It is taken as non-blocking between the cards of a domain; a supernode whose switches are to be simulated is a Design.
    """

    cards: int  # in one domain
    bytes_per_s: float  # of a card, each way
    switches: int = 0  # chips in one domain: counted, apart from those of the fabric
    links: int = 0  # in one domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A family of fabrics with its parameters.

    It says what is to be wired, never cable by cable: that is a Wiring.
    """

    kind: str  # a name in build.FAMILIES
    hosts: int
    cards_per_host: int = 8
    nics_per_host: int = 8
    switch_ports: int = 64
    port_bytes_per_s: float = 50e9
    planes: int = 1
    oversubscription: float = 1.0  # down over up, at the first tier of switches
    shape: tuple[int, ...] = ()  # what the family says of it: torus and HyperX sides, Dragonfly's a, h, groups, ...
    tiers: int = 0  # of switches, where the family has a choice; 0: as few as reach
    concentration: int = 0  # NICs a router (Dragonfly, Slim Fly, HyperX); 0: as many as the NICs need, or as the family advises
    parallel: int = 1  # cables between two neighbouring routers (HyperX)
    scale_up: ScaleUp | None = None

    @property
    def cards(self) -> int:
        return self.hosts * self.cards_per_host
