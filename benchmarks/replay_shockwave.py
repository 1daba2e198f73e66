"""Shockwave's 120 jobs as given, on 32 cards: makespan, JCT and fairness at once.

    python benchmarks/replay_shockwave.py --data shockwave_traces.csv.gz [--part 120] [--cards 8x4:v100] [--json]

Durations are fixed and known; a stop costs 60 s. Bars: makespan within 2 % of the work bound (no schedule ends sooner than all
work from some arrival on over all cards, nor than the last job that can't be made shorter); average JCT no worse than the best of
the built-in baselines; at most 5 % of the jobs with a finish-time ratio over 1.05. Peer: Shockwave's own simulator changes batch
sizes and isn't comparable; its rows are 24,197 s, 9,958 s, 5.0 %. "static" is the ratio as its artefact reckons it.
"""

from __future__ import annotations

from collections.abc import Sequence

from replaying import HOUR_S, Report, options

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.run import BASELINES, replay_all
from forebay.cloud.replay.trace import Settings, Traced

WITHIN = 1.02
UNFAIR = 0.05


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--part", default="120", help="which trace of the file")
    parser.add_argument("--cards", default="8x4:v100")
    asked = parser.parse_args()
    trace = readers.read(asked.data, part=asked.part)
    nodes = site.parse(asked.cards)
    bound_s = work_bound_s(trace.jobs, sum(site.cards(nodes).values()))
    report = Report(f"{len(trace.jobs):,} jobs of trace {asked.part} on {asked.cards}; no schedule ends before {bound_s:,.0f} s")
    found = [one.figures for one in replay_all(trace, nodes, [asked.policy, *BASELINES], Settings(known=True))]
    ours, best = found[0], min(found[1:], key=lambda one: one.jct_mean_s)
    report.hold("makespan over the work bound", ours.makespan_s / bound_s, WITHIN, "", "24,197 s")
    report.hold("average JCT", ours.jct_mean_s / HOUR_S, best.jct_mean_s / HOUR_S, "h", f"{best.policy}, the bar")
    report.hold("unfair jobs, equal share at every moment", ours.unfair or 0.0, UNFAIR, "")
    report.hold("unfair jobs, as Shockwave reckons", ours.static_unfair or 0.0, UNFAIR, "", "0.05")
    report.policies("all policies", found)
    report.print(asked.json)


def work_bound_s(jobs: Sequence[Traced], cards: int) -> float:
    """No schedule of these jobs on so many cards ends sooner, counted from the first arrival."""
    left = sum(job.alone_s * job.lines[job.asked].cards for job in jobs)
    bound = 0.0
    for job in jobs:
        bound = max(bound, job.arrival_s + left / cards, job.arrival_s + job.alone_s)
        left -= job.alone_s * job.lines[job.asked].cards
    return bound


if __name__ == "__main__":
    main()
