"""Seconds of a collective among cards of one scale-up fabric, and beyond it.

Asked:  how long does an all-reduce (all-gather, reduce-scatter, all-to-all) of so many bytes take among n cards?
Answer: inside a node the measured table: of each library's releases the median, of libraries the fastest, or one that is named
        and NCCL, as engines fall back to it. A chip without a table: that of the timed chip whose link is nearest in speed,
        PCIe for PCIe. More cards than were timed: the bus bandwidth of the most that were. A link other than the table's: what
        lies above a launch scales with its speed. Beyond an island: reduced inside, then between, then
        gathered inside (Thakur, Rabenseifner and Gropp, IJHPCA 19(1), 2005; two levels as NCCL does it).
Units:  seconds, bytes as nccl-tests counts them; speeds of a card, one way.
Limits: alone on the wire, captured in a CUDA graph.
"""

from __future__ import annotations

from functools import cache
from math import inf, log
from typing import Any

import numpy as np

from forebay.chips import catalogue
from forebay.plan.kernels.alike import speaks
from forebay.plan.kernels.grid import Floats, grid, members
from forebay.plan.kernels.known import Device
from forebay.plan.lane import lane
from forebay.plan.pool import Cards

# Timed chips that nothing faster joins: one way, of an x16 port of PCIe 5. The L40S that were timed got 2 GB/s of their 32, as
# cards do that can't reach one another's memory: they speak for L40S alone.
PCIE = {"rtx-pro-6000": 64e9}


def collective(dev: Device, cards: Cards, op: str, among: Any, nbytes: Any, library: str = "") -> Floats:
    """Seconds of `op` (a name of nccl-tests) among so many cards, the nearest ones. One card: none."""
    among, nbytes = np.broadcast_arrays(np.asarray(among, dtype=np.float64), np.asarray(nbytes, dtype=np.float64))
    inside = np.minimum(among, cards.island)
    found = _inside(dev, cards, op, inside, nbytes, library)
    islands = np.maximum(among / cards.island, 1.0)
    rounds = 2.0 if op == "all_reduce" else 1.0
    between = rounds * (islands - 1) / islands * nbytes / inside / cards.out_bytes_per_s
    between = between + rounds * np.ceil(np.log2(islands)) * cards.out_latency_s
    out: Floats = np.where(among > 1, found + np.where(islands > 1, between * max(cards.oversubscription, 1.0), 0.0), 0.0)
    return out


def _inside(dev: Device, cards: Cards, op: str, among: Floats, nbytes: Floats, library: str) -> Floats:
    other, _ = speaks(dev, "collectives", f"{op}/", lambda one: _away(cards, one.tables))
    best: Any = np.inf
    for name in _libraries(other.tables, op, library):
        table = grid("collectives", f"{other.tables}/{op}/{name}", 2)
        most = float(np.exp(table.axes[0][-1]))
        timed = table.seconds(np.clip(among, 2, most), np.maximum(nbytes, 1.0))
        best = np.minimum(best, timed * _bus(op, among) / _bus(op, np.clip(among, 2, most)))
    up = _link(other.tables)
    if up is None or (up == cards.up_bytes_per_s and not cards.mesh) or (other is dev and dev.name in PCIE):
        return np.asarray(best)
    launch = np.minimum(best, 2 * cards.up_latency_s)
    found: Floats = launch + (best - launch) * (up / lane(cards, among))
    return found


def _bus(op: str, among: Floats) -> Floats:
    """Bytes that cross a card's link for each byte of the collective."""
    among = np.maximum(among, 2.0)
    return (2.0 if op == "all_reduce" else 1.0) * (among - 1) / among


@cache
def _libraries(chip: str, op: str, library: str) -> tuple[str, ...]:
    start = f"{chip}/{op}/"
    names = sorted(m[len(start) :] for m in members("collectives") if m.startswith(start) and "/" not in m[len(start) :])
    wanted = [name for name in names if name in (library, "nccl")]
    return tuple(wanted if library in names else names)


def _away(cards: Cards, chip: str) -> float:
    """How far these cards' link is from a timed chip's. A fabric of switches isn't like a bus, whatever their speeds."""
    timed = _link(chip)
    if timed is None:
        return inf
    is_bus = cards.up_bytes_per_s <= max(PCIE.values())
    return abs(log(cards.up_bytes_per_s / timed)) + (10.0 if (chip in PCIE) != is_bus else 0.0)


@cache
def _link(chip: str) -> float | None:
    """Of a timed chip, one way; None where nobody says it."""
    both = catalogue.find(chip).scale_up_bytes_per_s if chip in catalogue.load() else None
    return both / 2 if both else PCIE.get(chip)
