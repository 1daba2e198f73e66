"""Whether certify notices what is wrong with a chip: each fault that can be planted in the fake chip, and how it is found.

    python benchmarks/porting_faults.py [--only FAULT,FAULT] [--jobs 1] [--cache DIR] [--json]

Each fault is planted alone. The operators of torch's database that it touches are certified by certify's own workers on the fake
chip, in the format and the direction in which the fault acts, and so are two that it doesn't touch. A fault is found when every
operator that it touches gets a verdict other than strict, with the word that its kind has (a silent copy to the host is "host
fallback", not merely wrong). A false alarm is a control that isn't strict. Printed: fault, kind, found as, seconds.

Bars: all of at least 40 faults found, no false alarm. The table in docs/certify.md is its output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from forebay.porting.certify.planted import CONTROLS, Seen, complaints
from forebay.porting.certify.verdict import Word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="faults, with commas between (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default 1)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "forebay" / "shim", help="of the compiled layer")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    args = parser.parse_args()
    began = time.monotonic()
    found = sorted(
        look([one for one in args.only.split(",") if one], args.jobs, args.cache), key=lambda one: (one.kind, one.fault)
    )
    show(found, time.monotonic() - began, args.json)


def look(names: Sequence[str], jobs: int, cache: Path) -> list[Seen]:
    """What certify said of each fault, from processes under the fake chip's carrier."""
    from forebay.porting.shim import load
    from forebay.porting.shim.build import build
    from forebay.porting.shim.carrier import Carrier
    from forebay.porting.shim.chip.adapter import named

    library = build(cache, say=lambda line: print(line, file=sys.stderr), recipe=named("fakechip").recipe())
    carried = load.child_environment(Carrier("chip", "for the benchmark", library, "fakechip"), 1)
    words = [sys.executable, "-m", "forebay.porting.certify.planted"]
    parts = [["--part", f"{number}/{jobs}", *names] for number in range(jobs)]
    processes = [
        subprocess.Popen(
            [*words, *part], env={**os.environ, **carried, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
        )
        for part in parts
    ]
    found = []
    for process in processes:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a process ended with {process.returncode}")
        found += [Seen.from_json(json.loads(line)) for line in out.splitlines() if line.startswith("{")]
    return found


def show(found: Sequence[Seen], seconds: float, as_json: bool) -> None:
    said = {one.fault: complaints(one) for one in found}
    alarms = [one for seen in found for one in seen.false_alarms]
    if as_json:
        print(json.dumps({"seconds": seconds, "faults": [one.to_json() for one in found], "complaints": said}))
        return
    print("| fault | kind | found as | seconds |\n|---|---|---|---|")
    for one in found:
        print(f"| {one.fault} | {one.kind} | {one.found_as.value if not said[one.fault] else '**no**'} | {one.seconds:.1f} |")
    print()
    for lines in said.values():
        for line in lines:
            print(line)
    missed = sum(bool(lines) for lines in said.values())
    unseen = sum(one.found_as is Word.STRICT for one in found)
    print(f"{len(found) - missed} of {len(found)} faults found in every operator that they touch; {unseen} seen nowhere")
    print(f"{len(alarms)} false alarms of {len(found) * len(CONTROLS)} controls; {seconds:.0f} s")


if __name__ == "__main__":
    main()
