"""How truly the simulated CUDA device computes: torch's own operator database on it, against the CPU.

    python benchmarks/porting_opinfo.py [--samples 1] [--only NAME] [--cache DIR] [--json]

Each entry of torch's OpInfo database runs its sample inputs on the CPU and on the simulated device, from the same seeds, and
the results are compared: forward in fp32, bf16 and fp16; then, in fp32, the gradients with respect to every input that takes
one, for a cotangent drawn once. Sides agree by torch.testing.assert_close's own tolerances, with the same number format and
shape. Children do the work, so that a crash costs one verdict.

Bars: 99.5 % of the forward verdicts, 99 % of the backward ones. Not counted, and listed with the reason: operators that torch
has for CUDA only, so that the CPU has nothing to compare with, and what the CPU itself fails at. Of operators whose results are
uninitialised memory (`empty` and its kin), shape and format are compared.
Needs the package expecttest, which torch's test modules import.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMATS = ("float32", "bfloat16", "float16")
BARS = {"forward": 0.995, "backward": 0.99}
PATIENCE_S = 120.0  # for one entry
SEED = 20261122


@dataclass(frozen=True)
class Verdict:
    """What one entry did in one number format and one direction. Not a timing."""

    entry: str
    format: str
    direction: str  # "forward" or "backward"
    said: str  # "equal", "wrong", "error", "crash", "timeout" or "excluded"
    why: str = ""

    @property
    def counts(self) -> bool:
        return self.said != "excluded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1, help="sample inputs of each entry and format (default 1)")
    parser.add_argument("--only", default="", help="entries whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="children at a time (default 2)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "forebay" / "shim", help="of the compiled device")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        work(json.loads(args.child), args.samples, args.only)
        return
    began = time.perf_counter()
    verdicts = measure(args)
    show(verdicts, time.perf_counter() - began, args.json)


# ---------------------------------------------------------------- the parent


def measure(args: argparse.Namespace) -> list[Verdict]:
    from forebay.porting.shim import load
    from forebay.porting.shim.build import build
    from forebay.porting.shim.carrier import Carrier

    carrier = Carrier("simulated", "for the benchmark", build(args.cache, say=lambda line: print(line, file=sys.stderr)))
    environment = {**os.environ, **load.child_environment(carrier, 1), "OMP_NUM_THREADS": "1"}
    shards: list[list[Verdict]] = [[] for _ in range(args.jobs)]
    threads = [
        threading.Thread(target=one_shard, args=(args, environment, number, shards[number])) for number in range(args.jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted((v for shard in shards for v in shard), key=lambda v: (v.entry, v.format, v.direction))


def one_shard(args: argparse.Namespace, environment: dict[str, str], number: int, verdicts: list[Verdict]) -> None:
    """Every jobs-th entry, in a child that is started again after the entry that ended it."""
    after = -1
    while True:
        child = json.dumps({"shard": number, "of": args.jobs, "after": after})
        words = [sys.executable, __file__, "--child", child, "--samples", str(args.samples), "--only", args.only]
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        entry = ""
        late = threading.Event()

        def kill(process: Any = process, late: Any = late) -> None:
            late.set()
            process.kill()

        timer = threading.Timer(PATIENCE_S * 2, kill)  # the first also waits for the import of the database
        timer.start()
        for line in process.stdout:
            said = json.loads(line)
            timer.cancel()
            if "begin" in said:
                after, entry = said["begin"], said["entry"]
            else:
                verdicts.extend(Verdict(**one) for one in said["verdicts"])
                entry = ""
            timer = threading.Timer(PATIENCE_S, kill)
            timer.start()
        timer.cancel()
        code = process.wait()
        if code == 0:
            return
        if not entry:
            raise SystemExit(f"a child ended with {code} between two entries; is expecttest installed?")
        how = "timeout" if late.is_set() else "crash"
        verdicts.append(Verdict(entry, "float32", "forward", how, f"exit code {code}"))


def show(verdicts: list[Verdict], seconds: float, as_json: bool) -> None:
    rates = {}
    for direction in BARS:
        counted = [v for v in verdicts if v.direction == direction and v.counts]
        rates[direction] = sum(v.said == "equal" for v in counted) / max(1, len(counted))
    if as_json:
        print(json.dumps({"seconds": seconds, "rates": rates, "bars": BARS, "verdicts": [asdict(v) for v in verdicts]}))
        return
    for v in verdicts:
        if v.said not in ("equal", "excluded"):
            print(f"{v.said:8} {v.direction:8} {v.format:8} {v.entry}: {v.why[:150]}")
    reasons = Counter(v.why for v in verdicts if v.said == "excluded")
    for why, count in reasons.most_common(12):
        print(f"excluded {count:5}  {why[:130]}")
    print()
    for direction, bar in BARS.items():
        for format in FORMATS:
            counted = [v for v in verdicts if (v.direction, v.format) == (direction, format) and v.counts]
            if counted:
                print(f"{direction:8} {format:8} {sum(v.said == 'equal' for v in counted):5} of {len(counted):5} equal")
        rate = rates[direction]
        print(f"{direction:8} {'all':8} {100 * rate:.2f} %  (bar {100 * bar:.1f} %: {'kept' if rate >= bar else 'MISSED'})")
    print(f"{seconds:.0f} s")


# ---------------------------------------------------------------- a child


def work(shard: dict[str, int], samples: int, only: str) -> None:
    warnings.simplefilter("ignore")
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    torch.set_num_threads(1)
    for number, op in enumerate(op_db):
        if number % shard["of"] != shard["shard"] or number <= shard["after"] or only not in op.name:
            continue
        entry = op.name + ("." + op.variant_test_name if op.variant_test_name else "")
        print(json.dumps({"begin": number, "entry": entry}), flush=True)
        verdicts = [asdict(v) for v in verdicts_of(op, entry, samples)]
        print(json.dumps({"verdicts": verdicts}), flush=True)


def verdicts_of(op: Any, entry: str, samples: int) -> Iterator[Verdict]:

    if "jiterator" in op.name:
        yield Verdict(entry, "float32", "forward", "excluded", "torch has it for CUDA only (its compiler needs a GPU)")
        return
    supported = sorted(str(dtype).removeprefix("torch.") for dtype in op.supported_dtypes("cpu"))
    if not supported:
        yield Verdict(entry, "float32", "forward", "excluded", "the CPU has no such operator to compare with")
        return
    formats = [name for name in FORMATS if name in supported] or supported[:1]
    uninitialised = "empty" in op.name.split(".")[-1]
    for name in formats:
        yield compare(op, entry, name, samples, uninitialised)
    if op.supports_autograd and "float32" in formats and not uninitialised:
        yield compare_gradients(op, entry, samples)


def compare(op: Any, entry: str, format: str, samples: int, uninitialised: bool) -> Verdict:
    import torch

    def said(word: str, why: object = "") -> Verdict:
        return Verdict(entry, format, "forward", word, str(why).strip().replace("\n", " ")[:400])

    try:
        inputs = taken(op, getattr(torch, format), samples, requires_grad=False)
    except Exception as error:
        return said("excluded", f"no sample inputs: {type(error).__name__}")
    for sample in inputs:
        try:
            wanted = run(op, moved(sample, "cpu"))
        except Exception as error:
            return said("excluded", f"the CPU fails: {type(error).__name__}: {error}")
        try:
            found = run(op, moved(sample, "cuda"))
            agree(found, wanted, values=not uninitialised)
        except AssertionError as error:
            return said("wrong", error)
        except Exception as error:
            return said("error", f"{type(error).__name__}: {error}")
    return said("equal", "shape and format only: its values are uninitialised memory" if uninitialised else "")


def compare_gradients(op: Any, entry: str, samples: int) -> Verdict:
    import torch

    def said(word: str, why: object = "") -> Verdict:
        return Verdict(entry, "float32", "backward", word, str(why).strip().replace("\n", " ")[:400])

    try:
        inputs = taken(op, torch.float32, samples, requires_grad=True)
    except Exception as error:
        return said("excluded", f"no sample inputs: {type(error).__name__}")
    compared = 0
    for sample in inputs:
        try:
            wanted = gradients(op, moved(sample, "cpu"))
        except Exception as error:
            return said("excluded", f"the CPU fails: {type(error).__name__}: {error}")
        if not wanted:
            continue
        try:
            agree(gradients(op, moved(sample, "cuda")), wanted)
        except AssertionError as error:
            return said("wrong", error)
        except Exception as error:
            return said("error", f"{type(error).__name__}: {error}")
        compared += 1
    return said("equal") if compared else said("excluded", "no result of the samples takes a gradient")


def taken(op: Any, dtype: Any, samples: int, *, requires_grad: bool) -> list[Any]:
    import torch

    torch.manual_seed(SEED)
    return list(itertools.islice(op.sample_inputs("cuda", dtype, requires_grad=requires_grad), samples))


def moved(sample: Any, device: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with what is on the card on this device: tensors of their own, and the words that name a device."""
    import torch
    from torch.utils._pytree import tree_map

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):  # what a sample has on the host stays there, as on a card
            fresh = value.detach().to(device if value.is_cuda else value.device, copy=True)
            return fresh.requires_grad_(value.requires_grad)
        if isinstance(value, torch.device) and value.type == "cuda":
            return torch.device(device)
        if isinstance(value, str) and value.partition(":")[0] == "cuda":
            return device
        return value

    return [tree_map(move, sample.input), *tree_map(move, sample.args)], tree_map(move, sample.kwargs)


def run(op: Any, call: tuple[list[Any], dict[str, Any]]) -> Any:
    import torch

    torch.manual_seed(SEED)
    with contextlib.redirect_stdout(sys.stderr):
        return op(*call[0], **call[1])


def gradients(op: Any, call: tuple[list[Any], dict[str, Any]]) -> list[Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    results = [r for r in tree_leaves(run(op, call)) if isinstance(r, torch.Tensor) and r.requires_grad]
    if not results:
        return []
    torch.manual_seed(SEED + 1)
    cotangents = [torch.randn(r.shape, dtype=r.dtype).to(r.device) for r in results]
    if any(r.layout != torch.strided for r in results):
        cotangents = [c.to_sparse() if r.layout == torch.sparse_coo else c for c, r in zip(cotangents, results, strict=True)]
    leaves = [leaf for leaf in tree_leaves(call) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    return list(torch.autograd.grad(results, leaves, cotangents, allow_unused=True))


def agree(found: Any, wanted: Any, *, values: bool = True) -> None:
    """Raise AssertionError where results differ in kind, place, shape, format or value."""
    import torch
    from torch.utils._pytree import tree_leaves

    found, wanted = tree_leaves(found), tree_leaves(wanted)
    assert len(found) == len(wanted), f"{len(found)} results, not {len(wanted)}"
    for mine, cpus in zip(found, wanted, strict=True):
        assert type(mine) is type(cpus), f"{type(mine)} is not {type(cpus)}"
        if not isinstance(cpus, torch.Tensor):
            assert mine == cpus or mine != mine or isinstance(cpus, (torch.device, str)), f"{mine} is not {cpus}"
            continue
        assert (mine.shape, mine.dtype, mine.layout) == (cpus.shape, cpus.dtype, cpus.layout), (
            f"{mine.shape} {mine.dtype} {mine.layout} is not {cpus.shape} {cpus.dtype} {cpus.layout}"
        )
        assert mine.device.type == "cuda" or cpus.device.type == "meta", f"the result is on {mine.device}"
        if values:
            torch.testing.assert_close(mine.cpu(), cpus, equal_nan=True)


if __name__ == "__main__":
    main()
