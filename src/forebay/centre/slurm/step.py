"""Forebay's own part on the machines of a job: the lead on the first one, a supervisor on each, a relay when somebody dials in.

    ... lead RUN_DIR        the batch script: claims the run, finds out which cards Slurm gave, starts a supervisor a machine
    ... share RUN_DIR       one task of srun: carries its machine's share out
    ... relay RUN_DIR       its standard input and output are joined to the door of the run's first share

Asked:  how does a run start once and whole, and end whole, whatever Slurm does with its job?
Answer: the lead that creates the run's owner file carries it out; one that finds it there leaves at once, be it a duplicate
        or the same job started again. Shares know each other only by their folders: when one ends badly, the lead writes to
        the others that they shall stop. All that the engine has to know lies in `exchange/` and the shares' folders.
Limits: standard library and our own source. The lead looks at the folders of the shares twice a second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TYPE_CHECKING = False  # the lead starts fastest with the fewest imports
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from forebay.centre.order import Order

OWNER, BOUND, LIMIT, REQUEUED, ORDER, MEETING = (
    "owner.json",  # which job carries the run out
    "bound.json",  # machine -> the cards that Slurm gave it
    "limit.json",  # the site's time limit was about to be over
    "requeued.json",  # Slurm started the job a second time
    "order.json",  # the whole run's Order, the number of the GRES and the site's limit
    "meeting.json",
)
LOOK_S = 0.5
FAILURE_GRACE_S = 5.0  # for the other shares, after one has failed
TIMED_OUT = 124
# What Slurm may have set for the chip of a step, by the chip's own variable. Numbers in it count as the chip's tools count there.
_ALSO = {"HIP_VISIBLE_DEVICES": ("ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")}


def main() -> None:
    what, run_dir = sys.argv[1], Path(sys.argv[2])
    if what == "lead":
        sys.exit(Lead(run_dir).carry_out())
    if what == "share":
        sys.exit(share(run_dir, os.environ["SLURMD_NODENAME"]))
    relay(run_dir)


class Lead:
    """The batch script of a run's job."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.exchange = run_dir / "exchange"
        self.job = os.environ["SLURM_JOB_ID"]
        self.restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        self.told = False  # the shares know that they shall stop
        self.out_of_time = False

    def carry_out(self) -> int:
        if not self._claim():
            return 0
        order = _read(self.exchange / ORDER)
        machines = order["machines"]
        signal.signal(signal.SIGTERM, lambda *_: None)  # the supervisors have it too, and we see them out
        signal.signal(signal.SIGUSR1, lambda *_: self._limit(order["grace_s"]))
        ends_s = time.monotonic() + order["minutes"] * 60 - order["warn_s"] if order["minutes"] else None
        step = subprocess.Popen(_srun(len(machines), self.run_dir, order.get("container") or {}), stdin=subprocess.DEVNULL)
        # Held open: the folder gets another name as soon as the cloud has heard how the run ended.
        folders = [os.open(self.run_dir / f"share-{number}", os.O_RDONLY | os.O_DIRECTORY) for number in range(len(machines))]
        if order["gres"]:
            _write(self.exchange / BOUND, self._bound(order["gres"], step))
        while True:
            try:
                step.wait(LOOK_S if len(folders) > 1 else None if ends_s is None else 5.0)
                break
            except subprocess.TimeoutExpired:
                pass
            if ends_s is not None and time.monotonic() > ends_s:
                self._limit(order["grace_s"])
            if not self.told and len(folders) > 1 and any(_ended_badly(folder) for folder in folders):
                self._stop(FAILURE_GRACE_S)
        return _exit_code(folders, self.out_of_time)

    def _claim(self) -> bool:
        """Whether the run is ours to carry out."""
        mine = {"job": self.job, "restarts": self.restarts, "machine": os.environ.get("SLURMD_NODENAME", "")}
        try:
            descriptor = os.open(self.exchange / OWNER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:
            print("The run's folder isn't here: it was forgotten, or this machine doesn't see it.", flush=True)
            return False
        except FileExistsError:
            owner = _read(self.exchange / OWNER)
            if owner.get("job") == self.job and owner.get("restarts") != self.restarts:
                _write(self.exchange / REQUEUED, mine)
            print(f"Job {owner.get('job')} carries this run out; job {self.job} leaves.", flush=True)
            return False
        with os.fdopen(descriptor, "w") as file:
            json.dump(mine, file)
            file.flush()
            os.fsync(file.fileno())
        return True

    def _bound(self, key: str, step: subprocess.Popen[bytes]) -> dict[str, tuple[int, ...]]:
        """Which cards Slurm gave, by machine. The shares are being started meanwhile, and wait for it."""
        from forebay.centre.slurm import hostlist

        while step.poll() is None:
            asked = subprocess.run(["scontrol", "-d", "show", "job", self.job], capture_output=True, text=True)
            if asked.returncode == 0:
                return hostlist.bound(asked.stdout, key)
            print(f"scontrol: {asked.stderr.strip()}", flush=True)  # slurmctld is busy, or away for a moment
            time.sleep(1.0)
        return {}

    def _limit(self, grace_s: float) -> None:
        """The site's time limit is near."""
        if not self.out_of_time:
            self.out_of_time = True
            _write(self.exchange / LIMIT, {"at_ns": time.time_ns()})
            self._stop(grace_s)

    def _stop(self, grace_s: float) -> None:
        """Tell every share that goes on to stop."""
        self.told = True
        number = 0
        while (folder := self.run_dir / f"share-{number}").is_dir():
            number += 1
            if (_read(folder / "status.json") or {}).get("phase") != "ended" and not (folder / "stop").exists():
                _write(folder / "stop", {"grace_s": grace_s})


def share(run_dir: Path, machine: str) -> int:
    """Carry out the share of this machine. 0 when it has ended, however it did: srun ends the others when we don't return."""
    from forebay import codec
    from forebay.centre import files, layout, order, supervisor
    from forebay.centre.order import Order

    supervisor.settle()
    told = _read(run_dir / "exchange" / ORDER)
    whole = codec.decode(Order, told["order"], strict=False)
    number = told["machines"].index(machine)
    given = _given(run_dir, machine) if told["gres"] else ()
    wanted = len(whole.spec.shares[number].cards)
    if given is None:
        print(f"{machine}: Slurm doesn't say which {told['gres']} it gave.", flush=True)
        return 1
    if told["gres"] and not given:
        print(f"{machine}: Slurm only counts its {told['gres']}; the numbers that the cloud chose are used.", flush=True)
    meeting = str(run_dir / "exchange" / MEETING)
    mine = order.for_share(whole, number, cards=given[:wanted], meeting=meeting)
    mine = _as_slurm_says(mine, wanted, os.environ)
    folder = layout.share(run_dir, number)
    files.write_json(layout.spec(folder), codec.encode(mine), durable=True)
    supervisor.attend(folder, None)
    return 0


def _given(run_dir: Path, machine: str) -> tuple[int, ...] | None:
    """What the lead heard of Slurm. It goes on asking as long as we are there, and we are ended when it is."""
    while (found := _read(run_dir / "exchange" / BOUND)) is None:
        time.sleep(0.02)
    return tuple(found[machine]) if machine in found else None


def _as_slurm_says(mine: Order, wanted: int, environment: Mapping[str, str]) -> Order:
    """The share with the cards that Slurm itself named in this step, if it did. Inside a device cgroup they count anew."""
    from dataclasses import replace

    if mine.visible_env is None or mine.spec.pretend:
        return mine
    for name in (mine.visible_env, *_ALSO.get(mine.visible_env, ())):
        named = [part for part in environment.get(name, "").split(",") if part]
        if not named or named == ["NoDevFiles"]:
            continue
        if all(part.isdigit() for part in named):
            cards = tuple(int(part) for part in named[:wanted])
            return replace(mine, places=tuple(replace(place, cards=cards) for place in mine.places))
        # Names of parts of cards ("MIG-…") are no numbers: handed on as they are.
        spec = replace(mine.spec, env={**mine.spec.env, mine.visible_env: ",".join(named[:wanted])})
        return replace(mine, spec=spec, visible_env=None)
    return mine


def relay(run_dir: Path) -> None:
    """Between the engine, at the other end of srun, and the run's door."""
    import socket
    import threading

    from forebay.centre import layout
    from forebay.centre.local import knock

    line = knock(layout.door(layout.share(run_dir, 0)))

    def inwards() -> None:
        while chunk := os.read(0, 65536):
            line.sendall(chunk)
        line.shutdown(socket.SHUT_WR)

    threading.Thread(target=inwards, daemon=True).start()
    while chunk := line.recv(65536):
        while chunk:
            chunk = chunk[os.write(1, chunk) :]
    os._exit(0)


def _srun(machines: int, run_dir: Path, container: Mapping[str, str]) -> list[str]:
    """A task a machine. Ours are no MPI programs. `container`: for Pyxis; then the image brings the Python too."""
    size = [f"--nodes={machines}", f"--ntasks={machines}", "--ntasks-per-node=1"]
    how = ["--kill-on-bad-exit=1", "--export=ALL", "--mpi=none", "--input=none", "--unbuffered"]
    if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):  # srun stopped taking it from the job with Slurm 22.05
        size.append(f"--cpus-per-task={cpus}")
    ours = [*sys.orig_argv[: sys.orig_argv.index("-c") + 2], "share", str(run_dir)]
    if container:
        how += [f"--container-image={container['image']}", f"--container-mounts={container['mounts']}", "--container-workdir=/"]
        ours[0] = "python3"
    return ["srun", *size, *how, *ours]


def _ended_badly(folder: int) -> bool:
    seen = _status(folder)
    return seen.get("phase") == "ended" and seen.get("outcome") != "succeeded"


def _exit_code(folders: list[int], timed_out: bool) -> int:
    """What Slurm's accounting shall say of the job: the exit code of the run."""
    seen = [_status(folder) for folder in folders]
    if timed_out:
        return TIMED_OUT
    codes = [one.get("exit_code") for one in seen if one.get("outcome") != "succeeded"]
    code = next((code for code in codes if code), 1 if codes else 0)
    return code if code >= 0 else 128 - code


def _status(folder: int) -> dict[str, Any]:
    """What the supervisor of a share last said; by the descriptor of its folder."""
    try:
        with open(os.open("status.json", os.O_RDONLY, dir_fd=folder), "rb") as file:
            found: dict[str, Any] = json.load(file)
            return found
    except (OSError, ValueError):
        return {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, value: Any) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value))
    draft.replace(path)
