"""From what slurmrestd answers to facts. Pure; the same nouns as `tell.py` makes.

Limits: the JSON of openapi v0.0.38, which slurmrestd 22.05 to 23.11 speaks. Later ones wrap numbers as {"set", "number"} and
        states as lists: both are read, and untested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forebay.centre.slurm import tell
from forebay.centre.slurm.facts import Job, Machine, Partition

UNLIMITED = 2**32 - 2  # Slurm's own way to say so, and its neighbours


def machine(told: Mapping[str, Any]) -> Machine:
    base, flags = _list(told.get("state")), _list(told.get("state_flags"))
    names = tuple(name.upper() for name in (*base, *flags))
    return Machine(
        name=told["name"],
        address=told.get("address") or "",
        cpus=int(told.get("cpus") or 0),
        memory_mb=int(_number(told.get("real_memory")) or 0),
        gres=tell.gres(told.get("gres") or ""),
        used=tell.gres(told.get("gres_used") or ""),
        cpus_used=int(told.get("alloc_cpus") or 0),
        features=tuple(_words(told.get("active_features") or told.get("features"))),
        partitions=tuple(_words(told.get("partitions"))),
        state=names,
        silent="NOT_RESPONDING" in names or "NO_RESPOND" in names,
        reason=told.get("reason") or "",
    )


def machines(body: Mapping[str, Any]) -> tuple[Machine, ...]:
    return tuple(machine(told) for told in body.get("nodes", ()))


def partitions(body: Mapping[str, Any]) -> tuple[Partition, ...]:
    found = []
    for told in body.get("partitions", ()):
        flags = [flag.lower() for flag in _list(told.get("flags"))]
        most = _number(told.get("max_time_limit"))
        memory = (_number(told.get("default_memory_per_node")), _number(told.get("default_memory_per_cpu")))
        found.append(
            Partition(
                name=told["name"],
                up="UP" in _list(told.get("state") or "UP"),
                default="default" in flags,
                root_only="root_only" in flags,
                hidden="hidden" in flags,
                most_minutes=None if most is None or not 0 < most < UNLIMITED else int(most),
                default_memory=any(one is not None and 0 < one < UNLIMITED for one in memory),
            )
        )
    return tuple(found)


def jobs(body: Mapping[str, Any], names: frozenset[str]) -> tuple[Job, ...]:
    """Those of these names. The API has no filter by name."""
    return tuple(_job(told) for told in body.get("jobs", ()) if told.get("name") in names)


def _job(told: Mapping[str, Any]) -> Job:
    state = _list(told.get("job_state"))
    reason = told.get("state_reason") or ""
    return Job(
        id=str(told["job_id"]),
        name=told["name"],
        state=(state[0] if state else "UNKNOWN").upper(),
        reason="" if reason == "None" else reason,
        nodes=told.get("nodes") or "",
        restarts=int(told.get("restart_cnt") or 0),
        started_at_s=_number(told.get("start_time")) or None,
        ended_at_s=_number(told.get("end_time")) or None,
    )


def _list(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    return value.split("+") if isinstance(value, str) else [str(one) for one in value]


def _words(value: Any) -> Sequence[str]:
    return [word for word in value.split(",") if word] if isinstance(value, str) else list(value or ())


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):
        return float(value["number"]) if value.get("set") and not value.get("infinite") else None
    return None if value is None else float(value)
