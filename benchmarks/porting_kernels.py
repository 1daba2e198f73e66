"""Kernels written for a card, on the host: how far are their results from torch's own?

    python benchmarks/porting_kernels.py [--projects DIR] [--cache DIR] [--only NAME] [--json]

Without DIR the kernels of our own (tests/porting/kernels/own). With it every `NAME.kernels.py` in DIR, beside the project
that it is for; docs/kernels.md says what a recipe holds. Each recipe runs in a process of its own, under the simulated card.
Bars: an error of at most 1e-5 against plain torch for at least 12 .cu kernels and 8 Triton kernels of public projects.
The error is the largest difference, divided by the largest value wanted where that is over 1.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "tests" / "porting" / "kernels" / "own"
BAR = 1e-5


class Tools:
    """What a recipe gets: nvcc as a Makefile would call it, and calls with tensors for pointers."""

    def __init__(self, build: Path) -> None:
        self.build = build

    def compile(self, sources: list[Path], *flags: str) -> ctypes.CDLL:
        from torch.utils.cpp_extension import CUDA_HOME

        words = [str(source) for source in sources]
        self.build.mkdir(parents=True, exist_ok=True)
        library = self.build / (hashlib.sha256("\0".join([*words, *flags]).encode()).hexdigest()[:12] + ".so")
        command = [f"{CUDA_HOME}/bin/nvcc", "-O2", "-shared", "-Xcompiler", "-fPIC", *flags, *words, "-o", str(library)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))

    def call(self, library: ctypes.CDLL, name: str, *arguments: object) -> int:
        plain = [ctypes.c_void_p(one.data_ptr()) if hasattr(one, "data_ptr") else one for one in arguments]
        return int(getattr(library, name)(*plain))


def error_of(got, wanted) -> float:
    """The largest difference, in parts of the largest value wanted where that is over 1."""
    got, wanted = got.detach().cpu().double(), wanted.detach().cpu().double()
    if got.shape != wanted.shape or not bool(got.isfinite().all()):
        return float("inf")
    return float((got - wanted).abs().max() / max(1.0, float(wanted.abs().max()))) if got.numel() else 0.0


def run_one(recipe: Path, build: Path) -> None:
    """In the carried process: print each kernel as a line of JSON."""
    name = recipe.name.partition(".")[0]
    folder = recipe.parent / name if (recipe.parent / name).is_dir() else recipe.parent
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("recipe", recipe)
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipe"] = module
    spec.loader.exec_module(module)
    found = module.kernels(folder, Tools(build))
    while True:
        start, busy = time.monotonic(), time.process_time()
        try:
            kernel, got, wanted = next(found)
        except StopIteration:
            return
        line = {
            "project": module.PROJECT, "kind": module.KIND, "kernel": kernel, "error": error_of(got, wanted),
            "seconds": round(time.monotonic() - start, 3), "cpu_s": round(time.process_time() - busy, 3),
        }  # fmt: skip
        print("KERNEL " + json.dumps(line), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--projects", type=Path, default=OWN, help="a folder with recipes, NAME.kernels.py (default: our own kernels)"
    )
    parser.add_argument("--cache", type=Path, help="where the simulated card is kept")
    parser.add_argument("--only", default="", help="recipes whose name has this in it")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        run_one(asked.one, asked.build)
        return 0
    results, failed = [], []
    for recipe in sorted(asked.projects.glob("*.kernels.py")):
        if asked.only in recipe.name:
            lines, words = carried(recipe, asked.cache)
            results += lines
            failed += [{"recipe": recipe.name, "words": words}] if words else []
    if asked.json:
        print(json.dumps({"bar": BAR, "kernels": results, "failed": failed}, indent=1))
    else:
        show(results, failed)
    return int(bool(failed) or not results or any(one["error"] > BAR for one in results))


def carried(recipe: Path, cache: Path | None) -> tuple[list[dict], str]:
    where = ["--cache", str(cache)] if cache else []
    build = Path(os.environ.get("TMPDIR", "/tmp")) / f"forebay-kernels-{os.getuid()}"
    command = [
        sys.executable,
        "-m",
        "forebay.porting.shim",
        *where,
        __file__,
        "--one",
        str(recipe.resolve()),
        "--build",
        str(build),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    lines = [json.loads(line[7:]) for line in ended.stdout.splitlines() if line.startswith("KERNEL ")]
    return lines, "" if ended.returncode == 0 else ended.stderr[-2000:]


def show(results: list[dict], failed: list[dict]) -> None:
    print(f"{'project':34} {'kind':7} {'kernel':44} {'error':>9} {'cpu s':>7}")
    for one in results:
        print(f"{one['project']:34} {one['kind']:7} {one['kernel']:44} {one['error']:9.1e} {one['cpu_s']:7.2f}")
    for kind in sorted({one["kind"] for one in results}):
        good = sum(one["error"] <= BAR for one in results if one["kind"] == kind)
        print(f"{kind}: {good} of {sum(one['kind'] == kind for one in results)} within {BAR:g}")
    for one in failed:
        print(f"{one['recipe']} ended badly:\n{one['words']}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
