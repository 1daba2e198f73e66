"""How well a curve fitted to three points of a system gives the bandwidth at its other points, and whether sick systems are seen.

    python benchmarks/fabric_calibration.py [--data FILE] [--json]

Every healthy system of FILE (in the format of the project's src/forebay/fabric/data/published.json) that was measured, or that
SimAI's efficiency tables have, is fitted to at most three of its points: the smallest, the largest and the middle one between
16 MiB and 16 GiB. Bars: over all points that weren't used, the median error is at most 5 % from 256 MiB, and at most 15 % from
16 MiB to 16 GiB. Beside the bars: simulated curves, the measured alone, the same predicted for two and four times as many cards,
and what the diagnosis says of systems marked sick and of the others.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

import stopwatch

import forebay.fabric
from forebay.fabric.calibrate import LARGE_BYTES, FabricCalibration, calibrate, errors
from forebay.fabric.curves import NOMINAL_BYTES_PER_S, Curve, from_records
from forebay.fabric.diagnose import diagnose
from forebay.fabric.physics import busbw
from forebay.units import MIB

BAR_LARGE, BAR_ALL = 0.05, 0.15
DATA = Path(forebay.fabric.__file__).parent / "data" / "published.json"
NO_END = 2**62


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    records = json.loads(asked.data.read_text())["collectives"]
    result = measure(records)
    if asked.json:
        print(json.dumps({**result, **stopwatch.machine()}, indent=2))
        return
    print(f"{'system':8}{'kind':10}{'collective':16}{'cards':>6}  {'used, MiB':18}{'us a round':>11}{'fill':>6}"
          f"{'errors from 256 MiB':>22}{'below':>8}{'worst':>8}")  # fmt: skip
    for row in result["systems"]:
        found = "".join(f"{shown(row[name]):>{wide}}" for name, wide in (("large", 22), ("small", 8), ("worst", 8)))
        print(f"{row['system']:8}{row['kind'][:9]:10}{row['collective']:16}{row['cards']:6}  {row['used_mib']:18}"
              f"{row['round_us']:11.1f}{row['fill']:6.2f}{found}")  # fmt: skip
    for title, part in (("measured and tables", "bars"), ("measured alone", "measured"), ("simulated alone", "simulated")):
        found = result[part]
        print(f"{title:20} median error from 256 MiB {shown(found['large'])} of {found['large_points']} points, "
              f"from 16 MiB to 16 GiB {shown(found['all'])} of {found['all_points']}")  # fmt: skip
    for name, bar in (("large", BAR_LARGE), ("all", BAR_ALL)):
        figure = result["bars"][name]
        verdict = stopwatch.verdict(figure if figure is not None else 1.0, bar)
        sizes = "from 256 MiB" if name == "large" else "16 MiB to 16 GiB"
        print(f"median error, {sizes:18} {shown(figure)}   bar {100 * bar:.0f} %: {verdict}")
    more, said = result["more_cards"], result["diagnosis"]
    print(f"two and four times as many cards: {shown(more['all'])} of {more['points']} points, no bar")
    print(f"called sick: {said['sick_seen']} of {said['sick']} marked sick, {said['false_alarms']} of {said['healthy']} others")
    print(stopwatch.machine_line())


def measure(records: list[dict[str, Any]]) -> dict[str, Any]:
    curves = from_records(records)
    fitted = [(one, calibrate(one, link_bytes_per_s=NOMINAL_BYTES_PER_S)) for one in curves if one.healthy]
    return {
        "systems": [row(one, fit) for one, fit in fitted],
        "bars": pooled([fit for one, fit in fitted if one.kind != "simulated"]),
        "measured": pooled([fit for one, fit in fitted if one.kind == "measured"]),
        "simulated": pooled([fit for one, fit in fitted if one.kind == "simulated"]),
        "bar_large": BAR_LARGE,
        "bar_all": BAR_ALL,
        "more_cards": more_cards(fitted, {one["system"]: one["collective"] for one in records}),
        "diagnosis": diagnosed(curves),
    }


def row(one: Curve, fit: FabricCalibration) -> dict[str, Any]:
    small = errors(fit, to_bytes=LARGE_BYTES - 1)
    large = errors(fit, LARGE_BYTES, NO_END)
    return {
        "system": one.system,
        "kind": one.kind,
        "collective": one.collective,
        "cards": one.n_gpus,
        "used_mib": ", ".join(f"{miss.message_bytes / MIB:g}" for miss in fit.misses if miss.used),
        "round_us": 1e6 * (fit.physics.message_s + fit.links * fit.physics.hop_s),
        "fill": fit.physics.fill,
        "large": median(large) if large else None,
        "small": median(small) if small else None,
        "worst": max(small + large, default=None),
    }


def pooled(fits: list[FabricCalibration]) -> dict[str, Any]:
    large = [off for fit in fits for off in errors(fit, LARGE_BYTES, NO_END)]
    every = [off for fit in fits for off in errors(fit)]
    return {
        "large": median(large) if large else None,
        "large_points": len(large),
        "all": median(every) if every else None,
        "all_points": len(every),
    }


def more_cards(fitted: list[tuple[Curve, FabricCalibration]], words: dict[str, str]) -> dict[str, Any]:
    """Each table over NICs, all of its points, by the physics of the one with half or a quarter of its cards."""
    tables = [(one, fit) for one, fit in fitted if one.kind == "efficiency_table" and one.hosts > 1]
    off = []
    for one, fit in tables:
        for other, _ in tables:
            if words[one.system] == words[other.system] and other.n_gpus in (2 * one.n_gpus, 4 * one.n_gpus):
                for at in other.points:
                    told = busbw(fit.physics, other.collective, other.n_gpus, at.message_bytes, NOMINAL_BYTES_PER_S)
                    off.append(abs(told / at.busbw_bytes_per_s - 1))
    return {"all": median(off) if off else None, "points": len(off)}


def diagnosed(curves: tuple[Curve, ...]) -> dict[str, int]:
    """Curves of one source and kind are each other's family: the same machines with other numbers of hosts."""
    verdicts = {
        one.system: diagnose(one, [other for other in curves if (other.source, other.kind) == (one.source, one.kind)]).verdict
        for one in curves
    }
    sick, healthy = ([one for one in curves if one.healthy is state] for state in (False, True))
    return {
        "sick": len(sick),
        "sick_seen": sum(verdicts[one.system] == "sick" for one in sick),
        "healthy": len(healthy),
        "false_alarms": sum(verdicts[one.system] == "sick" for one in healthy),
    }


def shown(error: float | None) -> str:
    return "-" if error is None else f"{100 * error:.1f} %"


if __name__ == "__main__":
    main()
