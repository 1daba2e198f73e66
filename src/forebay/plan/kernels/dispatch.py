"""Seconds to send tokens to the cards that hold their experts, and to bring the results back.

Asked:  how long do dispatch and combine of one expert layer take together?
Answer: the measured table where the chip has one (DeepEP in its two forms, TensorRT-LLM over NVLink), the fastest of its
        libraries, scaled from its width of 7,168 and 8 experts a token by the bytes; never more than gathering all tokens and
        reducing all results, which engines do instead.
Units:  seconds, tokens a card.
Limits: even routing. Beyond the cards that were timed: one message a card over the slower of the two fabrics.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from forebay.plan.kernels.collectives import collective
from forebay.plan.kernels.grid import Floats, grid, members
from forebay.plan.kernels.known import Device
from forebay.plan.lane import lane
from forebay.plan.pool import Cards

WIDTH, CHOSEN = 7168, 8  # of the tables


def exchange(dev: Device, cards: Cards, among: Any, tokens: Any, width: int, chosen: int, sent_bytes: float = 1.0) -> Floats:
    """Seconds of dispatch and combine among `among` cards with `tokens` each; a value is sent in `sent_bytes`, back in two."""
    among, tokens = np.broadcast_arrays(np.asarray(among, dtype=np.float64), np.asarray(tokens, dtype=np.float64))
    whole = tokens * among * width
    gathered = collective(dev, cards, "all_gather", among, whole * sent_bytes) + collective(
        dev, cards, "reduce_scatter", among, whole * 2.0
    )
    reach = np.minimum(chosen, among)  # a token goes once to each card that holds one of its experts
    out = np.where(among > cards.island, cards.out_bytes_per_s, lane(cards, among))
    sent = tokens * width * reach * (sent_bytes + 2.0) / out + 2 * np.where(
        among > cards.island, cards.out_latency_s, cards.up_latency_s
    )
    best = np.minimum(gathered, np.where(among > 1, sent + 2 * cards.up_latency_s, 0.0))
    load = np.maximum(tokens * (width / WIDTH) * (chosen / CHOSEN), 1.0)
    for first, second in _pairs(dev.tables if dev.tables not in dev.ignored else ""):
        there, back = grid("dispatch", first, 2), grid("dispatch", second, 2)
        timed = there.seconds(among, load) + back.seconds(among, load)
        most = float(np.exp(there.axes[0][-1]))
        best = np.where((among > 1) & (among <= most), np.minimum(gathered, timed), best)
    return best


@cache
def _pairs(chip: str) -> tuple[tuple[str, str], ...]:
    """Members for dispatch and combine of each library of the chip."""
    mine = sorted(m for m in members("dispatch") if chip and m.startswith(f"{chip}/") and m.count("/") == 3)
    found = []
    for first in (m for m in mine if "/dispatch/" in m):
        library = first.split("/")[1]
        second = [m for m in mine if m.startswith(f"{chip}/{library}/combine/")]
        if second:
            found.append((first, second[0]))
    return tuple(found)
