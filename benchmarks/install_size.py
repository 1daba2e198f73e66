"""How much an installation weighs.

    python benchmarks/install_size.py [--json]

Makes a fresh virtual environment for each case, weighs it, installs with plain pip from a copy of this repository's source,
and weighs it again: all files, compiled modules included, in MB of 10^6 bytes. Bars: at most 40 MB added by `pip install .`,
the client alone; at most 130 MB by `pip install '.[cloud]'`; and torch in neither. The ratio is to the bar: there is no peer
of the same make.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import stopwatch

ROOT = Path(__file__).resolve().parent.parent
BARS_MB = {".": 40.0, ".[cloud]": 130.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
        source = copy_of_source(Path(folder))
        found = [install(Path(folder) / f"venv-{number}", source, what) for number, what in enumerate(BARS_MB)]
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for case in found:
        size = f"{case['added_mb']:6.1f} MB   ratio to the bar {case['ratio']:.2f}   bar {case['bar_mb']:.0f} MB: "
        size += stopwatch.verdict(case["added_mb"], case["bar_mb"])
        print(f"pip install {case['what']:<12}{size}")
        torch = "torch is among them: MISSED" if case["brings_torch"] else "no torch"
        print(f"{'':24}{case['packages']} packages, {torch}, {case['seconds']:.0f} s")


def copy_of_source(folder: Path) -> Path:
    """What pip needs, in a folder where its build may leave things."""
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT / "src", source / "src", ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    return source


def install(home: Path, source: Path, what: str) -> dict[str, Any]:
    """Install `what`, "." or ".[extra]", into a new environment, and weigh what came."""
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    packages = next((home / "lib").glob("python*")) / "site-packages"
    before_mb, there = megabytes(home), names(packages)
    began = time.perf_counter()
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # or pip's own compiled modules would count
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", what]
    done = subprocess.run(command, cwd=source, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"pip install {what} ended with {done.returncode}: {done.stderr.strip()}")
    seconds = time.perf_counter() - began
    came = names(packages) - there
    added_mb = megabytes(home) - before_mb
    return {
        "what": what,
        "added_mb": added_mb,
        "bar_mb": BARS_MB[what],
        "ratio": added_mb / BARS_MB[what],
        "packages": len(came),
        "names": sorted(came),
        "brings_torch": "torch" in came,
        "seconds": seconds,
    }


def names(packages: Path) -> set[str]:
    return {found.metadata["Name"].lower() for found in importlib.metadata.distributions(path=[str(packages)])}


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file()) / 1e6


if __name__ == "__main__":
    main()
