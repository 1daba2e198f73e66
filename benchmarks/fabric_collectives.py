"""A ring all-reduce and an all-to-all among 10,000 cards: how fast is their time found, and in how much memory?

    python benchmarks/fabric_collectives.py [--data FILE] [--json]

1,250 hosts of eight cards on a three-tier fat tree, every card a NIC of its own and no scale-up, so all crosses the network;
sprayed; building and indexing the fabric is in the figure. Bars: the ring 1 CPU second and 1 GB of peak memory of the process;
the all-to-all, 99,990,000 flows, 5 CPU seconds. Peer: ASTRA-sim's analytical backend took 177 s and 5.6 GB for the ring at 4,096
cards, and doesn't fit at 10,000. Both are held against their closed forms. Beside the bars: the same on a torus. The data file
isn't needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from fabric_clock import clocked, parser, peak_gb, tell

from forebay.fabric.build import build, propose
from forebay.fabric.timing import Timed, place, timed

HOSTS = 1_250
GIVEN = 1e9  # bytes in each card's buffer
PORT = 50e9
BARS = {"ring_all_reduce": 1.0, "direct_all_to_all": 5.0}
ASTRA_S, ASTRA_GB, BAR_GB = 177.0, 5.6, 1.0


def main() -> None:
    asked = parser(__doc__).parse_args()
    _, first_use = clocked(lambda: [found("clos-3", 8, name) for name in BARS])
    rows: list[dict[str, Any]] = []
    for name, bar in BARS.items():
        one, spent = clocked(lambda name=name: found("clos-3", HOSTS, name))
        n = HOSTS * 8
        form = (2 if name == "ring_all_reduce" else 1) * (n - 1) / n * GIVEN / PORT
        row: dict[str, Any] = {"what": f"{name}, {n:,} cards, clos-3", "figure": spent, "unit": "CPU s", "bar": bar}
        row["note"] = f"{one.seconds * 1e3:.3f} ms for 1 GB, {one.seconds / form - 1:+.1e} from the closed form"
        if name == "ring_all_reduce":
            row |= {"peer": "ASTRA-sim at 4,096, s", "peer_figure": ASTRA_S}
            memory = {"what": "  peak memory of the process", "figure": peak_gb(), "unit": "GB", "bar": BAR_GB}
            rows += [row, memory | {"peer": "ASTRA-sim at 4,096, GB", "peer_figure": ASTRA_GB}]
        else:
            rows.append(row)
    for name in BARS:
        one, spent = clocked(lambda name=name: found("torus", HOSTS, name))
        note = f"{one.seconds * 1e3:.3f} ms for 1 GB"
        rows.append({"what": f"{name}, 10,000 cards, torus", "figure": spent, "unit": "CPU s", "note": note})
    tell(rows, first_use, as_json=asked.json, peak_gb=peak_gb())


def found(kind: str, hosts: int, name: str) -> Timed:
    wiring = build(propose(kind, hosts))
    return timed(place(wiring), name, [np.arange(wiring.cards)], GIVEN)


if __name__ == "__main__":
    main()
