"""What all builders share: hosts and cards as arrays, and checks of what was asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.design import Design
from forebay.fabric.wiring import Ints


def hosts(design: Design) -> dict[str, Any]:
    """host_of, rail_of, domain_of, unit_of, nics and scale_up_bytes_per_s of a design, ready for Wiring(**...)."""
    d = design
    for name in ("hosts", "cards_per_host", "nics_per_host", "switch_ports", "planes"):
        if getattr(d, name) < 1:
            raise BadInput(f"{name} is at least 1.", asked=f"{name} = {getattr(d, name)}")
    if not d.port_bytes_per_s > 0:
        raise BadInput("The speed of a port is above zero.", asked=f"port_bytes_per_s = {d.port_bytes_per_s}")
    if d.cards_per_host % d.nics_per_host and d.nics_per_host % d.cards_per_host:
        fits = sorted(n for n in range(1, 2 * d.cards_per_host + 1) if d.cards_per_host % n == 0 or n % d.cards_per_host == 0)
        close = min(fits, key=lambda n: abs(n - d.nics_per_host))
        raise BadInput(
            "The cards of a host share its NICs evenly, or have equally many each.",
            asked=f"{d.nics_per_host} NICs for {d.cards_per_host} cards",
            hint=f"{close} NICs",
        )
    card = np.arange(d.cards, dtype=np.int32)
    sharing = max(1, d.cards_per_host // d.nics_per_host)
    domain = d.scale_up.cards if d.scale_up else 1
    if d.scale_up and d.cards % domain:
        up = -(-d.cards // domain) * domain
        raise BadInput(
            "The cards fill whole scale-up domains.",
            asked=f"{d.cards} cards in domains of {domain}",
            hint=f"{up - domain or domain} or {up} cards",
        )
    return {
        "host_of": card // d.cards_per_host,
        "rail_of": card % d.cards_per_host,
        "domain_of": card // domain,
        "unit_of": card // sharing,
        "nics": d.hosts * d.nics_per_host,
        "scale_up_bytes_per_s": d.scale_up.bytes_per_s if d.scale_up else 0.0,
    }


def whole(x: float, what: str, asked: str, hint: str) -> int:
    """A number that must come out whole."""
    if abs(x - round(x)) > 1e-9:
        raise BadInput(f"{what} must come out whole.", asked=asked, found=f"{x:g}", hint=hint)
    return round(x)


def ints(x: Any) -> Ints:
    return np.ascontiguousarray(x, dtype=np.int32)
