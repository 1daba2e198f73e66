"""How far off are predicted steps from measured ones that they were not fitted to?
`python benchmarks/plan_accuracy.py --runs FILE`

FILE is in the format of measured_runs.json. Each row is predicted with one scalar a chip, number format and release, fitted to
the OTHER models' rows of that class (MLPerf: the other submissions'); where no such row is left, to those of the nearest release
of the same chip and format; without any, the data sheet and kernel tables alone. The bars are the issue's; the anchors' figures
are their own or those that were measured with their code (docs/plan.md). `--write FILE` keeps the factors fitted to all rows, as
the calibrations that the planner ships; `--rows` prints each row; `--json` all of it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forebay.errors import ForebayError
from forebay.plan import measured
from forebay.plan.cuts import cuts
from forebay.plan.fit import UNCALIBRATED, likeliest
from forebay.plan.framework import framework
from forebay.plan.kernels.known import LIKE, device
from forebay.plan.knowledge import DATA_SHEET, RUN, TABLES, within
from forebay.plan.measured import Run
from forebay.plan.model import Workload
from forebay.plan.network import links
from forebay.plan.once import once
from forebay.plan.passes import Site
from forebay.plan.pool import Cards
from forebay.plan.time import pieces, step, whole
from forebay.units import parse_bytes_per_s

Floats = NDArray[np.float64]
FACTORS = np.geomspace(0.4, 5.0, 13)
SILICON = (("h100-sxm", "h200", "h800", "gh200"), ("a100-sxm-80gb", "a100-sxm-40gb"), ("b200", "b300", "gb200", "gb300"))
OLD, RELEASE, SHEET = "this release", "nearest release", "kernel tables"


@dataclass(frozen=True)
class Judged:
    """A row with what was predicted for it."""

    run: Run
    seconds: float
    factor: float
    basis: str

    @property
    def error(self) -> float:
        return self.seconds / self.run.seconds - 1

    @property
    def covered(self) -> bool:
        tier = {OLD: RUN, RELEASE: TABLES, SHEET: TABLES, DATA_SHEET: DATA_SHEET}[self.basis]
        low, high = within(tier, self.run.workload.model.experts is not None)
        return low <= self.run.seconds / self.seconds <= high


class Table:
    """Predictions of all runs at all FACTORS, so that fitting is reading."""

    def __init__(self, runs: list[Run], factors: Floats = FACTORS, hidden: bool = False) -> None:
        self.runs, self.factors, self.missing = runs, factors, Counter[str]()
        self.seconds = np.full((len(runs), len(factors)), np.nan)
        groups: dict[object, list[int]] = defaultdict(list)
        for i, run in enumerate(runs):
            groups[(run.workload, run.chip, run.framework, run.cards)].append(i)
        for members in groups.values():
            run = runs[members[0]]
            try:
                dev = device(run.chip)
            except ForebayError as error:
                self.missing[str(error).splitlines()[0]] += len(members)
                continue
            if hidden:
                same = next((one for one in SILICON if run.chip in one), (run.chip,))
                dev = replace(dev, ignored=frozenset(same))
            site = Site(device=dev, links=links(run.cards, measured=not hidden), framework=framework(run.framework))
            plans = cuts([runs[i].plan for i in members])
            for at, slower in enumerate(factors):
                try:
                    self.seconds[members, at] = step(run.workload, replace(site, slower=float(slower)), plans).total
                except ForebayError as error:
                    self.missing[str(error).splitlines()[0]] += len(members)
                    break

    def known(self) -> list[int]:
        return [i for i in range(len(self.runs)) if np.isfinite(self.seconds[i, 0])]

    def at(self, i: int, slower: float) -> float:
        return float(np.interp(slower, self.factors, self.seconds[i]))

    def fitted(self, members: list[int]) -> float:
        truth = [self.runs[i].seconds for i in members]
        return likeliest(lambda slower: [self.at(i, slower) for i in members], truth)


def judge(table: Table, key: Callable[[Run], str], chosen: Callable[[Run], bool]) -> list[Judged]:
    """Each chosen row, predicted from rows of other keys."""
    rows, fits, found = table.known(), {}, []
    for i in rows:
        run = table.runs[i]
        if not chosen(run):
            continue
        which = (run.calibrated_as, key(run))
        if which not in fits:
            fits[which] = _fit(table, rows, run, key)
        slower, basis = fits[which]
        found.append(Judged(run, table.at(i, slower), slower, basis))
    return found


def _fit(table: Table, rows: list[int], run: Run, key: Callable[[Run], str]) -> tuple[float, str]:
    alike = [i for i in rows if table.runs[i].calibrated_as[:2] == run.calibrated_as[:2] and key(table.runs[i]) != key(run)]
    same = [i for i in alike if table.runs[i].release == run.release]
    if same:
        return table.fitted(same), OLD
    near = [i for i in alike if table.runs[i].family == run.family] or alike
    if near:
        best = min({table.runs[i].release for i in near}, key=lambda one: abs(_version(one) - _version(run.release)))
        return table.fitted([i for i in near if table.runs[i].release == best]), RELEASE
    return UNCALIBRATED, SHEET


def _version(release: str) -> float:
    return float(sum(int(part) * 100.0**-i for i, part in enumerate(re.findall(r"\d+", release))))


def model(run: Run) -> str:
    return run.model_name


def source(run: Run) -> str:
    return str(run.row.get("source"))


@dataclass(frozen=True)
class Bar:
    """A line of the table: which rows, what is asked, what others reach."""

    name: str
    chosen: Callable[[Run], bool]
    bar: float  # mean absolute error
    anchor: str
    key: Callable[[Run], str] = model
    only_same: bool = False  # rows whose own release calibrates them
    ranked: bool = False  # many plans of the same job: say how good the first-ranked one is


def chip(run: Run) -> str:
    return str(run.row["chip_class"])


BARS = (
    Bar("H100 BF16, DGX Cloud", lambda r: r.family == "dgxc" and chip(r) == "H100" and r.workload.number_format == "bf16", 0.035,
        "Calculon 8.4 %; a constant 13.1 %"),
    Bar("H100 FP8", lambda r: r.family in ("dgxc", "nemo-2024", "megatron-bridge") and chip(r) == "H100"
        and r.workload.number_format == "fp8", 0.06, "Calculon 19 to 31 %"),
    Bar("MLPerf, 4,096 cards and more", lambda r: r.family == "mlperf" and r.row["n_chips"] >= 4096, 0.06, "Calculon 32 %",
        source),
    Bar("MLPerf, all", lambda r: r.family == "mlperf", 0.06, "none", source),
    Bar("vTrain, several nodes", lambda r: r.family == "vtrain-multi", 0.08, "vTrain 14.7 %; Calculon 19.6 %", ranked=True),
    Bar("vTrain, one node", lambda r: r.family == "vtrain-single", 0.084, "vTrain 8.4 %; Calculon 38.9 %", ranked=True),
    Bar("llm-foundry FSDP", lambda r: r.family == "llm-foundry", 0.07, "none models them"),
    Bar("B200, SimuMax's rows", lambda r: r.family == "simumax-b200", 0.05, "SimuMax 5.6 %"),
    Bar("mixture of experts, Megatron-Bridge", lambda r: r.family == "megatron-bridge" and r.workload.model.experts is not None,
        0.10, "none published", only_same=True),
    Bar("dense, Megatron-Bridge", lambda r: r.family == "megatron-bridge" and r.workload.model.experts is None, 0.10, "none"),
)  # fmt: skip


def figures(rows: list[Judged]) -> dict[str, object]:
    errors = np.array([one.error for one in rows])
    return {
        "rows": len(rows),
        "mean_absolute_error": float(np.mean(np.abs(errors))),
        "bias": float(np.mean(errors)),
        "within_8": float(np.mean(np.abs(errors) <= 0.08)),
        "largest": float(np.max(np.abs(errors))),
        "covered": float(np.mean([one.covered for one in rows])),
        "basis": dict(Counter(one.basis for one in rows)),
    }


def regret(rows: list[Judged]) -> tuple[float, int]:
    """By how much the plan ranked first is slower than the best measured one, over groups of one model, cards and batch."""
    groups: dict[object, list[Judged]] = defaultdict(list)
    for one in rows:
        groups[(one.run.model_name, one.run.row["n_chips"], one.run.workload.sequences)].append(one)
    lost = []
    for members in groups.values():
        if len(members) > 1:
            first = min(members, key=lambda one: one.seconds)
            lost.append(first.run.seconds / min(one.run.seconds for one in members) - 1)
    return (float(np.mean(lost)), len(lost)) if lost else (0.0, 0)


# The cluster's network is not described. The rows' own gradient all-reduces say what a card gets between machines, if gradients
# have 32 bits (the precision isn't stated): 700 MB in 59 s, 260 MB in 22 s. Inside a machine cards without NVLink share PCIe.
SAILOR_OUT = parse_bytes_per_s("12 MB/s")
SAILOR_UP = parse_bytes_per_s("4 GB/s")


def order_of_mixed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sailor's runs over two or three chip kinds: measured and predicted seconds. A handful of rows, an anecdote.

    A stage runs at the pace of its slowest data rank; the split counts embedding and loss as a layer each.
    """
    found = []
    for row in rows:
        needed = ("stage_chips", "stage_layer_split", "model", "global_batch", "tp", "pp", "dp", "n_chips", "micro_batch")
        shaped = all((row.get("model") or {}).get(key) for key in ("layers", "hidden", "heads", "seq", "vocab"))
        if row.get("recalled") or not shaped or not all(row.get(key) for key in needed) or measured.step_seconds(row) is None:
            continue
        stages = [[text.rsplit("x", 1)[0].lower() for text in one] for one in row["stage_chips"]]
        shape = measured.model(row["model"])
        work = Workload(model=shape, sequences=row["global_batch"], tokens=row["model"]["seq"], number_format="fp16")
        plan = replace(measured.plan(row), stages=("mixed",) * row["pp"])
        counts = list(row["stage_layer_split"])
        counts[0] -= 1
        counts[-1] -= 1
        times, tail = [], 0.0
        micro = plan.micro_batches(work.sequences)
        for s, (count, chips) in enumerate(zip(counts, stages, strict=True)):
            each = []
            for name in chips:
                links_ = {"island": row["tp"], "up_bytes_per_s": SAILOR_UP, "out_bytes_per_s": SAILOR_OUT}
                cards = Cards(chip=name, count=row["n_chips"], **links_)
                software = replace(framework("megatron-2021"), gradient_bytes=4)
                site = Site(device=device(name), links=links(cards), framework=software, slower=UNCALIBRATED)
                parts = pieces(work, site, cuts([plan]))
                stage = whole(parts.plain).times(count)
                stage = stage + whole(parts.opening) if s == 0 else stage
                stage = stage + whole(parts.closing) if s == len(counts) - 1 else stage
                each.append(float(np.squeeze(stage.total)))
                tail = max(tail, float(np.squeeze(sum(once(work, site, cuts([plan]), np.array([each[-1]]), micro)))))
            vector = plan.micro_batch * work.tokens * shape.width * 2.0 / plan.tensor
            times.append(max(each) + (2 * vector / SAILOR_OUT if len(stages) > 1 else 0.0))
        seconds = max(times) * micro + sum(times) - max(times) + tail
        name = f"{row['chip']}: {len(stages)} stages, {row['dp']} data ranks"
        found.append(
            {"cards": row["chip_class"], "plan": name, "measured_s": row["measured"]["step_time_s"], "predicted_s": seconds}
        )
    return found


def ordered(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """Of the pairs on the same number of cards, how many are ranked as measured."""
    right = pairs = 0
    for i, a in enumerate(rows):
        for b in rows[:i]:
            if sorted(a["cards"].split("+")) == sorted(b["cards"].split("+")):
                pairs += 1
                right += (a["measured_s"] < b["measured_s"]) == (a["predicted_s"] < b["predicted_s"])
    return right, pairs


def unseen(runs: list[Run]) -> list[Judged]:
    """Every row, from its chip's data sheet and other chips' tables, with no scalar."""
    table = Table(runs, np.array([UNCALIBRATED]), hidden=True)
    return [Judged(table.runs[i], table.at(i, UNCALIBRATED), UNCALIBRATED, DATA_SHEET) for i in table.known()]


def write(table: Table, path: Path) -> None:
    """The factors of each chip, format and release, fitted to all rows."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i in table.known():
        run = table.runs[i]
        found[run.chip, LIKE.get(run.workload.number_format, run.workload.number_format), run.release].append(i)
    # Of each chip and format the newest release among those with at least half as many runs as the richest has.
    rich: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(dict)
    for (name, form, release), members in found.items():
        if name == "h100-sxm" and any(chip(table.runs[i]) != "H100" for i in members):
            continue  # another chip under the same name
        if len({table.runs[i].model_name for i in members}) > 1 and len(members) >= 4:
            rich[name, form][release] = members
    newest: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for key, releases in rich.items():
        most = max(len(members) for members in releases.values())
        enough = [release for release, members in releases.items() if 2 * len(members) >= most]
        best = max(enough, key=_version)
        if table.fitted(releases[best]) >= 0.95:  # below, the model misses something; the chip isn't faster than its kernels
            newest[key] = best, releases[best]
    out = [
        {
            "subject": name,
            "measured": time.strftime("%Y-%m-%d"),
            "software": {"release": release},
            "figures": {f"slower_{form}": round(table.fitted(members), 4), "runs": float(len(members))},
            "command": "python benchmarks/plan_accuracy.py --runs measured_runs.json --write",
        }
        for (name, form), (release, members) in sorted(newest.items())
    ]
    path.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="measured runs, in the format of measured_runs.json")
    parser.add_argument("--rows", action="store_true", help="print each row")
    parser.add_argument("--json", action="store_true", help="print everything for programs")
    parser.add_argument("--write", type=Path, help="keep the factors fitted to all rows here")
    said = parser.parse_args(None if arguments is None else list(arguments))
    began = time.process_time()
    runs, left = measured.read(said.runs)
    runs = [one for one in runs if not one.recalled and one.chip]
    table = Table(list(runs))
    if said.write:
        write(table, said.write)
    out: dict[str, object] = {"rows_left_out": {**left, **table.missing}}
    lines = []
    regrets: dict[str, tuple[float, int]] = {}
    for bar in BARS:
        rows = judge(table, bar.key, bar.chosen)
        rows = [one for one in rows if not bar.only_same or one.basis == OLD]
        if not rows:
            continue
        found = figures(rows)
        out[bar.name] = {**found, "bar": bar.bar, "anchor": bar.anchor}
        lines.append((bar, found))
        if bar.ranked:
            regrets[bar.name] = regret(rows)
        if said.rows:
            _print_rows(bar.name, rows)
    hidden = unseen([one for one in runs if one.family != "torchtitan" and "not stated" not in one.row["precision"]])
    by_chip = {
        name: figures([one for one in hidden if one.run.chip == name]) for name in sorted({one.run.chip for one in hidden})
    }
    if said.rows:
        _print_rows("a chip never seen", hidden)
    out["a chip never seen"] = by_chip
    everything = [one for bar in BARS if bar.name != "MLPerf, 4,096 cards and more" for one in judge(table, bar.key, bar.chosen)]
    out["covered"] = {"rows": len(everything), "share": float(np.mean([one.covered for one in everything]))}
    mixed = order_of_mixed(json.loads(said.runs.read_text(encoding="utf-8")))
    out["mixed chips"] = {"rows": mixed, "pairs_ranked_right": ordered(mixed)}
    out["regret"] = regrets
    out["cpu_s"] = time.process_time() - began
    if said.json:
        json.dump(out, sys.stdout, indent=1, default=str)
        print()
        return
    print(f"{'rows':38} {'n':>4} {'error':>7} {'bar':>6}  {'bias':>6} {'<8 %':>5} {'most':>5} {'covered':>7}  others")
    for bar, found in lines:
        met = "" if found["mean_absolute_error"] <= bar.bar else "  MISSED"  # type: ignore[operator]
        print(_line(bar.name, found, f"{bar.bar:6.1%}") + f"  {bar.anchor}{met}")
    for name, found in by_chip.items():
        print(_line(f"never seen: {name}", found, " 15.0%"))
    for name, (lost, count) in regrets.items():
        print(f"regret of the first-ranked plan, {name}: {lost:.1%} over {count} groups (ratio to the best measured plan)")
    right, pairs = ordered(mixed)
    print(f"mixed chips (Sailor, an anecdote): {right} of {pairs} pairs of plans on the same cards are ranked as measured")
    for one in mixed:
        print(f"    {one['plan']}: measured {one['measured_s']:.1f} s, predicted {one['predicted_s']:.1f} s")
    print(f"80 % intervals hold {out['covered']['share']:.0%} of {len(everything)} rows")  # type: ignore[index]
    print(f"{len(table.known())} rows predicted; left out: {out['rows_left_out']}; {out['cpu_s']:.0f} CPU s")


def _line(name: str, found: dict[str, object], bar: str) -> str:
    return (
        f"{name:38} {found['rows']:4} {found['mean_absolute_error']:7.1%} {bar}  {found['bias']:+6.1%} {found['within_8']:5.0%}"
        f" {found['largest']:5.0%} {found['covered']:7.0%}"
    )


def _print_rows(name: str, rows: list[Judged]) -> None:
    print(f"--- {name}")
    for one in rows:
        row = one.run.row
        words = f"{one.run.model_name[:20]:20} {one.run.chip:14} {row['n_chips']:6} cards, batch {row['global_batch']}"
        words += (
            f", t{row['tp']} p{row['pp']} d{row['dp']} c{row.get('cp')} e{row.get('ep')} v{row.get('vpp')} m{row['micro_batch']}"
        )
        print(f"{one.error:+7.1%} {words} {one.run.release} x{one.factor:.2f} {one.basis}: {one.run.seconds:.3f} s")


if __name__ == "__main__":
    main()
