"""Read the inputs of Kueue's own performance test: queues in cohorts, each with the same sets of workloads (`--part baseline`).

A queue becomes an organisation with its quota, and lends and borrows within its cohort. What a workload asks for are units, which
become cards of whatever chip the pool has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forebay.cloud.replay.trace import ANY_CHIP, Line, Tenant, Trace, Traced
from forebay.errors import BadInput

_MS = 1e-3


def read(path: Path, body: dict[str, Any], part: str) -> Trace:
    inputs = body["inputs"]
    if part not in inputs:
        raise BadInput(
            "That file holds several inputs.", asked=part or str(path), found=", ".join(inputs), hint="choose one with --part"
        )
    given = inputs[part]
    tenants = [
        Tenant(
            name=f"c{cohort}-q{queue}",
            cohort=f"c{cohort}",
            cards=given["nominal_quota"],
            borrow=given["borrowing_limit"],
        )
        for cohort in range(given["cohorts"])
        for queue in range(given["queues_per_cohort"])
    ]
    jobs = [
        Traced(
            id=f"{tenant.name}-{one['class']}-{number}",
            arrival_s=(number + 1) * one["creation_interval_ms"] * _MS,
            lines=(Line(chip=ANY_CHIP, cards=one["request"], seconds=one["runtime_ms"] * _MS),),
            organisation=tenant.name,
            name=one["class"],
            priority=one["priority"],
        )
        for tenant in tenants
        for one in given["workload_sets"]
        for number in range(one["count"])
    ]
    jobs.sort(key=lambda job: job.arrival_s)
    return Trace(name=part, format="kueue", jobs=tuple(jobs), tenants=tuple(tenants))
