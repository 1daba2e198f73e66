"""How long one decision takes: 2,000 nodes with 16,000 cards of four chips, and 10,000 jobs waiting.

    python benchmarks/decision_latency.py --data philly_82k.csv.gz [--json]

Philly's jobs arrive a thousand times as fast, each content with any of the four chips, until 10,000 wait; then 5,000 facts more.
The time of each call of the very core that runs live is taken, by the processor's clock. Bars: 99 of 100 within 1 s, half of
them within 5 ms. Peer: KAI takes minutes at 1,000 nodes.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from replaying import Report, options

from forebay.cloud.core import events as e
from forebay.cloud.replay import readers, site
from forebay.cloud.replay.decider import Decider
from forebay.cloud.replay.metrics import quantile
from forebay.cloud.replay.run import POLICIES
from forebay.cloud.replay.trace import Settings, on_pool
from forebay.cloud.replay.world import World

CARDS = "500x8:a,500x8:b,500x8:c,500x8:d"
PENDING, MORE = 10_000, 5_000
FASTER = 1000.0
P99_S, TYPICAL_S = 1.0, 0.005


class Enough(Exception):
    """All facts are told that were to be timed."""


class Timed:
    """A policy with a stopwatch."""

    def __init__(self, policy: Decider, pending: int, more: int) -> None:
        self._policy, self._pending, self._more = policy, pending, more
        self.waiting = 0
        self.ends = 0  # of runs, among the facts that count
        self.before: list[float] = []  # seconds a fact, until so many jobs wait
        self.full: list[float] = []  # and from then on

    def tell(self, fact: e.Event) -> list[e.Event]:
        began = time.process_time()
        decisions = self._policy.tell(fact)
        took = time.process_time() - began
        self.waiting += isinstance(fact, e.Submitted)
        self.waiting += sum(isinstance(one, e.Requeued) - isinstance(one, e.Launched) for one in decisions)
        if self.full or self.waiting >= self._pending:
            self.full.append(took)
            self.ends += isinstance(fact, e.Ended)
            if len(self.full) >= self._more:
                raise Enough
        else:
            self.before.append(took)
        return decisions

    def due_ns(self) -> int | None:
        return self._policy.due_ns()


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--pending", type=int, default=PENDING)
    parser.add_argument("--more", type=int, default=MORE)
    asked = parser.parse_args()
    trace = readers.read(asked.data)
    nodes = site.parse(CARDS)
    settings = Settings(known=False)
    jobs = [replace(job, arrival_s=job.arrival_s / FASTER) for job in on_pool(trace, site.cards(nodes), settings)[0]]
    timed = Timed(POLICIES[asked.policy](), asked.pending, asked.more)
    with contextlib.suppress(Enough):
        World(jobs, nodes, timed, settings).run()
    cards = sum(site.cards(nodes).values())
    report = Report(f"{len(nodes):,} nodes, {cards:,} cards of four chips; {len(timed.before):,} facts before")
    if not timed.full:
        raise SystemExit(f"never so many as {asked.pending} waited; {timed.waiting} at the end")
    took = sorted(timed.full)
    report.say(f"facts timed with {asked.pending:,} waiting: {len(took):,}, {timed.ends:,} of them ends; {sum(took):.1f} CPU s")
    report.hold("99 of 100 decisions", quantile(took, 0.99), P99_S, "s", "minutes")
    report.hold("half of the decisions", 1e3 * quantile(took, 0.5), 1e3 * TYPICAL_S, "ms")
    report.say(f"the longest {took[-1]:.3f} s; before that, 99 of 100 within {1e3 * quantile(sorted(timed.before), 0.99):.2f} ms")
    report.data |= {"p50_s": quantile(took, 0.5), "p99_s": quantile(took, 0.99), "longest_s": took[-1], "facts": len(took)}
    report.print(asked.json)


if __name__ == "__main__":
    main()
