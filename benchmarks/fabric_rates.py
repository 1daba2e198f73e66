"""Max-min fair rates of many flows on a three-tier fat tree of 10,240 hosts, with the bottleneck of each: how fast?

    python benchmarks/fabric_rates.py [--data FILE] [--json]

10,000, 100,000 and 1,000,000 flows between random pairs, hashed over 61,440 directed links. Bars: 0.02, 0.1 and 1 CPU second for
the solve alone, the median of five (three for the million). Its certificate is then checked apart, in plain NumPy: no link
carries more than it can, and each flow's bottleneck is full and has no faster flow. Peer: SimGrid took 1.1 to 1.9 s for 10,000
flows, their completions included. The data file isn't needed.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from fabric_clock import Tree, clocked, hashed, parser, peak_gb, tell, tree

from forebay.fabric.rates import load, rates
from forebay.fabric.routes import Routes

BARS = {10_000: 0.02, 100_000: 0.1, 1_000_000: 1.0}
SIMGRID_S = {10_000: 1.1}  # the least that was measured, on the same kind of machine
EPSILON = 1e-9


def main() -> None:
    asked = parser(__doc__).parse_args()
    _, first_use = clocked(lambda: solve_once(tree(128)))
    on, built = clocked(tree)
    rows = [row for flows, bar in BARS.items() for row in measured(on, flows, bar)]
    tell(rows, first_use, as_json=asked.json, links=len(on.capacity), tree_cpu_s=built, peak_gb=peak_gb())


def solve_once(on: Tree) -> None:
    ways = hashed(on, 100, 0)
    rates(ways.offsets, ways.links, on.capacity)


def measured(on: Tree, flows: int, bar: float) -> list[dict[str, Any]]:
    ways, walked = clocked(lambda: hashed(on, flows, flows))
    took = []
    for _ in range(3 if flows > 100_000 else 5):
        found, seconds = clocked(lambda: rates(ways.offsets, ways.links, on.capacity))
        took.append(seconds)
    overfull, slack, outrun = held(on, ways, found.bytes_per_s, found.bottleneck)
    worst = max(overfull, slack, outrun)
    row: dict[str, Any] = {"what": f"{flows:,} flows, solve", "figure": median(took), "unit": "CPU s", "bar": bar}
    if flows in SIMGRID_S:
        row |= {"peer": "SimGrid, with completions, s", "peer_figure": SIMGRID_S[flows]}
    row["note"] = f"mean rate {found.bytes_per_s.mean() / on.capacity[0]:.3f} of a port; finding the ways {walked:.2f} CPU s"
    check = {"what": "  certificate, largest error", "figure": worst, "unit": "of a link", "bar": EPSILON}
    return [row, check]


def held(on: Tree, ways: Routes, rate: Any, bottleneck: Any) -> tuple[float, float, float]:
    """As shares of a link: how overfull the fullest link is, how empty the emptiest bottleneck, and by how much any flow on a
    bottleneck is faster than one that it holds back."""
    carried = load(ways.offsets, ways.links, rate, len(on.capacity)) / on.capacity
    fastest = np.zeros(len(on.capacity))
    np.maximum.at(fastest, ways.links, np.repeat(rate, np.diff(ways.offsets)))
    crossed = (np.repeat(bottleneck, np.diff(ways.offsets)) == ways.links).sum()
    assert crossed == len(rate), "a flow's bottleneck lies on its way"
    behind = (fastest[bottleneck] - rate) / on.capacity[bottleneck]
    return float(carried.max() - 1), float(1 - carried[bottleneck].min()), float(behind.max())


if __name__ == "__main__":
    main()
