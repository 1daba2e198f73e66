"""A whole training step on twelve fabrics of 10,000 cards, whole and broken in three ways: how fast is it worked out?

    python benchmarks/fabric_steps.py [--data FILE] [--json] [--only KIND ...]

Tensor, data, pipeline, expert and context traffic (presets dense-405b, dense-405b-long and moe-671b, H100) on hosts of eight
cards. States: whole; one link, one leaf, one spine down. Where there is no link between switches, leaf or spine, the nearest
thing breaks: a port, a NIC, a host. A NIC's only port down leaves its card cut off, so the job stops: that is an answer too.
Bar: 300 CPU seconds for all 144 steps, building included. Each line says what a fabric took and how slow a step it gives. The
data file isn't needed.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fabric_clock import clocked, parser, peak_gb, tell

from forebay.chips.catalogue import find
from forebay.errors import BadInput
from forebay.fabric.build import build, propose
from forebay.fabric.choose import routing_for
from forebay.fabric.design import ScaleUp
from forebay.fabric.health import Fault, broken
from forebay.fabric.presets import preset
from forebay.fabric.step import step
from forebay.fabric.timing import place
from forebay.fabric.traffic import Traffic

BAR_CPU_S = 300.0
CARDS, PER_HOST = 10_000, 8
MODELS = ("dense-405b", "dense-405b-long", "moe-671b")
NVLINK = ScaleUp(cards=PER_HOST, bytes_per_s=450e9)
FABRICS: dict[str, dict[str, Any]] = {
    "clos-3": {},
    "rail-optimised": {},
    "rail-only": {"switch_ports": 64},
    "hpn": {"switch_ports": 128},
    "mpft": {},
    "multi-plane": {"planes": 8},
    "dragonfly": {},
    "dragonfly-plus": {},
    "slim-fly": {},
    "hyperx": {},
    "torus": {},
    "nd-full-mesh": {},
}
STATES = {"whole": (), "link down": ("link", "port"), "leaf down": ("leaf", "nic"), "spine down": ("spine", "host")}


def main() -> None:
    words: argparse.ArgumentParser = parser(__doc__)
    words.add_argument("--only", nargs="+", choices=FABRICS, default=list(FABRICS), metavar="KIND", help="some of the fabrics")
    asked = words.parse_args()
    traffics = [preset(model, CARDS, find("h100-sxm")) for model in MODELS]
    _, first_use = clocked(warm)
    rows: list[dict[str, Any]] = []
    for kind in asked.only:
        for state in STATES:
            (hurt, seconds), cpu_s = clocked(lambda kind=kind, state=state: states(kind, state, traffics))
            print(f"{kind}, {state}: {cpu_s:.1f} CPU s", file=sys.stderr, flush=True)
            told = ", ".join("stops" if s == float("inf") else f"{s:.2f} s" for s in seconds)
            rows.append({"what": f"{kind}, {state}", "figure": cpu_s, "unit": "CPU s", "note": f"{hurt}steps {told}"})
    whole = {"what": f"{len(rows) * len(MODELS)} steps in all", "figure": sum(row["figure"] for row in rows), "unit": "CPU s"}
    if len(rows) == len(FABRICS) * len(STATES):
        whole["bar"] = BAR_CPU_S
    tell([*rows, whole], first_use, as_json=asked.json, peak_gb=peak_gb())


def warm() -> None:
    """Compile what all of them call, on 128 cards."""
    for kind in ("clos-2", "hyperx", "torus"):
        at = place(build(propose(kind, 16, scale_up=NVLINK)), routing_for(propose(kind, 16)))
        step(at, preset("dense-405b", 128, find("h100-sxm")))


def states(kind: str, state: str, traffics: list[Traffic]) -> tuple[str, list[float]]:
    wiring = build(propose(kind, CARDS // PER_HOST, scale_up=NVLINK, **FABRICS[kind]))
    said, hurt = "", wiring
    for what in STATES[state]:
        try:
            said, hurt = f"{what} 0 down; ", broken(wiring, (Fault(kind=what, number=0),))
            break
        except BadInput:
            continue  # it has none of these
    at = place(hurt, routing_for(wiring.design))
    return said, [step(at, traffic).seconds for traffic in traffics]


if __name__ == "__main__":
    main()
