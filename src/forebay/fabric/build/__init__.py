"""Draw a fabric: out of a Design, a Wiring. A family a file; `FAMILIES` names them all.

Asked:  which cables does this design need, end to end? And which designs are worth a look for so many hosts?
Answer: `build`: the family's builder fills in what wasn't said, checks the parameters and lays the arrays; nothing is drawn at
        random. `propose`: the filled design alone, for a person who says a kind and a number of hosts. `candidates`: many, for
        who chooses.
Limits: what can't be built raises BadInput with the nearest parameters that can. Some families round hosts up (direct.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from forebay.errors import BadInput, nearest
from forebay.fabric.build import clos, direct, dragonfly, hpn, hyperx, planes, slim_fly, supernode
from forebay.fabric.build.candidates import variants
from forebay.fabric.build.lay import small_enough
from forebay.fabric.build.supernode import as_scale_up
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.wiring import Wiring

__all__ = ["FAMILIES", "as_scale_up", "build", "candidates", "fill", "propose"]

FILLS: dict[str, Callable[[Design], Design]] = {
    "full-mesh": direct.fill,
    "clos-2": clos.fill,
    "clos-3": clos.fill,
    "rail-optimised": clos.fill,
    "rail-only": planes.fill,
    "hpn": hpn.fill,
    "mpft": planes.fill,
    "multi-plane": planes.fill,
    "dragonfly": dragonfly.fill,
    "dragonfly-plus": dragonfly.fill,
    "slim-fly": slim_fly.fill,
    "hyperx": hyperx.fill,
    "torus": direct.fill,
    "ocs-torus": direct.fill,
    "nd-full-mesh": direct.fill,
    "supernode": supernode.fill,
}
FAMILIES: dict[str, Callable[[Design], Wiring]] = {
    "full-mesh": direct.wire,
    "clos-2": clos.wire,
    "clos-3": clos.wire,
    "rail-optimised": clos.wire,
    "rail-only": planes.wire,
    "hpn": hpn.wire,
    "mpft": planes.wire,
    "multi-plane": planes.wire,
    "dragonfly": dragonfly.wire,
    "dragonfly-plus": dragonfly.wire,
    "slim-fly": slim_fly.wire,
    "hyperx": hyperx.wire,
    "torus": direct.wire,
    "ocs-torus": direct.wire,
    "nd-full-mesh": direct.wire,
    "supernode": supernode.wire,
}


def build(design: Design) -> Wiring:
    """The wiring of a design. Raises BadInput for a family that isn't known, or parameters that can't be."""
    return FAMILIES[_known(design.kind)](small_enough(fill(design)))


def fill(design: Design) -> Design:
    """The design with all that wasn't said filled in, as it would be built. Raises what `build` raises."""
    return FILLS[_known(design.kind)](design)


def propose(kind: str, hosts: int, **more: Any) -> Design:
    """A good design of this family for so many hosts: `propose("torus", 1280)`. What more is said are fields of Design."""
    return fill(Design(kind=kind, hosts=hosts, **more))


def candidates(
    kind: str,
    hosts: int,
    *,
    cards_per_host: int = 8,
    nics_per_host: int = 8,
    switch_ports: int = 64,
    port_bytes_per_s: float = 50e9,
    scale_up: ScaleUp | None = None,
) -> tuple[Design, ...]:
    """Every design of this family that is worth pricing for so many hosts; all can be built. It may be none at all."""
    plain = Design(
        kind=_known(kind),
        hosts=hosts,
        cards_per_host=cards_per_host,
        nics_per_host=nics_per_host,
        switch_ports=switch_ports,
        port_bytes_per_s=port_bytes_per_s,
        scale_up=scale_up,
    )
    found: dict[Design, None] = {}
    for changed in variants(plain):
        try:
            found[fill(replace(plain, **changed))] = None
        except BadInput:
            continue
    return tuple(found)


def _known(kind: str) -> str:
    if kind not in FAMILIES:
        raise BadInput(
            "No family of fabrics has that name.",
            asked=f"kind = {kind}",
            found=", ".join(FAMILIES),
            hint=" or ".join(
                f"kind = {name}" for name in nearest(kind, list(FAMILIES)) or ["clos-2", "rail-optimised", "rail-only"]
            ),
        )
    return kind
