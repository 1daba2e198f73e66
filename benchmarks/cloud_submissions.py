"""How many durable submissions a second, from clients of one job each; and how soon a restarted cloud decides.

    python benchmarks/cloud_submissions.py [--jobs 10000] [--clients 50] [--nodes 1000] [--batch 1000] [--json]

Starts a real cloud in a folder of its own. Each client waits for its answer (which comes after the journal is synced) before
it asks again; each request asks for one job or, with `--batch`, for so many, and carries an idempotency key of its own. The
clients speak HTTP over kept connections from one process on the same machine, so their CPU is taken from the cloud's. Then the
cloud is killed with SIGKILL and started again over the same journal, and the time is taken until it has decided: until a job
that was cancelled while nothing ran lets the next one in. Peer: Slurm documents 500 simple batch jobs a second
(https://slurm.schedmd.com/high_throughput.html), without waiting for a disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from forebay.centre.link import Link
from forebay.chips.node import Card, Node
from forebay.client import Client

PEER_PER_S = 500.0
BAR_PER_S = 5_000.0  # in batches
KEY = b"-" * 32  # stands for an idempotency key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument(
        "--nodes", type=int, default=0, help="beside the four cards: so many nodes of 8 cards, which jobs take too"
    )
    parser.add_argument("--batch", type=int, default=0, help="so many jobs a request; 0: one, through the address for one")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
        result = measure(Path(folder), asked.jobs, asked.clients, asked.nodes, asked.batch)
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    print(
        f"submissions     {result['per_s']:8.0f} /s   peer {PEER_PER_S:.0f} /s (Slurm, documented)   "
        f"ratio {result['per_s'] / PEER_PER_S:.2f}" + (f"   bar {BAR_PER_S:.0f} /s in batches" if asked.batch else "")
    )
    each = f" for {asked.batch} jobs" if asked.batch else ""
    print(f"answer time     {result['p50_ms']:8.1f} ms p50, {result['p99_ms']:.1f} ms p99{each}, {asked.clients} clients")
    print(f"cloud's CPU     {result['cloud_cpu_ms_per_job']:8.2f} ms a job")
    print(f"restart         {result['restart_s']:8.2f} s to the first decision, {result['jobs']} jobs in the journal")


def measure(folder: Path, jobs: int, clients: int, nodes: int = 0, batch: int = 0) -> dict[str, float]:
    cloud, address = start(folder)
    try:
        key, body = furnish(folder, address, nodes)
        before_s = cpu_s(cloud.pid)
        latencies, seconds = asyncio.run(submit_all(address, key, body, jobs, clients, batch))
        took_s = cpu_s(cloud.pid) - before_s
        cloud.send_signal(signal.SIGKILL)
        cloud.wait()
        started = time.perf_counter()
        cloud, address = start(folder)
        with Client(address, (folder / "operator.key").read_text().strip()) as operator:
            live = next(job for job in operator.jobs(phase="starting"))
            operator.cancel(live["id"])
            assert operator.job(live["id"])["phase"] == "stopping"
        restart_s = time.perf_counter() - started
        with Client(address, key) as tenant:
            newest = tenant.jobs(most=1)[0]
            assert newest["place"] == jobs, f"{newest['place']} of {jobs} acknowledged jobs are in the journal"
    finally:
        cloud.kill()
        cloud.wait()
    latencies.sort()
    return {
        "jobs": jobs,
        "clients": clients,
        "batch": batch,
        "per_s": jobs / seconds,
        "p50_ms": 1e3 * latencies[len(latencies) // 2],
        "p99_ms": 1e3 * latencies[int(0.99 * len(latencies))],
        "cloud_cpu_ms_per_job": 1e3 * took_s / jobs,
        "clients_cpu_s": resource.getrusage(resource.RUSAGE_SELF).ru_utime,
        "restart_s": restart_s,
    }


def cpu_s(pid: int) -> float:
    """What a process has used."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(float, ticks)) / os.sysconf("SC_CLK_TCK")


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    (folder / "address").unlink(missing_ok=True)
    cloud = subprocess.Popen([sys.executable, "-m", "forebay.cloud.serve", "--data", str(folder), "--port", "0"])
    while not (folder / "address").exists():
        assert cloud.poll() is None
        time.sleep(0.005)
    return cloud, (folder / "address").read_text().strip()


def furnish(folder: Path, address: str, nodes: int) -> tuple[str, dict[str, object]]:
    """An organisation with a key, a centre with four cards (and `nodes` nodes of another chip), a job's code; returns the key and
    the body of a submission, which may take either chip when there are such nodes.
    """
    with Client(address, (folder / "operator.key").read_text().strip()) as operator:
        operator.make_organisation("acme")
        operator.make_project("acme", "research")
        _, key = operator.make_key("acme/research")
    cards = tuple(Card(index=i) for i in range(4))
    others = tuple(Node(name=f"h{i}", chip="h100-sxm", cards=tuple(Card(index=c) for c in range(8))) for i in range(nodes))
    Link(address, (folder / "centre.token").read_text().strip()).hello(
        "local", (Node(name="n", chip="cpu", cards=cards), *others)
    )
    script = folder / "hello.py"
    script.write_text("print('hello')\n")
    with Client(address, key) as tenant:
        first = tenant.run(script)
        bundle = tenant.job(first["id"])["script"]["bundle"]
        tenant.cancel(first["id"])
    return key, {"bundle": bundle, "entry": "hello.py", "cards": [1], "chips": ["cpu"] + (["h100-sxm"] if nodes else [])}


async def submit_all(
    address: str, key: str, body: dict[str, object], jobs: int, clients: int, batch: int
) -> tuple[list[float], float]:
    host, _, port = address.removeprefix("http://").rpartition(":")

    def message(size: int) -> bytes:
        """A request, but for the end of its idempotency key."""
        content = json.dumps({"jobs": [{**body, "name": f"job-{i}"} for i in range(size)]} if batch else body).encode()
        path = "/api/v1/jobs/batch" if batch else "/api/v1/jobs"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nIdempotency-Key: "
        )
        return head.encode() + KEY + b"\r\n\r\n" + content

    whole = message(max(batch, 1))
    left = jobs - 1  # the first was made by `furnish`
    latencies: list[float] = []

    async def client() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(host, int(port))
        while left > 0:
            size = min(max(batch, 1), left)
            left -= size
            asked = time.perf_counter()
            request = whole if size == max(batch, 1) else message(size)
            writer.write(request.replace(KEY, uuid.uuid4().hex.encode(), 1))
            status = await reader.readline()
            length = 0
            while (line := await reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answer = await reader.readexactly(length)
            assert b" 201 " in status, (status, answer)
            latencies.append(time.perf_counter() - asked)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return latencies, time.perf_counter() - begun


if __name__ == "__main__":
    main()
