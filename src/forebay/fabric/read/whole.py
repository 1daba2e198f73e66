"""Is a fabric in one piece?

Asked:  can everything reach everything, and if not, what is cut off?
Answer: components by repeated halving of labels over all cables at once: a few rounds, whatever the size.
Limits: the cards of a host count as joined, and those of a scale-up domain.
"""

from __future__ import annotations

import numpy as np

from forebay.errors import BadInput
from forebay.fabric.wiring import Ints, Wiring


def pieces(wiring: Wiring) -> Ints:
    """The piece of each host, then of each router, by number; the largest is 0, and so on down."""
    w = wiring
    hosts = w.hosts
    units = np.zeros(w.units, np.int64)
    units[w.unit_of] = w.host_of
    domain_first = np.full(int(w.domain_of.max(initial=-1)) + 1, -1, np.int64)
    domain_first[w.domain_of[::-1]] = w.host_of[::-1]
    joins = [
        (units[w.port_unit], hosts + w.port_router.astype(np.int64)),
        (hosts + w.cable_a.astype(np.int64), hosts + w.cable_b.astype(np.int64)),
    ]
    if w.scale_up_bytes_per_s > 0:
        joins.append((w.host_of.astype(np.int64), domain_first[w.domain_of]))
    a, b = (np.concatenate(side) for side in zip(*joins, strict=True))
    label = np.arange(hosts + w.routers)
    while True:
        least = np.minimum(label[a], label[b])
        old = label.copy()
        np.minimum.at(label, label[a], least)
        np.minimum.at(label, label[b], least)
        while (label[label] != label).any():
            label = label[label]
        if (label == old).all():
            break
    _, piece, sizes = np.unique(label, return_inverse=True, return_counts=True)
    order = np.empty(len(sizes), np.int32)
    order[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes), dtype=np.int32)
    return np.ascontiguousarray(order[piece])


def refuse_pieces(wiring: Wiring) -> None:
    """Raise BadInput that names the smaller part, if there is more than one piece."""
    piece = pieces(wiring)
    apart = np.flatnonzero(piece)
    if not len(apart):
        return
    hosts = wiring.hosts
    told = [wiring.host_name(int(i)) if i < hosts else wiring.router_name(int(i) - hosts) for i in apart[:4]]
    cut_hosts, cut = int((apart < hosts).sum()), len(apart)
    raise BadInput(
        "The fabric is in pieces: nothing joins a part of it to the rest.",
        asked=f"{hosts} hosts and {wiring.routers} switches in one piece" if not wiring.direct else f"{hosts} hosts in one piece",
        found=f"{int(piece.max()) + 1} pieces; cut off: {cut_hosts} hosts, {cut - cut_hosts} switches: "
        + ", ".join(told)
        + (f" and {cut - 4} more" if cut > 4 else ""),
        hint="add the link that is missing, or leave these out",
    )
