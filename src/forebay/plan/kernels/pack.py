"""Pack measured kernel times: `python -m forebay.plan.kernels.pack FOLDER` reads the CSV tables there, writes what plans read.

Asked:  tables of a hundred thousand lines take seconds to read. How does a plan read them in milliseconds?
Answer: each becomes a grid of log-seconds in one NumPy archive (plan/data/kernels/NAME.npz), whose members are read on first use.
        Columns and source: plan/data/kernels/README.md.
Limits: sizes that are off the common grid (they show tile steps) are left out.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forebay.plan.kernels.grid import filled

Rows = list[dict[str, str]]
# The catalogue's names of the chips that the tables name otherwise.
NAMES = {"a100-sxm": "a100-sxm-80gb", "h200-sxm": "h200", "b200-sxm": "b200", "b300-sxm": "b300"}
HERE = Path(__file__).parent.parent / "data" / "kernels"


def read(path: Path) -> Rows:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [row | {"chip": NAMES.get(row["chip"], row["chip"])} for row in csv.DictReader(file)]


def grids(rows: Rows, member: Callable[[Mapping[str, str]], str], sizes: tuple[str, ...], least: int = 4) -> dict[str, Any]:
    """Rows as grids by member. A size that fewer than `least` rows have is no axis point."""
    out: dict[str, Any] = {}
    groups: dict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[member(row)].append(row)
    for name, group in groups.items():
        axes = []
        for size in sizes:
            values, counts = np.unique([int(row[size]) for row in group], return_counts=True)
            axes.append(values[counts >= least])
        if any(len(axis) < 2 for axis in axes):
            continue
        table = np.full([len(axis) for axis in axes], np.nan, dtype=np.float32)
        for row in group:
            place = [np.searchsorted(axis, int(row[size])) for axis, size in zip(axes, sizes, strict=True)]
            if all(at < len(axis) and axis[at] == int(row[size]) for at, axis, size in zip(place, axes, sizes, strict=True)):
                table[tuple(place)] = np.log(float(row["time_s"]))
        out[name] = filled(table, tuple(np.log(axis.astype(np.float64)) for axis in axes))
        for i, axis in enumerate(axes):
            out[f"{name}/{i}"] = axis.astype(np.int32)
    return out


def matmul(folder: Path) -> dict[str, Any]:
    rows = read(folder / "gemm.csv.gz")
    return grids(rows, lambda row: f"{row['chip']}/{row['precision']}/{row['regime']}", ("m", "n", "k"), least=20)


def prefill(folder: Path) -> dict[str, Any]:
    """Causal attention over whole sequences. Axes: tokens, batch x heads, and (for gqa) heads a key-value head."""
    rows = [row for row in read(folder / "attention.csv.gz") if row["phase"] == "prefill" and row["window"] == "0"]
    best: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        row["lanes"] = str(int(row["batch"]) * int(row["heads"]))
        key = tuple(row[c] for c in ("chip", "kind", "precision", "regime", "head_dim", "q_len", "lanes"))
        if key not in best or float(row["time_s"]) < float(best[key]["time_s"]):
            best[key] = row
    return grids(
        list(best.values()),
        lambda row: "/".join(row[c] for c in ("chip", "kind", "precision", "regime", "head_dim")),
        ("q_len", "lanes"),
    )


TABLES: Mapping[str, Callable[[Path], dict[str, Any]]] = {"matmul": matmul, "prefill": prefill}


def main() -> None:
    folder = Path(sys.argv[1])
    for name, table in TABLES.items():
        np.savez_compressed(HERE / f"{name}.npz", **table(folder))
        print(f"{name}: {(HERE / f'{name}.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
