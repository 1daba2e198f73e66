"""Fabrics of several networks side by side: rails, planes, or both.

Asked:  which of the networks does a NIC, or a part of it, lie in?
Answer: rail-only: NIC j of every host in network j, none between rails (Wang et al., arXiv 2307.12169). With `planes`, each of a
        rail's NICs is split over so many networks. mpft: NIC j in plane j mod planes, each plane a two-tier fat tree
        (DeepSeek-V3, ISCA 2025, arXiv 2505.09343, section 5). multi-plane: every NIC split into `planes` slower ports, one to
        each plane (MRC, arXiv 2605.04333). A switch that serves split NICs has its ports split too: 64 of 800 Gbit/s are 512 of
        100.
Limits: networks of one or two tiers; between them traffic passes through hosts or scale-up alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import tiers
from forebay.fabric.build.lay import Lay, alternatives, check, nics
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


class Networks(NamedTuple):
    rails: int  # networks by the number of the NIC
    split: int  # networks by the part of the NIC
    ports: int  # of a switch, split
    ends: int  # of one network
    down: int
    leaves: int
    over: tiers.Stripe | None  # None: one switch


def fill(design: Design) -> Design:
    check(design)
    d = design
    if d.kind == "mpft" and d.planes == 1:
        d = replace(d, planes=d.nics_per_host)
    if d.kind == "multi-plane" and d.planes == 1:
        d = replace(d, planes=4)
    if d.kind == "mpft" and d.nics_per_host % d.planes:
        near = [n for n in range(2, d.nics_per_host + 1) if d.nics_per_host % n == 0]
        raise BadInput(
            "Every plane gets equally many NICs of a host.",
            asked=f"{d.nics_per_host} NICs over planes = {d.planes}",
            hint=alternatives("planes", sorted(near, key=lambda n: abs(n - d.planes))[:2]) or "kind = multi-plane",
        )
    if d.tiers not in (0, 1, 2):
        raise BadInput(f"The networks of {d.kind} have 1 or 2 tiers.", asked=f"tiers = {d.tiers}", hint="tiers = 0")
    if measure(d).over:
        return replace(d, tiers=2)
    return replace(d, tiers=1, oversubscription=1.0)  # one switch has nothing above it


def measure(d: Design) -> Networks:
    rails = {"rail-only": d.nics_per_host, "mpft": d.planes, "multi-plane": 1}[d.kind]
    split = 1 if d.kind == "mpft" else d.planes
    ports = d.switch_ports * split
    each = d.nics_per_host // rails  # NICs of one host in one network
    ends = d.hosts * each
    if d.tiers == 1 or (d.tiers == 0 and ends <= ports and not d.shape):
        if ends > ports:
            raise _too_many(d, ends, ports, ports // each)
        return Networks(rails, split, ports, ends, ports, 1, None)
    leaf = tiers.leaf_split(d, ports, each)
    leaves = -(-ends // leaf.down)
    over = tiers.stripe_used(leaf, min(ends, leaf.down), leaves, ports, bool(d.shape)) if leaves <= ports else None
    if over is None:
        raise _too_many(d, ends, ports * leaf.down, ports * leaf.down // each)
    return Networks(rails, split, ports, ends, leaf.down, leaves, over)


def wire(d: Design) -> Wiring:
    m, n, lay = measure(d), nics(d), Lay()
    speed = d.port_bytes_per_s / m.split
    rail = n.place % m.rails
    for j in range(m.rails):
        unit = n.unit[rail == j]
        for part in range(m.split):
            plane = j if d.kind == "mpft" else part
            group = j if d.kind == "rail-only" else 0
            leaves = lay.routers(m.leaves, 1, m.ports, plane, group)
            lay.ports(unit, leaves[np.arange(m.ends) // m.down], speed)
            if m.over:
                tiers.lay_spines(lay, leaves, m.over, m.ports, speed, plane=plane, group=group)
    words = {
        "rail-only": f"{m.rails} rails apart" + (f", each of {m.split} planes" if m.split > 1 else ""),
        "mpft": f"{d.planes}-plane fat tree, a plane a NIC",
        "multi-plane": f"{d.planes}-plane fat tree, NICs split over the planes",
    }
    return lay.wiring(d, f"{words[d.kind]}, of {d.cards:,} cards")


def _too_many(d: Design, ends: int, most: int, hosts: int) -> BadInput:
    hints = [f"hosts = {hosts}"] if hosts else []
    if d.tiers == 1:
        hints.append("tiers = 0")
    elif not d.shape:
        for ports in (d.switch_ports << i for i in range(1, 12)):
            try:
                measure(replace(d, switch_ports=ports))
            except BadInput:
                continue
            hints.append(f"switch_ports = {ports}")
            break
    asked = f"{ends:,} NICs in each network of {d.switch_ports}-port switches"
    return BadInput(
        f"A network of {d.kind} doesn't reach so many.", asked=asked, found=f"at most {most:,}", hint=" or ".join(hints)
    )
