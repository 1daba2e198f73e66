"""Fat trees of two and three tiers, and rail-optimised ones.

Asked:  which leaf does a NIC go to, and what is above the leaves?
Answer: clos-2 and clos-3: hosts fill leaves in order, a host's NICs on one leaf. rail-optimised: NIC j of each host of a group
        goes to leaf j of that group, so cards of equal number are one switch apart (NVIDIA DGX SuperPOD reference architectures).
        Two tiers where a spine reaches every leaf, else three. Asked for two all the same, the spines are split by rail group, as
        NVIDIA's B300 table has it from 8 scalable units on: cards of different rail groups then meet through scale-up alone.
Limits: one kind of switch. Uplinks of leaves that aren't full are in proportion. A clos-2 that fits on one leaf has one tier.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import tiers
from forebay.fabric.build.lay import Lay, alternatives, check, nics, one_plane
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


class Tree(NamedTuple):
    leaf: tiers.Leaf
    leaves: int
    together: int  # leaves that stay in one pod, and the rails of a rail-optimised tree
    joined: int  # of these, how many the same spines join: all, or a rail group
    over: tiers.Stripe | tiers.Pods


def fill(design: Design) -> Design:
    """The same with its number of tiers. Raises BadInput for what can't be built."""
    check(design)
    one_plane(design)
    tree = measure(design)
    if tree.leaves == 1 and design.kind == "clos-2":  # a leaf, and nothing above it: oversubscription is said only where it is
        plain = replace(design, oversubscription=1.0, tiers=0)  # what makes room
        return replace(plain if measure(plain).leaves == 1 else design, tiers=1)
    return replace(design, tiers=3 if isinstance(tree.over, tiers.Pods) else 2)


def measure(d: Design) -> Tree:
    return _rails(d) if d.kind == "rail-optimised" else _filled(d)


def wire(d: Design) -> Wiring:
    tree, n, lay = measure(d), nics(d), Lay()
    if d.kind == "rail-optimised":
        leaf = n.host // tree.leaf.down * d.nics_per_host + n.place
    else:
        leaf = np.arange(len(n.unit)) // tree.leaf.down
    rail_group = np.arange(tree.leaves) % tree.together // tree.joined
    group_of = rail_group
    if isinstance(tree.over, tiers.Pods):
        group_of = np.repeat(tiers.pod_of(tree.over, tree.leaves // tree.together), tree.together)
    leaves = lay.routers(tree.leaves, 1, d.switch_ports, group=group_of)
    lay.ports(n.unit, leaves[leaf], d.port_bytes_per_s)
    if isinstance(tree.over, tiers.Pods):
        tiers.lay_pods(lay, leaves, group_of, tree.over, d.switch_ports, d.port_bytes_per_s)
    elif tree.leaves > 1:
        for group in range(tree.together // tree.joined):
            under = leaves[rail_group == group]
            tiers.lay_spines(lay, under, tree.over, d.switch_ports, d.port_bytes_per_s, group=group)
    words = {"clos-2": "Two-tier fat tree", "clos-3": "Three-tier fat tree"}.get(d.kind, f"Rail-optimised {d.tiers}-tier tree")
    return lay.wiring(d, f"{words} of {d.cards:,} cards")


def _filled(d: Design) -> Tree:
    """Leaves filled host by host."""
    asked = 3 if d.kind == "clos-3" else 2
    if d.tiers not in (0, asked) and (asked, d.tiers) != (2, 1):
        raise BadInput(f"A {d.kind} has {asked} tiers.", asked=f"tiers = {d.tiers}", hint=f"tiers = {asked}")
    leaf = tiers.leaf_split(d, d.switch_ports, d.nics_per_host)
    count = d.hosts * d.nics_per_host
    leaves = -(-count // leaf.down)
    if d.tiers == 1 and leaves > 1:
        hint = alternatives("hosts", [leaf.down // d.nics_per_host]) if leaf.down >= d.nics_per_host else "tiers = 2"
        raise BadInput("One tier is one leaf.", asked=f"{count:,} NICs, {leaf.down} ports down", hint=hint)
    if asked == 2:
        most = d.switch_ports * leaf.down
        over = tiers.stripe_used(leaf, min(leaf.down, count), leaves, d.switch_ports, bool(d.shape))
        if over is None or leaves > d.switch_ports:
            raise _too_many(d, most, "clos-3" if most >= d.nics_per_host and _fits(d, "clos-3") else "")
        return Tree(leaf, leaves, 1, 1, over)
    three = tiers.pods(leaves, 1, leaf.up, d.switch_ports)
    if leaves < 2:
        least = leaf.down // d.nics_per_host + 1
        hint = f"hosts = {least}" if d.tiers else f"kind = clos-2 or hosts = {least}"
        raise BadInput("All NICs fit on one leaf: three tiers would join nothing.", asked=f"hosts = {d.hosts}", hint=hint)
    if three is None:
        raise _too_many(d, d.switch_ports * (d.switch_ports // 2) * leaf.down, "")
    return Tree(leaf, leaves, 1, 1, three)


def _rails(d: Design) -> Tree:
    """Leaf j of a group of hosts for their NICs j."""
    if d.tiers not in (0, 2, 3):
        raise BadInput("A rail-optimised tree has 2 or 3 tiers.", asked=f"tiers = {d.tiers}", hint="tiers = 0")
    leaf = tiers.leaf_split(d, d.switch_ports)
    rails, ports = d.nics_per_host, d.switch_ports
    groups = -(-d.hosts // leaf.down)
    leaves = groups * rails
    used = min(leaf.down, d.hosts)
    if d.tiers == 2 or (d.tiers == 0 and leaves <= ports):
        joined = max((r for r in range(1, rails + 1) if rails % r == 0 and r * groups <= ports), default=0)
        over = tiers.stripe_used(leaf, used, joined * groups, ports, bool(d.shape)) if joined else None
        if over is None:
            raise BadInput(
                "A spine can't reach the leaves of even one rail.",
                asked=f"{d.hosts} hosts in two tiers of {ports} ports",
                found=f"{groups} leaves a rail",
                hint=alternatives("hosts", [ports * leaf.down]),
            )
        return Tree(leaf, leaves, rails, joined, over)
    if leaves < 2:
        raise BadInput("There is one leaf: three tiers would join nothing.", asked=f"tiers = {d.tiers}", hint="tiers = 2")
    three = tiers.pods(groups, rails, leaf.up, ports)
    if three is None and groups < 2:
        raise BadInput("One group of hosts is no two pods.", asked=f"tiers = {d.tiers}", hint="tiers = 2")
    if three is None:
        per_pod = max(1, ports // 2 // rails) if rails <= ports // 2 else 0
        if not per_pod:
            raise BadInput("A host has more NICs than a pod has leaves.", asked=f"nics_per_host = {rails}", hint="tiers = 2")
        raise _too_many(d, ports * per_pod * rails * leaf.down, "")
    return Tree(leaf, leaves, rails if rails <= ports // 2 else 1, rails, three)


def _fits(d: Design, kind: str) -> bool:
    try:
        measure(replace(d, kind=kind, tiers=0))
    except BadInput:
        return False
    return True


def _too_many(d: Design, most_nics: int, kind: str) -> BadInput:
    hosts = most_nics // d.nics_per_host
    hints = [f"hosts = {hosts}"] if hosts and _fits(replace(d, hosts=hosts), d.kind) else []
    hints += [f"kind = {kind}"] if kind else []
    if not d.shape:
        wider = [d.switch_ports << i for i in range(1, 12)]
        hints += islice((f"switch_ports = {ports}" for ports in wider if _fits(replace(d, switch_ports=ports), d.kind)), 1)
    asked = f"{d.hosts:,} hosts of {d.nics_per_host} NICs on {d.switch_ports}-port switches"
    found = f"at most {most_nics:,} NICs"
    return BadInput(f"A {d.kind} of these switches doesn't reach so many.", asked=asked, found=found, hint=" or ".join(hints))
