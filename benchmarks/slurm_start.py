"""How much later a run's first line comes through the Slurm engine than through bare sbatch.

    python benchmarks/slurm_start.py [--rounds 7] [--way commands|rest] [--json]

Starts a Slurm of its own (root; tests/centre/slurm/site.py) and submits, in turn, the same script: with `sbatch` alone, as a
person would, and to Forebay's engine. On one node and over two; each rank notes the time on its first line, and the last one
counts from the moment before submitting. Peer: bare `sbatch` with `python first.py` on one node, `srun python first.py` over two.
Bar: at most 1.0 s later, median. Slurm lets a batch job wait up to 3 s before it looks at it (batch_sched_delay), at random: that
is set to 0 here, so that the rest can be seen. The engine's own looks at Slurm are as in production.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stopwatch

BAR_S = 1.0
SCRIPT = "import time\nprint(time.time_ns(), flush=True)\n"
WHERE = {"one node": ("a1",), "two nodes": ("a1", "a2")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--way", choices=["commands", "rest"], default="commands")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    result = measure(asked.rounds, asked.way)
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    for where in WHERE:
        mine, peer, more = (result[f"{where}, {name}_s"] for name in ("forebay", "sbatch", "more"))
        judged = f"bar +{BAR_S} s: {stopwatch.verdict(more, BAR_S)}"
        print(f"{where:10} forebay {mine:5.2f} s   sbatch {peer:5.2f} s   {more:+5.2f} s   {judged}")
    print(stopwatch.machine_line())


def measure(rounds: int, way: str) -> dict[str, Any]:
    site = site_module()
    if lacks := site.missing():
        raise SystemExit(lacks)
    home = Path(tempfile.mkdtemp(prefix="forebay-bench-"))
    with site.Site(extra=("SchedulerParameters=batch_sched_delay=0,sched_min_interval=0",)) as slurm:
        engine = join(home, slurm, way)
        try:
            taken: dict[tuple[str, str], list[float]] = {(where, side): [] for where in WHERE for side in ("forebay", "sbatch")}
            for number in range(rounds + 1):
                for where, nodes in WHERE.items():
                    for side in ("forebay", "sbatch") if number % 2 else ("sbatch", "forebay"):
                        name = f"b{number}{len(nodes)}-1"
                        took = through_forebay(engine, home, name, nodes) if side == "forebay" else bare(slurm, home, name, nodes)
                        if number:  # the first round warms the disk
                            taken[where, side].append(took)
        finally:
            engine.close()
            shutil.rmtree(home, ignore_errors=True)
    result: dict[str, Any] = {"way": way, "rounds": rounds, "bar_s": BAR_S, **stopwatch.machine()}
    for where in WHERE:
        mine, peer = taken[where, "forebay"], taken[where, "sbatch"]
        result[f"{where}, forebay_s"] = round(statistics.median(mine), 3)
        result[f"{where}, sbatch_s"] = round(statistics.median(peer), 3)
        result[f"{where}, more_s"] = round(statistics.median(a - b for a, b in zip(mine, peer, strict=True)), 3)
    return result


def site_module() -> Any:
    """The site that the tests use; it needs no pytest."""
    path = Path(__file__).resolve().parents[1] / "tests" / "centre" / "slurm" / "site.py"
    spec = importlib.util.spec_from_file_location("slurm_site", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slurm_site"] = module
    spec.loader.exec_module(module)
    return module


def join(home: Path, slurm: Any, way: str, **pauses: Any) -> Any:
    """An engine over that site."""
    from forebay.centre.settings import Settings
    from forebay.centre.slurm.commands import Commands, environment
    from forebay.centre.slurm.engine import Slurm
    from forebay.centre.slurm.rest import Rest, Tokens

    variables = environment(str(slurm.conf))
    transport: Any = Commands(conf=str(slurm.conf))
    if way == "rest":
        transport = Rest(slurm.rest, user="root", tokens=Tokens(home, variables), variables=variables)
    engine = Slurm(home, Settings(base={"*": sys.executable}), transport, variables=variables, **pauses)
    while not engine.nodes():
        time.sleep(0.05)
    return engine


def bundle(home: Path, script: str) -> str:
    """Pack a script as first.py, and lay it into a centre's store. Returns its hash."""
    from forebay.centre import layout

    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        member = tarfile.TarInfo("first.py")
        member.size = len(script)
        tar.addfile(member, io.BytesIO(script.encode()))
    sha256 = hashlib.sha256(body.getvalue()).hexdigest()
    layout.bundle(home, sha256).write_bytes(body.getvalue())
    return sha256


def through_forebay(engine: Any, home: Path, name: str, nodes: tuple[str, ...]) -> float:
    from forebay.centre.spec import Phase, Share, Spec

    sha256 = bundle(home, SCRIPT)
    shares = tuple(Share(node=node, cards=(0,)) for node in nodes)
    began_ns = time.time_ns()
    handle = engine.launch(
        Spec(name=name, job=name[:-2], organisation="acme", chip="ascend-910b", shares=shares, bundle=sha256, entry="first.py")
    )
    while (seen := engine.look(handle)).phase is not Phase.ENDED:
        time.sleep(0.05)
    lines = []
    marks: dict[str, int] = {}
    while (piece := engine.read_log(handle, marks, 2**20)) is not None:
        marks[piece.share] = piece.end
        lines += [json.loads(line)["text"] for line in piece.body.splitlines()]
    if seen.exit_code != 0:
        raise SystemExit(f"{seen.reason}: {lines}")
    engine.forget(handle)
    return (max(int(line) for line in lines if line.isdigit()) - began_ns) / 1e9


def bare(slurm: Any, home: Path, name: str, nodes: tuple[str, ...]) -> float:
    script, said = home / "first.py", home / f"{name}.bare"
    script.write_text(SCRIPT)
    size = [f"--nodes={len(nodes)}", f"--nodelist={','.join(nodes)}", "--ntasks-per-node=1", "--gres=npu:1", "--mem=1000"]
    start = f"{sys.executable} {script}" if len(nodes) == 1 else f"srun {sys.executable} {script}"
    env: Mapping[str, str] = slurm.env
    began_ns = time.time_ns()
    command = ["sbatch", "--parsable", *size, f"--output={said}", f"--wrap={start}"]
    subprocess.run(command, env=dict(env), check=True, stdout=subprocess.DEVNULL)
    while not said.exists() or len(lines := said.read_text().split()) < len(nodes):
        time.sleep(0.02)
    return (max(map(int, lines)) - began_ns) / 1e9


if __name__ == "__main__":
    main()
