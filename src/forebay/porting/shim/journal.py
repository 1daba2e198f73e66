"""Note which redirected APIs a run used, and where.

Asked:  what did the shim stand in for, how often, from which lines, and how faithfully?
Answer: a name, a count, a class: exact (as on a card), emulated (a stand-in with the same meaning), no-op (there is nothing to
        do here) or refused; and the lines of the user's that called it most. Written as JSON at exit, where
        FOREBAY_SHIM_REPORT says, by each process; `merge` makes one report of them and `table` shows it to people.
Limits: operators are counted by the compiled library, without lines. A line is that of the first frame that is neither torch's
        nor ours: of a library that calls torch for the user, the library's. A process that is killed reports nothing.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

CLASSES = ("exact", "emulated", "no-op", "refused")
PLACE = "FOREBAY_SHIM_REPORT"
SITES = 5  # lines shown for each API; SITES_KEPT are counted
SITES_KEPT = 200
NOT_THE_USERS = ("torch", "triton", "forebay", "importlib", "functools", "contextlib", "threading", "multiprocessing", "runpy")
OURS = str(Path(__file__).resolve().parent) + os.sep  # stand-ins have the names of the libraries that they stand in for
REMARKS = {
    "torch.cuda.Event": "its times are of the host's clock, not a card's",
    "torch.cuda._sleep": "sleeps on the host's clock, not a card's",
    "torch.compile": "times are of the host's operators, not of kernels for a card",
    "torch.profiler cuda": "times on the card are the host's",
}

Function = TypeVar("Function", bound=Callable[..., Any])
uses: dict[str, dict[str, Any]] = {}


def note(name: str, kind: str) -> str:
    """Count one call and return the line that it came from."""
    line = site(sys._getframe(1))
    entry = uses.get(name)
    if entry is None:
        entry = uses[name] = {"class": kind, "calls": 0, "sites": {}}
    entry["calls"] += 1
    sites = entry["sites"]
    if line in sites or len(sites) < SITES_KEPT:
        sites[line] = sites.get(line, 0) + 1
    return line


def site(frame: FrameType | None) -> str:
    """file:line of the nearest frame that is the user's or a library's of theirs."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        file = frame.f_code.co_filename
        if module.partition(".")[0] not in NOT_THE_USERS and not file.startswith(("<frozen", OURS)):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "(none of the user's lines)"


def noted(name: str, kind: str) -> Callable[[Function], Function]:
    """The function, counting its calls under the name that users know."""

    def around(function: Function) -> Function:
        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            note(name, kind)
            return function(*args, **kwargs)

        return counted  # type: ignore[return-value]

    return around


def ended_by() -> str:
    """The exception that ends this process, where one does: its kind and first lines, of which a vendor's work list is made."""
    error = getattr(sys, "last_value", None)
    if error is None or isinstance(error, (SystemExit, KeyboardInterrupt)):
        return ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


def told() -> dict[str, dict[str, Any]]:
    """The uses so far, each with its busiest lines."""
    return {name: _shown(name, entry) for name, entry in sorted(uses.items())}


def _shown(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    busiest = sorted(entry["sites"].items(), key=lambda pair: -pair[1])[:SITES]
    shown = {"class": entry["class"], "calls": entry["calls"], "sites": dict(busiest)}
    return {**shown, "remark": REMARKS[name]} if name in REMARKS else shown


def merge(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One report of a run's processes: counts are added, the carrier is that of the first."""
    reports = [report for report in reports if report.get("carrier")]
    if not reports:
        return {"carrier": None}
    found: dict[str, dict[str, Any]] = {}
    operators: dict[str, int] = {}
    for report in reports:
        for name, entry in report["uses"].items():
            mine = found.setdefault(name, {"class": entry["class"], "calls": 0, "sites": {}})
            mine["calls"] += entry["calls"]
            for line, calls in entry["sites"].items():
                mine["sites"][line] = mine["sites"].get(line, 0) + calls
        for name, calls in report["operators"]["of"].items():
            operators[name] = operators.get(name, 0) + calls
    seconds: dict[str, float] = {}
    for report in reports:
        for name, spent in report.get("operator_seconds", {}).items():
            seconds[name] = seconds.get(name, 0.0) + spent
    return {
        **reports[0],
        "seconds": sum(report.get("seconds", 0.0) for report in reports),
        "ended_by": next((report["ended_by"] for report in reports if report.get("ended_by")), ""),
        **({"operator_seconds": seconds} if seconds else {}),
        "processes": sum(report.get("processes", 1) for report in reports),
        "uses": {name: _shown(name, entry) for name, entry in sorted(found.items())},
        "operators": {"class": "exact", "names": len(operators), "calls": sum(operators.values()), "of": operators},
    }


def table(report: dict[str, Any]) -> str:
    """The report for people: the least faithful first, the busiest line of each."""
    if not report.get("carrier"):
        return "nothing of the shim was used"
    lines = [f"carried by: {report['carrier']} ({report['why']})"]
    lines += [f"  but {limit}" for limit in report.get("limits", [])]
    operators = report["operators"]
    lines.append(f"operators: {operators['calls']} calls of {operators['names']}, exact")
    lines.append(f"{'class':<9} {'calls':>8}  what, and from where most")
    for name, entry in sorted(report["uses"].items(), key=lambda pair: (-CLASSES.index(pair[1]["class"]), -pair[1]["calls"])):
        line, calls = next(iter(entry["sites"].items()), ("", 0))
        where = f"  {_short(line)} ({calls})" if line else ""
        lines.append(f"{entry['class']:<9} {entry['calls']:>8}  {name}{where}")
        if "remark" in entry:
            lines.append(f"{'':<20}{entry['remark']}")
    return "\n".join(lines)


def _short(line: str) -> str:
    """The path from here, where it is below; else its last three parts."""
    path, _, number = line.rpartition(":")
    here = os.getcwd() + os.sep
    if path.startswith(here):
        return f"{path[len(here) :]}:{number}"
    return f"{os.sep.join(path.split(os.sep)[-3:])}:{number}"


def write(report: dict[str, Any]) -> None:
    """Write the report where the environment says. Ranks share the name: the first has it, the others add their process id."""
    place = os.environ.get(PLACE)
    if not place:
        return
    path = Path(place)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(report, indent=1))
        try:
            os.link(draft, path)  # unlike a rename it takes nobody else's place
            draft.unlink()
        except FileExistsError:
            os.replace(draft, path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}"))
    except OSError as error:  # a report that can't be written must not fail a run that succeeded
        print(f"forebay: the shim's report can't be written: {error}", file=sys.stderr)


def read_all(place: Path, since: float = 0.0) -> list[dict[str, Any]]:
    """What the processes of a run wrote under this name since then (seconds since 1970)."""
    found = []
    for path in sorted(place.parent.glob(f"{place.stem}*{place.suffix}")):
        if path.stat().st_mtime >= since:
            found.append(json.loads(path.read_text()))
    return found
