"""What measuring a chip takes: certify's smoke and full runs on the CPU, the simulated device and the fake chip.

    python benchmarks/porting_certify.py [--on cpu --on simulated --on fakechip] [--mode smoke --mode full] [--jobs 2] [--json]

Each run starts in a fresh folder, as `forebay chips certify` does it. Told are the wall's and the processor's seconds, the
verdicts by word, and what stayed untested. With --twice each is run twice, and told is how many verdicts the two don't share.

Bars: smoke 60 s and full 20 minutes on 2 cores; 2 % of the operators untested. None of the three is a chip, so words other than
strict, basic and untested are our device's faults: they are listed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from forebay.porting.certify import record
from forebay.porting.certify.__main__ import summary
from forebay.porting.certify.verdict import Word

DEVICES = {"cpu": ("cpu", ""), "simulated": ("cuda", "simulated"), "fakechip": ("fakechip", "fakechip")}
BARS_S = {"smoke": 60, "full": 1200}
UNTESTED = 0.02
FINE = (Word.STRICT, Word.BASIC, Word.UNTESTED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", choices=list(DEVICES), help="default: all three")
    parser.add_argument("--mode", action="append", choices=list(BARS_S), help="default: smoke")
    parser.add_argument("--jobs", type=int, default=2, help="operators at a time (default 2)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "forebay" / "shim", help="of the compiled devices")
    parser.add_argument("--twice", action="store_true", help="run each twice and compare the verdicts")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the lines")
    args = parser.parse_args()
    told = []
    for chip in args.on or DEVICES:
        for mode in args.mode or ["smoke"]:
            told.append(measured(chip, mode, args))
            if not args.json:
                show(told[-1])
    if args.json:
        print(json.dumps(told))


def measured(chip: str, mode: str, args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        first, wall_s, cpu_s = run(chip, mode, args, Path(folder) / "one")
        differ = None
        if args.twice:
            second, _, _ = run(chip, mode, args, Path(folder) / "two")
            differ = len({(v.case, v.word) for v in first.verdicts} ^ {(v.case, v.word) for v in second.verdicts}) // 2
    odd = [
        f"{v.word.value}: {v.operator} {v.format} {v.direction}: {v.detail[:120]}" for v in first.verdicts if v.word not in FINE
    ]
    return {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        **summary(first),
        "bar_s": BARS_S[mode],
        "odd": odd,
        "differ_when_run_twice": differ,
    }


def run(chip: str, mode: str, args: argparse.Namespace, folder: Path) -> tuple[record.Run, float, float]:
    device, carrier = DEVICES[chip]
    words = [sys.executable, "-m", "forebay.porting.certify", "--chip", chip, "--device", device, "--out", str(folder)]
    words += ["--jobs", str(args.jobs), "--cache", str(args.cache)]
    words += ["--carrier", carrier] if carrier else []
    words += ["--smoke"] if mode == "smoke" else []
    source = str(Path(record.__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(words, env=environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return record.read(folder), wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(told: dict[str, Any]) -> None:
    words = ", ".join(f"{count} {word}" for word, count in told["verdicts"].items())
    print(
        f"{told['chip']:10} {told['mode']:6} {told['wall_s']:6.0f} s (bar {told['bar_s']}), {told['cpu_s']:6.0f} s of processor"
    )
    print(f"           {told['cases']} cases: {words}")
    share = told["untested_share_of_operators"]
    kept = "kept" if share <= UNTESTED else "MISSED"
    print(
        f"           {told['operators_untested']} of {told['operators']} operators untested, {100 * share:.2f} % (bar 2: {kept})"
    )
    if told["differ_when_run_twice"] is not None:
        print(f"           {told['differ_when_run_twice']} verdicts differ between two runs")
    for line in told["odd"]:
        print(f"           {line}")


if __name__ == "__main__":
    main()
