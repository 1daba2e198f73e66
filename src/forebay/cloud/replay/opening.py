"""How the journal of a replay begins: organisations with their quotas, one centre, its nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from forebay.chips.node import Node
from forebay.cloud.core import events as e
from forebay.cloud.replay.trace import ANY_CHIP, Settings, Tenant, Traced
from forebay.units import NS_PER_S

EPOCH_NS = NS_PER_S  # of a replay's clock; 0 means "not yet" in the core
CENTRE = "replay"


def opening(
    jobs: Sequence[Traced],
    nodes: Sequence[Node],
    tenants: Sequence[Tenant],
    settings: Settings,
    *,
    known: bool = False,
    at_ns: int = EPOCH_NS,
) -> Iterator[e.Event]:
    """The facts before the first job, of organisations that have one. `known`: whether the policy is told how fast the
    chips are."""
    common: dict[str, Any] = {"at_ns": at_ns, "by": "replay"}
    yield e.CloudMade(currency="", version="replay", **common)
    of = sorted({(job.organisation, job.project) if settings.tenants else ("everybody", "all") for job in jobs})
    names = dict.fromkeys(name for name, _ in of)
    for name in names:
        yield e.OrganisationMade(name=name, **common)
    for name, project in of:
        yield e.ProjectMade(organisation=name, name=project, **common)
    yield e.CentreMade(name=CENTRE, token_sha256="", **common)
    yield e.CentreJoined(centre=CENTRE, key_sha256=CENTRE, **common)
    yield e.AgentSeen(centre=CENTRE, engine="replay", version="replay", **common)
    yield e.NodesSeen(centre=CENTRE, nodes=tuple(nodes), **common)
    for chip, compute in _indexes(jobs).items() if known else ():
        yield e.IndexSet(chip=chip, compute=compute, source="the trace's own speeds", **common)
    chips = list(dict.fromkeys(node.chip for node in nodes))
    for tenant in tenants:
        if tenant.name in names:
            yield from _terms(tenant, chips, common)


def _terms(tenant: Tenant, chips: Sequence[str], common: dict[str, Any]) -> Iterator[e.Event]:
    if tenant.cohort or tenant.weight != 1.0:
        yield e.OrganisationSet(organisation=tenant.name, cohort=tenant.cohort, weight=tenant.weight, **common)
    if tenant.cards is None:
        return
    terms: dict[str, Any] = {"cards": tenant.cards, "borrow": tenant.borrow, "reclaim_s": tenant.reclaim_s}
    for chip in chips if tenant.chip == ANY_CHIP else [tenant.chip]:
        yield e.QuotaSet(organisation=tenant.name, chip=chip, **terms, **common)


def _indexes(jobs: Sequence[Traced]) -> dict[str, float]:
    """What a card of each chip is worth: the geometric mean, over the jobs, of its speed beside the fastest chip's."""
    logs: dict[str, list[float]] = {}
    for job in jobs:
        same = [line for line in job.lines if line.cards == job.lines[job.asked].cards]
        if len({line.chip for line in same}) > 1:
            best_s = min(line.seconds for line in same)
            for line in same:
                logs.setdefault(line.chip, []).append(math.log(best_s / line.seconds))
    return {chip: math.exp(sum(found) / len(found)) for chip, found in sorted(logs.items())}
