"""How fast are plans searched? CPU seconds of one process.

    python benchmarks/plan_speed.py [--json]

Bars: 50,000 plans priced a second a core (space, memory and time; peers: Calculon 70 to 350, SimuMax 6 to 50); the whole space of
GPT-3 175B on 4,096 H100 in 2 s and on 10,752 in 3 s (Calculon 2,156 and 2,840 s); DeepSeek-V3 on 16,384 cards of three kinds with
unequal stages in 30 s; Llama 3 8B on 8 cards in 0.5 s after import, and the import in 0.3 s, both in fresh processes. Searches
include what `forebay plan` prints beside the menu, above all five searches more for what would help.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import stopwatch

from forebay.plan.framework import framework
from forebay.plan.knowledge import known
from forebay.plan.model import Workload
from forebay.plan.one_kind import fitted
from forebay.plan.plan import Menu
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset
from forebay.plan.search import search
from forebay.plan.space import space
from forebay.plan.time import step
from forebay.plan.wishes import Wishes

THREE = "h100-sxm:8192,a100-sxm-80gb:4096,h200:4096"
IMPORT = "import time; t = time.process_time(); import forebay.plan.search; print(time.process_time() - t)"
LAPTOP = """
import time
from forebay.plan.model import Workload
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset
from forebay.plan.search import search
from forebay.plan.wishes import Wishes
t = time.process_time()
search(Workload(model=preset("llama-3-8b"), sequences=64, tokens=8192), pool("h100-sxm:8"), Wishes())
print(time.process_time() - t)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print everything for programs")
    asked = parser.parse_args()
    rows = [
        _row("import forebay.plan.search", fresh(IMPORT), 0.3, ""),
        _row("Llama 3 8B on 8 H100, fresh process", fresh(LAPTOP), 0.5, ""),
        _priced(),
        _searched("GPT-3 175B on 4,096 H100", "gpt-3-175b", 2048, "h100-sxm:4096", 2.0, "Calculon 2,156 s"),
        _searched("GPT-3 175B on 10,752 H100", "gpt-3-175b", 2688, "h100-sxm:10752", 3.0, "Calculon 2,840 s"),
        _searched("DeepSeek-V3 on 16,384 cards of 3 kinds", "deepseek-v3", 16384, THREE, 30.0, "none"),
    ]
    if asked.json:
        json.dump({"rows": rows, **stopwatch.machine()}, sys.stdout, indent=1)
        print()
        return
    for row in rows:
        print(f"{row['what']:42} {row['figure']:>10,.2f} {row['unit']}, bar {row['bar']:,} {row['verdict']}; {row['note']}")
    print(stopwatch.machine_line())


def fresh(code: str) -> float:
    """CPU seconds that a new process prints: the least of three, so that the file cache is warm."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout)
        for _ in range(3)
    )


def _priced() -> dict[str, Any]:
    work = Workload(model=preset("deepseek-v3"), sequences=16384, tokens=4096, number_format="fp8")
    cards, software = pool("h100-sxm:16384").cards[0], framework("megatron")
    knows = known(cards, "fp8", software)

    def price() -> int:
        cuts, needs = fitted(work, space(work, cards, Wishes(), software), knows.room(Wishes().spare), Wishes())
        step(work, knows.site, cuts)
        return len(needs)

    price()  # tables are read on first use
    count, spent = _spent(price)
    row = _row(
        "plans a second, DeepSeek-V3 on 16,384", count / spent, 50_000, f"{count:,} plans; Calculon 70 to 350, SimuMax 6 to 50"
    )
    return {**row, "unit": "a second", "verdict": "kept" if count / spent >= 50_000 else "MISSED"}


def _searched(what: str, model: str, sequences: int, on: str, bar: float, peer: str) -> dict[str, Any]:
    shape = preset(model)
    work = Workload(model=shape, sequences=sequences, tokens=4096 if shape.experts else 2048)
    menu, spent = _spent(lambda: search(work, pool(on), Wishes()))
    assert isinstance(menu, Menu)
    return _row(what, spent, bar, f"{menu.searched:,} plans; peer: {peer}")


def _spent(what: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    found = what()
    return found, time.process_time() - began


def _row(what: str, figure: float, bar: float, note: str) -> dict[str, Any]:
    return {"what": what, "figure": figure, "unit": "CPU s", "bar": bar, "verdict": stopwatch.verdict(figure, bar), "note": note}


if __name__ == "__main__":
    main()
