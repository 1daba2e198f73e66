"""Cards joined to cards: full mesh, torus, full mesh in each of several dimensions.

Asked:  which cards are neighbours, and how fast is a cable?
Answer: cards lie in a box of the sides of `shape`, the last side fastest, so a host's cards are neighbours along the last sides.
        torus: next along each side, both ways round (a side of 2 has two cables between the same cards). ocs-torus: the same,
        made of cubes whose faces meet in optical circuit switches (TPU v4, ISCA 2023): shape = sides and the cube's side.
        nd-full-mesh: every card of a line along each side (UB-Mesh, arXiv 2503.20377). full-mesh: every card. What a card's NICs
        carry is split evenly over its cables.
Limits: a full mesh is laid up to 2,000 cards; beyond, its counts come by formula. Without a shape, hosts are added until sides
        fit.
"""

from __future__ import annotations

from dataclasses import replace
from math import gcd, prod

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build.lay import Array, Lay, alternatives, balanced, card_bytes_per_s, check, good_shape, one_plane, shape_of
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring

MOST_MESHED = 2_000  # cards: two million cables


def fill(design: Design) -> Design:
    check(design)
    one_plane(design)
    d = design
    if d.kind == "full-mesh":
        shape_of(d, (0,), "none")
        if d.cards < 2:
            raise BadInput("A full mesh joins two cards or more.", asked=f"{d.cards} cards", hint="hosts = 2")
        return d
    if d.kind == "ocs-torus":
        return _cubes(d)
    lengths = (0, 2, 3) if d.kind == "torus" else (0, 2, 3, 4, 5, 6)
    shape = shape_of(d, lengths, "two or three sides" if d.kind == "torus" else "two to six sides")
    if not shape:
        hosts, shape = good_shape(d, 3 if d.kind == "torus" else 4)
        return replace(d, hosts=hosts, shape=shape)
    _sides(d, shape)
    return d


def _sides(d: Design, shape: tuple[int, ...]) -> None:
    if min(shape) < 2:
        raise BadInput("A side has two cards or more.", asked=f"shape = {shape}", hint=f"shape = {_near(d, len(shape))}")
    if prod(shape) != d.cards:
        hints = [f"hosts = {prod(shape) // d.cards_per_host}"] if prod(shape) % d.cards_per_host == 0 else []
        near = balanced(d.cards, len(shape))
        hints += [f"shape = {tuple(reversed(near))}"] if near else []
        raise BadInput(
            "The sides multiply to the number of cards.",
            asked=f"shape = {shape} for {d.cards:,} cards",
            found=f"{prod(shape):,}",
            hint=" or ".join(hints) or "shape = ()",
        )


def _near(d: Design, sides: int) -> tuple[int, ...]:
    found = balanced(d.cards, sides)
    return tuple(reversed(found)) if found else ()


def _cubes(d: Design) -> Design:
    """TPU v4: sides that are multiples of a cube's side; the fourth number."""
    shape = shape_of(d, (0, 4), "three sides and the side of a cube")
    if shape:
        _sides(d, shape[:3])
        if any(side % shape[3] for side in shape[:3]):
            fits = [c for c in range(1, min(shape) + 1) if all(side % c == 0 for side in shape[:3])]
            hint = alternatives("shape", [(*shape[:3], max(fits))])
            raise BadInput("Sides are whole numbers of cubes.", asked=f"shape = {shape}", hint=hint)
        return d
    cubes = -(-d.cards // 64)
    step = d.cards_per_host // gcd(64, d.cards_per_host)  # so that hosts come out whole
    cubes = -(-cubes // step) * step
    while (sides := _three(cubes)) and max(sides) > 2 * min(sides) and cubes < 2 * d.cards // 64 + 8:
        cubes += step
    return _cubes(replace(d, hosts=cubes * 64 // d.cards_per_host, shape=(*(4 * side for side in sides), 4)))


def _three(n: int) -> tuple[int, ...]:
    """n as three factors, ones allowed, as even as they go."""
    found = [
        (a, b, n // a // b)
        for a in range(1, n + 1)
        if n % a == 0
        for b in range(a, n // a + 1)
        if n // a % b == 0 and n // a // b >= b
    ]
    return min(reversed(found), key=lambda sides: sides[2] - sides[0])[::-1]


def wire(d: Design) -> Wiring:
    if d.kind == "full-mesh":
        return _mesh(d)
    sides = d.shape[:3] if d.kind == "ocs-torus" else d.shape
    card = np.arange(d.cards, dtype=np.int32).reshape(sides)
    each = 2 * len(sides) if d.kind != "nd-full-mesh" else sum(side - 1 for side in sides)
    lay = _cards(d, each)
    for axis, side in enumerate(sides):
        for step in range(1, side) if d.kind == "nd-full-mesh" else (1,):
            far = np.roll(card, -step, axis=axis)
            near = card
            if d.kind == "nd-full-mesh":
                inside = np.arange(side - step)
                near, far = np.take(card, inside, axis=axis), np.take(far, inside, axis=axis)
            lay.cables(near.ravel(), far.ravel(), card_bytes_per_s(d) / each)
    words = {"torus": "torus", "ocs-torus": "torus of cubes", "nd-full-mesh": f"{len(sides)}-dimensional full mesh"}[d.kind]
    return lay.wiring(
        d, f"{words.capitalize()} of {' x '.join(map(str, sides))} cards", unit_of=np.arange(d.cards, dtype=np.int32)
    )


def _mesh(d: Design) -> Wiring:
    if d.cards > MOST_MESHED:
        raise BadInput(
            f"A full mesh of {d.cards:,} cards is {d.cards * (d.cards - 1) // 2:,} cables: it is counted by formula, not laid.",
            asked=f"{d.cards:,} cards",
            found=f"at most {MOST_MESHED:,}",
            hint=alternatives("hosts", [MOST_MESHED // d.cards_per_host]) if d.cards_per_host <= MOST_MESHED else "kind = torus",
        )
    lay = _cards(d, d.cards - 1)
    a, b = np.triu_indices(d.cards, 1)
    lay.cables(a, b, card_bytes_per_s(d) / (d.cards - 1))
    return lay.wiring(d, f"Full mesh of {d.cards:,} cards", unit_of=np.arange(d.cards, dtype=np.int32))


def _cards(d: Design, ports: int) -> Lay:
    """A router a card, reached without limit."""
    lay = Lay()
    card: Array = lay.routers(d.cards, 0, ports, group=np.arange(d.cards) // d.cards_per_host)
    lay.ports(card, card, np.inf)
    return lay


def circuit_switches(d: Design) -> int:
    """Optical circuit switches of an ocs-torus: one for each pair of opposite faces and place on them, with two ports a cube."""
    return 3 * d.shape[3] ** 2 if d.kind == "ocs-torus" else 0
