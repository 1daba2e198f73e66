"""Pictures of fabrics, as SVG texts.

Asked:  what does it look like, who is cheap and fast, which links are full, what is a step made of?
Answer: `fabric` draws a wiring, every cable of it where it is small and a sketch with counts where it is large; `scatter`, `heat`
        and `bars` draw figures that others reckoned; `table` is for what is better read.
Limits: what is drawn comes from the wiring's own arrays, so a fabric from a file is drawn as one that was built. A sketch shows
        counts of what is there, never which cable goes where.
"""

from __future__ import annotations

from forebay.fabric.draw.bands import bands
from forebay.fabric.draw.bars import Bar, bars
from forebay.fabric.draw.box import box, whole
from forebay.fabric.draw.facts import sides, tiered
from forebay.fabric.draw.heat import heat
from forebay.fabric.draw.ring import groups, ring
from forebay.fabric.draw.scatter import Point, scatter
from forebay.fabric.draw.table import Table, of, table
from forebay.fabric.draw.tree import tree
from forebay.fabric.wiring import Wiring

SWITCHES, CARDS, DIRECT, CABLES = 64, 256, 128, 4096  # the most that are drawn one by one

__all__ = ["Bar", "Point", "Table", "bars", "fabric", "heat", "of", "scatter", "table"]


def fabric(wiring: Wiring) -> str:
    """A fabric as SVG."""
    switches = int((wiring.router_tier > 0).sum())
    few = switches <= SWITCHES and wiring.cards <= CARDS and wiring.routers - switches <= DIRECT
    small = few and len(wiring.cable_a) <= CABLES
    if tiered(wiring):
        return tree(wiring) if small else bands(wiring)
    found = sides(wiring)
    if found and (not small or whole(wiring, found[0])):
        return box(wiring, *found, every=small)
    return ring(wiring) if small else groups(wiring)
