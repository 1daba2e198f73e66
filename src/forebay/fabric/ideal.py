"""The ideal that fabrics are measured against: one switch with a port for every NIC.

Asked:  how long would the step take if the network had no inside?
Answer: a crossbar: every NIC at its full speed on one switch, so only NICs and scale-up bound the step. No such switch is sold.
Limits: a hop of latency is there, as through any switch. For cards that are their own network (torus, full mesh) it is the same
        crossbar, with NICs of the speed that the choice is about.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forebay.fabric.build.lay import hosts
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


def crossbar(design: Design) -> Wiring:
    """The hosts, NICs and scale-up of a design, on one switch. Raises BadInput as builders do."""
    base = hosts(design)
    nics = base["nics"]
    per_unit = max(1, design.nics_per_host // design.cards_per_host)
    one = np.ones(1, np.int32)
    return Wiring(
        name=f"ideal crossbar of {design.cards:,} cards",
        design=replace(design, kind="crossbar"),
        router_tier=one,
        router_plane=0 * one,
        router_group=0 * one,
        router_ports=nics * one,
        port_unit=(np.arange(nics) // per_unit).astype(np.int32),
        port_router=np.zeros(nics, np.int32),
        port_bytes_per_s=np.full(nics, design.port_bytes_per_s),
        cable_a=np.zeros(0, np.int32),
        cable_b=np.zeros(0, np.int32),
        cable_bytes_per_s=np.zeros(0),
        **base,
    )
