"""What Forebay costs on a Ray cluster: time to a job's first line, seconds until a dead node is noticed, and the agent at rest.

    python benchmarks/ray_overhead.py [--rounds 5] [--json]

A real cluster of a head and two nodes is started on this machine, with Ray's own settings. Each round starts the same script by a
launch of the engine whose hand is there (warm), by one whose hand has been let go (cold), and by bare `ray job submit`, and takes
the time from there to the script's first line. Then nodes are killed under runs. Peer: bare `ray job submit`. Bars: the first
line at most 1.0 s later than under it, warm and cold; a dead node noticed within 15 s; the agent's side at rest under 80 MB and
1 % of a core.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import stopwatch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "centre" / "ray"))

BAR_S, BAR_DEATH_S, BAR_MB, BAR_CPU = 1.0, 15.0, 80.0, 1.0
REST_S = 30.0
SCRIPT = "import time\nprint('first', time.time_ns(), flush=True)\n"
FOREVER = "import time\nprint('first', time.time_ns(), flush=True)\ntime.sleep(3600)\n"
CHIPS = {"NPU": "ascend-910b"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    result = measure(asked.rounds)
    print(json.dumps(result) if asked.json else "\n".join(sentences(result)))


def measure(rounds: int) -> dict[str, Any]:
    from cluster import Cluster, Host

    folder = Path(tempfile.mkdtemp(prefix="fbb"))
    folder.chmod(0o755)
    cluster = Cluster(folder, (Host(name="a1", resources={"NPU": 8}), Host(name="a2", resources={"NPU": 8})), system={})
    try:
        starts = time_starts(cluster, folder, rounds)
        rest = at_rest(cluster, folder / "rest")
        deaths = [one_death(cluster, folder / f"death{number}") for number in range(max(rounds // 2, 1))]
    finally:
        with stopwatch.undisturbed():
            cluster.end()
            shutil.rmtree(folder, ignore_errors=True)
    return {
        **starts,
        **rest,
        "death_s": [round(ours, 1) for ours, _ in deaths],
        "ray_says_s": [round(rays, 1) for _, rays in deaths],
        **stopwatch.machine(),
    }


def time_starts(cluster: Any, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds to the first line, each way, in turn."""
    site = Site(cluster, folder / "centre")
    site.start("warmup-1")
    taken: dict[str, list[float]] = {"warm": [], "cold": [], "bare": []}
    for number, side in enumerate(stopwatch.in_turn(tuple(taken), rounds)):
        if side == "bare":
            taken[side].append(bare(cluster, folder))
            continue
        if side == "cold":
            site.engine._let_go()
        else:
            until(lambda: site.engine._hand is not None and site.engine.nodes())
            time.sleep(3)
        taken[side].append(site.start(f"{side}{number}-1"))
    site.engine.close()
    return {f"{side}_s": [round(one, 2) for one in all_] for side, all_ in taken.items()}


class Site:
    """A centre on the cluster."""

    def __init__(self, cluster: Any, home: Path, *, dashboard: bool = False) -> None:
        from forebay.centre.ray.engine import Ray

        self.home = home
        self.engine = Ray(home, settings(cluster, dashboard=dashboard))
        until(self.engine.nodes)

    def start(self, name: str, code: str = SCRIPT, nodes: tuple[str, ...] = ("a1",)) -> float:
        """Seconds from the launch to the first line."""
        from forebay.centre import layout
        from forebay.centre.spec import Share, Spec

        body = pack(code)
        sha256 = hashlib.sha256(body).hexdigest()
        layout.bundle(self.home, sha256).write_bytes(body)
        shares = tuple(Share(node=node, cards=(0,)) for node in nodes)
        job = name.rpartition("-")[0]
        spec = Spec(
            name=name, job=job, organisation="b", chip="ascend-910b", shares=shares, bundle=sha256, entry="main.py", pretend=True
        )
        began_ns = time.time_ns()
        handle = self.engine.launch(spec)
        line = until(lambda: self.engine.read_log(handle, {}))
        first_ns = int(json.loads(line.body.splitlines()[0])["text"].split()[1])
        if code == SCRIPT:
            until(lambda: self.engine.look(handle).outcome)
        return (first_ns - began_ns) / 1e9


def bare(cluster: Any, folder: Path) -> float:
    """The same script by `ray job submit`."""
    code = folder / "bare"
    code.mkdir(exist_ok=True)
    (code / "main.py").write_text(SCRIPT)
    began_ns = time.time_ns()
    command = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--address", cluster.dashboard]
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [*command, "--working-dir", str(code), "--", sys.executable, "main.py"],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("first "))
    return (int(line.split()[1]) - began_ns) / 1e9


def one_death(cluster: Any, home: Path) -> tuple[float, float]:
    """Seconds until a run is lost whose node was killed; and until Ray itself says that the node is dead."""
    site = Site(cluster, home)
    site.start("killed-1", FOREVER, ("a1", "a2"))
    handle = site.engine.handles()["killed-1"]
    until(lambda: site.engine.look(handle).running_at_ns)
    cluster.kill_node("a2")
    began_s = time.monotonic()
    ours = rays = 0.0
    while not (ours and rays):
        if not ours and site.engine.look(handle).outcome is not None:
            ours = time.monotonic() - began_s
        if not rays and "a2" not in cluster.alive():
            rays = time.monotonic() - began_s
        time.sleep(0.1)
    site.engine.close()
    cluster.mend()
    return ours, rays


def at_rest(cluster: Any, home: Path) -> dict[str, float]:
    """What the agent's process weighs and takes while nothing goes on and the dashboard is asked for the nodes."""
    home.mkdir()
    code = (
        "import sys, time, json\nfrom pathlib import Path\nfrom forebay.centre import agent\n"
        "from forebay.centre.ray.engine import Ray\nfrom forebay.centre.settings import Settings\n"
        "from forebay.codec import decode\n"
        "engine = Ray(Path(sys.argv[1]), decode(Settings, json.loads(sys.argv[2])))\n"
        "while True:\n    engine.nodes(), engine.states(), engine.handles()\n    time.sleep(agent.REST_S)\n"
    )
    from forebay.codec import encode

    told = json.dumps(encode(settings(cluster, dashboard=True)))
    process = subprocess.Popen([sys.executable, "-c", code, str(home), told])
    try:
        time.sleep(10)
        before = cpu_s(process.pid)
        time.sleep(REST_S)
        used = cpu_s(process.pid) - before
        rss = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
        return {"rest_mb": round(int(rss.split()[1]) / 1024, 1), "rest_cpu_percent": round(100 * used / REST_S, 2)}
    finally:
        process.kill()
        process.wait()


def settings(cluster: Any, *, dashboard: bool) -> Any:
    from forebay.centre.settings import RaySettings, Settings

    ray = RaySettings(address=cluster.address, dashboard=cluster.dashboard if dashboard else "", chips=CHIPS)
    return Settings(engine="ray", name="b", base={"*": sys.executable}, pretend=True, check="never", ray=ray)


def pack(code: str) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tar:
        member = tarfile.TarInfo("main.py")
        member.size, member.mode = len(code), 0o644
        tar.addfile(member, io.BytesIO(code.encode()))
    return body.getvalue()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def until(look: Callable[[], Any], patience_s: float = 120.0) -> Any:
    until_s = time.monotonic() + patience_s
    while not (found := look()):
        if time.monotonic() > until_s:
            raise SystemExit("it didn't come about in time")
        time.sleep(0.01)
    return found


def sentences(result: dict[str, Any]) -> list[str]:
    middle = {side: statistics.median(result[f"{side}_s"]) for side in ("warm", "cold", "bare")}
    lines = [f"first line      bare `ray job submit` {middle['bare']:.2f} s (medians of {len(result['bare_s'])})"]
    for side in ("warm", "cold"):
        more = middle[side] - middle["bare"]
        lines.append(f"  {side:13} {middle[side]:.2f} s: {more:+.2f} s, bar +{BAR_S:.1f}: {stopwatch.verdict(more, BAR_S)}")
    worst = max(result["death_s"])
    lines.append(
        f"a node's death  noticed after {worst:.1f} s at worst, bar {BAR_DEATH_S:.0f}: {stopwatch.verdict(worst, BAR_DEATH_S)}"
    )
    lines.append(f"  Ray itself    says so after {max(result['ray_says_s']):.1f} s, by its own settings")
    mb, percent = result["rest_mb"], result["rest_cpu_percent"]
    lines.append(f"at rest         {mb:.0f} MB, bar {BAR_MB:.0f}: {stopwatch.verdict(mb, BAR_MB)}")
    lines.append(f"                {percent:.2f} % of a core, bar {BAR_CPU:.0f}: {stopwatch.verdict(percent, BAR_CPU)}")
    return [*lines, stopwatch.machine_line()]


if __name__ == "__main__":
    main()
