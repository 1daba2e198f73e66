"""Elastic jobs: Pollux' workloads with its measured speeds, on 16 nodes of 4 cards, against the same jobs held at their size.

    python benchmarks/replay_elastic.py --data pollux_workloads.csv.gz [--speeds FILE] [--json]

160 jobs a workload, four workloads; how much work a job has is drawn by a hash of its name (docs/replay.md). Speeds on each
number of cards are read off the placements and scaling tables, and cards on more nodes than needed are slower, as measured. A
stop costs 60 s. Bar: average JCT at least 1.5 times better than the same jobs, same policy, held at the size they asked for.
Peer: none published for this; least attained service at the asked size stands beside it. `--work 0.3` gives every job so many
times its work: another load. Beside the figure stands the most that any schedule could reach: each job alone in the pool on its
fastest line, packed or spread. Nobody reaches it where jobs share the cards.
"""

from __future__ import annotations

from dataclasses import replace

from replaying import HOUR_S, Report, beside, options

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.run import replay, replay_all
from forebay.cloud.replay.trace import Settings, Trace, Traced

CARDS = "16x4:t4"
BAR = 1.5


def main() -> None:
    parser = options(__doc__, speeds="pollux_placements.csv.gz")
    parser.add_argument("--set", default="workloads", help="which of the file's sets")
    parser.add_argument("--work", type=float, default=1.0, help="times the work that each job has")
    asked = parser.parse_args()
    nodes = site.parse(CARDS)
    report = Report(f"{asked.set} of {asked.data.name} on {CARDS}, {asked.work:g} times the work")
    moved = held = alone = 0.0
    for number in range(1, 5):
        part = f"{asked.set}/workload-{number}"
        trace = scaled(readers.read(asked.data, part=part, data=beside(asked, "pollux_placements.csv.gz")), asked.work)
        elastic = replay(trace, nodes, asked.policy, Settings()).figures
        rigid = [one.figures for one in replay_all(trace, nodes, [asked.policy, "least-attained"], Settings(elastic=False))]
        moved += elastic.jct_mean_s
        held += rigid[0].jct_mean_s
        alone += sum(map(fastest_s, trace.jobs)) / len(trace.jobs)
        report.policies(f"{part}, elastic; then held at their size", [elastic, *rigid])
    hours = [seconds / 4 / HOUR_S for seconds in (moved, held, alone)]
    report.say("average JCT {:.2f} h elastic, {:.2f} h held at their size, {:.2f} h each alone".format(*hours))
    report.say(f"no schedule is more than {held / alone:.2f} times better")
    report.reach("times better", held / moved, BAR, "x")
    report.print(asked.json)


def fastest_s(job: Traced) -> float:
    """Alone in the pool; some are faster on more nodes than they need."""
    return min(min(line.seconds, line.spread_s or line.seconds) for line in job.lines)


def scaled(trace: Trace, work: float) -> Trace:
    """The same jobs with so many times the work."""
    jobs = [
        replace(
            job,
            lines=tuple(
                replace(o, seconds=o.seconds * work, spread_s=None if o.spread_s is None else o.spread_s * work)
                for o in job.lines
            ),
        )
        for job in trace.jobs
    ]
    return replace(trace, jobs=tuple(jobs))


if __name__ == "__main__":
    main()
