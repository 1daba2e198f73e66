"""How long it takes from `forebay run` to the script's first line, against bare torchrun.

    python benchmarks/run_start.py [--rounds 5] [--no-cold] [--json]

Both start the same script (SCRIPT below) as two ranks, in turn, from the same Python. Each rank notes the time on its first
line, and again when it has imported torch and joined the process group; the later rank counts. Peer: bare
`torchrun --nproc-per-node 2`. Bar: the first line at most 1.5 s later than under torchrun. The script takes "nccl" where
torch has a cuda device, which on a CPU is Forebay's simulated one, and "gloo" else: so on a machine without a GPU the bare
side runs over gloo.

The bar is for the usual case, in which the centre has a standby: an idle process that has imported torch already. The cold
case, a run that comes while there is none, is shown as information: the standby is killed just before.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import stopwatch

BAR_S = 1.5
RANKS = 2
PATIENCE_S = 240.0
SCRIPT = """\
import time
first_ns = time.time_ns()
import json, sys
import torch
import torch.distributed as dist
backend = "nccl" if torch.cuda.is_available() else "gloo"
dist.init_process_group(backend)
joined_ns = time.time_ns()
dist.barrier()
sys.stdout.write(json.dumps({"first_ns": first_ns, "joined_ns": joined_ns, "backend": backend}) + "\\n")
sys.stdout.flush()
dist.destroy_process_group()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-cold", action="store_true", help="leave the cold case out")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    result = measure(asked.rounds, cold=not asked.no_cold)
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'':16}{'first line':>12}{'joined':>12}   whole command")
    for side, name in (("warm", "forebay run"), ("cold", "  cold"), ("peer", "torchrun")):
        if f"{side}_first_s" in result:
            figures = (
                f"{result[f'{side}_first_s']:10.2f} s{result[f'{side}_joined_s']:10.2f} s{result[f'{side}_whole_s']:14.2f} s"
            )
            print(f"{name:16}{figures}   {result[f'{side}_cpu_s']:.2f} s of its CPU, {result[f'{side}_backend']}")
    print(f"ratio           {result['ratio']:10.2f}")
    print(f"difference      {result['more_s']:+10.2f} s   bar +{BAR_S} s: {stopwatch.verdict(float(result['more_s']), BAR_S)}")
    print(stopwatch.machine_line())


def measure(rounds: int, *, cold: bool) -> dict[str, float | str]:
    stopwatch.compile_device()
    sides = ["peer", "warm", *(["cold"] if cold else [])]
    taken: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    backends: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
        os.chmod(folder, 0o711)  # root's jobs run as a user of their own, who must find the way to their folders
        script = Path(folder) / "start.py"
        script.write_text(SCRIPT)
        with a_cloud(Path(folder)) as (env, agent):
            for side in sides:  # once for the disk, the compiled modules and the compiled device
                settle(agent)
                one_start(side, script, env, agent)
            for side in stopwatch.in_turn(sides, rounds):
                settle(agent)
                figures, backends[side] = one_start(side, script, env, agent)
                taken[side].append(figures)
    result: dict[str, float | str] = {f"{side}_backend": backend for side, backend in backends.items()}
    for side in sides:
        for name in taken[side][0]:
            result[f"{side}_{name}"] = statistics.median(one[name] for one in taken[side])
    firsts = [(ours["first_s"], peer["first_s"]) for ours, peer in zip(taken["warm"], taken["peer"], strict=True)]
    result["ratio"] = statistics.median(ours / peer for ours, peer in firsts)
    result["more_s"] = statistics.median(ours - peer for ours, peer in firsts)
    return {**result, "bar_s": BAR_S, "rounds": rounds, "ranks": RANKS, **stopwatch.machine()}


@contextmanager
def a_cloud(folder: Path) -> Iterator[tuple[dict[str, str], int]]:
    """A cloud with an organisation; gives the environment in which commands find it, and its agent's process id."""
    unset = ("FOREBAY_URL", "FOREBAY_KEY")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"FOREBAY_DATA": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    said = folder / "said"
    stopwatch.spent(stopwatch.forebay("up", "--port", "0"), env=env, output=said)
    try:
        stopwatch.spent(stopwatch.forebay("org", "make", "acme", "--project", "research"), env=env, output=said)
        yield env, json.loads((folder / "data" / "agent.pid").read_text())["pid"]
    finally:
        with stopwatch.undisturbed():
            stopwatch.spent(stopwatch.forebay("down", "--stop-runs"), env=env, output=said)


def one_start(side: str, script: Path, env: dict[str, str], agent: int) -> tuple[dict[str, float], str]:
    """Start the script once; returns the moments, counted from the command's start, and the backend that it took."""
    said = script.with_name("said")
    argv = stopwatch.forebay("run", "--cards", str(RANKS), "--project", "acme/research", str(script))
    if side == "peer":
        argv = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            str(RANKS),
            "--master-port",
            free_port(),
            str(script),
        ]
    if side == "cold":
        os.kill(standby_of(agent), signal.SIGKILL)
    began_ns = time.time_ns()
    whole = stopwatch.spent(argv, env={**env, "OMP_NUM_THREADS": "1"}, output=said)
    lines = [json.loads(line[line.index("{") :]) for line in said.read_text().splitlines() if '"first_ns"' in line]
    if len(lines) != RANKS:
        raise SystemExit(f"{len(lines)} of {RANKS} ranks reported: {said.read_text()}")
    figures = {
        "first_s": (max(line["first_ns"] for line in lines) - began_ns) / 1e9,
        "joined_s": (max(line["joined_ns"] for line in lines) - began_ns) / 1e9,
        "whole_s": whole.wall_s,
        "cpu_s": whole.cpu_s,
    }
    return figures, lines[0]["backend"]


def free_port() -> str:
    """torchrun's own default port may be taken by another's run."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def settle(agent: int) -> None:
    """Wait until the centre has done what it does by itself: compiled its device, and a standby has imported torch."""
    until, quiet = time.monotonic() + PATIENCE_S, 0
    before = -1.0
    while quiet < 4:
        if time.monotonic() > until:
            raise SystemExit(f"the centre didn't come to rest within {PATIENCE_S:.0f} s")
        time.sleep(0.5)
        family = descendants(agent)
        now = sum(cpu_s(pid) for pid in family)
        words = [word for pid in family for word in words_of(pid)]
        ready = "--standby" in words and "forebay.porting.shim" not in words
        quiet = quiet + 1 if ready and now - before < 0.03 else 0
        before = now


def standby_of(agent: int) -> int:
    return next(pid for pid in descendants(agent) if "--standby" in words_of(pid))


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and that those started; itself not among them."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout.split()
    parents = {int(child): int(parent) for child, parent in zip(listed[::2], listed[1::2], strict=True)}
    found: list[int] = []
    level = {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found += level
    return found


def words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has just ended
        return []


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far (proc(5), stat fields 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
