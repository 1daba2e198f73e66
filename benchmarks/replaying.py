"""What the replay benchmarks share: a policy's figures on a trace, held against bars and peers, as lines or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stopwatch import machine, machine_line, verdict

from forebay.cloud.replay.metrics import Figures

HOUR_S = 3600.0


@dataclass(slots=True)
class Report:
    """Lines to print, and the same as data."""

    title: str
    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def hold(self, name: str, figure: float, bar: float, unit: str, peer: str = "") -> None:
        """A figure that should be small, its bar, and what others reach."""
        beside = f"   peer {peer}" if peer else ""
        self.lines.append(f"{name:<44} {figure:10.2f} {unit:<5} bar {bar:.2f}: {verdict(figure, bar)}{beside}")
        self.data.setdefault("bars", []).append({"what": name, "figure": figure, "bar": bar, "unit": unit, "peer": peer})

    def reach(self, name: str, figure: float, bar: float, unit: str, peer: str = "") -> None:
        """A figure that should be large."""
        beside = f"   peer {peer}" if peer else ""
        self.lines.append(f"{name:<44} {figure:10.2f} {unit:<5} bar {bar:.2f}: {verdict(-figure, -bar)}{beside}")
        self.data.setdefault("bars", []).append({"what": name, "figure": figure, "bar": bar, "unit": unit, "peer": peer})

    def say(self, line: str) -> None:
        self.lines.append(line)

    def policies(self, name: str, figures: Sequence[Figures]) -> None:
        """A table of all policies, for what stands beside the bars."""
        self.lines.append(f"{name}:")
        self.lines.append(
            f"  {'policy':<16}{'JCT h':>9}{'p50 h':>9}{'p99 h':>9}{'makespan h':>12}{'used':>7}{'stops':>9}{'lost':>7}"
            f"{'worst':>8}{'unfair':>8}{'static':>8}{'unfair':>8}{'CPU s':>8}{'jobs/s':>9}"
        )
        for f in figures:
            self.lines.append(
                f"  {f.policy:<16}{f.jct_mean_s / HOUR_S:9.2f}{f.jct_p50_s / HOUR_S:9.2f}{f.jct_p99_s / HOUR_S:9.1f}"
                f"{f.makespan_s / HOUR_S:12.2f}{f.utilisation:7.1%}{f.stops:9,}{f.lost_share:7.1%}"
                f"{f.ratio_worst or 0:8.2f}{f.unfair or 0:8.1%}{f.static_worst or 0:8.2f}{f.static_unfair or 0:8.1%}"
                f"{f.cpu_s:8.2f}{f.jobs_per_cpu_s:9,.0f}"
            )
        self.data.setdefault("replays", {})[name] = [asdict(f) for f in figures]

    def print(self, as_json: bool) -> None:
        if as_json:
            print(json.dumps({"title": self.title, **self.data, "machine": machine()}, indent=2))
            return
        print(self.title)
        for line in self.lines:
            print(line)
        print(machine_line())


def options(opening: str | None, *, speeds: str = "") -> argparse.ArgumentParser:
    """`--data`, and what else all of them take. `speeds`: which file goes with the trace."""
    parser = argparse.ArgumentParser(description=opening, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="the trace")
    if speeds:
        parser.add_argument("--speeds", type=Path, metavar="FILE", help=f"what goes with it; without this, {speeds} beside it")
    parser.add_argument("--policy", default="forebay", help="another than the core's, to try the benchmark itself")
    parser.add_argument("--json", action="store_true")
    return parser


def beside(asked: argparse.Namespace, name: str) -> Path:
    """The file that goes with the trace."""
    found: Path = asked.speeds or asked.data.with_name(name)
    return found
