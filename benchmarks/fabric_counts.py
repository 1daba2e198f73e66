"""Published fabrics, built and counted: do switches and cables come out as published? And how fast are large ones built?

    python benchmarks/fabric_counts.py [--data FILE] [--recalled] [--json]

Bars: no figure of a record that was seen, derived or measured differs; 131,072 endpoints are built within 5 CPU seconds a family.
Records that describe no wiring are listed with the reason, slips of a source with what is wrong. The default file is the
project's own copy; `--recalled` shows records from memory too, which are held against nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from stopwatch import machine, machine_line, verdict

from forebay.errors import BadInput
from forebay.fabric.build import build, propose
from forebay.fabric.published import Case, figures, read

BAR_CPU_S = 5.0
LARGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("clos-3", {"switch_ports": 128}),
    ("rail-optimised", {"switch_ports": 128}),
    ("rail-only", {"switch_ports": 256}),
    ("multi-plane", {"planes": 8}),
    ("hpn", {"switch_ports": 128}),
    ("dragonfly", {}),
    ("dragonfly-plus", {}),
    ("slim-fly", {"switch_ports": 128}),
    ("hyperx", {"switch_ports": 128}),
    ("torus", {}),
    ("nd-full-mesh", {}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="records in the format of fabric.json (default: the project's copy)")
    parser.add_argument("--recalled", action="store_true", help="show records from memory too")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")
    asked = parser.parse_args()
    held = [row for case in read(asked.data) if case.status != "recalled" or asked.recalled for row in [hold(case)]]
    fast = [timed(kind, more) for kind, more in LARGE]
    differ = sum(row["verdict"] == "differs" for row in held if row["status"] != "recalled")
    slowest = max(row["cpu_s"] for row in fast)
    if asked.json:
        bars = {"differ": differ, "bar_differ": 0, "slowest_cpu_s": slowest, "bar_cpu_s": BAR_CPU_S}
        print(json.dumps({"records": held, "built": fast, **bars, "machine": machine()}, indent=2))
        return
    for row in held:
        print(f"{row['id']:<5}{row['status']:<10}{row['kind']:<16}{row['verdict']:<10}{row['words']}")
    met = sum(row["verdict"] == "met" for row in held)
    print(f"{met} records met, {differ} differ; bar 0 that differ: {verdict(differ, 0)}")
    for row in fast:
        sizes = f"{row['cards']:>9,} cards {row['routers']:>9,} routers {row['cables']:>9,} cables"
        print(f"{row['kind']:<16}{sizes} {row['cpu_s']:6.2f} CPU s")
    print(f"slowest {slowest:.2f} CPU s; bar {BAR_CPU_S:.0f}: {verdict(slowest, BAR_CPU_S)}")
    print(machine_line())


def hold(case: Case) -> dict[str, Any]:
    row: dict[str, Any] = {"id": case.id, "status": case.status, "kind": case.design.kind if case.design else "-"}
    if case.design is None:
        return row | {"verdict": "no wiring", "words": case.refused}
    told = dict(case.published)
    try:
        found = figures(case)
    except BadInput as no:
        words = case.slip or f"{no.text} {no.found}"
        return row | {"verdict": "slip" if case.slip else "differs", "words": words, "published": told}
    wrong = {name: (told[name], found[name]) for name in told if told[name] != found[name]}
    words = ", ".join(f"{name} {published:,} published, {ours:,} built" for name, (published, ours) in wrong.items())
    more = [case.note] * bool(case.note) + [f"slip: {case.slip}"] * bool(case.slip)
    met = ", ".join(f"{name} {n:,}" for name, n in told.items()) + "".join(f" ({words})" for words in more)
    return row | {"verdict": "differs" if wrong else "met", "words": words or met, "published": told, "built": found}


def timed(kind: str, more: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds of one build of 131,072 cards, the second of two: the first may pay for imports."""
    build(propose(kind, 64, **more))
    start = time.process_time()
    w = build(propose(kind, 16_384, **more))
    spent = time.process_time() - start
    return {"kind": kind, "cards": w.cards, "routers": w.routers, "cables": len(w.cable_a) + len(w.port_unit), "cpu_s": spent}


if __name__ == "__main__":
    main()
