"""Which parameters of a family are worth a look.

Asked:  what could somebody vary, given the hosts and the switch?
Answer: oversubscription; tiers; planes; sides; sizes of groups. Each variant is a handful of fields; those that can't be built
        are dropped by who asked.
Limits: a list that a person would try, not all there is: a shape of odd sides is reached by saying it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from forebay.fabric.build.hyperx import sides
from forebay.fabric.build.lay import balanced
from forebay.fabric.build.slim_fly import possible
from forebay.fabric.design import Design

OVERSUBSCRIPTIONS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 7.0)


def variants(d: Design) -> Iterator[dict[str, Any]]:
    """Changes to a plain design of a kind, best known first."""
    ends = d.hosts * d.nics_per_host
    yield {}
    match d.kind:
        case "clos-2" | "clos-3" | "rail-only" | "mpft":
            splits = (1,) if d.kind.startswith("clos") else (1, 2, 4)
            yield from _each(oversubscription=OVERSUBSCRIPTIONS, planes=splits)
        case "multi-plane":
            yield from _each(oversubscription=OVERSUBSCRIPTIONS, planes=(2, 4, 8))
        case "rail-optimised":
            yield from _each(oversubscription=OVERSUBSCRIPTIONS, tiers=(2, 3))
        case "hpn":
            yield from _each(oversubscription=OVERSUBSCRIPTIONS)
        case "dragonfly":
            for p in range(2, (d.switch_ports + 1) // 4 + 1):
                for h in {p, max(1, p // 2)}:
                    yield {"shape": (2 * p, h, -(-ends // (2 * p * p)))}
        case "dragonfly-plus":
            yield from _plus(d, ends)
        case "slim-fly":
            yield from ({"shape": (q,)} for q in range(5, d.switch_ports) if possible(q) and 2 * q * q <= 2 * ends)
            yield from (
                {"shape": (q,), "concentration": -(-ends // (2 * q * q))} for q in range(5, d.switch_ports) if possible(q)
            )
        case "hyperx":
            for count, parallel in product((1, 2, 3), (1, 2)):
                for most in range(d.switch_ports, 3, -4):
                    if shape := sides(d, count, most):
                        yield {"shape": shape, "parallel": parallel}
        case "torus" | "nd-full-mesh":
            for count in (2, 3) if d.kind == "torus" else (2, 3, 4, 5):
                if found := balanced(d.cards, count):
                    yield {"shape": tuple(reversed(found))}
            yield from (
                {"shape": shape} for shape in ((8, 8, d.cards // 64), (8, 8, 4, d.cards // 256)) if prod(shape) == d.cards
            )


def _each(**values: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    for chosen in product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _plus(d: Design, ends: int) -> Iterator[dict[str, Any]]:
    """Dragonfly+ with groups down to a quarter, and leaves that are oversubscribed."""
    half = d.switch_ports // 2
    for leaves in sorted({half, half * 3 // 4, half // 2, half // 4} - {0}, reverse=True):
        for ratio in (1, 2, 3):
            spines = max(1, half // ratio)
            groups = -(-ends // (leaves * half))
            for h in (half, half // 2):
                yield {"shape": (leaves, spines, h, groups), "oversubscription": float(ratio)}
