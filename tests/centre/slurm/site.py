"""A real Slurm on this machine: munged, slurmctld, a slurmd a node, and slurmrestd, in one temporary folder.

Asked:  how do tests and benchmarks get a Slurm site with several chip types, whose daemons they may kill?
Answer: `with Site() as site`. It has a configuration, ports, keys and a munge socket of its own, so that several sites live
        side by side and nothing of the system is changed; all that it started is killed at the end.
Limits: root, on Linux, with Debian's slurm-wlm, munge, slurmrestd and slurm-wlm-jwt-plugin. Cards are names: no device is
        behind them. All nodes are this machine, each with a loopback address of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmrestd", "sbatch", "squeue", "scontrol", "scancel", "srun")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing() -> str:
    """What a site needs and this machine lacks; empty when nothing."""
    if os.geteuid() != 0:
        return "a Slurm site of our own needs root"
    absent = [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]
    plugins = [
        Path(folder) / "slurm-wlm" / "auth_jwt.so" for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
    ]
    if not absent and not any(plugin.exists() for plugin in plugins):
        absent = ["auth_jwt.so"]
    return f"not installed: {', '.join(absent)} (slurm-wlm, munge, slurmrestd, slurm-wlm-jwt-plugin)" if absent else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node of the site."""

    name: str
    gres: str = ""  # "gpu:h100:8"; several with commas
    cpus: int = 8
    memory_mb: int = 64_000
    features: str = ""
    real: bool = True  # with a slurmd


SIX = (
    Machine(name="h1", gres="gpu:h100:8", features="nvidia"),
    Machine(name="h2", gres="gpu:h100:8", features="nvidia"),
    Machine(name="a1", gres="npu:ascend910b:8", features="ascend"),
    Machine(name="a2", gres="npu:ascend910b:8", features="ascend"),
    Machine(name="m1", gres="mlu:mlu370:4", features="cambricon"),
    Machine(name="m2", gres="mlu:mlu370:4", features="cambricon"),
)
TREE = {"leaf1": "h[1-2]", "leaf2": "a[1-2]", "leaf3": "m[1-2]", "spine": ("leaf[1-3]",)}
"""Switches: a text is nodes, a tuple is switches."""


def simulated(count: int, *, gres: str = "npu:ascend910b:8") -> tuple[Machine, ...]:
    """Nodes that only slurmctld believes in."""
    return tuple(Machine(name=f"sim{i:04d}", gres=gres, real=False) for i in range(1, count + 1))


class Site:
    """Slurm, started. Its methods are what happens to a site: jobs of others, operators, failures."""

    def __init__(
        self,
        machines: Sequence[Machine] = SIX,
        *,
        switches: Mapping[str, str | tuple[str]] | None = None,
        slurmd_timeout_s: int = 10,
        min_job_age_s: int = 300,
        kill_wait_s: int = 5,
        preemption: bool = False,
        partitions: Sequence[str] = (),
        extra: Sequence[str] = (),
        rest: bool = True,
    ) -> None:
        """`switches`: the tree of topology.conf. `preemption`: a partition `urgent` whose jobs take the cards of those in `all`.
        `partitions`, `extra`: further lines of slurm.conf.
        """
        self.machines = tuple(machines)
        self.folder = Path(tempfile.mkdtemp(prefix="forebay-slurm-"))
        self.folder.chmod(0o755)
        self.conf = self.folder / "slurm.conf"
        self.mark = secrets.token_hex(8)  # in the environment of all that is started, to find it again
        self.env = {"PATH": _PATH, "SLURM_CONF": str(self.conf), "FOREBAY_SITE": self.mark, "LANG": "C.UTF-8"}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.rest = ""
        self._host = socket.gethostname().split(".")[0]
        real = [machine for machine in self.machines if machine.real]
        ports = _free_ports(2 + len(real))
        self.port, self._rest_port = ports[:2]
        self._ports = dict(zip([machine.name for machine in real], ports[2:], strict=True))
        self._lay_out(switches, slurmd_timeout_s, min_job_age_s, kill_wait_s, preemption, partitions, extra)
        try:
            self._start_munge()
            self.start_slurmctld()
            for machine in real:
                self.start_node(machine.name)
            if rest:
                self._start_rest()
            self.until(lambda: all(self.state(machine.name) == "IDLE" for machine in real), 60 + len(real))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill everything that was started, jobs included, and remove the folder."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes.values():
                if process.poll() is None:
                    process.send_signal(number)
            deadline = time.monotonic() + (0.3 if number == signal.SIGTERM else 5)
            while time.monotonic() < deadline and any(process.poll() is None for process in self.processes.values()):
                time.sleep(0.02)
        _kill(lambda env: b"FOREBAY_SITE=" + self.mark.encode() in env or b"SLURM_CONF=" + str(self.conf).encode() in env)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Its own daemons.

    def start_slurmctld(self) -> None:
        self._start("slurmctld", ["slurmctld", "-D"])
        self.until(lambda: b"is UP" in self.ask("scontrol", "ping", ok=False).encode(), 30)

    def stop_slurmctld(self, number: int = signal.SIGTERM) -> None:
        self._stop("slurmctld", number)

    def restart_slurmctld(self) -> None:
        self.stop_slurmctld()
        self.start_slurmctld()

    def start_node(self, name: str) -> None:
        (self.folder / "spool" / name).mkdir(parents=True, exist_ok=True)
        self._start(f"slurmd {name}", ["slurmd", "-D", "-N", name])

    def kill_node(self, name: str) -> None:
        """As if its power was cut: slurmd, and every process of every job on it."""
        self._stop(f"slurmd {name}", signal.SIGKILL)
        _kill(lambda env: b"SLURMD_NODENAME=" + name.encode() in env and b"SLURM_CONF=" + str(self.conf).encode() in env)
        _kill_steps(self.folder / "spool" / name, self.folder)

    # Users of the site.

    def submit(
        self, gres: str = "", *, nodes: str = "", script: str = "sleep 600", user: str = "nobody", more: Sequence[str] = ()
    ) -> str:
        """A job of somebody else. Returns its id."""
        asked = [f"--gres={gres}"] if gres else []
        asked += [f"--nodelist={nodes}", f"--nodes={len(nodes.split(','))}"] if nodes else []
        command = ["sbatch", "--parsable", f"--uid={user}", "--mem=100", "--chdir=/", "--output=/dev/null", *asked, *more]
        return self.ask(*command, f"--wrap={script}").strip()

    def jobs(self) -> dict[str, dict[str, str]]:
        """Every job that slurmctld remembers: id -> what `scontrol show job` says."""
        text = self.ask("scontrol", "-o", "-d", "show", "job", ok=False)
        lines = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in text.splitlines()]
        return {line["JobId"]: line for line in lines if "JobId" in line}

    def hold(self, job: str) -> None:
        self.ask("scontrol", "hold", job)

    def release(self, job: str) -> None:
        self.ask("scontrol", "release", job)

    def requeue(self, job: str) -> None:
        """As an operator who insists."""
        self.ask("scontrol", "update", f"jobid={job}", "requeue=1")
        self.ask("scontrol", "requeue", job)

    def cancel(self, job: str) -> None:
        self.ask("scancel", job)

    def drain(self, name: str, reason: str = "a fan is loud") -> None:
        self.ask("scontrol", "update", f"nodename={name}", "state=drain", f"reason={reason}")

    def undrain(self, name: str) -> None:
        self.ask("scontrol", "update", f"nodename={name}", "state=resume")

    # Looking.

    def ask(self, *command: str, ok: bool = True) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        if ok and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def state(self, name: str) -> str:
        found = re.search(r"State=(\S+)", self.ask("scontrol", "-o", "show", "node", name, ok=False))
        return found[1] if found else ""

    def token(self, user: str = "root", lifespan_s: int = 3600) -> str:
        return self.ask("scontrol", "token", f"username={user}", f"lifespan={lifespan_s}").strip().removeprefix("SLURM_JWT=")

    def until(self, look: Callable[[], Any], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError(f"the site didn't get there in {seconds} s:\n{self._told()}")

    # Setting up.

    def _lay_out(
        self,
        switches: Mapping[str, str | tuple[str]] | None,
        slurmd_timeout_s: int,
        min_job_age_s: int,
        kill_wait_s: int,
        preemption: bool,
        partitions: Sequence[str],
        extra: Sequence[str],
    ) -> None:
        for name in ("state", "spool", "log", "dev"):
            (self.folder / name).mkdir()
        self._write("munge.key", os.urandom(128), 0o400)
        self._write("jwt.key", os.urandom(32), 0o400)
        gres = sorted({part.split(":")[0] for machine in self.machines for part in machine.gres.split(",") if part})
        lines = [
            "ClusterName=fake",
            f"SlurmctldHost={self._host}(127.0.0.1)",
            f"SlurmctldPort={self.port}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={self.folder}/munge.socket",
            "AuthAltTypes=auth/jwt",
            f"AuthAltParameters=jwt_key={self.folder}/jwt.key",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool/%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/slurmd-%n.pid",
            f"SlurmctldLogFile={self.folder}/log/slurmctld.log",
            f"SlurmdLogFile={self.folder}/log/slurmd-%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "SlurmdParameters=config_overrides",  # lets 2 cores claim to be 8
            "ReturnToService=2",
            f"SlurmdTimeout={slurmd_timeout_s}",
            f"MinJobAge={min_job_age_s}",
            f"KillWait={kill_wait_s}",
            "InactiveLimit=0",
            *([f"GresTypes={','.join(gres)}"] if gres else []),
            *(["TopologyPlugin=topology/tree"] if switches else []),
            *(["PreemptType=preempt/partition_prio", "PreemptMode=CANCEL"] if preemption else []),
            *extra,
        ]
        for i, machine in enumerate(self.machines):
            port = self._ports.get(machine.name, 1)
            where = f"NodeAddr=127.{1 + i // 62500}.{i // 250 % 250}.{1 + i % 250} NodeHostname={self._host} Port={port}"
            has = f"CPUs={machine.cpus} RealMemory={machine.memory_mb}"
            lines.append(
                f"NodeName={machine.name} {where} {has}"
                + (f" Gres={machine.gres}" if machine.gres else "")
                + (f" Feature={machine.features}" if machine.features else "")
            )
        lines.append("PartitionName=all Nodes=ALL Default=YES State=UP PriorityTier=1" + (" GraceTime=5" if preemption else ""))
        lines += ["PartitionName=urgent Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF"] if preemption else []
        self._write("slurm.conf", "\n".join([*lines, *partitions, ""]).encode(), 0o644)
        self._write("gres.conf", "".join(self._devices(machine) for machine in self.machines).encode(), 0o644)
        if switches:
            kinds = {name: "Nodes" if isinstance(below, str) else "Switches" for name, below in switches.items()}
            tree = [
                f"SwitchName={name} {kinds[name]}={below if isinstance(below, str) else below[0]}"
                for name, below in switches.items()
            ]
            self._write("topology.conf", "\n".join([*tree, ""]).encode(), 0o644)

    def _devices(self, machine: Machine) -> str:
        """Lines of gres.conf. An MLU is only counted; the others have a file each."""
        lines = ""
        for part in filter(None, machine.gres.split(",")):
            kind, *rest = part.split(":")
            count, model = int(rest[-1]), rest[0] if len(rest) > 1 else ""
            for index in range(count) if kind != "mlu" else ():
                (self.folder / "dev" / f"{kind}{model}{index}").touch()
            files = f"File={self.folder}/dev/{kind}{model}[0-{count - 1}]" if kind != "mlu" else f"Count={count}"
            lines += f"NodeName={machine.name} Name={kind}{f' Type={model}' if model else ''} {files}\n"
        return lines

    def _start_munge(self) -> None:
        paths = [
            f"--{name}={self.folder}/munge.{end}"
            for name, end in {
                "socket": "socket",
                "key-file": "key",
                "pid-file": "pid",
                "log-file": "log",
                "seed-file": "seed",
            }.items()
        ]
        self._start("munged", ["munged", "--foreground", "--force", "--num-threads=2", *paths])
        self.until(lambda: (self.folder / "munge.socket").exists(), 10)

    def _start_rest(self) -> None:
        self.rest = f"http://127.0.0.1:{self._rest_port}"
        become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        command = [*become, "slurmrestd", "-a", "rest_auth/jwt", "-s", "openapi/v0.0.38", f"127.0.0.1:{self._rest_port}"]
        self._start("slurmrestd", command, {"SLURM_JWT": "daemon"})

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._rest_port), 1):
                return True
            return False

        self.until(answers, 15)

    def _start(self, name: str, command: list[str], more: Mapping[str, str] | None = None) -> None:
        with (self.folder / "log" / f"{name.replace(' ', '-')}.out").open("ab") as told:
            self.processes[name] = subprocess.Popen(
                command,
                env={**self.env, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )

    def _stop(self, name: str, number: int) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(30)

    def _write(self, name: str, body: bytes, mode: int) -> None:
        path = self.folder / name
        path.write_bytes(body)
        path.chmod(mode)

    def _told(self) -> str:
        """The last words of its daemons."""
        told = ""
        for path in sorted((self.folder / "log").iterdir()):
            lines = path.read_text("utf-8", "replace").splitlines()[-8:]
            told += "".join(f"{path.name}: {line}\n" for line in lines)
        return told[-6000:]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, below those which the system gives out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = 12_000 + secrets.randbelow(19_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("0.0.0.0", port))
            if port not in found:
                found.append(port)
    return found


def _kill(ours: Callable[[list[bytes]], bool]) -> None:
    """Kill every process whose first environment says that it is ours, until there is none."""
    for _ in range(100):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if int(pid) != os.getpid() and ours(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                    found.append(int(pid))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _kill_steps(spool: Path, folder: Path) -> None:
    """Kill the slurmstepds of one node, which have its log open; what they started is dead by then."""
    mine = {str(folder / "log" / f"slurmd-{spool.name}.log")}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            opened = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
            if mine & opened and int(pid) != os.getpid():
                os.kill(int(pid), signal.SIGKILL)


def to_json(site: Site) -> str:
    return json.dumps({"conf": str(site.conf), "rest": site.rest})
