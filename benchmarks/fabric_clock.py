"""What the benchmarks of the fabric's speed share: the tree that they run on, the clock, and the words about bars.

Asked:  what did a piece of work cost, however many others want the cores?
Answer: CPU seconds of this process, user and system, by `time.process_time`, and its peak memory, by getrusage. Compiled code is
        compiled before the clock starts, on a tiny case; what that took is told apart.
Limits: the peak is that of the whole process, with Python, NumPy and the compiler of numba in it.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stopwatch import machine, machine_line, verdict

from forebay.fabric.build import build, propose
from forebay.fabric.graph import Graph, graph
from forebay.fabric.routes import Routes, Routing, routes
from forebay.fabric.wiring import Floats, Wiring
from forebay.units import GB, KIB

HOSTS, PORTS = 10_240, 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """The three-tier fat tree of the bars: one card a host, no scale-up, so every flow crosses the network."""

    wiring: Wiring
    index: Graph
    capacity: Floats  # of the directed links, those of the (absent) scale-up left out


def tree(hosts: int = HOSTS) -> Tree:
    wiring = build(propose("clos-3", hosts, cards_per_host=1, nics_per_host=1, switch_ports=PORTS))
    return Tree(wiring=wiring, index=graph(wiring), capacity=wiring.capacities()[: wiring.first_scale_up_link])


def hashed(on: Tree, flows: int, seed: int) -> Routes:
    """The ways of so many flows between random pairs, two different hosts each."""
    dice = np.random.default_rng(seed)
    n = on.wiring.cards
    source = dice.integers(0, n, flows)
    target = (source + dice.integers(1, n, flows)) % n
    return routes(on.wiring, on.index, source.astype(np.int32), target.astype(np.int32), Routing(kind="ecmp", seed=seed))


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and its CPU seconds."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / GB


def parser(doc: str | None) -> argparse.ArgumentParser:
    """`--data` and `--json`, which all of them have."""
    words = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, metavar="FILE", help="accepted as everywhere, and not needed here")
    words.add_argument("--json", action="store_true", help="all figures as JSON")
    return words


def tell(rows: list[dict[str, Any]], first_use_s: float, *, as_json: bool, **more: Any) -> None:
    """Rows of `what`, `figure`, `unit` and, where there are, `bar`, `peer`, `peer_figure` and `note`."""
    if as_json:
        print(json.dumps({"rows": rows, "first_use_cpu_s": first_use_s, **more, "machine": machine()}, indent=2))
        return
    for row in rows:
        words = [f"{row['what']:<46}{row['figure']:>10.3g} {row['unit']}"]
        if "bar" in row:
            words.append(f"bar {row['bar']:g}: {verdict(row['figure'], row['bar'])}")
        if "peer" in row:
            words.append(f"{row['peer']} {row['peer_figure']:g}: {row['peer_figure'] / max(row['figure'], 1e-9):,.0f} times ours")
        words += [row["note"]] if row.get("note") else []
        print("; ".join(words))
    print(f"compiling and loading, on first use: {first_use_s:.1f} CPU s, outside the figures")
    print(machine_line())
