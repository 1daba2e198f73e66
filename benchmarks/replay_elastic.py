"""Elastic jobs: Pollux' workloads with its measured speeds, on 16 nodes of 4 cards, against the same jobs held at their size.

    python benchmarks/replay_elastic.py --data pollux_workloads.csv.gz [--speeds FILE] [--json]

160 jobs a workload, four workloads; how much work a job has is drawn by a hash of its name (docs/replay.md). Speeds on each
number of cards are read off the placements and scaling tables, and cards on more nodes than needed are slower, as measured. A
stop costs 60 s. Bar: average JCT at least 1.5 times better than the same jobs, same policy, held at the size they asked for.
Peer: none published for this; least attained service at the asked size stands beside it.
"""

from __future__ import annotations

from replaying import HOUR_S, Report, beside, options

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.run import replay, replay_all
from forebay.cloud.replay.trace import Settings

CARDS = "16x4:t4"
BAR = 1.5


def main() -> None:
    parser = options(__doc__, speeds="pollux_placements.csv.gz")
    parser.add_argument("--set", default="workloads", help="which of the file's sets")
    asked = parser.parse_args()
    nodes = site.parse(CARDS)
    report = Report(f"{asked.set} of {asked.data.name} on {CARDS}")
    moved = held = 0.0
    for number in range(1, 5):
        part = f"{asked.set}/workload-{number}"
        trace = readers.read(asked.data, part=part, data=beside(asked, "pollux_placements.csv.gz"))
        elastic = replay(trace, nodes, asked.policy, Settings()).figures
        rigid = [one.figures for one in replay_all(trace, nodes, [asked.policy, "least-attained"], Settings(elastic=False))]
        moved += elastic.jct_mean_s
        held += rigid[0].jct_mean_s
        report.policies(f"{part}, elastic; then held at their size", [elastic, *rigid])
    report.say(f"average JCT {moved / 4 / HOUR_S:.2f} h elastic, {held / 4 / HOUR_S:.2f} h held at their size")
    report.reach("times better", held / moved, BAR, "x")
    report.print(asked.json)


if __name__ == "__main__":
    main()
