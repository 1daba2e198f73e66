"""How the journal of a replay begins: organisations with their quotas, one centre, its nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from forebay.chips.node import Node
from forebay.cloud.core import events as e
from forebay.cloud.replay.trace import ANY_CHIP, Settings, Tenant, Traced
from forebay.units import NS_PER_S

EPOCH_NS = NS_PER_S  # of a replay's clock; 0 means "not yet" in the core
CENTRE = "replay"


def opening(
    jobs: Sequence[Traced], nodes: Sequence[Node], tenants: Sequence[Tenant], settings: Settings, at_ns: int = EPOCH_NS
) -> Iterator[e.Event]:
    """The facts before the first job. Only organisations that have one are told of."""
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
