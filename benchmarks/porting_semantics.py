"""How much of CUDA's meaning each way of carrying it keeps: the acceptance suite over each.

    python benchmarks/porting_semantics.py [--only AREA ...] [--carriers none mapped simulated] [--cache DIR] [--json]

"none" is torch as it is installed, "mapped" renames cuda to cpu (what the vendors' shims do), "simulated" is the device of our
own. The share is of the checks that this machine can tell; the bar is 97 % for the simulated device, the peer 70 %: what the
vendors' technique kept in a suite of 47 checks that was run before this one. Exits with 1 below the bar.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from forebay.porting.accept.__main__ import CARRIERS, carried
from forebay.porting.accept.suite import AREAS, run, share, table

BAR = 0.97


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=AREAS, metavar="AREA")
    parser.add_argument("--carriers", nargs="+", choices=CARRIERS, default=["none", "mapped", "simulated"])
    parser.add_argument("--cache", type=Path, help="where the compiled device is kept")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    args = parser.parse_args()
    found = {}
    for kind in args.carriers:
        found[kind] = run(
            areas=args.only, environment=carried(kind, 2, args.cache), say=lambda line: print(line, file=sys.stderr)
        )
    if args.json:
        shares = {kind: share(verdicts) for kind, verdicts in found.items()}
        failed = {kind: [f"{v.area}: {v.sentence}" for v in verdicts if v.verdict == "fail"] for kind, verdicts in found.items()}
        print(json.dumps({"shares": shares, "failed": failed, "load": os.getloadavg()[0], "bar": BAR}))
    else:
        for kind, verdicts in found.items():
            print(f"{kind}\n{table(verdicts)}\n")
    if "simulated" in found and share(found["simulated"]) < BAR:
        print(f"the bar of {100 * BAR:.0f} % is missed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
