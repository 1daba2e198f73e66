"""The Philly trace on 64 nodes of 8 cards, nothing known of how long jobs take, 60 s lost at each stop.

    python benchmarks/replay_philly.py --data philly_82k.csv.gz [--beside] [--json]

Two replays: every job can resume and may be preempted; 70 % of the jobs have no checkpoint and may not. Virtual clusters are
organisations. Bars: average JCT 6 h and p99 100 h; 9.5 h and 120 h; 2,000 jobs a CPU second, the very core that runs live. Peer:
two-dimensional least attained service with two queues, 12.9 h and 276 h; backfill 53 h as a plain loop that looks 200 jobs deep
(31.7 h without a limit); the best of preemptive policies that know the future 4.3 h and 74 h. Research simulators do 0.4 to 28
jobs a CPU second. `--beside` replays the baselines too.
"""

from __future__ import annotations

from replaying import HOUR_S, Report, options

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.run import replay_all
from forebay.cloud.replay.trace import Settings

CARDS = "64x8:h100-sxm"
ROWS = (("all may be preempted", 1.0, 6.0, 100.0), ("70 % have no checkpoint", 0.3, 9.5, 120.0))
JOBS_PER_CPU_S = 2000.0
FORETOLD = 0.25


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--forecasts", action="store_true", help="how wrong the starts were that were foretold (bar: median 25 %%)"
    )
    parser.add_argument("--beside", action="store_true", help="the baselines too")
    asked = parser.parse_args()
    trace = readers.read(asked.data)
    report = Report(f"{len(trace.jobs):,} jobs of {asked.data.name} on {CARDS}")
    policies = [asked.policy, *(["first-come", "backfill", "least-attained"] if asked.beside else [])]
    for name, resumable, mean_h, p99_h in ROWS:
        found = [
            one.figures
            for one in replay_all(
                trace, site.parse(CARDS), policies, Settings(resumable=resumable, known=False, forecasts=asked.forecasts)
            )
        ]
        ours = found[0]
        report.hold(f"average JCT, {name}", ours.jct_mean_s / HOUR_S, mean_h, "h", "12.9 h")
        report.hold(f"p99 JCT, {name}", ours.jct_p99_s / HOUR_S, p99_h, "h", "276 h")
        report.reach("jobs a CPU second", ours.jobs_per_cpu_s, JOBS_PER_CPU_S, "/s", "0.4 to 28 /s")
        if ours.foretold_error_all_p50 is not None and ours.foretold_error_p50 is not None:
            report.hold("error of the start foretold, half of all jobs", ours.foretold_error_all_p50, FORETOLD, "")
            report.hold("the same, of the jobs that waited", ours.foretold_error_p50, FORETOLD, "")
            report.say(
                f"{ours.foretold:,} jobs waited and were foretold a start; {ours.foretold_within or 0.0:.0%} of them started "
                "in the interval that was said (eight of ten were meant to)"
            )
        report.policies(name, found)
    report.print(asked.json)


if __name__ == "__main__":
    main()
