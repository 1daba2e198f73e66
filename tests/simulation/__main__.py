"""One life again, `python -m tests.simulation --seed N --steps M`, or many on all cores; from the root of the repository."""

from __future__ import annotations

import argparse
import sys
import time

from .many import Lived, Wanted, lived, together
from .plan import steps_of


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Lives of a simulated cloud, by seeds.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of each life: how often its journal is changed (else as the seed says)")
    parser.add_argument("--lives", type=int, default=1, help="seeds, from the given one on")
    parser.add_argument("--together", type=int, metavar="STEPS", help="as many lives as make so many steps, instead of --lives")
    parser.add_argument("--processes", type=int, default=1, help="that live lives at a time; 0: one a core")
    parser.add_argument("--on", choices=("sqlite", "memory"), help="where the journal is (else as the seed says)")
    parser.add_argument("--kinds", action="store_true", help="count the lines of each kind")
    parser.add_argument("--quiet", action="store_true", help="tell of every hundredth life, and of those that fail")
    parser.add_argument("--until-found", action="store_true", help="end at the first life in which a promise is broken")
    asked = parser.parse_args()
    on_sqlite = None if asked.on is None else asked.on == "sqlite"
    wanted = [Wanted(seed, asked.steps or steps_of(seed), on_sqlite) for seed in range(asked.seed, asked.seed + asked.lives)]
    if asked.together:
        wanted = together(asked.seed, asked.together)
    began_s, steps, cpu_s, bad = time.monotonic(), 0, 0.0, []
    for number, one in enumerate(lived(wanted, asked.processes), 1):
        cpu_s += one.cpu_s
        if one.life is None:
            bad.append(one.wanted.seed)
            print(one.broken, flush=True)
            if asked.until_found:
                break
            continue
        steps += one.life.steps
        if not asked.quiet:
            print(_told(one), flush=True)
        elif number % 100 == 0:
            print(f"{number} of {len(wanted)} lives, {steps} steps, {time.monotonic() - began_s:.0f} s", flush=True)
        if asked.kinds:
            print("   ", "  ".join(f"{name} {n}" for name, n in one.life.kinds.items()))
    if len(wanted) > 1:
        cost = f"{cpu_s:.0f} s of CPU ({1e6 * cpu_s / max(1, steps):.0f} us a step)"
        print(f"{len(wanted)} lives, {steps} steps, {time.monotonic() - began_s:.0f} s, {cost}")
        print(f"promises were broken in the lives of seeds {sorted(bad)}" if bad else "every promise was kept")
    sys.exit(bool(bad))


def _told(one: Lived) -> str:
    life = one.life
    assert life is not None
    return (
        f"seed {life.seed}: {life.steps} steps, {life.lines} lines, {life.jobs} jobs, {life.runs} runs, {life.crashes} crashes, "
        f"{life.virtual_s:.0f} virtual s, {one.cpu_s:.1f} s ({1e6 * one.cpu_s / life.steps:.0f} us a step), "
        f"overdue {life.most_overdue:.1f}, {life.digest[:12]}"
    )


if __name__ == "__main__":
    main()
