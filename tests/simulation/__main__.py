"""Repeat a life: `python -m tests.simulation --seed N --steps M`, from the root of the repository."""

from __future__ import annotations

import argparse
import sys
import time

from .world import Failed, live


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Lives of a simulated cloud, by seeds.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5000, help="of each life: how often its journal is changed")
    parser.add_argument("--lives", type=int, default=1, help="seeds, from the given one on")
    parser.add_argument("--kinds", action="store_true", help="count the lines of each kind")
    parser.add_argument("--until-found", action="store_true", help="end at the first life in which a promise is broken")
    parser.add_argument("--on", choices=("sqlite", "memory"), help="where the journal is (else as the seed says)")
    asked = parser.parse_args()
    bad = 0
    for seed in range(asked.seed, asked.seed + asked.lives):
        began = time.process_time()
        try:
            life = live(seed, asked.steps, on_sqlite=None if asked.on is None else asked.on == "sqlite")
        except Failed as failed:
            bad += 1
            print(failed, flush=True)
            if asked.until_found:
                break
            continue
        took = time.process_time() - began
        us = 1e6 * took / life.steps
        print(
            f"seed {seed}: {life.steps} steps, {life.lines} lines, {life.jobs} jobs, {life.runs} runs, {life.crashes} crashes, "
            f"{life.virtual_s:.0f} virtual s, {took:.1f} s ({us:.0f} us a step), overdue {life.most_overdue:.1f}, "
            f"{life.digest[:12]}",
            flush=True,
        )
        if asked.kinds:
            print("   ", "  ".join(f"{name} {n}" for name, n in life.kinds.items()))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
