"""The noun Counts: how many of everything a fabric is made of.

Asked:  how many switches, ports, cables and transceivers are to be bought, each a figure of its own?
Answer: they are counted off the wiring. "Links" means switch to switch in one paper, all cables in the next and bundles in a
        third, so none of these figures has that name. A full mesh too large to be laid is counted by formula: n (n - 1) / 2
        cables. An optical cable has two transceivers. The rule: cables to NICs and between switches are optical, unless the
        caller says copper; a card-to-card cable is copper within a host (or a block of `block` cards, where a rack is larger),
        else optical. In a torus of cubes it is copper within a cube. A cable through an optical circuit switch is two fibres and
        still two transceivers; it counts once.
Limits: circuit switches and scale-up are counted from the design; a wiring from a file has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.build import build, direct, fill
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring

Medium = Literal["optical", "copper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of everything a fabric is made of.

    It says how many, never what they cost: that is the price book's.
    """

    hosts: int
    cards: int
    nics: int
    switches: int
    by_tier: tuple[int, ...]  # leaves, spines, cores; their sum is `switches`
    circuit_switches: int  # optical, that only join fibres
    switch_ports: int  # of all switches; where ports were split, the split ones. A box of unknown ports counts those used
    switch_ports_used: int
    access_cables: int  # from a NIC's port to a switch
    switch_cables: int  # from switch to switch
    card_cables: int  # from card to card
    copper_cables: int
    optical_cables: int
    transceivers: int
    scale_up_domains: int
    scale_up_switches: int  # chips within the domains, apart from `switches`
    scale_up_links: int

    @property
    def switch_ports_free(self) -> int:
        return self.switch_ports - self.switch_ports_used

    @property
    def cables(self) -> int:
        """Access, switch and card cables; scale-up is apart."""
        return self.access_cables + self.switch_cables + self.card_cables

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from forebay.fabric.draw import of

        return of(self)._repr_html_()


def counts(
    fabric: Wiring | Design,
    *,
    access: Medium = "optical",
    between: Medium = "optical",
    cards: Medium | None = None,
    block: int = 0,
) -> Counts:
    """Count a wiring, or what a design would be. `block`: cards that copper reaches in a direct network; 0: those of a host."""
    for medium in (access, between, cards):
        if medium not in ("optical", "copper", None):
            raise BadInput("A cable is optical or copper.", asked=str(medium), hint="optical or copper")
    if isinstance(fabric, Design):
        design = fill(fabric)
        if design.kind == "full-mesh" and design.cards > direct.MOST_MESHED:
            return _meshed(design, cards, block)
        fabric = build(design)
    w, d = fabric, fabric.design
    boxes = w.router_tier > 0
    box_port, a, b = boxes[w.port_router], boxes[w.cable_a], boxes[w.cable_b]
    used = np.bincount(w.port_router[box_port], minlength=w.routers)
    used = used + np.bincount(w.cable_a[a], minlength=w.routers) + np.bincount(w.cable_b[b], minlength=w.routers)
    of_cards = ~a & ~b
    mixed = int((a ^ b).sum())  # a card of a direct network at a switch
    near = _near(w, of_cards, block) if cards is None else int(of_cards.sum()) * (cards == "copper")
    if d and d.kind == "ocs-torus" and cards is None and not block:
        near = max(0, int(of_cards.sum()) - 3 * d.cards // d.shape[3])  # a cube's face is one in so many cards of each line
    n_access, n_between, n_cards = int(box_port.sum()) + mixed, int((a & b).sum()), int(of_cards.sum())
    copper = n_access * (access == "copper") + n_between * (between == "copper") + near
    optical = n_access + n_between + n_cards - copper
    total = np.where(w.router_ports > 0, w.router_ports, used)
    return Counts(
        hosts=w.hosts,
        cards=w.cards,
        nics=w.nics,
        switches=int(boxes.sum()),
        by_tier=tuple(int(n) for n in np.bincount(w.router_tier)[1:]) if w.routers else (),
        circuit_switches=direct.circuit_switches(d) if d else 0,
        switch_ports=int(total[boxes].sum()),
        switch_ports_used=int(used.sum()),
        access_cables=n_access,
        switch_cables=n_between,
        card_cables=n_cards,
        copper_cables=copper,
        optical_cables=optical,
        transceivers=2 * optical,
        **_scale_up(d),
    )


def _near(w: Wiring, of_cards: np.ndarray[tuple[int], np.dtype[np.bool_]], block: int) -> int:
    """Card-to-card cables within a host, or within a block of so many cards."""
    if not of_cards.any():
        return 0
    place = np.zeros(w.routers, np.int64)
    place[w.port_router] = np.arange(w.cards) // block if block else w.host_of  # of a direct network, a router a card
    return int((of_cards & (place[w.cable_a] == place[w.cable_b])).sum())


def _scale_up(d: Design | None) -> dict[str, int]:
    up = d.scale_up if d else None
    domains = d.cards // up.cards if d and up else 0
    return {
        "scale_up_domains": domains,
        "scale_up_switches": domains * up.switches if up else 0,
        "scale_up_links": domains * up.links if up else 0,
    }


def _meshed(d: Design, cards: Medium | None, block: int) -> Counts:
    """A full mesh by formula; for 10,000 cards 49,995,000 cables."""
    size = block or d.cards_per_host
    whole, rest = divmod(d.cards, size)
    cables = d.cards * (d.cards - 1) // 2
    inside = whole * (size * (size - 1) // 2) + rest * (rest - 1) // 2
    copper = {None: inside, "copper": cables, "optical": 0}[cards]
    return Counts(
        hosts=d.hosts,
        cards=d.cards,
        nics=d.hosts * d.nics_per_host,
        switches=0,
        by_tier=(),
        circuit_switches=0,
        switch_ports=0,
        switch_ports_used=0,
        access_cables=0,
        switch_cables=0,
        card_cables=cables,
        copper_cables=copper,
        optical_cables=cables - copper,
        transceivers=2 * (cables - copper),
        **_scale_up(d),
    )
