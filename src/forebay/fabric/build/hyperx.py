"""HyperX: switches in a box, a full mesh along each side (Ahn, Binkert, Davis, McLaren and Schreiber, SC 2009).

Asked:  which switches are neighbours?
Answer: all that differ in one coordinate. shape = the sides; `parallel` cables between neighbours; `concentration` NICs a switch,
        by default what the NICs need. Without a shape: two sides, the fewest switches whose ports suffice.
Limits: as many cables along each side.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build.lay import Lay, check, nics, one_plane, shape_of
from forebay.fabric.build.slim_fly import spread
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


def fill(design: Design) -> Design:
    check(design)
    one_plane(design)
    d = design
    shape = shape_of(d, (0, 1, 2, 3, 4), "one to four sides")
    count = d.hosts * d.nics_per_host
    if not shape:
        small = sides(d, 2) or sides(d, 3)
        if not small:
            asked = f"{count:,} NICs on {d.switch_ports} ports"
            raise BadInput("No HyperX of two or three sides fits.", asked=asked, hint=_wider(d))
        return fill(replace(d, shape=small))
    if min(shape) < 2:
        raise BadInput("A side has two switches or more.", asked=f"shape = {shape}", hint="shape = ()")
    between = d.parallel * sum(side - 1 for side in shape)
    need = -(-count // prod(shape))
    each = d.concentration or need
    asked = f"sides {shape}, {d.parallel} cables each, {count:,} NICs"
    if each < need:
        hint = (
            f"concentration = {need}"
            if need + between <= d.switch_ports
            else f"hosts = {max(1, each * prod(shape) // d.nics_per_host)}"
        )
        raise BadInput("The switches have too few ports for NICs.", asked=asked, found=f"{each} NICs a switch", hint=hint)
    if each + between > d.switch_ports:
        found = f"{each} + {between} of {d.switch_ports}"
        hint = f"switch_ports = {each + between}"
        raise BadInput("A switch has too few ports.", asked=asked, found=found, hint=hint)
    return replace(d, concentration=each)


def sides(d: Design, count: int, nics_most: float = 1e9) -> tuple[int, ...] | None:
    """The fewest switches on so many sides, equal but for one step, that have the ports, with at most so many NICs a switch."""
    ends = d.hosts * d.nics_per_host
    for side in range(2, d.switch_ports + 1):
        for longer in range(count):
            shape = (*[side + 1] * longer, *[side] * (count - longer))
            each = d.concentration or -(-ends // prod(shape))
            fits = each * prod(shape) >= ends and each <= nics_most
            if fits and each + d.parallel * sum(n - 1 for n in shape) <= d.switch_ports:
                return shape
    return None


def _wider(d: Design) -> str:
    wider = [d.switch_ports << i for i in range(1, 12)]
    return next((f"switch_ports = {n}" for n in wider if sides(replace(d, switch_ports=n), 2)), "kind = clos-3")


def wire(d: Design) -> Wiring:
    n, lay = nics(d), Lay()
    count = prod(d.shape)
    switch = lay.routers(count, 1, d.switch_ports, group=np.arange(count) // prod(d.shape[1:])).reshape(d.shape)
    lay.ports(n.unit, switch.ravel()[spread(len(n.unit), count)], d.port_bytes_per_s)
    for axis, side in enumerate(d.shape):
        a, b = np.triu_indices(side, 1)
        near, far = np.take(switch, a, axis=axis).ravel(), np.take(switch, b, axis=axis).ravel()
        lay.cables(np.repeat(near, d.parallel), np.repeat(far, d.parallel), d.port_bytes_per_s)
    return lay.wiring(d, f"HyperX of {' x '.join(map(str, d.shape))} switches, {d.cards:,} cards")
