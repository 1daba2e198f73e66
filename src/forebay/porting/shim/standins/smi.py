"""nvidia-smi for a run without a GPU.

Asked:  nvidia-smi, with the options that scripts use
Answer: board.py's cards as the table, as a list (-L), as comma-separated fields (--query-gpu=... --format=csv[,noheader,
        nounits]), as the processes (--query-compute-apps=...: none, it sees no process but itself), or as XML (-q -x). The
        table and the XML say on their face that the cards are simulated by Forebay; so does the name in the others.
Limits: what isn't measured is [N/A], as NVIDIA prints it. Bytes held by other processes are not seen: used is 0. Options that
        would set something are refused.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from xml.sax.saxutils import escape

from forebay.porting.shim.standins.board import DRIVER, Board, boards_of

MIB = 2**20
CUDA = "12.8"
CAPABILITY = "8.0"
NOT_HERE = "[N/A]"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "(Forebay's stand-in: this process is not part of a carried run.)"
)
PROCESS_FIELDS = (
    "pid",
    "process_name",
    "name",
    "used_memory",
    "used_gpu_memory",
    "gpu_uuid",
    "gpu_name",
    "gpu_bus_id",
    "timestamp",
)

Field = Callable[[Board, int], str]
FIELDS: Mapping[str, tuple[str, Field]] = {  # unit, value; a field with a unit is printed with it
    "index": ("", lambda board, count: str(board.index)),
    "name": ("", lambda board, count: board.name),
    "count": ("", lambda board, count: str(count)),
    "uuid": ("", lambda board, count: board.uuid),
    "pci.bus_id": ("", lambda board, count: board.bus),
    "driver_version": ("", lambda board, count: DRIVER),
    "compute_cap": ("", lambda board, count: CAPABILITY),
    "compute_mode": ("", lambda board, count: "Default"),
    "pstate": ("", lambda board, count: "P0"),
    "timestamp": ("", lambda board, count: time.strftime("%Y/%m/%d %H:%M:%S.000")),
    "memory.total": ("MiB", lambda board, count: str(board.total // MIB)),
    "memory.used": ("MiB", lambda board, count: str(board.used // MIB)),
    "memory.free": ("MiB", lambda board, count: str((board.total - board.used) // MIB)),
    "memory.reserved": ("MiB", lambda board, count: "0"),
    "utilization.gpu": ("%", lambda board, count: str(board.busy)),
    "utilization.memory": ("%", lambda board, count: str(round(100 * board.used / board.total))),
}
SAME = {"gpu_name": "name", "gpu_uuid": "uuid", "gpu_bus_id": "pci.bus_id", "compute_capability": "compute_cap"}
UNMEASURED = (
    "temperature.",
    "power.",
    "clocks.",
    "fan.",
    "ecc.",
    "pcie.",
    "mig.",
    "display_",
    "persistence_mode",
    "vbios",
    "serial",
)


def main(words: list[str], environment: Mapping[str, str]) -> int:
    boards = boards_of(environment)
    if not boards:
        print(NO_DRIVER)
        return 9
    options = dict(word.lstrip("-").partition("=")[::2] for word in _joined(words))
    chosen = _chosen(boards, options.get("i") or options.get("id"))
    if chosen is None:
        print("No devices were found")
        return 6
    if "query-gpu" in options:
        return _query(chosen, len(boards), options["query-gpu"].split(","), options.get("format", ""))
    if "query-compute-apps" in options:
        return _query_processes(options["query-compute-apps"].split(","), options.get("format", ""))
    known = {"", "L", "list-gpus", "q", "query", "x", "xml-format", "i", "id"}
    strange = sorted(set(options) - known)
    if strange:
        print(f"Invalid combination of input arguments. (Forebay's stand-in doesn't know: {', '.join(strange)}.)")
        return 2
    if "L" in options or "list-gpus" in options:
        print("\n".join(f"GPU {board.index}: {board.name} (UUID: {board.uuid})" for board in chosen))
    else:
        print(_xml(chosen) if {"x", "xml-format"} & set(options) else _table(chosen))
    return 0


def _joined(words: list[str]) -> list[str]:
    """The options with their values behind an equals sign: NVIDIA's takes both forms."""
    joined: list[str] = []
    for word in words:
        if not word.startswith("-") and joined and "=" not in joined[-1]:
            joined[-1] += "=" + word
        else:
            joined.append(word)
    return joined


def _chosen(boards: list[Board], text: str | None) -> list[Board] | None:
    if not text:
        return boards
    asked = text.split(",")
    found = [board for board in boards if {str(board.index), board.uuid, board.bus} & set(asked)]
    return found if len(found) == len(asked) else None


def _query(boards: list[Board], count: int, asked: list[str], form: str) -> int:
    names = [SAME.get(name.strip(), name.strip()) for name in asked]
    for name, said in zip(names, asked):  # noqa: B905  # Python 3.9 has no `strict`
        if name not in FIELDS and not name.startswith(UNMEASURED):
            print(f'Field "{said.strip()}" is not a valid field to query.')
            return 2
    bare = "nounits" in form
    units = [FIELDS[name][0] if name in FIELDS else "" for name in names]
    if "noheader" not in form:
        print(", ".join(said.strip() + (f" [{unit}]" if unit else "") for said, unit in zip(asked, units)))  # noqa: B905
    for board in boards:
        values = [FIELDS[name][1](board, count) if name in FIELDS else NOT_HERE for name in names]
        print(", ".join(value if bare or not unit else f"{value} {unit}" for value, unit in zip(values, units)))  # noqa: B905
    return 0


def _query_processes(asked: list[str], form: str) -> int:
    for name in asked:
        if name.strip() not in PROCESS_FIELDS:
            print(f'Field "{name.strip()}" is not a valid field to query.')
            return 2
    if "noheader" not in form:
        print(", ".join(name.strip() for name in asked))
    return 0


def _table(boards: list[Board]) -> str:
    edge = "+" + "-" * 93 + "+"
    lines = [
        time.strftime("%a %b %d %H:%M:%S %Y"),
        edge,
        f"| {f'NVIDIA-SMI {DRIVER}   Driver Version: {DRIVER}   CUDA Version: {CUDA}':<91} |",
        f"| {'SIMULATED BY FOREBAY: there is no NVIDIA GPU behind these cards (docs/libraries.md)':<91} |",
        edge,
    ]
    for board in boards:
        memory = f"{board.used // MIB}MiB / {board.total // MIB}MiB"
        lines.append(f"| {board.index:>3}  {board.name:<41} {board.bus:<18} {memory:>25} |")
        lines.append(f"| {'':>3}  {'N/A  N/A  P0   N/A / N/A':<41} {f'{board.busy}%':<18} {'Default':>25} |")
    return "\n".join([*lines, edge, f"| {'Processes: not seen by this stand-in':<91} |", edge])


def _xml(boards: list[Board]) -> str:
    lines = ['<?xml version="1.0" ?>', "<!-- simulated by Forebay: there is no NVIDIA GPU -->", "<nvidia_smi_log>"]
    lines += [f"<timestamp>{time.ctime()}</timestamp>", f"<driver_version>{DRIVER}</driver_version>"]
    lines += [f"<cuda_version>{CUDA}</cuda_version>", f"<attached_gpus>{len(boards)}</attached_gpus>"]
    for board in boards:
        memory = {"total": board.total, "reserved": 0, "used": board.used, "free": board.total - board.used}
        lines += [f'<gpu id="{board.bus}">', f"<product_name>{escape(board.name)}</product_name>", f"<uuid>{board.uuid}</uuid>"]
        lines += [
            "<fb_memory_usage>",
            *(f"<{name}>{size // MIB} MiB</{name}>" for name, size in memory.items()),
            "</fb_memory_usage>",
        ]
        lines += [f"<utilization><gpu_util>{board.busy} %</gpu_util></utilization>", "<processes></processes>", "</gpu>"]
    return "\n".join([*lines, "</nvidia_smi_log>"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
