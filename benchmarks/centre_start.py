"""How long it takes from submitting a script to its first line, on Slurm and on Ray, with Forebay and without.

    python benchmarks/centre_start.py [--engine slurm|ray|both] [--rounds 10] [--json]

A real Slurm site (slurmctld, two slurmd) and a real Ray cluster (a head and two nodes) are started on this machine, joined to
a cloud as their operator would join them, and given the same script in turn: by Forebay's SDK, and by the peer's own way,
`sbatch` and Ray's job submission. Two moments are noted: the script's first line, by its own clock, and when whoever submitted
it has read that line: from the log stream, from the output file, from Ray's log. Peers: bare sbatch, and Ray's own job client
in a process that has it imported (the command `ray job submit` is slower by its own start). Bar: at
most 1.0 s more than the peer.

Needs root and Debian's slurm-wlm, munge, slurmrestd and slurm-wlm-jwt-plugin for Slurm, and forebay[ray] for Ray. All nodes share
this machine's cores, so the figures are larger than a site's; the difference is what the bar is about.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import stopwatch  # noqa: E402
from tests.centre.slurm import site as slurm_site  # noqa: E402
from tests.cloud.clouds import Cloud, torn_down, until  # noqa: E402

BAR_S = 1.0
PATIENCE_S = 90.0
SCRIPT = "import time\nprint('first', time.time_ns(), flush=True)\n"
Start = Callable[[], tuple[float, float]]
"""Submits once. Returns the seconds until the script's first line, and until it was read."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("slurm", "ray", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    engines = ("slurm", "ray") if asked.engine == "both" else (asked.engine,)
    result = {engine: measure(engine, asked.rounds) for engine in engines}
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    for engine, found in result.items():
        print(f"{engine:8}{'first line':>12}{'read':>10}")
        for side in ("forebay", "peer"):
            print(f"  {found[f'{side}_name']:20}{found[f'{side}_first_s']:8.2f} s{found[f'{side}_read_s']:8.2f} s")
        print(f"  difference          {found['more_s']:+8.2f} s   bar +{BAR_S} s: {stopwatch.verdict(found['more_s'], BAR_S)}")
        print(
            f"  read                {found['more_read_s']:+8.2f} s; ratio {found['ratio']:.2f}; medians of {asked.rounds} rounds"
        )
    print(stopwatch.machine_line())


def measure(engine: str, rounds: int) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fb-b-", dir="/tmp")))
        folder.chmod(0o711)
        script = folder / "first.py"
        script.write_text(SCRIPT)
        cloud = stack.enter_context(torn_down(Cloud()))
        cloud.serve()
        ours, peer, name = stack.enter_context({"slurm": slurm, "ray": ray}[engine](cloud, folder, script))
        ours(), peer()  # the first of each is warmer of files and processes than any later one
        taken: dict[str, list[tuple[float, float]]] = {"forebay": [], "peer": []}
        for number in range(rounds):
            for side, start in (("forebay", ours), ("peer", peer))[:: 1 if number % 2 else -1]:
                taken[side].append(start())
    found: dict[str, Any] = {"forebay_name": "forebay", "peer_name": name, "rounds": rounds}
    for side, figures in taken.items():
        found[f"{side}_first_s"] = statistics.median(first for first, _ in figures)
        found[f"{side}_read_s"] = statistics.median(read for _, read in figures)
    found["more_s"] = found["forebay_first_s"] - found["peer_first_s"]
    found["more_read_s"] = found["forebay_read_s"] - found["peer_read_s"]
    found["ratio"] = found["forebay_first_s"] / found["peer_first_s"]
    return found


@contextmanager
def slurm(cloud: Cloud, folder: Path, script: Path) -> Iterator[tuple[Start, Start, str]]:
    if why := slurm_site.missing():
        raise SystemExit(why)
    machines = tuple(slurm_site.Machine(name=f"a{i}", gres="npu:ascend910b:4") for i in (1, 2))
    with slurm_site.Site(machines) as site, joined(cloud, folder, "slurm", [], {"SLURM_CONF": str(site.conf)}):

        def peer() -> tuple[float, float]:
            out = folder / f"{time.time_ns()}.txt"
            begun = time.time_ns()
            wrap = f"exec {sys.executable} {script}"
            words = ["sbatch", "--parsable", "--gres=npu:1", "--mem=100", "--chdir=/", f"--output={out}", f"--wrap={wrap}"]
            subprocess.run(words, env=site.env, check=True, capture_output=True)
            until(lambda: out.exists() and b"\n" in out.read_bytes(), PATIENCE_S)
            return _seconds(begun, out.read_text())

        yield forebay(cloud, script, "ascend-910b"), peer, "sbatch"


@contextmanager
def ray(cloud: Cloud, folder: Path, script: Path) -> Iterator[tuple[Start, Start, str]]:
    from tests.centre.ray import cluster as ray_cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    (folder / "c").mkdir()
    hosts = tuple(ray_cluster.Host(name=f"r{i}", resources={"MTT": 4}, cpus=4) for i in (1, 2))
    cluster = ray_cluster.Cluster(folder / "c", hosts)
    words = ["--address", cluster.address, "--dashboard", cluster.dashboard, "--resource", "MTT=mtt-s4000"]
    try:
        from ray.job_submission import JobSubmissionClient

        client = JobSubmissionClient(cluster.dashboard)

        def peer() -> tuple[float, float]:
            begun = time.time_ns()
            job = client.submit_job(entrypoint=f"{sys.executable} {script}")
            said = until(lambda: _said(client.get_job_logs(job)), PATIENCE_S)
            return _seconds(begun, said)

        with joined(cloud, folder, "ray", words, {}):
            yield forebay(cloud, script, "mtt-s4000"), peer, "Ray's job client"
    finally:
        cluster.end()


@contextmanager
def joined(cloud: Cloud, folder: Path, engine: str, words: list[str], env: dict[str, str]) -> Iterator[None]:
    """The site as a centre of the cloud."""
    home, whole = folder / "centre", {**os.environ, **env}
    with cloud.client() as operator:
        _, token = operator.make_centre("site")
    told = [
        "centre",
        "join",
        cloud.url,
        "--token",
        token,
        "--engine",
        engine,
        "--pretend",
        "--home",
        str(home),
        "--check",
        "never",
    ]
    done = subprocess.run(stopwatch.forebay(*told, *words), env=whole, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    try:
        with cloud.client() as operator:
            until(lambda: any(centre["nodes"] for centre in operator.pool()["centres"]), PATIENCE_S)
        yield
    finally:
        subprocess.run(stopwatch.forebay("centre", "leave", "--home", str(home)), env=whole, capture_output=True)


def forebay(cloud: Cloud, script: Path, chip: str) -> Start:
    member = cloud.client(cloud.tenant("acme"))

    def start() -> tuple[float, float]:
        begun = time.time_ns()
        job = member.run(script, chips=[chip])["id"]
        line = next(line["text"] for line in member.logs(job, follow=True) if line["text"].startswith("first"))
        taken = _seconds(begun, line)
        member.wait(job, timeout_s=PATIENCE_S)
        return taken

    return start


def _said(text: str) -> str:
    """The script's line, if it is there."""
    return next((line for line in text.splitlines() if line.startswith("first ")), "")


def _seconds(begun_ns: int, line: str) -> tuple[float, float]:
    return (int(line.split()[1]) - begun_ns) / 1e9, (time.time_ns() - begun_ns) / 1e9


if __name__ == "__main__":
    main()
