"""A real Ray cluster on one machine: a head and several nodes, each a raylet of its own on a loopback address of its own.

Asked:  how is the Ray engine tested without a Ray cluster?
Answer: with one. `ray start` is run as on real machines, once a node, with custom resources as chips. Every process of it
        carries a mark in its environment, by which it is found and killed, alone or all together.
Limits: Linux. All nodes share one kernel, so a node "dies" by SIGKILL to its raylet. Starting costs 10 to 30 seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STORE_BYTES = 80 * 2**20  # of each node's object store; Ray takes no less
START_S = 90.0
# A node that is dead is known to be within 2 to 4 seconds; Ray's own figures make it 15.
FAST_DEATH = {
    "health_check_initial_delay_ms": 3000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}


_FAKE_HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"  # as Ray's fake provider calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One node to be: what `ray start` is told of it."""

    name: str
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 8


class Cluster:
    """A cluster being run. Everything of it ends with `end`."""

    def __init__(
        self,
        folder: Path,
        hosts: tuple[Host, ...],
        *,
        system: Mapping[str, int] = FAST_DEATH,
        grows: Mapping[str, tuple[Mapping[str, float], int]] | None = None,
    ) -> None:
        """`folder`: short, for sockets lie in it, whose names have 107 bytes at most. Each node finds a disk of its own in the
        variable NODE_DISK. `grows`: kinds of nodes that Ray's autoscaler brings, by its fake provider: what one has, and how
        many there may be.
        """
        self.folder = folder
        self.hosts = {host.name: host for host in hosts}
        self.mark = secrets.token_hex(8)
        self.net = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
        self.port, self.dashboard_port = free_port(), free_port()
        self._system = dict(system)
        self._grows = dict(grows or {})
        self.start_head()
        for name in self.hosts:  # one by one: two that start at once on one machine take the same names for their sockets
            self.start_node(name)
        wait(lambda: len(self.alive()) == len(hosts) + 1, "all nodes to be alive")

    @property
    def address(self) -> str:
        return f"{self.net}.1:{self.port}"

    @property
    def dashboard(self) -> str:
        return f"http://{self.net}.1:{self.dashboard_port}"

    def ip(self, name: str) -> str:
        return f"{self.net}.{11 + list(self.hosts).index(name)}"

    def disk(self, name: str) -> Path:
        return self.folder / "disk" / name

    # Life and death.

    def start_head(self) -> None:
        self._finish(
            self._ray_start(
                "head",
                [
                    *("--head", f"--port={self.port}", f"--node-ip-address={self.net}.1", "--num-cpus=0"),
                    *(f"--dashboard-host={self.net}.1", f"--dashboard-port={self.dashboard_port}"),
                    *(f"--ray-client-server-port={free_port()}", f"--temp-dir={self.folder / 'ray'}"),
                    f"--system-config={json.dumps(self._system)}",
                    *([f"--autoscaling-config={self._autoscaling()}"] if self._grows else []),
                ],
            )
        )

    def _autoscaling(self) -> Path:
        """The configuration of an autoscaler whose nodes are processes on this machine."""
        kinds: dict[str, Any] = {
            kind: {"resources": dict(has), "node_config": {}, "min_workers": 0, "max_workers": most}
            for kind, (has, most) in self._grows.items()
        }
        kinds["ray.head.default"] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        nothing: dict[str, list[str]] = {
            name: []
            for name in (
                *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
                *(
                    "head_start_ray_commands",
                    "worker_start_ray_commands",
                    "cluster_synced_files",
                    "rsync_exclude",
                    "rsync_filter",
                ),
            )
        }
        path = self.folder / "grows.json"
        told = {
            "cluster_name": "grows",
            "max_workers": sum(most for _, most in self._grows.values()),
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 0.1,
            "provider": {"type": "fake_multinode", "gcs_address": self.address, "disable_node_updaters": True},
            "auth": {"ssh_user": "nobody"},
            "available_node_types": kinds,
            "head_node_type": "ray.head.default",
            "file_mounts": {},
            "docker": {},
            **nothing,
        }
        path.write_text(json.dumps(told))
        return path

    def start_node(self, name: str) -> None:
        self._finish(self._begin(name))

    def kill_node(self, name: str) -> None:
        """As a power cut would, as far as Ray can tell: SIGKILL to the raylet."""
        for pid in self._processes(name):
            if b"/raylet/raylet\0" in _read(pid, "cmdline"):
                os.kill(pid, signal.SIGKILL)

    def stop_grown(self) -> None:
        """End the nodes that the autoscaler brought, as it would itself: they are asked to go."""
        for pid in self._processes("head"):
            words = _read(pid, "cmdline").split(b"\0")
            if words[0].endswith(b"/raylet/raylet") and f"--node_ip_address={self.net}.1".encode() not in words:
                os.kill(pid, signal.SIGTERM)

    def kill_head(self) -> None:
        """Everything of the head, with all that it knew."""
        _kill(lambda: self._processes("head"))
        (self.folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)  # `ray stop` would remove it

    def mend(self) -> None:
        """Start every node that isn't alive, after what is left of it was killed."""
        if not self.alive():
            self.kill_head()
            self.start_head()
        for name in self.hosts:
            if name not in self.alive():
                _kill(lambda name=name: self._processes(name))  # type: ignore[misc]
                self.start_node(name)
        wait(lambda: set(self.hosts) <= set(self.alive()), "all nodes to be alive")

    def end(self) -> None:
        _kill(lambda: self._processes(""))
        shutil.rmtree(self.folder / "ray", ignore_errors=True)

    # What Ray itself says.

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(self.dashboard + path, timeout=5) as answer:
            return json.loads(answer.read())

    def alive(self) -> list[str]:
        try:
            found = self.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [node["node_name"] for node in found if node["state"] == "ALIVE"]

    def _begin(self, name: str) -> subprocess.Popen[bytes]:
        host = self.hosts[name]
        told = [
            *(f"--address={self.address}", f"--node-ip-address={self.ip(name)}", f"--node-name={name}"),
            *(f"--num-cpus={host.cpus}", f"--resources={json.dumps(dict(host.resources))}"),
            *([f"--labels={','.join(f'{key}={value}' for key, value in host.labels.items())}"] if host.labels else []),
        ]
        return self._ray_start(name, told)

    def _ray_start(self, name: str, told: list[str]) -> subprocess.Popen[bytes]:
        self.disk(name).mkdir(parents=True, exist_ok=True)
        program = str(Path(sys.executable).with_name("ray"))
        common = [f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats", "--include-log-monitor=False"]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTHON", "FOREBAY_"))}
        env |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_CLUSTER_MARK": f"{self.mark}:{name}", "NODE_DISK": str(self.disk(name))}
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "TERM": "dumb"}
        if self._grows:
            env |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _FAKE_HEAD}
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [program, "start", *told, *common], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait(timeout=START_S) != 0:
            logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
            self.end()
            raise RuntimeError(f"`ray start` failed:\n{logs}")

    def _processes(self, name: str) -> set[int]:
        """The living processes of one node, or of all."""
        return _marked(f"{self.mark}:{name}", whole=bool(name))


def wait(good: Callable[[], Any], what: str = "it", patience_s: float = START_S) -> Any:
    """The first true answer."""
    until = time.monotonic() + patience_s
    while not (found := good()):
        if time.monotonic() > until:
            raise TimeoutError(f"waited {patience_s:g} s for {what}")
        time.sleep(0.1)
    return found


def kill_marked(mark: str) -> None:
    """End every process with this mark in its environment."""
    _kill(lambda: _marked(f"{mark}:"))


def _marked(mark: str, *, whole: bool = False) -> set[int]:
    wanted = f"RAY_CLUSTER_MARK={mark}".encode() + (b"\0" if whole else b"")
    pids = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()} - {os.getpid()}
    return {pid for pid in pids if wanted in _read(pid, "environ")}


def free_port() -> int:
    """A port that is free, and outside the range in which Ray's workers take theirs (10002 to 19999)."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            if (port := int(sock.getsockname()[1])) > 20_000:
                return port


def _kill(look: Callable[[], set[int]]) -> None:
    while pids := look():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""
