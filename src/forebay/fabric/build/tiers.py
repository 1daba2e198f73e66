"""Leaves joined by spines, pods of them joined by cores: the tiers that all trees are made of.

Asked:  how many spines over these leaves, and how many cables to each?
Answer: spines in a count that divides a leaf's uplinks, so that a leaf has equally many cables to each (even striping). With 72
        uplinks and 32 leaves on 144 ports that is 18 spines where 16 have the ports: the step in NVIDIA's XDR table. Cores take
        equally many cables from every pod: what arrives from one pod can leave to any other, so none is overfull. (Leiserson,
        IEEE Transactions on Computers 34, 1985; Al-Fares et al., SIGCOMM 2008.)
Limits: spines and cores have the ports of a leaf; above the leaves nothing is oversubscribed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build.lay import Array, Lay
from forebay.fabric.design import Design

NEAR = 1e-9


class Leaf(NamedTuple):
    """How a leaf's ports are split."""

    down: int
    up: int


def leaf_split(d: Design, ports: int, together: int = 1) -> Leaf:
    """Ports down and up at the asked oversubscription; those down a multiple of `together`, where that many fit."""
    if d.shape:
        if len(d.shape) != 2 or min(d.shape) < 1 or sum(d.shape) > ports:
            asked = f"shape = {d.shape}, {ports} ports"
            raise BadInput("The shape of a tree is a leaf's ports down and up, within its ports.", asked=asked, hint="shape = ()")
        return Leaf(*d.shape)
    ratio = d.oversubscription
    up = int(ports / (1 + ratio) + NEAR)
    down = int(up * ratio + NEAR)
    if down >= together > 1:
        down -= down % together
        up = max(1, int(np.ceil(down / ratio - NEAR)))
    if up < 1 or down < 1:
        possible = [1.0] if ports >= 2 else []
        found = f"{down} ports down, {up} up"
        hint = f"oversubscription = {possible[0]}" if possible else "switch_ports = 64"
        raise BadInput(
            "A leaf needs ports down and up.", asked=f"oversubscription = {ratio:g}, {ports} ports", found=found, hint=hint
        )
    return Leaf(down, up)


class Stripe(NamedTuple):
    spines: int
    each: int  # cables from a leaf to a spine

    @property
    def up(self) -> int:
        return self.spines * self.each


def stripe(leaves: int, up: int, ports: int) -> Stripe | None:
    """The fewest spines that divide `up` and have the ports for all leaves; None: a spine can't reach them all."""
    each = next((n for n in range(min(ports // leaves, up), 0, -1) if up % n == 0), 0)
    return Stripe(up // each, each) if each else None


def stripe_used(leaf: Leaf, used: int, leaves: int, ports: int, fixed: bool) -> Stripe | None:
    """As `stripe`; where leaves aren't full, uplinks in proportion, or some more where that saves a spine."""
    least = leaf.up if fixed else max(1, -(-used * leaf.up // leaf.down))
    found = [s for up in range(least, leaf.up + 1) if (s := stripe(leaves, up, ports))]
    return min(found, key=lambda s: (s.spines, s.up), default=None)


def lay_spines(
    lay: Lay, leaves: Array, s: Stripe, ports: int, bytes_per_s: float, tier: int = 2, plane: int = 0, group: int = 0
) -> Array:
    """Spines over these leaves, each leaf with `each` cables to each. Returns the spines."""
    spines = lay.routers(s.spines, tier, ports, plane, group)
    lay.cables(np.repeat(leaves, s.up), np.tile(np.repeat(spines, s.each), len(leaves)), bytes_per_s)
    return spines


class Pods(NamedTuple):
    """A tree of three tiers: `pods` of leaves under `stripe.spines` spines each, and `cores` over all."""

    pods: int
    stripe: Stripe
    spine_up: int  # uplinks of a spine
    core_each: int  # cables of a pod to a core
    cores: int


def pods(groups: int, size: int, up: int, ports: int) -> Pods | None:
    """The pods for groups of `size` leaves that stay together, with the fewest switches; None: more than cores can reach."""
    if size > ports // 2:
        groups, size = groups * size, 1
    found = []
    least = max(2, -(-groups * size // (ports // 2)))
    for count in range(least, min(ports, groups, 2 * least) + 1):
        leaves = -(-groups // count) * size
        s = stripe(leaves, up, ports // 2) if leaves <= ports // 2 else None
        if s:
            uplinks = s.spines * leaves * s.each
            each = ports // count
            found.append(Pods(count, s, leaves * s.each, each, -(-uplinks // each)))
    return min(found, key=lambda p: (p.pods * p.stripe.spines + p.cores, p.pods), default=None)


def pod_of(p: Pods, leaves: int) -> Array:
    """The pod of each of so many leaves; pods differ by one at most (by one group where groups stay together)."""
    return (np.arange(leaves, dtype=np.int64) * p.pods // leaves).astype(np.int32)


def lay_pods(lay: Lay, leaves: Array, pod: Array, p: Pods, ports: int, bytes_per_s: float, plane: int = 0) -> None:
    spines = np.stack(
        [lay_spines(lay, leaves[pod == i], p.stripe, ports, bytes_per_s, plane=plane, group=i) for i in range(p.pods)]
    )
    lay_cores(lay, spines, p.spine_up, p.core_each, ports, bytes_per_s, plane)


def lay_cores(lay: Lay, spines: Array, spine_up: int, each: int, ports: int, bytes_per_s: float, plane: int = 0) -> None:
    """Cores over the spines of all pods (a row a pod). Uplink t of a pod leaves spine t mod spines and ends at core t // each."""
    t = np.arange(spines.shape[1] * spine_up)
    cores = lay.routers(-(-len(t) // each), 3, ports, plane)
    for row in spines:
        lay.cables(row[t % len(row)], cores[t // each], bytes_per_s)
