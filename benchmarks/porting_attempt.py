"""Run one entry of a project, and tell what became of it.

Asked:  does it run to its end, not a character edited, and does it learn?
Answer: the project is copied, its data is made in the copy, and the copy's text is compared with the original before the
        first command and after the last: no byte of the project's may differ. The commands run as typed, with the carrier's
        two variables and nothing else; their output, time, memory and the shim's own report become one Outcome.
Limits: peak memory is the sum of what the run's processes hold at one moment, looked at four times a second: pages that they
        share count more than once, and a shorter peak isn't seen. A file that a run writes over one of the project's own counts
        as an edit. Nothing keeps a project from the network; the machine does, or doesn't.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from porting_recipe import Entry, as_expected, progress_of

import forebay

MARK = "FOREBAY_BENCHMARK_RUN"  # an environment variable that all processes of one run have, whoever started them
LAUNCHERS = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}
PLAIN = """# Without a carrier; but torchvision is imported here as it is with one, so that what fails is what cuda means.
import sys
sys.path.insert(0, {source!r})
from forebay.porting.shim import imports, vision
sys.path.remove({source!r})
watch = imports.Watch()
watch.on("torchvision.extension", after=vision.declare)
sys.meta_path.insert(0, watch)
"""
NOT_TEXT = shutil.ignore_patterns(".git", "__pycache__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one entry on one carrier."""

    title: str
    project: str
    carrier: str
    verdict: str  # "passed", "failed" or "skipped"
    why: str  # in a few words; of a failure, its last line
    points: int = 0  # how often progress was shown
    first: float | None = None
    last: float | None = None
    edited: tuple[str, ...] = ()  # files of the project that are no longer what they were: none, or it has failed
    stand_ins: tuple[str, ...] = ()
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by class: the redirected APIs that the run used
    operators: int = 0  # distinct operators that ran on the device
    folder: str | None = None  # where the run lies, when it was kept


def attempt(entry: Entry, carrier: str, variables: Mapping[str, str], room: Path) -> Outcome:
    """Run the entry in an empty folder `room`, with the variables that give a process its carrier."""
    missing = sorted(entry.needs[module] for module in entry.needs if importlib.util.find_spec(module) is None)
    common: dict[str, Any] = {"title": entry.title, "project": entry.project, "carrier": carrier}
    if missing:
        return Outcome(**common, verdict="skipped", why=f"needs {', '.join(missing)}")
    copy = room / entry.folder.name
    shutil.copytree(entry.folder, copy, symlinks=True, ignore=NOT_TEXT)
    text = fingerprint(entry.folder)
    environment = _environment(entry, variables or _plain(room), room)
    common["stand_ins"] = tuple(entry.stand_ins)
    if entry.data and (told := _make_data(entry, copy, environment, room)):
        return Outcome(**common, verdict="failed", why=f"the data could not be made: {told}")
    if edited := changed(text, copy):
        return Outcome(**common, verdict="failed", why="the data maker edits the project", edited=edited)
    ran = _run(entry, copy, environment, room)
    numbers = progress_of(entry, ran.output)
    edited = changed(text, copy)
    verdict, why = judge(entry, carrier, ran.status, numbers, edited, _last_line(ran.output))
    uses, operators = _reported(room)
    return Outcome(
        **common,
        verdict=verdict,
        why=why,
        points=len(numbers),
        first=numbers[0] if numbers else None,
        last=numbers[-1] if numbers else None,
        edited=edited,
        wall_s=ran.wall_s,
        cpu_s=ran.cpu_s,
        peak_bytes=ran.peak_bytes,
        uses=uses,
        operators=operators,
    )


def judge(
    entry: Entry, carrier: str, status: int | None, numbers: list[float], edited: tuple[str, ...], last_line: str
) -> tuple[str, str]:
    """The verdict and its reason. Without a carrier (`plain`) the same commands are expected to fail."""
    ended = f"over its limit of {entry.limit_s:g} s" if status is None else f"ended with {status}: {last_line}"
    if carrier == "plain":
        found = "runs" if status == 0 and as_expected(entry, numbers) else "fails"
        told = f"{found} without a carrier" + ("" if status == 0 else f"; {ended}")
        return ("passed" if found == entry.plain else "failed"), told
    if edited:
        return "failed", f"the run wrote over {edited[0]}"
    if status != 0:
        return "failed", ended
    if not as_expected(entry, numbers):
        shown = "no progress was shown" if not numbers else f"{numbers[0]:g} to {numbers[-1]:g}: not what the recipe expects"
        return "failed", shown
    return "passed", f"the number {entry.expects}"


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file of a tree with the hash of its bytes; of a link, where it leads."""
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".git", "__pycache__")]
        for name in names:
            path = Path(root, name)
            body = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(body).hexdigest()
    return found


def changed(text: Mapping[str, str], copy: Path) -> tuple[str, ...]:
    """Files of the project that are gone or other in the copy. New files are the run's own business."""
    now = fingerprint(copy)
    return tuple(sorted(name for name, digest in text.items() if now.get(name) != digest))


def _environment(entry: Entry, variables: Mapping[str, str], room: Path) -> dict[str, str]:
    """What this machine has, a home of the run's own, the carrier's variables, and what the recipe says."""
    stand_ins = room / "stand-ins"
    for module, text in entry.stand_ins.items():
        place = stand_ins.joinpath(*module.split(".")).with_suffix(".py")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (room / "home").mkdir()
    (room / "report").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FOREBAY_", "PYTHONPATH", "XDG_"))}
    places = [variables.get("PYTHONPATH", ""), str(stand_ins) if entry.stand_ins else "", entry.environment.get("PYTHONPATH", "")]
    environment = {
        **kept,
        "HOME": str(room / "home"),
        "OMP_NUM_THREADS": "1",
        MARK: uuid.uuid4().hex,
        "FOREBAY_SHIM_REPORT": str(room / "report" / "uses.json"),
        **variables,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), variables.get("PATH", os.environ.get("PATH", ""))]),
        **entry.environment,
        "PYTHONPATH": os.pathsep.join(place for place in places if place),
    }
    return {name: value for name, value in environment.items() if name != "PYTHONPATH" or value}


def _plain(room: Path) -> dict[str, str]:
    (room / "plain").mkdir()
    (room / "plain" / "sitecustomize.py").write_text(PLAIN.format(source=str(Path(forebay.__file__).parents[1])))
    return {"PYTHONPATH": str(room / "plain")}


def _make_data(entry: Entry, copy: Path, environment: Mapping[str, str], room: Path) -> str:
    """Run the recipe's maker; empty, or the last line of what went wrong."""
    plain = {name: value for name, value in environment.items() if name != "FOREBAY_SHIM"}
    plain["PYTHONPATH"] = str(Path(__file__).resolve().parent)
    maker = subprocess.run([sys.executable, "-c", entry.data], cwd=copy, env=plain, capture_output=True, text=True, timeout=300)
    (room / "data.txt").write_text(maker.stdout + maker.stderr)
    return "" if maker.returncode == 0 else _last_line(maker.stderr)


@dataclass(frozen=True, slots=True)
class Ran:
    status: int | None  # None: it was stopped at its limit
    output: str  # of the last command, or of the one that failed
    wall_s: float
    cpu_s: float
    peak_bytes: int


def _run(entry: Entry, copy: Path, environment: Mapping[str, str], room: Path) -> Ran:
    began, cpu_s, peak, status, output = time.monotonic(), 0.0, 0, 0, ""
    for number, command in enumerate(entry.commands):
        words = room / f"output-{number}.txt"
        argv = [*LAUNCHERS.get(command[0], [command[0]]), *command[1:]]
        with words.open("wb") as told:
            process = subprocess.Popen(
                argv, cwd=copy, env=environment, stdin=subprocess.DEVNULL, stdout=told, stderr=told, start_new_session=True
            )
            try:
                ended, used, most = _watch(process.pid, environment[MARK], began + entry.limit_s)
            finally:
                _stop(environment[MARK])
        process.returncode = ended if ended is not None else -signal.SIGKILL  # nobody waits for it a second time
        cpu_s, peak = cpu_s + used, max(peak, most)
        output = words.read_text(errors="replace")
        status = ended
        if ended != 0:
            break
    return Ran(status, output, time.monotonic() - began, cpu_s, peak)


def _watch(pid: int, mark: str, until: float) -> tuple[int | None, float, int]:
    """Wait for a process: how it ended (None: not in time), CPU seconds of it and its children, peak bytes of the run."""
    peak = 0
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, peak
        peak = max(peak, sum(_resident(one) for one in _processes(mark)))
        if time.monotonic() > until:
            _stop(mark)
            _, _, used = os.wait4(pid, 0)
            return None, used.ru_utime + used.ru_stime, peak
        time.sleep(0.25)


def _processes(mark: str) -> list[int]:
    """The live processes whose environment has this run's mark: launchers put their ranks in sessions of their own."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if wanted in (place / "environ").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue  # it has ended, or is another user's
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _stop(mark: str) -> None:
    """End what is left of a run: asked first, then told."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _processes(mark):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        for _ in range(20):
            if not _processes(mark):
                return
            time.sleep(0.1)


def _last_line(output: str) -> str:
    """The line that says what went wrong: the last that looks like an error, else the last. torchrun's own tells nothing."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "ChildFailedError" not in line]
    lines = [re.sub(r"^\[rank\d+\]:\s*", "", line) for line in lines]
    errors = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception", "Refused")) and ":" in line]
    return (errors or lines or ["no output"])[-1][:300]


def _reported(room: Path) -> tuple[dict[str, tuple[str, ...]], int]:
    """The redirected APIs that all processes of a run used, by class, and how many distinct operators."""
    by_class: dict[str, set[str]] = {}
    operators: set[str] = set()
    for path in sorted((room / "report").glob("uses*")):
        body = json.loads(path.read_text())
        for name, use in body.get("uses", {}).items():
            by_class.setdefault(use["class"], set()).add(name)
        operators |= set(body.get("operators", {}).get("of", {}))
    return {kind: tuple(sorted(names)) for kind, names in sorted(by_class.items())}, len(operators)
