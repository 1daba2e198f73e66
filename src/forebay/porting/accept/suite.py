"""Ask a machine what its "cuda" is, one sentence at a time.

Asked:  does what answers to "cuda" here behave as a real card does under plain torch?
Answer: each file in areas/ holds checks of one kind: functions without parameters whose names are sentences, each true on an
        NVIDIA card. An area runs in a process of its own (groups in two). A check that ends or hangs its process is tried
        once more alone; the rest of its area goes on in a fresh process.
Limits: what a check can see is results and errors, not speed. That work is queued rather than done at once isn't asked for,
        since a program can't depend on how far a card is behind.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forebay.errors import Unknown

FOLDER = Path(__file__).resolve().parent / "areas"
SOURCE = Path(__file__).resolve().parents[3]
AREAS = (
    "identity",
    "mixing",
    "types",
    "seeds",
    "memory",
    "streams",
    "graphs",
    "amp",
    "checkpoints",
    "threads",
    "spawn",
    "loader",
    "jit",
    "compile",
    "profiler",
    "groups",
)
RANKS = {"groups": 2}
VERDICTS = ("pass", "fail", "skipped")


@dataclass(frozen=True)
class Verdict:
    """What one check said of this machine.

    It's no judgement of a program: a script that never asks the question runs as well after a fail.
    """

    area: str
    sentence: str
    verdict: str  # one of VERDICTS
    detail: str  # the traceback of a fail, the reason of a skip
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Verdict:
        return cls(**{name: body[name] for name in ("area", "sentence", "verdict", "detail", "seconds")})


@dataclass(frozen=True)
class Limits:
    """How long a process may be silent before it is taken for dead, in seconds."""

    start_s: float = 120.0  # importing torch and joining a group
    check_s: float = 90.0


def sentences(area: str, folder: Path = FOLDER) -> tuple[str, ...]:
    """The checks of an area, read from its text: its functions that take nothing and don't begin with an underscore."""
    path = folder / f"{area}.py"
    if not (area.isidentifier() and path.is_file()):
        known = sorted(file.stem for file in folder.glob("[a-z]*.py"))
        raise Unknown("There is no such area of checks.", asked=area, hint=", ".join(known))
    return tuple(
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and not (node.args.args or node.args.vararg or node.args.kwonlyargs)
    )


def run(
    *,
    areas: Sequence[str] = AREAS,
    folder: Path = FOLDER,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    limits: Limits = Limits(),  # frozen
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Verdict, ...]:
    """Every check of these areas, by a Python with this environment (this process's own when none is given).

    Areas of one's own lie in another folder, a file each, written like ours.
    """
    chosen = {area: sentences(area, folder) for area in areas}
    surroundings = {**(os.environ if environment is None else environment)}
    surroundings["PYTHONPATH"] = os.pathsep.join(
        [place for place in surroundings.get("PYTHONPATH", "").split(os.pathsep) if place]
        + [str(SOURCE)]
        + ([] if folder == FOLDER else [str(folder)])
    )
    found: list[Verdict] = []
    for number, area in enumerate(chosen, 1):
        say(f"[{number}/{len(chosen)}] {area}: {len(chosen[area])} checks")
        module = f"forebay.porting.accept.areas.{area}" if folder == FOLDER else area
        found += _area(area, module, chosen[area], surroundings, python, limits)
    return tuple(found)


def share(verdicts: Sequence[Verdict]) -> float:
    """Passed, of those that could be told."""
    told = [verdict for verdict in verdicts if verdict.verdict != "skipped"]
    return sum(verdict.verdict == "pass" for verdict in told) / len(told) if told else 0.0


def table(verdicts: Sequence[Verdict]) -> str:
    """A line for each area, and the whole."""
    lines = [f"{'area':<12} {'pass':>5} {'fail':>5} {'skipped':>8}  {'share':>7}"]
    for area in [*dict.fromkeys(verdict.area for verdict in verdicts), ""]:
        mine = [verdict for verdict in verdicts if area in ("", verdict.area)]
        counts = [sum(verdict.verdict == kind for verdict in mine) for kind in VERDICTS]
        lines.append(f"{area or 'all':<12} {counts[0]:>5} {counts[1]:>5} {counts[2]:>8}  {100 * share(mine):>6.1f}%")
    return "\n".join(lines)


# ---------------------------------------------------------------- one area


def _area(
    area: str, module: str, names: Sequence[str], environment: Mapping[str, str], python: str, limits: Limits
) -> list[Verdict]:
    """Verdicts in the order of the file. Each batch of processes takes what the one before left."""
    known: dict[str, Verdict] = {}
    alone: set[str] = set()
    while left := [name for name in names if name not in known]:
        retry = [name for name in left if name in alone]
        batch = _Batch(area, module, retry[:1] or left, environment, python)
        suspect, why = batch.follow(known, limits)
        if suspect is None:
            continue
        if suspect in alone:
            known[suspect] = Verdict(area, suspect, "fail", why, 0.0)
        alone.add(suspect)
    return [known[name] for name in names]


class _Batch:
    """The processes that run some checks of an area together: one, or as many as the area has ranks."""

    def __init__(self, area: str, module: str, names: Sequence[str], environment: Mapping[str, str], python: str) -> None:
        self.area, self.names = area, list(names)
        self.ranks = RANKS.get(area, 1)
        self.said: list[dict[str, dict[str, Any]]] = [{} for _ in range(self.ranks)]
        self.started: list[str | None] = [None] * self.ranks
        self.pipes: dict[int, int] = {}  # reading end -> rank
        self.text: dict[int, bytes] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        together = _meeting_place(self.ranks) if self.ranks > 1 else {}
        for rank in range(self.ranks):
            reading, writing = os.pipe()
            mine = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if self.ranks > 1 else {}
            words = [python, "-m", "forebay.porting.accept.child", module, str(writing), *self.names]
            self.processes.append(
                subprocess.Popen(
                    words,
                    env={**environment, **together, **mine},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[writing],
                    start_new_session=True,
                )
            )
            os.close(writing)
            self.pipes[reading] = rank
            self.text[reading] = b""

    def follow(self, known: dict[str, Verdict], limits: Limits) -> tuple[str | None, str]:
        """Put verdicts into `known` as they come. Returns the check in which the processes ended or fell silent, and how."""
        quiet_since = time.monotonic()
        try:
            while self.pipes:
                patience = limits.check_s if any(self.started) else limits.start_s
                ready, _, _ = select.select(list(self.pipes), [], [], max(0.0, quiet_since + patience - time.monotonic()))
                if not ready:
                    return self._suspect(known), f"no answer within {patience:.0f} s"
                for pipe in ready:
                    if self._read(pipe):
                        quiet_since = time.monotonic()
                failed = self._settle(known)
                if failed and self.ranks > 1:
                    return None, ""  # one rank left the others waiting: the rest begins in fresh processes
            if all(name in known for name in self.names):
                return None, ""
            codes = [process.wait(timeout=10) for process in self.processes]
            return self._suspect(known), "the process ended: " + ", ".join(map(_how, codes))
        finally:
            self._end()

    def _read(self, pipe: int) -> bool:
        part = os.read(pipe, 1 << 16)
        if not part:
            del self.pipes[pipe]
            os.close(pipe)
            return False
        *lines, self.text[pipe] = (self.text[pipe] + part).split(b"\n")
        for line in lines:
            body = json.loads(line)
            self.started[self.pipes[pipe]] = body.get("started")
            if "ended" in body:
                self.said[self.pipes[pipe]][body["ended"]] = body
        return True

    def _settle(self, known: dict[str, Verdict]) -> bool:
        """Verdicts on which the ranks are agreed: the worst of them counts, and a fail needs no second."""
        failed = False
        for name in self.names:
            bodies = [said[name] for said in self.said if name in said]
            bad = next((body for body in bodies if body["verdict"] == "fail"), None)
            if name in known or not bodies or (bad is None and len(bodies) < self.ranks):
                continue
            worst = bad or next((body for body in bodies if body["verdict"] == "skipped"), bodies[0])
            known[name] = Verdict(self.area, name, worst["verdict"], worst["detail"], float(worst["seconds"]))
            failed |= bad is not None
        return failed

    def _suspect(self, known: Mapping[str, Verdict]) -> str:
        running = next((name for name in self.started if name is not None and name not in known), None)
        return running or next(name for name in self.names if name not in known)

    def _end(self) -> None:
        """No process of these checks outlives them, nor those that they started."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in self.pipes:
            os.close(pipe)
        self.pipes = {}


def _meeting_place(ranks: int) -> dict[str, str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks)}


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
