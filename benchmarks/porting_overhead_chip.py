"""What the identity layer costs on a chip with a name of its own: calls that name a device, others, and the start.

    python benchmarks/porting_overhead_chip.py [--rounds 6] [--calls 20000] [--cache DIR] [--json]

Side A is a process with the fake chip's plug-in alone, which hears "fakechip"; side B the same under the layer: it hears "cuda".
`empty` and `relu` of the chip are C++ here (porting_overhead_chip.cpp), as a vendor's are: Python kernels would hide the layer.
Rounds alternate A B B A; a figure is the least CPU time of its thread for one call, over all rounds of its side, which other work
on the machine moves least. The start is CPU seconds from nothing to the first tensor, medians. Bars: 0.2 us for calls that name a
device, 0 for others (here: less than 0.02 us, what two runs of one side differ by on a quiet machine), 0.3 s for the start.
"""

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
BARS = {"names a device": 0.2, "names none": 0.02, "asks for the place": None}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="processes of each side")
    parser.add_argument("--calls", type=int, default=20000, help="calls of each kind in a process")
    parser.add_argument("--cache", type=Path, help="where the compiled layer is kept")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--side", choices=("plain", "layer"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    from forebay.porting.shim.__main__ import default_cache
    from forebay.porting.shim.build import Recipe, build
    from forebay.porting.shim.chip.adapter import named

    cache = args.cache or default_cache()
    layer = build(cache, say, named("fakechip").recipe())
    source = str(HERE / "porting_overhead_chip.cpp")
    kernels = build(cache, say, Recipe("the benchmark's chip", "bench-chip", (source,), source))
    if args.side:
        print("FIGURES " + json.dumps(measure(args.side, layer, kernels, args.calls)))
        return
    sides = {"plain": [], "layer": []}
    for round_ in range(args.rounds):
        for side in ("plain", "layer") if round_ % 2 == 0 else ("layer", "plain"):
            sides[side].append(ask(side, cache, args.calls))
    figures = compare(sides)
    if args.json:
        print(json.dumps(figures))
        return
    print(f"{'call':<34} {'plug-in alone':>14} {'layer':>9} {'more':>9}   bar")
    for name, (kind, plain, carried) in figures["calls"].items():
        bar = f"{BARS[kind]} us ({kind})" if BARS[kind] else f"- ({kind})"
        print(f"{name:<34} {plain:>11.3f} us {carried:>6.3f} us {carried - plain:>+6.3f} us   {bar}")
    plain, carried = figures["start_s"]
    print(f"{'start, CPU seconds':<34} {plain:>11.2f} s  {carried:>6.2f} s  {carried - plain:>+6.2f} s    0.3 s")


def compare(sides):
    calls = {}
    for name, (kind, _) in sides["plain"][0]["calls"].items():
        calls[name] = (kind, *(min(one["calls"][name][1] for one in sides[side]) for side in ("plain", "layer")))
    return {"calls": calls, "start_s": [statistics.median(one["start_s"] for one in sides[side]) for side in ("plain", "layer")]}


def ask(side, cache, calls):
    words = [sys.executable, __file__, "--side", side, "--cache", str(cache), "--calls", str(calls)]
    ended = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    lines = [line[8:] for line in ended.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        sys.exit(ended.stderr)
    return json.loads(lines[0])


def measure(side, layer, kernels, calls):
    before = cpu_seconds()
    name = start(side, layer)
    import torch

    torch.ones(1).to(name)
    started = cpu_seconds() - before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the Python kernels are replaced
        ctypes.CDLL(str(kernels))
    empty, relu = torch.empty, torch.relu
    x, host = torch.empty(1, device=name), torch.empty(1)
    device = torch.device(name)
    kinds = {
        'torch.empty(1, device="cuda")': ("names a device", lambda: empty(1, device=name)),
        "torch.empty(1, device=device)": ("names a device", lambda: empty(1, device=device)),
        'x.to("cuda"), x is there': ("names a device", lambda: x.to(name)),
        "torch.relu(x)": ("names none", lambda: relu(x)),
        "x.detach()": ("names none", lambda: x.detach()),
        "x.shape": ("names none", lambda: x.shape),
        "torch.empty(1) on the host": ("names none", lambda: empty(1)),
        "x.device": ("asks for the place", lambda: x.device),
        "x.is_cuda": ("asks for the place", lambda: x.is_cuda),
        "x.device of a host tensor": ("asks for the place", lambda: host.device),
    }
    return {"calls": {label: (kind, least(call, calls)) for label, (kind, call) in kinds.items()}, "start_s": started}


def least(call, calls, parts=40):
    """Microseconds of one call: the least over parts of the whole."""
    per, best = max(1, calls // parts), float("inf")
    for _ in range(parts):
        start = time.thread_time_ns()
        for _ in range(per):
            call()
        best = min(best, (time.thread_time_ns() - start) / per / 1e3)
    return best


def start(side, layer):
    """Torch with the chip, and its name for a script."""
    if side == "layer":
        from forebay.porting.shim import load
        from forebay.porting.shim.carrier import Carrier

        load.install(Carrier("chip", "for the benchmark", layer, "fakechip"), cards=1)
        return "cuda"
    from forebay.porting.shim.build import find_torch

    folder = find_torch().folder / "lib"
    for library in ("libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
    stand_in = ctypes.PyDLL(str(layer))
    from forebay.porting.shim.chip import fakechip

    stand_in.forebay_stand_in(1)
    fakechip.start(fakechip, 1, lambda: None)
    return "fakechip"


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(line):
    print(f"forebay: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
