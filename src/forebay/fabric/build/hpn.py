"""Dual plane, dual ToR: Alibaba's HPN (SIGCOMM 2024).

Asked:  where do the two ports of a NIC go?
Answer: NIC j of the hosts of a segment to the two leaves (ToRs) of rail j, one in each plane, at half its speed. In each plane,
        ToRs join aggregation switches by one cable each (more where there are few ToRs); planes never meet above. A pod is as
        many segments as an aggregation switch has ports for; pods join through cores, by `shape`'s third number of uplinks an
        aggregation switch. shape = (ToR's split ports down, ToR's full ports up, aggregation's ports up); the published fabric is
        (128, 60, 8) on 128 ports of 400 Gbit/s. Without a shape: even, or as `oversubscription` says, and cores at one port of 16
        (15:1).
Limits: cores keep to their plane (assumed; the paper's cores aren't counted). tiers = 1 stops at the ToRs: one segment, rails
        apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import tiers
from forebay.fabric.build.lay import Lay, check, nics, shape_of
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


class Hpn(NamedTuple):
    down: int  # split ports of a ToR = hosts of a segment
    up: int
    agg_up: int
    segments: int
    pods: int
    over: tiers.Stripe | None  # aggregation switches of a plane in one pod
    cores: int  # of a plane


def fill(design: Design) -> Design:
    d = replace(design, planes=2) if design.planes == 1 else design
    check(d)
    m = measure(d)
    return replace(d, tiers=3 if m.cores else 2 if m.over else 1, shape=(m.down, m.up, m.agg_up))


def measure(d: Design) -> Hpn:
    shape = shape_of(d, (0, 2, 3), "a ToR's ports down and up, and an aggregation switch's ports up")
    ports = d.switch_ports
    if shape:
        down, up, *rest = shape
    else:
        leaf = tiers.leaf_split(d, ports)
        down, up, rest = int(leaf.up * d.oversubscription * d.planes + tiers.NEAR), leaf.up, []
    agg_up = rest[0] if rest else max(1, ports // 16)
    if up + -(-down // d.planes) > ports or agg_up >= ports:
        asked = f"{down} ports down of 1/{d.planes} speed, {up} up; {agg_up} above"
        raise BadInput(f"A switch of {ports} ports doesn't have those.", asked=asked, hint="shape = ()")
    if d.tiers > 3:
        raise BadInput("HPN has up to 3 tiers.", asked=f"tiers = {d.tiers}", hint="tiers = 0")
    segments = -(-d.hosts // down)
    if d.tiers == 1:
        if segments > 1:
            raise BadInput(
                "Without aggregation there is one segment.", asked=f"{d.hosts} hosts", hint=f"hosts = {down} or tiers = 0"
            )
        return Hpn(down, up, agg_up, 1, 1, None, 0)
    per_pod = (ports - agg_up) // d.nics_per_host
    if not per_pod:
        asked = f"{d.nics_per_host} rails, {ports} ports"
        raise BadInput(
            "An aggregation switch can't reach one segment's ToRs.", asked=asked, hint=f"switch_ports = {2 * d.nics_per_host}"
        )
    pods = -(-segments // per_pod)
    if pods > ports or (d.tiers == 2 and pods > 1):
        most = down * per_pod * (1 if d.tiers == 2 else ports)
        hint = f"hosts = {most}" + (" or tiers = 0" if d.tiers == 2 else "")
        raise BadInput(
            "HPN of these switches doesn't reach so many.", asked=f"{d.hosts:,} hosts", found=f"at most {most:,}", hint=hint
        )
    over = tiers.stripe(min(segments, per_pod) * d.nics_per_host, up, ports - agg_up)
    if over is None:
        raise BadInput("No count of aggregation switches divides a ToR's uplinks.", asked=f"{up} ports up", hint="shape = ()")
    cores = -(-over.spines * agg_up // (ports // pods)) if pods > 1 else 0
    return Hpn(down, up, agg_up, segments, pods, over, cores)


def wire(d: Design) -> Wiring:
    m, n, lay = measure(d), nics(d), Lay()
    rails, speed = d.nics_per_host, d.port_bytes_per_s
    per_pod = max(1, (d.switch_ports - m.agg_up) // rails)
    segment = n.host // m.down
    pod = np.arange(m.segments * rails) // (per_pod * rails)
    boxes = m.up + (d.switch_ports - m.up) * d.planes
    for plane in range(d.planes):
        tors = lay.routers(m.segments * rails, 1, boxes, plane, np.arange(m.segments * rails) // rails)
        lay.ports(n.unit, tors[segment * rails + n.place], speed / d.planes)
        if m.over is None:
            continue
        over = [tiers.lay_spines(lay, tors[pod == i], m.over, d.switch_ports, speed, plane=plane, group=i) for i in range(m.pods)]
        if m.cores:
            tiers.lay_cores(lay, np.stack(over), m.agg_up, d.switch_ports // m.pods, d.switch_ports, speed, plane)
    return lay.wiring(d, f"HPN of {m.segments} segments, {d.cards:,} cards")
