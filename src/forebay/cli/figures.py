"""Figures and lines as commands of `forebay fabric` and `forebay plan` print them."""

from __future__ import annotations

import math
from typing import Any

from forebay.cli import out
from forebay.codec import encode
from forebay.units import MICRO_PER_UNIT


def plain(value: Any) -> Any:
    """Data that JSON can say: what is endless or not known is null."""
    data = encode(value)

    def clean(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: clean(one) for key, one in x.items()}
        if isinstance(x, (list, tuple)):
            return [clean(one) for one in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return clean(data)


def seconds(s: float) -> str:
    """Four digits that count: steps are compared with each other."""
    if not math.isfinite(s):
        return "never"
    return f"{s:.4g} s" if s >= 1 else f"{s * 1e3:.4g} ms" if s >= 1e-3 or s == 0 else f"{s * 1e6:.4g} us"


def amount(micro: int, currency: str) -> str:
    """Money with the digits that count: 0.01234 USD, 1,234 USD."""
    units = micro / MICRO_PER_UNIT
    return (f"{units:,.0f}" if units >= 1000 or units == 0 else f"{units:.4g}") + (f" {currency}" if currency else "")


def line(words: str) -> None:
    out.console.print(words, markup=False, soft_wrap=True)


def following(words: str) -> None:
    line(f"\nNext: {words}")
