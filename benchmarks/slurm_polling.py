"""What it costs to keep an eye on a Slurm site: the engine at rest, and with runs, over 48 real nodes and 1,000 simulated ones.

    python benchmarks/slurm_polling.py [--seconds 120] [--nodes 1048] [--way commands|rest] [--json]

Starts a Slurm of its own (root; tests/centre/slurm/site.py) with 48 slurmd and as many more nodes as asked, which only slurmctld
believes in. A process of its own holds the engine and asks it what the agent's loop asks: once a second at rest, five times a
second while runs go on. Its CPU seconds count with those of every command that it starts. Bars: at rest under 1 % of a core and
80 MB. Peer: none; a question per node, as a naive watcher would ask, is measured for comparison (ratio).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import slurm_start
import stopwatch

BAR_PERCENT, BAR_MB = 1.0, 80.0
REAL = 48
RUNS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of watching, at rest and again with runs")
    parser.add_argument("--nodes", type=int, default=1048, help="in all; 48 of them are real")
    parser.add_argument("--way", choices=["commands", "rest"], default="commands")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--watch", nargs=3, metavar=("HOME", "CONF", "REST"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    if asked.watch:
        print(json.dumps(watch(*asked.watch, asked.way, asked.seconds)))
        return
    result = measure(asked.seconds, asked.nodes, asked.way)
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    kept = stopwatch.verdict(result["rest_percent"], BAR_PERCENT), stopwatch.verdict(result["rest_mb"], BAR_MB)
    print(f"{result['nodes']} nodes, {asked.way}")
    print(f"at rest       {result['rest_percent']:6.2f} % of a core, bar {BAR_PERCENT}: {kept[0]}")
    print(f"memory        {result['rest_mb']:6.1f} MB, bar {BAR_MB}: {kept[1]}   with runs {result['runs_mb']:.1f} MB")
    print(f"{RUNS} runs        {result['runs_percent']:6.2f} % of a core")
    each = f"node by node {result['each_cpu_s']:.2f}, ratio {result['ratio']:.0f}"
    print(f"one look      {result['look_cpu_s']:6.3f} CPU s for all nodes; {each}")
    print(stopwatch.machine_line())


def measure(seconds: float, nodes: int, way: str) -> dict[str, Any]:
    site = slurm_start.site_module()
    if lacks := site.missing():
        raise SystemExit(lacks)
    machines = [site.Machine(name=f"n{i:02d}", gres="npu:ascend910b:8") for i in range(REAL)]
    home = Path(tempfile.mkdtemp(prefix="forebay-bench-"))
    # The simulated ones would be called down after a while: they are, and it costs the same.
    with site.Site([*machines, *site.simulated(max(nodes - REAL, 0))], slurmd_timeout_s=300) as slurm:
        try:
            command = [
                sys.executable,
                __file__,
                "--way",
                way,
                "--seconds",
                str(seconds),
                "--watch",
                str(home),
                str(slurm.conf),
                slurm.rest,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            result["each_cpu_s"] = node_by_node(slurm, [machine.name for machine in machines[:10]]) / 10 * nodes
            result["ratio"] = result["each_cpu_s"] / result["look_cpu_s"]
        finally:
            shutil.rmtree(home, ignore_errors=True)
    return {"way": way, "nodes": nodes, "bar_percent": BAR_PERCENT, "bar_mb": BAR_MB, **result, **stopwatch.machine()}


def watch(home: str, conf: str, rest: str, way: str, seconds: float) -> dict[str, float]:
    """In a process of its own: hold the engine, ask it as the agent does, and say what that cost."""
    from forebay.centre.spec import Phase, Share, Spec

    where = type("Where", (), {"conf": conf, "rest": rest})
    engine = slurm_start.join(Path(home), where, way)
    began = spent()
    engine._watch.transport.machines()
    look_cpu_s = spent() - began
    time.sleep(3)
    rest_percent = ask(engine, seconds, 1.0)
    rest_mb = memory_mb()
    sha256 = slurm_start.bundle(Path(home), "import time\ntime.sleep(600)\n")
    for i in range(RUNS):
        share = (Share(node=f"n{i:02d}", cards=(0, 1)),)
        name = f"w{i}-1"
        engine.launch(
            Spec(name=name, job=f"w{i}", organisation="acme", chip="ascend-910b", shares=share, bundle=sha256, entry="first.py")
        )
    while any(engine.look(handle).phase is not Phase.RUNNING for handle in engine.handles().values()):
        time.sleep(0.2)
    runs_percent = ask(engine, seconds, 0.2)
    engine.close()
    return {
        "rest_percent": rest_percent,
        "rest_mb": rest_mb,
        "runs_percent": runs_percent,
        "runs_mb": memory_mb(),
        "look_cpu_s": look_cpu_s,
    }


def ask(engine: Any, seconds: float, pause_s: float) -> float:
    """Per cent of a core that it took."""
    began, until = spent(), time.monotonic() + seconds
    kept = (engine.nodes(), engine.states())
    while time.monotonic() < until:
        for handle in engine.handles().values():
            engine.look(handle)
            engine.read_log(handle, {}, 2**20)
            engine.progress(handle)
        kept = (engine.nodes(), engine.states())
        time.sleep(pause_s)
    assert kept[0]
    return 100 * (spent() - began) / seconds


def spent() -> float:
    """CPU seconds of this process and of all commands that it has seen end."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def memory_mb() -> float:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def node_by_node(slurm: Any, names: list[str]) -> float:
    began = spent()
    for name in names:
        slurm.ask("scontrol", "-o", "-d", "show", "node", name)
    return spent() - began


if __name__ == "__main__":
    main()
