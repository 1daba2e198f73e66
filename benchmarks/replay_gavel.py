"""Gavel's 300 jobs on 36 V100, 36 P100 and 36 K80, four a node: chips that differ in speed for each job.

    python benchmarks/replay_gavel.py --data gavel_continuous_multigpu_300.csv.gz [--speeds FILE] [--json]

Times are known by the measured speeds, as they are to Gavel. Two replays: stops cost nothing, as in Gavel's simulator; stops cost
60 s. Bars: average JCT at most 15.4 h, and the worst finish-time ratio no worse than max-min fairness in the same replay. Peer,
in Gavel's simulator: Gavel (max-min) 15.92 h, max sum throughput 15.45 h; each job alone on its fastest chip 14.67 h. As there,
a job is as fast on cards that are spread over nodes; `--spread` counts what was measured of that.
"""

from __future__ import annotations

from replaying import HOUR_S, Report, beside, options

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.run import BASELINES, replay_all
from forebay.cloud.replay.trace import Settings

CARDS = "9x4:v100,9x4:p100,9x4:k80"
BAR_H = 15.4


def main() -> None:
    parser = options(__doc__, speeds="gavel_throughputs.csv.gz")
    parser.add_argument("--spread", action="store_true", help="cards on more nodes than needed are slower, as measured")
    asked = parser.parse_args()
    trace = readers.read(asked.data, data=beside(asked, "gavel_throughputs.csv.gz"))
    bound_h = sum(job.alone_s for job in trace.jobs) / len(trace.jobs) / HOUR_S
    report = Report(f"{len(trace.jobs):,} jobs of {asked.data.name} on {CARDS}; each alone on its fastest chip: {bound_h:.2f} h")
    for restart_s in (0.0, 60.0):
        settings = Settings(restart_s=restart_s, known=True, spread=asked.spread)
        found = [one.figures for one in replay_all(trace, site.parse(CARDS), [asked.policy, *BASELINES], settings)]
        ours = found[0]
        fair = next(one for one in found if one.policy == "max-min")
        report.hold(f"average JCT, {restart_s:.0f} s a stop", ours.jct_mean_s / HOUR_S, BAR_H, "h", "15.92 h; 15.45 h, unfair")
        worst, bar = ours.ratio_worst or 0.0, fair.ratio_worst or 0.0
        report.hold(f"worst ratio, {restart_s:.0f} s a stop", worst, bar, "", "max-min, the bar")
        report.policies(f"{restart_s:.0f} s a stop", found)
    report.print(asked.json)


if __name__ == "__main__":
    main()
