"""Kueue's own performance inputs through the live cloud: durable, in real time, with simulated runs.

    python benchmarks/kueue_inputs.py --data kueue_inputs.json [--part baseline | --part large-scale] [--json]

A queue is an organisation with a guarantee of 20 cards, which borrows within its cohort. The real loop writes a real journal
(synced before anybody is answered); runs last as long as the input says and hold nothing but numbers. A stop costs nothing but
what the run has done, as in Kueue. Bars: baseline (15,000 workloads) 80 s at 80 % quota use; large-scale (50,000) 60 s. Peer:
Kueue 351 s at 55.9 %, and 1,179 s at 38.6 %. An ideal scheduler that costs nothing: 67 s at 98.5 %, and 4.6 s.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from replaying import Report, options

from forebay.cloud import cycles
from forebay.cloud.journal import Journal
from forebay.cloud.loop import Loop
from forebay.cloud.replay import readers, site
from forebay.cloud.replay.live import Live, Told
from forebay.cloud.replay.trace import Settings, Trace, on_pool

BARS = {"baseline": (80.0, 0.80, "351 s at 55.9 %"), "large-scale": (60.0, None, "1,179 s at 38.6 %")}
A_NODE = 8


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--part", action="append", choices=list(BARS), help="which input; without this, both")
    asked = parser.parse_args()
    report = Report("Kueue's inputs, live and durable")
    for part in asked.part or list(BARS):
        trace = readers.read(asked.data, part=part)
        quota = sum(tenant.cards or 0 for tenant in trace.tenants)
        with tempfile.TemporaryDirectory(prefix="forebay-kueue-") as folder:
            told = asyncio.run(go(trace, quota, Path(folder)))
        wall_s, use, peer = BARS[part]
        used = told.card_ns / (quota * (told.over_ns - told.begun_ns))
        took_s = (told.over_ns - told.begun_ns) / 1e9
        report.hold(f"{part}: {len(trace.jobs):,} workloads, {quota:,} cards", took_s, wall_s, "s", peer)
        if use is not None:
            report.reach(f"{part}: quota use", used, use, "", peer)
        waits = ", ".join(f"{name} {sum(s) / len(s):.1f} s" for name, s in sorted(told.admitted_s.items()))
        report.say(f"  quota use {used:.1%}; to admission on average: {waits}; {told.stops:,} stops; {told.cpu_s:.0f} CPU s")
        report.data[part] = {"seconds": took_s, "quota_use": used, "cpu_s": told.cpu_s, "stops": told.stops}
    report.print(asked.json)


async def go(trace: Trace, quota: int, folder: Path) -> Told:
    journal = Journal.open(folder)
    with cycles.none_sought():  # as the cloud's process does
        loop = Loop(journal)
    serving = asyncio.create_task(loop.run())
    try:
        nodes = site.parse(f"{-(-quota // A_NODE)}x{A_NODE}:unit")
        settings = Settings(resumable=0.0, restart_s=0.0)
        jobs, _ = on_pool(trace, site.cards(nodes), settings)
        return await Live(loop, jobs, nodes, tenants=trace.tenants, settings=settings).run()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        journal.close()


if __name__ == "__main__":
    main()
