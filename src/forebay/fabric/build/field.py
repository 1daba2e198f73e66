"""Finite fields of a prime power of elements, as tables.

Asked:  how are elements of GF(q) added and multiplied, and which element's powers are all the others?
Answer: an element is a polynomial over GF(p) written as a number in base p. Multiplication by x modulo a polynomial for which x
        is primitive makes the powers; exponents then multiply (Lidl and Niederreiter, Introduction to Finite Fields, chapters 2
        and 9).
Limits: q up to a few thousand; the tables are q x q.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from forebay.fabric.build.lay import Array


def prime_power(q: int) -> tuple[int, int] | None:
    """(p, n) with p prime and q = p^n."""
    p = next((p for p in range(2, int(q**0.5) + 1) if q % p == 0), q)
    n = 0
    while q > 1 and q % p == 0:
        q, n = q // p, n + 1
    return (p, n) if q == 1 and n else None


class Field:
    """GF(q): `add[a, b]`, `times[a, b]`, `minus[a]`, and `powers[i]`, the i-th power of a primitive element."""

    def __init__(self, q: int) -> None:
        found = prime_power(q)
        assert found, q
        p, n = found
        self.q = q
        self.powers = _powers(p, n)
        digits = np.stack([np.arange(q) // p**i % p for i in range(n)])
        weights = p ** np.arange(n)
        self.add: Array = np.tensordot(weights, (digits[:, :, None] + digits[:, None, :]) % p, 1)
        self.minus: Array = np.tensordot(weights, -digits % p, 1)
        log = np.zeros(q, int)
        log[self.powers] = np.arange(q - 1)
        self.times: Array = self.powers[(log[:, None] + log[None, :]) % (q - 1)]
        self.times[0, :] = self.times[:, 0] = 0


def _powers(p: int, n: int) -> Array:
    """The powers of x modulo the first polynomial that makes it primitive; for n = 1, of the first primitive root."""
    q = p**n
    if n == 1:
        for root in range(1, p):
            powers = [pow(root, i, p) for i in range(p - 1)]
            if len(set(powers)) == p - 1:
                return np.array(powers)
    for low in product(range(p), repeat=n):  # x^n = low[0] + low[1] x + ...
        element, seen = [1] + [0] * (n - 1), []
        for _ in range(q - 1):
            seen.append(sum(digit * p**i for i, digit in enumerate(element)))
            top = element[-1]
            element = [(digit + top * c) % p for digit, c in zip([0, *element[:-1]], low, strict=True)]
        if len(set(seen)) == q - 1 and 0 not in seen:
            return np.array(seen)
    raise AssertionError("every field has a primitive element")
