"""`forebay doctor`: what this machine has for Forebay, and what is missing.

Each check is a line: ok, a warning, or missing with what to do. When nothing is missing jobs can run here, and the exit code
is 0. torch is looked at, never imported: that costs seconds, and a broken plug-in would take the doctor down with it.
"""

from __future__ import annotations

import enum
import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from forebay.chips import catalogue
from forebay.chips.chip import Chip
from forebay.chips.detect import Found, detect
from forebay.cli import out, reach
from forebay.codec import encode
from forebay.units import GB, GIB, parse_bytes, show_bytes

app = typer.Typer(add_completion=False)

LEAST_MEMORY = 2 * GIB  # a rank with torch imported and a small model
LEAST_DISK = 5 * GB  # an environment with torch, a bundle and some checkpoints

# How a vendor's build of torch names itself, in the local part of its version: "2.6.0+metax3.0.0".
_BUILDS = {
    "metax": ("metax", "maca"),
    "enflame": ("gcu",),
    "hygon": ("das", "dtk"),
    "iluvatar": ("corex",),
    "amd": ("rocm",),
    "intel": ("xpu",),
    "nvidia": ("cu1", "cu2"),
    "cpu": ("cpu",),
}
_BY_FIELD = {"hip": "amd", "xpu": "intel", "cuda": "nvidia"}  # fields of torch/version.py, where the version says nothing


class State(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that Forebay needs, and how this machine stands. It changes nothing."""

    name: str
    state: State
    found: str
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Torch:
    """The torch of an environment as its files tell. Whether it imports is another question."""

    version: str
    build: str  # whose: "nvidia", "cpu", "metax"; "" when it doesn't say


@app.command()
def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder of `forebay up`. Default: FOREBAY_DATA or ~/.forebay.")] = None,
    port: Annotated[int, typer.Option(help="Port of `forebay up`.", min=0, max=65535)] = 7373,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Say what this machine has for Forebay, and what is missing."""
    found = detect()
    checks = examine(found, reach.data_folder(data), port)
    ready = all(check.state is not State.MISSING for check in checks)
    if as_json:
        out.as_json({"ready": ready, "checks": encode(checks), "nodes": encode(found.nodes), "seen": encode(found.seen)})
    else:
        out.table(("", "check", "found"), ((_sign(check.state), check.name, _told(check)) for check in checks))
        out.console.print("\nJobs can run here." if ready else "\nJobs can't run here yet: see what is missing above.")
    raise typer.Exit(0 if ready else 1)


def examine(found: Found, data: Path, port: int) -> list[Check]:
    """All checks of this machine, in the order in which a person would fix them."""
    torch = read_torch()
    chips = [catalogue.find(node.chip) for node in found.nodes]
    return [
        python(sys.version_info[:3]),
        torch_itself(torch),
        *(plug_in(chip, torch) for chip in chips if chip.device_type != "cpu"),
        compiler(chips),
        *cards(found),
        cores(),
        memory(),
        disk(data),
        loopback(port, data),
        isolation(),
        clock(time.time()),
    ]


def python(version: Sequence[int]) -> Check:
    told = ".".join(map(str, version))
    if tuple(version) < (3, 11):
        return Check(name="Python", state=State.MISSING, found=told, todo="install Python 3.11 or newer")
    return Check(name="Python", state=State.OK, found=f"{told} in {sys.prefix}")


def read_torch() -> Torch | None:
    """torch in this environment, from its version file."""
    spec = importlib.util.find_spec("torch")
    for folder in spec.submodule_search_locations or () if spec else ():
        file = Path(folder) / "version.py"
        if file.is_file():
            return torch_of(file.read_text(encoding="utf-8"))
    return None


def torch_of(version_file: str) -> Torch:
    """What torch/version.py says: __version__, and cuda or hip, of which a build has at most one."""
    said = dict(re.findall(r"^(__version__|cuda|hip|xpu)\b[^=\n]*=\s*'([^']*)'", version_file, re.MULTILINE))
    version = said.get("__version__", "unknown")
    local = version.partition("+")[2].lower()
    build = next((vendor for vendor, tags in _BUILDS.items() if any(tag in local for tag in tags)), "")
    return Torch(version=version, build=build or next((v for k, v in _BY_FIELD.items() if said.get(k)), ""))


def torch_itself(torch: Torch | None) -> Check:
    if torch is None:
        return Check(
            name="torch",
            state=State.MISSING,
            found="not in this environment",
            todo="install the torch that your cards' vendor ships; without accelerators: pip install torch",
        )
    built = {"": "it doesn't say for which chips", "cpu": "built for CPU only", "nvidia": "built for CUDA"}
    return Check(name="torch", state=State.OK, found=f"{torch.version}, {built.get(torch.build, f'built for {torch.build}')}")


def plug_in(chip: Chip, torch: Torch | None) -> Check:
    """Whether this torch can drive this chip: by the chip's plug-in, or because it is the vendor's own build."""
    name = f"torch on {chip.name}"
    if chip.plugin:
        module = chip.plugin.partition(".")[0]
        if importlib.util.find_spec(module) is None:
            return Check(name=name, state=State.MISSING, found=f"no module {module}", todo=f"install {module} from {chip.vendor}")
        return Check(name=name, state=State.OK, found=f"plug-in {module}")
    if torch is None or torch.build == chip.vendor:
        return Check(name=name, state=State.OK, found="the vendor's build" if torch else "to be seen once torch is there")
    if torch.build == "" or chip.vendor not in _BUILDS:
        return Check(name=name, state=State.WARNING, found=f"can't tell from {torch.version}", todo="try a short script on it")
    return Check(
        name=name,
        state=State.MISSING,
        found=f"{torch.version} is built for {torch.build}",
        todo=f"install the torch of {chip.vendor}: an ordinary `pip install` may have replaced it",
    )


def compiler(chips: Sequence[Chip]) -> Check:
    """g++ builds the shim's cuda device, which CPU cards need."""
    path = shutil.which(os.environ.get("CXX") or "g++")
    if path:
        return Check(name="C++ compiler", state=State.OK, found=path)
    needed = any(chip.device_type == "cpu" for chip in chips)
    return Check(
        name="C++ compiler",
        state=State.MISSING if needed else State.WARNING,
        found="no g++",
        todo="install g++ (Debian and Ubuntu: apt-get install g++): CUDA code on CPU cards runs on a device that it builds",
    )


def cards(found: Found) -> Iterator[Check]:
    for node in found.nodes:
        chip = catalogue.find(node.chip)
        if node.chip == "cpu":
            groups = "; ".join(",".join(map(str, card.cores)) for card in node.cards)
            yield Check(name="cards", state=State.OK, found=f"{len(node.cards)} CPU cards, on cores {groups}")
        elif chip.monitor and shutil.which(chip.monitor) is None:
            todo = f"{chip.monitor} is not on the path; install the vendor's tools to watch the cards"
            yield Check(name="cards", state=State.WARNING, found=f"{len(node.cards)} x {chip.title}", todo=todo)
        else:
            yield Check(name="cards", state=State.OK, found=f"{len(node.cards)} x {chip.title}")
    for note in found.notes:
        yield Check(name="cards", state=State.WARNING, found=note)


def cores() -> Check:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = f"{allowed} of {os.cpu_count()}, {platform.machine()}"
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(quota) < allowed * int(period):
        share = int(quota) / int(period)
        return Check(name="cores", state=State.WARNING, found=told, todo=f"a cgroup gives this process {share:.1f} cores of them")
    return Check(name="cores", state=State.OK, found=told)


def memory() -> Check:
    free = re.search(r"^MemAvailable:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    if free is None:
        return Check(name="memory", state=State.WARNING, found="this system doesn't tell")
    available = parse_bytes(f"{free[1]} KiB")
    limit = _read("/sys/fs/cgroup/memory.max")
    if limit.isdigit():
        available = min(available, int(limit))
    state = State.OK if available >= LEAST_MEMORY else State.WARNING
    todo = "" if state is State.OK else f"training wants {show_bytes(LEAST_MEMORY)} or more"
    return Check(name="memory", state=state, found=f"{show_bytes(available)} available", todo=todo)


def disk(data: Path) -> Check:
    """Room and the right to write where the data folder is or will be."""
    there = next(folder for folder in (data, *data.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check(
            name="data folder", state=State.MISSING, found=f"{there} can't be written", todo="--data with another folder"
        )
    free = shutil.disk_usage(there).free
    told = f"{show_bytes(free)} free at {data}"
    if free < LEAST_DISK:
        return Check(name="data folder", state=State.WARNING, found=told, todo=f"make room: {show_bytes(LEAST_DISK)} is little")
    return Check(name="data folder", state=State.OK, found=told)


def loopback(port: int, data: Path) -> Check:
    """Whether a cloud could listen there, or already does."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            told = f"127.0.0.1:{port}: {os.strerror(error.errno or 0)}"
            if _read(data / "address").endswith(f":{port}"):
                return Check(name="ports", state=State.OK, found=f"{told}, by the cloud of {data}")
            return Check(name="ports", state=State.WARNING, found=told, todo="`forebay up --port 0` takes a free one")
    return Check(name="ports", state=State.OK, found=f"127.0.0.1:{port} is free" if port else "127.0.0.1 can be listened on")


def isolation() -> Check:
    """Organisations are kept apart by users and mount namespaces, and both take root."""
    if os.geteuid() != 0:
        todo = "run the centre as root, or say that all organisations trust each other"
        return Check(name="isolation", state=State.WARNING, found="not root: one organisation only", todo=todo)
    unshare = shutil.which("unshare")
    if unshare is None:
        return Check(name="isolation", state=State.WARNING, found="root, but no `unshare`", todo="install util-linux")
    tried = subprocess.run([unshare, "--mount", "true"], capture_output=True, timeout=10, check=False)
    if tried.returncode != 0:
        todo = "allow mount namespaces (in a container: CAP_SYS_ADMIN), else organisations can see each other's folders' names"
        return Check(name="isolation", state=State.WARNING, found="root, but no mount namespace of its own", todo=todo)
    return Check(name="isolation", state=State.OK, found="root, and may make mount namespaces")


def clock(now_s: float) -> Check:
    """Bills and time limits hang on the clock; it can't be earlier than the day on which these files were written."""
    if now_s < Path(__file__).stat().st_mtime:
        return Check(
            name="clock", state=State.WARNING, found=_date(now_s) + ", before this Forebay was installed", todo="set the clock"
        )
    return Check(name="clock", state=State.OK, found=_date(now_s))


def _date(now_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now_s))


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _sign(state: State) -> str:
    return {State.OK: "ok", State.WARNING: "[yellow]warning[/]", State.MISSING: "[red]missing[/]"}[state]


def _told(check: Check) -> str:
    return check.found + (f"\n  {check.todo}" if check.todo else "")
