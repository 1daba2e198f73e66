"""Dragonfly and Dragonfly+: groups of switches, every two groups joined by as many cables as every other two.

Asked:  which switches of two groups are joined?
Answer: dragonfly: the a switches of a group form a full mesh, each with h global cables (Kim, Dally, Scott and Abts, ISCA 2008):
        shape = (a, h, groups). dragonfly-plus: groups are leaves and spines, h global cables a spine (Shpiner et al., HiPINEB
        2017): shape = (leaves, spines, h, groups). The global ports of a group lead to the groups after it in turn, and again
        from the start; where they don't come out even, the rest goes to the nearest groups on both sides. `concentration` NICs a
        switch (a leaf), by default what the NICs need.
Limits: where groups and global ports are odd, one port a group stays free.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import tiers
from forebay.fabric.build.lay import Array, Lay, alternatives, check, nics, one_plane, shape_of
from forebay.fabric.build.slim_fly import spread
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


def fill(design: Design) -> Design:
    check(design)
    one_plane(design)
    plus = design.kind == "dragonfly-plus"
    words = "leaves, spines, global cables a spine, groups" if plus else "switches a group, global cables a switch, groups"
    shape = shape_of(design, (0, 4) if plus else (0, 3), words)
    if not shape:
        return fill(_plus(design) if plus else _plain(design))
    (ends, *middle, h, groups) = shape
    d = design
    count, ports = d.hosts * d.nics_per_host, d.switch_ports
    need = -(-count // (ends * groups))
    each = d.concentration or need
    asked = f"shape = {shape}, {each} NICs a switch, {count:,} NICs"
    if each < need:
        hint = f"concentration = {need} or hosts = {each * ends * groups // d.nics_per_host or 1}"
        raise BadInput("The switches have too few ports for NICs.", asked=asked, hint=hint)
    globals_ = (middle[0] if plus else ends) * h
    if groups < 2 or globals_ < groups - 1:
        most = globals_ + 1
        hint = alternatives("shape", [(*shape[:-1], max(2, most))]) if groups > most else "kind = clos-2"
        raise BadInput(
            "A group reaches every other one, and there are two or more.", asked=asked, found=f"at most {most}", hint=hint
        )
    used = (
        max(each + middle[0] * _times(d, each, middle[0]), ends * _times(d, each, middle[0]) + h) if plus else each + ends - 1 + h
    )
    if used > ports:
        raise BadInput(
            "A switch has too few ports.", asked=asked, found=f"{used} of {ports}", hint=f"switch_ports = {used} or shape = ()"
        )
    return replace(d, concentration=each)


def _times(d: Design, each: int, spines: int) -> int:
    """Cables from a leaf to a spine of its group."""
    return max(1, int(np.ceil(each / (spines * d.oversubscription) - tiers.NEAR)))


def _plain(d: Design) -> Design:
    """Balanced, a = 2p = 2h, with p as large as ports allow and three groups or more."""
    count = d.hosts * d.nics_per_host
    for p in range((d.switch_ports + 1) // 4, 0, -1):
        groups = -(-count // (2 * p * p))
        if 3 <= groups <= 2 * p * p + 1 and (d.concentration or 0) in (0, p):
            return replace(d, shape=(2 * p, p, groups))
    p = max(1, (d.switch_ports + 1) // 4)
    if count <= 3 * 2:
        return replace(d, shape=(2, 1, 2))
    hosts = 2 * p * p * (2 * p * p + 1) // d.nics_per_host
    hint = "concentration = 0" if d.concentration else f"hosts = {hosts}" if hosts else "switch_ports = 64"
    raise BadInput("No balanced Dragonfly of these switches fits.", asked=f"{count:,} NICs on {d.switch_ports} ports", hint=hint)


def _plus(d: Design) -> Design:
    """Half of each switch's ports down, half up; smaller groups where there would be fewer than three."""
    count = d.hosts * d.nics_per_host
    for half in range(d.switch_ports // 2, 0, -1):
        groups = -(-count // (half * half))
        if 3 <= groups <= half * half + 1 and (d.concentration or 0) in (0, half):
            return replace(d, shape=(half, half, half, groups), concentration=half)
    half = d.switch_ports // 2
    if count <= 2 and half:
        return replace(d, shape=(1, 1, 1, 2))
    hosts = half * half * (half * half + 1) // d.nics_per_host
    hint = "concentration = 0" if d.concentration else f"hosts = {hosts}" if hosts else "switch_ports = 64"
    raise BadInput("No Dragonfly+ of these switches fits.", asked=f"{count:,} NICs on {d.switch_ports} ports", hint=hint)


def wire(d: Design) -> Wiring:
    n, lay, speed = nics(d), Lay(), d.port_bytes_per_s
    ends, h, groups = d.shape[0], d.shape[-2], d.shape[-1]
    leaves = lay.routers(ends * groups, 1, d.switch_ports, group=np.arange(ends * groups) // ends)
    lay.ports(n.unit, leaves[spread(len(n.unit), len(leaves))], speed)
    if d.kind == "dragonfly-plus":
        s = tiers.Stripe(d.shape[1], _times(d, d.concentration, d.shape[1]))
        rows = [tiers.lay_spines(lay, leaves[g * ends :][:ends], s, d.switch_ports, speed, group=g) for g in range(groups)]
        top = np.stack(rows)
    else:
        top = leaves.reshape(groups, ends)
        a, b = np.triu_indices(ends, 1)
        lay.cables(top[:, a].ravel(), top[:, b].ravel(), speed)
    a, port_a, b, port_b = global_cables(groups, top.shape[1] * h)
    lay.cables(top[a, port_a // h], top[b, port_b // h], speed)
    words = "Dragonfly+" if d.kind == "dragonfly-plus" else "Dragonfly"
    return lay.wiring(d, f"{words} of {groups} groups, {d.cards:,} cards")


def global_cables(groups: int, ports: int) -> tuple[Array, Array, Array, Array]:
    """(group, port, group, port) of each global cable. Port t of a group leads t mod (groups - 1) + 1 groups on."""
    rounds, rest = divmod(ports, groups - 1)
    offsets = np.tile(np.arange(1, groups), rounds)
    near = [offset for step in range(1, rest // 2 + 1) for offset in (step, groups - step)]
    if rest % 2 and groups % 2 == 0:  # an odd rest goes straight across
        near = [offset for offset in near if offset != groups // 2]
        near.append(groups // 2)
    offsets = np.concatenate([offsets, np.array(near, int)])
    starts = np.concatenate([np.repeat(np.arange(rounds) * (groups - 1), groups - 1), np.full(len(near), rounds * (groups - 1))])
    # The port at the other end: that of the opposite offset in the same round.
    port_of = {(int(s), int(o)): i for i, (s, o) in enumerate(zip(starts, offsets, strict=True))}
    back = np.array([port_of[int(s), groups - int(o)] for s, o in zip(starts, offsets, strict=True)])
    group = np.arange(groups)[:, None]
    far = (group + offsets) % groups
    once = np.where(2 * offsets == groups, group < far, 2 * offsets < groups)
    a, port = np.nonzero(np.broadcast_to(once, far.shape))
    return a, port, far[a, port], back[port]
