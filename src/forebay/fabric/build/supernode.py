"""The scale-up fabric of a supernode, switch by switch.

Asked:  how are the cards of many hosts joined at memory speed?
Answer: shape = (): every card has a port on each of `planes` switches. NVL72: 18 hosts of 4 cards, 18 planes. shape = (n,):
        `planes` first-level chips in every host, each with a port for each card there and one cable to each of the n second-level
        chips of its plane. CloudMatrix384: 48 hosts of 8 cards, 7 planes, 16 chips of 48 ports (arXiv 2506.12708).
        `port_bytes_per_s` is all that a card sends; each plane carries its part, and cables up are as fast as keeps them
        non-blocking.
Limits: CPUs have no ports here. `nics_per_host` isn't read: the ports are the cards' own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build.lay import Lay, check, shape_of
from forebay.fabric.build.tiers import Stripe, lay_spines
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.wiring import Wiring


def fill(design: Design) -> Design:
    d = replace(design, nics_per_host=design.cards_per_host)
    check(d)
    shape = shape_of(d, (0, 1), "nothing, or the second-level chips of a plane")
    reached = d.hosts if shape else d.cards
    if reached > d.switch_ports:
        hint = f"hosts = {d.switch_ports if shape else d.switch_ports // d.cards_per_host} or switch_ports = {reached}"
        asked = f"{d.hosts} hosts of {d.cards_per_host} cards on {d.switch_ports}-port chips"
        raise BadInput("A supernode's chips don't reach so many.", asked=asked, found=f"{reached} ports needed", hint=hint)
    return d


def as_scale_up(design: Design) -> ScaleUp:
    """A supernode as the scale-up domain of other designs. Its links are the ports of cards and the cables between chips."""
    d = fill(design)
    levels = d.hosts + d.shape[0] if d.shape else 1
    cables = d.hosts * d.shape[0] if d.shape else 0
    return ScaleUp(cards=d.cards, bytes_per_s=d.port_bytes_per_s, switches=d.planes * levels, links=d.planes * (d.cards + cables))


def wire(d: Design) -> Wiring:
    lay, card = Lay(), np.arange(d.cards, dtype=np.int32)
    speed = d.port_bytes_per_s / d.planes
    for plane in range(d.planes):
        if d.shape:
            first = lay.routers(d.hosts, 1, d.cards_per_host + d.shape[0], plane, np.arange(d.hosts))
            lay.ports(card, first[card // d.cards_per_host], speed)
            lay_spines(lay, first, Stripe(d.shape[0], 1), d.switch_ports, speed * d.cards_per_host / d.shape[0], plane=plane)
        else:
            (chip,) = lay.routers(1, 1, d.switch_ports, plane)
            lay.ports(card, np.full(d.cards, chip), speed)
    return lay.wiring(d, f"Supernode of {d.cards} cards", nics=0)
