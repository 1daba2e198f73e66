"""How long `forebay up` takes until the cloud answers.

    python benchmarks/up_start.py [--rounds 5] [--json]

Each round makes a new data folder, starts a cloud and a centre in it with the command that a person types, stops them, and
starts them once more over the same folder. Two moments are taken: the first answer of the API, which this program asks for as
soon as there is an address, and the command's own end, when the centre has joined and its cards are in the pool. Bar: at most
3 s to the first answer in a new folder. Peer: the imports alone, `python -c "import fastapi, sqlalchemy, uvicorn"`, since no
cloud that is made of these can answer sooner; it is measured in the same rounds. The simulated CUDA device is compiled before,
once a machine, since the first `up` would start that in the background.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import stopwatch

BAR_S = 3.0
PATIENCE_S = 120.0
PEER = [sys.executable, "-c", "import fastapi, sqlalchemy, uvicorn"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    stopwatch.end_cleanly()
    result = measure(asked.rounds)
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    ratio = result["new_answer_s"] / result["peer_s"]
    said = stopwatch.verdict(result["new_answer_s"], BAR_S)
    print(f"new folder      {result['new_answer_s']:8.2f} s to the first answer   bar {BAR_S:.0f} s: {said}")
    print(f"                {result['new_joined_s']:8.2f} s until the centre has joined")
    print(f"old folder      {result['old_answer_s']:8.2f} s to the first answer")
    print(f"                {result['old_joined_s']:8.2f} s until the centre has joined")
    print(
        f"peer            {result['peer_s']:8.2f} s   {result['peer_cpu_s']:.2f} s of CPU   (import fastapi, sqlalchemy, uvicorn)"
    )
    print(f"ratio           {ratio:8.2f}")
    used = (
        f"{result['new_cloud_cpu_s']:.2f} s cloud, {result['new_up_cpu_s']:.2f} s `forebay up`, {result['peer_cpu_s']:.2f} s peer"
    )
    print(f"CPU             {used}")
    print(stopwatch.machine_line())


def measure(rounds: int) -> dict[str, float]:
    stopwatch.compile_device()
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory(prefix="forebay-bench-") as folder:
            peer = stopwatch.spent(PEER)
            figures = {"peer_s": peer.wall_s, "peer_cpu_s": peer.cpu_s}
            figures |= {f"new_{name}": value for name, value in one_start(Path(folder)).items()}
            figures |= {f"old_{name}": value for name, value in one_start(Path(folder)).items()}
        if number:  # the first round only warms the disk
            for name, value in figures.items():
                taken.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {**medians, "bar_s": BAR_S, "rounds": rounds, **stopwatch.machine()}


def one_start(folder: Path) -> dict[str, float]:
    """Start a cloud over a folder, and stop it again."""
    address, said = folder / "address", folder.with_name(folder.name + ".up")
    address.unlink(missing_ok=True)
    try:
        with open(said, "wb") as words:
            began = time.perf_counter()
            up = subprocess.Popen(
                stopwatch.forebay("up", "--data", str(folder), "--port", "0"),
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )
        try:
            while not answers(address):
                if up.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                    raise SystemExit(f"forebay up: {said.read_text()}")
                time.sleep(0.01)
            answer_s = time.perf_counter() - began
            _, status, used = os.wait4(up.pid, 0)
            joined_s = time.perf_counter() - began
            up.returncode = os.waitstatus_to_exitcode(status)
            if up.returncode != 0:
                raise SystemExit(f"forebay up: {said.read_text()}")
            cloud_cpu_s = cpu_s(json.loads((folder / "cloud.pid").read_text())["pid"])
        finally:
            with stopwatch.undisturbed():
                subprocess.run(
                    stopwatch.forebay("down", "--data", str(folder)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
    finally:
        said.unlink(missing_ok=True)
    return {"answer_s": answer_s, "joined_s": joined_s, "up_cpu_s": used.ru_utime + used.ru_stime, "cloud_cpu_s": cloud_cpu_s}


def answers(address: Path) -> bool:
    """True when a cloud says what it is at the address in this file."""
    try:
        host = address.read_text().strip().removeprefix("http://")
        if not host:
            return False
        connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
        connection.request("GET", "/api/v1/")
        return "forebay" in json.loads(connection.getresponse().read())
    except (FileNotFoundError, ConnectionError):
        return False


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
