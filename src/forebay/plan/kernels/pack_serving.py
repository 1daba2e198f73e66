"""Pack what serving needs: `python -m forebay.plan.kernels.pack_serving FOLDER` writes decode, experts, collectives, dispatch.

Asked:  as `pack`, for decode attention, expert layers, collectives and the dispatch of tokens to experts.
Answer: grids of log-seconds, for experts a curve over tokens for each shape that was timed.
Limits: of a library's releases the median is kept; all-reduce without a CUDA graph ("eager") is left out; DeepEP with 20 SMs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forebay.plan.kernels.pack import HERE, Rows, grids, read


def decode(folder: Path) -> dict[str, Any]:
    """Attention of one new token. Axes: batch x key-value heads (mla: 1), cached tokens, query heads a key-value head."""
    best: dict[tuple[str, ...], dict[str, str]] = {}
    for row in read(folder / "attention.csv.gz"):
        if row["phase"] != "decode" or row["regime"] != "burst":
            continue
        row["lanes"] = str(int(row["batch"]) * int(row["kv_heads"]))
        row["group"] = str(int(row["heads"]) // int(row["kv_heads"]))
        key = tuple(row[c] for c in ("chip", "kind", "kv_precision", "head_dim", "lanes", "kv_len", "group"))
        if key not in best or float(row["time_s"]) < float(best[key]["time_s"]):
            best[key] = row
    return grids(
        list(best.values()),
        lambda row: "/".join(row[c] for c in ("chip", "kind", "kv_precision", "head_dim")),
        ("lanes", "kv_len", "group"),
    )


SHAPE = ("hidden", "ffn", "experts", "topk", "gated", "tp", "ep")


def experts(folder: Path) -> dict[str, Any]:
    """CHIP/PRECISION/DISTRIBUTION: a row of log-seconds a shape, over the tokens in /tokens; the shapes stand in /shapes."""
    groups: dict[str, dict[tuple[int, ...], dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in read(folder / "moe.csv.gz"):
        if row["regime"] == "burst":
            shape = tuple(int(row[c]) for c in SHAPE)
            name = f"{row['chip']}/{row['precision']}/{row['distribution'].partition('_1')[0]}"
            groups[name][shape][int(row["tokens"])] = float(row["time_s"])
    out: dict[str, Any] = {}
    for name, curves in groups.items():
        tokens = sorted({t for curve in curves.values() for t in curve})
        whole = {shape: curve for shape, curve in curves.items() if len(curve) == len(tokens)}
        if len(whole) >= 3:
            out[name] = np.log([[curve[t] for t in tokens] for curve in whole.values()]).astype(np.float32)
            out[f"{name}/shapes"] = np.array(list(whole), dtype=np.int32)
            out[f"{name}/tokens"] = np.array(tokens, dtype=np.int32)
    return out


def collectives(folder: Path) -> dict[str, Any]:
    """CHIP/OP/LIBRARY over cards and bytes; of a library's releases and number formats the median."""
    rows = [row for row in read(folder / "collectives.csv.gz") if row["mode"] != "eager"]
    return grids(
        _medians(rows, ("chip", "op", "library", "n_gpus", "bytes")), _name("chip", "op", "library"), ("n_gpus", "bytes"), least=1
    )


def dispatch(folder: Path) -> dict[str, Any]:
    """CHIP/LIBRARY/PHASE/FORMAT over cards and tokens a card, for a width of 7,168 and 8 of 256 experts a token.

    A chip whose table has one count of cards has it twice, at 1 and at that count, so that all have two axes.
    """
    names = ("chip", "library", "phase", "precision")
    rows = [
        row
        for row in read(folder / "expert_all_to_all.csv.gz")
        if row["sms"] in ("", "20")
        and (row["hidden"], row["topk"], row["experts"]) == ("7168", "8", "256")
        and row["phase"] in ("dispatch", "combine")
    ]
    rows = _medians(rows, (*names, "n_gpus", "tokens_per_gpu"))
    counts: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        counts[_name(*names)(row)].add(row["n_gpus"])
    rows += [row | {"n_gpus": "1"} for row in rows if len(counts[_name(*names)(row)]) == 1]
    return grids(rows, _name(*names), ("n_gpus", "tokens_per_gpu"), least=1)


def _name(*columns: str) -> Callable[[Mapping[str, str]], str]:
    return lambda row: "/".join(row[c] for c in columns)


def _medians(rows: Rows, columns: tuple[str, ...]) -> Rows:
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[c] for c in columns)].append(float(row["time_s"]))
    return [dict(zip(columns, key, strict=True)) | {"time_s": str(np.median(times))} for key, times in groups.items()]


TABLES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "decode": decode,
    "experts": experts,
    "collectives": collectives,
    "dispatch": dispatch,
}


def main() -> None:
    folder = Path(sys.argv[1])
    for name, table in TABLES.items():
        np.savez_compressed(HERE / f"{name}.npz", **table(folder))
        print(f"{name}: {(HERE / f'{name}.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
