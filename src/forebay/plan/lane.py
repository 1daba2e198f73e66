"""What a card of an island can send to some of the others.

Asked:  how fast is the way to so many neighbours, one way?
Answer: behind a switch (NVLink's, UB's) all of the card's speed, however few they are. Where cards are joined two by two (the
        Ascend 910B's HCCS, the MI300X's xGMI, Gaudi's Ethernet) each pair has a link of its own, and a group uses just its own.
Units:  bytes a second.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Joined(Protocol):
    """Cards of an island, or their links."""

    @property
    def up_bytes_per_s(self) -> float: ...
    @property
    def mesh(self) -> int: ...


def lane(on: Joined, ranks: Any) -> Any:
    """Of a card, to all others of a group of `ranks` at once. A message to one neighbour is a group of two."""
    if on.mesh < 3:
        return on.up_bytes_per_s
    return on.up_bytes_per_s * np.clip(np.asarray(ranks, dtype=np.float64) - 1, 1, on.mesh - 1) / (on.mesh - 1)
