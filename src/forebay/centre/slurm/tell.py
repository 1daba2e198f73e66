"""From what Slurm's commands print to facts. Pure; the tests read what a real site printed.

Asked:  what do `scontrol -o -d show node`, `show partition`, `show topology`, `squeue` and `sacct` say?
Answer: the nouns of `facts.py`. A line is words of the form Name=value; a value may hold spaces, so it goes on until the next
        name.
Limits: written against Slurm 22.05; the names that are read are the same from 19.05 to 24.05, as its release notes tell.
"""

from __future__ import annotations

import re
import time

from forebay.centre.slurm import hostlist
from forebay.centre.slurm.facts import Gres, Job, Machine, Partition

SQUEUE = "JobID:|,Name:|,State:|,Reason:|,NodeList:|,RestartCnt:|,StartTime:|,EndTime:|"
SACCT = "JobIDRaw,JobName,State,NodeList,Restarts,Start,End"
_WORD = re.compile(r"(?:^|\s)([A-Za-z][\w/:]*)=")
_COUNT = re.compile(r"(\d+)([KMG]?)")
_GIVEN = re.compile(r"([A-Za-z_][\w.-]*)(?::([\w.-]*[A-Za-z_][\w.-]*))?(?::\d+)?\(([^)]*)\)")
_NOTHING = frozenset({"(null)", "N/A", "None", "none", ""})


def words(line: str) -> dict[str, str]:
    """Name=value pairs of one line."""
    marks = list(_WORD.finditer(line))
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    return {mark[1]: line[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=False)}


def gres(text: str) -> tuple[Gres, ...]:
    """ "gpu:h100:8(S:0-1),npu:4" and GresUsed's "gpu:h100:3(IDX:0-2)" alike; kinds of which there are none are left out."""
    found: dict[tuple[str, str], int] = {}
    for part in re.split(r",(?![^()]*\))", "" if text in _NOTHING else text):
        name, *model, last = part.partition("(")[0].split(":") if ":" in part else (part, "")
        count = _COUNT.fullmatch(last)
        if count is not None and (number := int(count[1]) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[count[2]]):
            key = (name, ":".join(model))
            found[key] = found.get(key, 0) + number
    return tuple(Gres(name=name, model=model, count=count) for (name, model), count in found.items())


def machine(line: str) -> Machine:
    told = words(line)
    state = told.get("State", "UNKNOWN").upper()
    names = tuple(re.sub(r"[*~#!%$@^-]+$", "", part) for part in state.split("+"))
    return Machine(
        name=told["NodeName"],
        address=_plain(told.get("NodeAddr")),
        cpus=int(told.get("CPUEfctv") or told.get("CPUTot") or 0),
        memory_mb=int(told.get("RealMemory") or 0),
        gres=gres(told.get("Gres", "")),
        used=gres(told.get("GresUsed", "")),
        cpus_used=int(told.get("CPUAlloc") or 0),
        features=tuple(filter(None, _plain(told.get("ActiveFeatures") or told.get("AvailableFeatures")).split(","))),
        partitions=tuple(filter(None, _plain(told.get("Partitions")).split(","))),
        state=names,
        silent="*" in state or "NOT_RESPONDING" in names,
        reason=re.sub(r"\s*\[[^\]]*\]$", "", _plain(told.get("Reason"))),
    )


def machines(text: str) -> tuple[Machine, ...]:
    return tuple(machine(line) for line in text.splitlines() if "NodeName=" in line)


def partitions(text: str) -> tuple[Partition, ...]:
    found = []
    for told in (words(line) for line in text.splitlines() if "PartitionName=" in line):
        memory = [value for name, value in told.items() if name.startswith("DefMemPer")]
        found.append(
            Partition(
                name=told["PartitionName"],
                up=told.get("State", "UP") == "UP",
                default=told.get("Default") == "YES",
                root_only=told.get("RootOnly") == "YES",
                hidden=told.get("Hidden") == "YES",
                most_minutes=minutes(told.get("MaxTime", "")),
                default_memory=any(value not in ("UNLIMITED", "0") for value in memory),
            )
        )
    return tuple(found)


def switches(text: str) -> dict[str, str]:
    """Node or switch -> the switch right above it, from `scontrol show topology` or a topology.conf."""
    above: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        told = words(line.split("#")[0])
        name = told.get("SwitchName") or told.get("BlockName")
        if not name:
            continue
        below = hostlist.expand(_plain(told.get("Switches")))
        # A switch of switches is said to have all nodes below it as well: the smallest switch counts.
        for inner in below or hostlist.expand(_plain(told.get("Nodes"))):
            size = len(hostlist.expand(told.get("Nodes", "")))
            if inner not in above or size < above[inner][0]:
                above[inner] = (size, name)
    return {inner: name for inner, (_, name) in above.items()}


def config(text: str) -> dict[str, str]:
    """`scontrol show config`."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def queue(text: str) -> tuple[Job, ...]:
    """`squeue -h -O` with SQUEUE."""
    found = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) < 8:
            continue
        number, name, state, reason, nodes, restarts, start, end = (part.strip() for part in parts[:8])
        found.append(
            Job(
                id=number,
                name=name,
                state=state.upper(),
                reason="" if reason in _NOTHING else reason,
                nodes=_plain(nodes),
                restarts=int(restarts) if restarts.isdigit() else 0,
                started_at_s=_moment(start),
                ended_at_s=_moment(end),
            )
        )
    return tuple(found)


def accounts(text: str) -> tuple[Job, ...]:
    """`sacct -n -P -X` with SACCT."""
    found = []
    for line in text.splitlines():
        number, name, state, nodes, restarts, start, end = line.split("|")[:7]
        found.append(
            Job(
                id=number,
                name=name,
                state=state.split()[0].upper(),  # "CANCELLED by 0"
                nodes="" if nodes == "None assigned" else nodes,
                restarts=int(restarts) if restarts.isdigit() else 0,
                started_at_s=_moment(start),
                ended_at_s=_moment(end),
            )
        )
    return tuple(found)


def bound(text: str, key: str) -> dict[str, tuple[int, ...]]:
    """Which cards of one kind a job has on each node: `scontrol -d show job`. `key`: "npu:ascend910b". None named: they are only
    counted there.
    """
    name, _, model = key.partition(":")
    found: dict[str, tuple[int, ...]] = {}
    for line in text.splitlines():
        told = words(line)
        if "Nodes" not in told or "GRES" not in told:
            continue
        cards: tuple[int, ...] = ()
        for kind, mine, inside in _GIVEN.findall(told["GRES"]):
            if kind == name and mine in ("", model) and inside.startswith("IDX:"):
                cards += hostlist.numbers(inside.removeprefix("IDX:"))
        found.update(dict.fromkeys(hostlist.expand(told["Nodes"]), cards))
    return found


def minutes(text: str) -> int | None:
    """Slurm's times: "10", "10:00" (minutes), "2:00:00", "1-12", "UNLIMITED"."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", text):
        return None
    days, _, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, mins, _ = (*parts, 0, 0)[:3]
        return int(days) * 1440 + hours * 60 + mins
    return parts[0] if len(parts) < 3 else parts[0] * 60 + parts[1]


def _plain(text: str | None) -> str:
    return "" if text is None or text in _NOTHING else text


def _moment(text: str) -> float | None:
    """Slurm prints local time, without saying which."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
