"""A plan as torchrun lines: which hosts start how many processes, in which order.

Asked:  what is started on which host, so that each rank finds itself on the chip that its stage wants?
Answer: one line a kind of host. Ranks count stages slowest, so hosts of one run of stages are neighbours; where hosts of several
        kinds take part, each is given its place ($NODE_RANK), else they find each other (c10d rendezvous).
        (torch/distributed/run.py of PyTorch 2.13; its StaticTCPRendezvous keeps the order, hosts may differ in processes.)
Limits: torchrun only starts processes. The plan itself lies beside, as plan.json, for the script to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from forebay.codec import encode
from forebay.errors import BadInput
from forebay.plan.export.exported import Exported, rank_chips
from forebay.plan.model import Workload
from forebay.plan.plan import Plan

PORT = 29500
SCRIPT = "train.py"


def export(work: Workload, plan: Plan, *, hosts: Mapping[str, int], script: str = "") -> Exported:
    body = json.dumps({"workload": encode(work), "plan": encode(plan)}, indent=1) + "\n"
    lines, notes = launch(plan, hosts, script or f"{SCRIPT} --plan plan.json")
    notes = ("torchrun starts the processes; the script must read the plan from plan.json and follow it.", *notes)
    return Exported(target="torchrun", files={"plan.json": body}, lines=lines, notes=notes)


def launch(plan: Plan, hosts: Mapping[str, int], script: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines, one a kind of host, and notes on where they are run. `script` is as it stands after torchrun's own words."""
    runs = host_runs(plan, hosts)
    nodes = sum(n for _, n, _ in runs)
    sorts = list(dict.fromkeys((chip, each) for chip, _, each in runs))
    if nodes == 1:
        return (f"torchrun --standalone --nnodes=1 --nproc-per-node={runs[0][2]} {script}",), ()
    if len(sorts) == 1:
        meet = f"--rdzv-backend=c10d --rdzv-endpoint=$HEAD_HOST:{PORT} --rdzv-id=forebay"
        line = f"torchrun --nnodes={nodes} --nproc-per-node={runs[0][2]} {meet} {script}"
        return (line,), (f"Run the line on each of the {nodes} hosts, with HEAD_HOST set to one of them.",)
    lines = dict.fromkeys(
        f"torchrun --nnodes={nodes} --nproc-per-node={each} --node-rank=$NODE_RANK"
        f" --master-addr=$HEAD_HOST --master-port={PORT} {script}"
        for _, each in sorts
    )
    return tuple(lines), (f"Ranks follow the stages: {_places(runs)}. HEAD_HOST is the host of NODE_RANK 0.",)


def host_runs(plan: Plan, hosts: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """(chip, hosts, cards of each that take part) for each run of stages on one chip, in the order of ranks."""
    runs = []
    for chip, cards in rank_chips(plan):
        each = hosts[chip]
        if each < 1:
            raise BadInput("A host has at least one card.", asked=f"{each} cards a host of {chip}")
        if cards < each and plan.cards == cards:
            each = cards  # a part of one host
        if cards % each:
            raise BadInput(
                "The plan's cards don't fill whole hosts.",
                asked=f"{cards} cards of {chip}, {each} a host",
                hint=f"{cards // each * each or each} or {-(-cards // each) * each} cards; or say how many cards a host has",
            )
        runs.append((chip, cards // each, each))
    return runs


def places(runs: list[tuple[str, int, int]]) -> list[tuple[str, int, int, int]]:
    """(chip, first host, last host, cards each) of each run."""
    found, first = [], 0
    for chip, n, each in runs:
        found.append((chip, first, first + n - 1, each))
        first += n
    return found


def _places(runs: list[tuple[str, int, int]]) -> str:
    return ", ".join(
        f"NODE_RANK {first}" + (f" to {last}" if last > first else "") + f" on hosts of {each} {chip}"
        for chip, first, last, each in places(runs)
    )
