"""What a chip's ceilings are, whether they repeat, and whether two certifications come to the same index.

    python benchmarks/porting_ceilings.py [--device cpu] [--chip cpu] [--seconds 10] [--runs DIR DIR] [--json]

Measures the ceilings twice over, by the code that ends `forebay chips certify`, and prints both with their ratio; on the
processor NumPy's own fp32 product of the same size is the peer. With --runs, two folders of certifications of one chip are read
instead, and their inclusiveness compared. Bars: no kind of ceiling is missing that the device has (matrix products, copies,
attention); the index of two runs within 0.5 points. How far two measurements lie apart is told and has no bar: it is the
machine's noise as much as ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from forebay.chips import catalogue, use
from forebay.chips.inclusiveness import index
from forebay.porting.certify import card, ceilings, record
from forebay.units import show_bytes_per_s, show_flop_per_s

KINDS, POINTS = {"matmul", "copy", "attention"}, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--chip", default="cpu", help="its name in the catalogue")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of ceiling, about (default 10)")
    parser.add_argument("--runs", type=Path, nargs=2, help="two folders of certifications, whose indices are compared")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    told = of_runs(asked.runs) if asked.runs else of_speed(asked.device, asked.chip, asked.seconds)
    told |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    print(json.dumps(told) if asked.json else in_words(told))
    sys.exit(0 if told["within_bar"] else 1)


def of_runs(folders: list[Path]) -> dict[str, object]:
    points = [index(card.scorecard(record.read(folder)), use.shipped()).value for folder in folders]
    apart = abs(points[0] - points[1])
    return {"index": points, "apart": apart, "bar_points": POINTS, "within_bar": apart <= POINTS}


def of_speed(device: str, chip: str, seconds: float) -> dict[str, object]:
    known = catalogue.load().get(chip)
    backend = known.backend or "" if known else ""
    sides = [ceilings.measure(device, backend=backend, cards=2 if device == "cpu" else 1, seconds=seconds) for _ in range(2)]
    second = {(one.kind, one.name): one.value for one in sides[1]}
    rows = [
        {
            "kind": one.kind,
            "name": one.name,
            "unit": one.unit,
            "value": one.value,
            "again": second.get((one.kind, one.name)),
            "of_sheet": one.value / sheet if one.value and (sheet := ceilings.nominal(one, known)) else None,
            "at": one.size,
            "reason": one.reason,
        }
        for one in sides[0]
    ]
    there = {row["kind"] for row in rows if row["value"]}
    told: dict[str, object] = {"ceilings": rows, "within_bar": there >= KINDS}
    fp32 = next((row for row in rows if (row["kind"], row["name"]) == ("matmul", "fp32") and row["value"]), None)
    if device == "cpu" and fp32:
        told["numpy_flop_per_s"] = numpy_product(int(str(fp32["at"]).partition(" ")[0]))
    return told


def numpy_product(n: int) -> float:
    """The peer: NumPy's own fp32 product."""
    import numpy

    a, b = (numpy.random.rand(n, n).astype("float32") for _ in range(2))
    a @ b
    found = []
    for _ in range(9):
        begin = time.perf_counter()
        a @ b
        found.append(time.perf_counter() - begin)
    return 2 * n**3 / statistics.median(found)


def in_words(told: dict[str, object]) -> str:
    if "index" in told:
        one, other = told["index"]
        return (
            f"inclusiveness {one:.3f} and {other:.3f}: {told['apart']:.3f} points apart (bar {POINTS}); load {told['load']:.1f}"
        )
    lines = [f"{'ceiling':<36} {'measured':>14} {'again':>14} {'ratio':>6} {'of sheet':>9}  at"]
    for row in told["ceilings"]:
        show = show_flop_per_s if row["unit"] == "flop/s" else show_bytes_per_s
        value, again = row["value"], row["again"]
        sheet = f"{100 * row['of_sheet']:.0f} %" if row["of_sheet"] else "-"
        figures = f"{show(value) if value else '-':>14} {show(again) if again else '-':>14}"
        ratio = f"{again / value:.2f}" if value and again else "-"
        lines.append(f"{row['kind'] + ', ' + row['name']:<36} {figures} {ratio:>6} {sheet:>9}  {row['at'] or row['reason']}")
    if "numpy_flop_per_s" in told:
        lines.append(f"peer: NumPy's fp32 product {show_flop_per_s(told['numpy_flop_per_s'])}; load {told['load']:.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
