"""How long `forebay --help` takes.

    python benchmarks/cli_start.py [--rounds 15] [--json]

Peer: the same Python importing the libraries that the command line is made of, `python -c "import typer, rich"`. Both are
started in turn. Bar: at most 2.5 times the peer. The ratio is the median over rounds of two neighbours' times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

import stopwatch

BAR = 2.5
SIDES = {
    "forebay": stopwatch.forebay("--help"),
    "peer": [sys.executable, "-c", "import typer, rich"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    result = measure(asked.rounds)
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    print(f"forebay --help  {result['forebay_s']:8.3f} s   {result['forebay_cpu_s']:.3f} s of CPU")
    print(f"peer            {result['peer_s']:8.3f} s   {result['peer_cpu_s']:.3f} s of CPU   (import typer, rich)")
    said = stopwatch.verdict(result["ratio"], BAR)
    print(f"ratio           {result['ratio']:8.2f}     {result['cpu_ratio']:.2f} in CPU   bar {BAR}: {said}")
    print(stopwatch.machine_line())


def measure(rounds: int) -> dict[str, float]:
    for argv in SIDES.values():  # once for the disk and the compiled modules
        stopwatch.spent(argv)
    taken: dict[str, list[stopwatch.Spent]] = {side: [] for side in SIDES}
    for side in stopwatch.in_turn(list(SIDES), rounds):
        taken[side].append(stopwatch.spent(SIDES[side]))
    ours, peer = stopwatch.median(taken["forebay"]), stopwatch.median(taken["peer"])
    neighbours = list(zip(taken["forebay"], taken["peer"], strict=True))
    return {
        "forebay_s": ours.wall_s,
        "forebay_cpu_s": ours.cpu_s,
        "peer_s": peer.wall_s,
        "peer_cpu_s": peer.cpu_s,
        "ratio": statistics.median(a.wall_s / b.wall_s for a, b in neighbours),
        "cpu_ratio": statistics.median(a.cpu_s / b.cpu_s for a, b in neighbours),
        "bar": BAR,
        "rounds": rounds,
        **stopwatch.machine(),
    }


if __name__ == "__main__":
    main()
