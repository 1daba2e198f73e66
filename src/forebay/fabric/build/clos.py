"""Fat trees of two tiers of switches, or three (Leiserson, IEEE Trans. Computers 34, 1985; Al-Fares et al., SIGCOMM 2008)."""

from __future__ import annotations

import numpy as np

from forebay.fabric.build.lay import hosts, ints
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


def two_tier(design: Design) -> Wiring:
    """Leaves with cards below and spines above. Draft: helper `builders` makes it whole."""
    d = design
    base = hosts(d)
    units = int(base["unit_of"].max()) + 1
    down = round(d.switch_ports * d.oversubscription / (1 + d.oversubscription))
    up = d.switch_ports - down
    leaves = -(-units // down)
    spines = -(-leaves * up // d.switch_ports)
    while up % spines and spines < up:
        spines += 1
    each = up // spines
    unit = np.arange(units)
    leaf, spine = np.repeat(np.arange(leaves), spines * each), np.tile(np.repeat(np.arange(spines), each), leaves)
    tiers = np.repeat([1, 2], [leaves, spines])
    return Wiring(
        name=f"two-tier Clos of {d.cards} cards",
        design=d,
        router_tier=ints(tiers),
        router_plane=ints(np.zeros(leaves + spines)),
        router_group=ints(np.zeros(leaves + spines)),
        router_ports=ints(np.full(leaves + spines, d.switch_ports)),
        port_unit=ints(unit),
        port_router=ints(unit // down),
        port_bytes_per_s=np.full(units, d.port_bytes_per_s),
        cable_a=ints(leaf),
        cable_b=ints(leaves + spine),
        cable_bytes_per_s=np.full(len(leaf), d.port_bytes_per_s),
        **base,
    )
