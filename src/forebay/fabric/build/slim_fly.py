"""Slim Fly: switches two hops apart at most, almost as many as their ports allow (Besta and Hoefler, SC 2014).

Asked:  which switches are neighbours?
Answer: the graphs of McKay, Miller and Siran (J. Combinatorial Theory B 74, 1998; in the form of Hafner, Discrete Mathematics
        276, 2004). Two halves of q x q switches. (0, x, y) - (0, x, y') if y - y' is in X; (1, m, c) - (1, m, c') if c - c' is in
        X'; (0, x, y) - (1, m, c) if y = m x + c, all in GF(q). With powers of a primitive element: q = 4w + 1: X the even ones,
        X' the odd; q = 4w: even up to q - 2, odd up to q - 1; q = 4w - 1: even up to 2w - 2 and odd from 2w - 1, and the other
        way about. shape = (q,); `concentration` NICs a switch, by default half the ports between switches, rounded up.
Limits: q a prime power from 3 on, other than 4w + 2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build.field import Field, prime_power
from forebay.fabric.build.lay import Array, Lay, alternatives, check, nics, one_plane, shape_of
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring


def possible(q: int) -> bool:
    return q > 2 and prime_power(q) is not None


def radix(q: int) -> int:
    """Ports of a switch to other switches: (3q - d) / 2 with q = 4w + d."""
    return (3 * q - {0: 0, 1: 1, 3: -1}[q % 4]) // 2


def fill(design: Design) -> Design:
    check(design)
    one_plane(design)
    d = design
    shape = shape_of(d, (0, 1), "q")
    count = d.hosts * d.nics_per_host
    if not shape:
        for q in range(3, d.switch_ports):
            if possible(q) and 2 * q * q * (d.concentration or -(-radix(q) // 2)) >= count:
                return fill(replace(d, shape=(q,)))
        raise BadInput("No Slim Fly of these switches has so many NICs.", asked=f"{count:,} NICs", hint=_largest(d))
    (q,) = shape
    if not possible(q):
        down = next((n for n in range(q - 1, 2, -1) if possible(n)), None)
        up = next(n for n in range(max(3, q + 1), 2 * q + 8) if possible(n))
        near = [down, up] if down else [up]
        usable: list[tuple[int, ...]] = [(n,) for n in near if _reason(replace(d, shape=(n,)), n) is None] or [()]
        word = "no prime power" if prime_power(q) is None else "too small"
        found = f"{q} is {word}; the nearest are {' and '.join(map(str, near))}"
        hint = alternatives("shape", usable)
        raise BadInput("Slim Fly graphs exist for prime powers q from 3 on.", asked=f"q = {q}", found=found, hint=hint)
    if (why := _reason(d, q)) is not None:
        raise why
    return replace(d, concentration=d.concentration or -(-radix(q) // 2))


def _reason(d: Design, q: int) -> BadInput | None:
    """Why this q doesn't do for this design."""
    each, between = d.concentration or -(-radix(q) // 2), radix(q)
    count = d.hosts * d.nics_per_host
    asked = f"q = {q}, {each} NICs a switch, {count:,} NICs"
    if each + between > d.switch_ports:
        hint = f"switch_ports = {each + between} or shape = ()"
        return BadInput("A switch has too few ports.", asked=asked, found=f"{each} + {between} of {d.switch_ports}", hint=hint)
    if 2 * q * q * each < count:
        need = -(-count // (2 * q * q))
        hints = [f"concentration = {need}"] if need + between <= d.switch_ports else []
        hints += [f"hosts = {2 * q * q * each // d.nics_per_host}"]
        found = f"{2 * q * q:,} switches, {2 * q * q * each:,} NICs"
        return BadInput("The switches have too few ports for NICs.", asked=asked, found=found, hint=" or ".join(hints))
    return None


def _largest(d: Design) -> str:
    sizes = [
        2 * q * q * (d.concentration or -(-radix(q) // 2))
        for q in range(3, d.switch_ports)
        if possible(q) and radix(q) + (d.concentration or -(-radix(q) // 2)) <= d.switch_ports
    ]
    return f"hosts = {max(sizes) // d.nics_per_host}" if sizes and max(sizes) >= d.nics_per_host else "switch_ports = 64"


def generators(f: Field) -> tuple[Array, Array]:
    """X and X'."""
    q = f.q
    if q % 4 == 1:
        one, other = np.arange(0, q - 1, 2), np.arange(1, q - 1, 2)
    elif q % 4 == 0:
        one, other = np.arange(0, q - 1, 2), np.arange(1, q, 2)
    else:
        w = (q + 1) // 4
        one = np.concatenate([np.arange(0, 2 * w - 1, 2), np.arange(2 * w - 1, 4 * w - 2, 2)])
        other = np.concatenate([np.arange(1, 2 * w, 2), np.arange(2 * w, 4 * w - 1, 2)])
    return f.powers[one % (q - 1)], f.powers[other % (q - 1)]


def edges(q: int) -> tuple[Array, Array]:
    """The cables of the graph. (0, x, y) is switch q x + y; (1, m, c) is q^2 + q m + c."""
    f = Field(q)
    a, b = [], []
    for half, chosen in enumerate(generators(f)):
        member = np.zeros(q, bool)
        member[chosen] = True
        y, z = np.nonzero(np.triu(member[f.add[:, f.minus]], 1))  # y - z is in X; -X = X, so each pair once
        offset = half * q * q + q * np.arange(q)[:, None]
        a.append((offset + y).ravel())
        b.append((offset + z).ravel())
    x, m, c = (axis.ravel() for axis in np.meshgrid(*[np.arange(q)] * 3, indexing="ij"))
    a.append(q * x + f.add[f.times[m, x], c])
    b.append(q * q + q * m + c)
    return np.concatenate(a), np.concatenate(b)


def wire(d: Design) -> Wiring:
    (q,), n, lay = d.shape, nics(d), Lay()
    count = 2 * q * q
    switches = lay.routers(count, 1, d.switch_ports, group=np.arange(count) // q)
    lay.ports(n.unit, spread(len(n.unit), count), d.port_bytes_per_s)
    a, b = edges(q)
    lay.cables(switches[a], switches[b], d.port_bytes_per_s)
    return lay.wiring(d, f"Slim Fly of q = {q}, {d.cards:,} cards")


def spread(count: int, routers: int) -> Array:
    """The router of each of `count` NICs: in order, and as evenly as they go."""
    return (np.arange(count, dtype=np.int64) * routers // count).astype(np.int32)
