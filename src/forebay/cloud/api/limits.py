"""What organisations are guaranteed, may borrow and may spend: quotas, budgets. How much a chip counts for; whose a centre is,
and how fast data comes there.
"""

from __future__ import annotations

from fastapi import APIRouter

from forebay.chips.catalogue import find
from forebay.cloud.access import Who
from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, OnceKey, ReadsBills, ReadsPool, WritesBudgets, WritesPool, WritesTenants, write
from forebay.cloud.core import events as e
from forebay.cloud.core.budget import spent
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE, Budget
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.errors import Unknown

router = APIRouter(prefix="/api/v1")


# Quotas.


@router.get("/quotas", tags=["tenants"])
async def quotas(desk: At, by: ReadsBills) -> Body:
    state = desk.state
    return {
        "quotas": [
            {**encode(quota), "held": state.held.get(f"{quota.organisation}/{quota.chip}", 0)}
            for quota in state.t.quotas.values()
            if by.sees(quota.organisation)
        ]
    }


@router.put("/quotas/{organisation}/{chip}", tags=["tenants"])
async def set_quota(
    organisation: str, chip: str, asked: wire.QuotaAsked, desk: At, by: WritesTenants, once: OnceKey = None
) -> Body:
    """How many cards of a chip an organisation is guaranteed, and how many more it may borrow, from now on. The chip `compute`:
    effective compute over all chips. Runs that go on are left alone.
    """
    if chip != COMPUTE:
        find(chip)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        by.manages(state, organisation)
        asks = asked.model_dump()
        fact = e.QuotaSet(at_ns=now_ns, by=by.key.id, organisation=organisation, chip=chip, **asks)
        return fact, {"organisation": organisation, "chip": chip, **asks}

    return await write(desk, by, once, f"quota {organisation} {chip}", asked.model_dump(), make)


# Budgets. A whole organisation's is the operator's to set, a project's its owner's.


@router.get("/budgets", tags=["tenants"])
async def budgets(desk: At, by: ReadsBills) -> Body:
    """What may be spent, and what is: of runs that go on, up to now."""
    state, now_ns = desk.state, desk.loop.clock.now_ns()
    return {
        "currency": state.t.currency,
        "budgets": [
            {**encode(budget), "spent_micro": spent(state, budget, now_ns)}
            for budget in state.t.budgets.values()
            if by.sees(budget.organisation)
        ],
    }


@router.put("/budgets/{organisation}", tags=["tenants"])
async def set_budget(organisation: str, asked: wire.BudgetAsked, desk: At, by: WritesTenants, once: OnceKey = None) -> Body:
    """What a whole organisation may spend. At its end no new runs of it start."""
    return await _set(desk, by, once, organisation, "", asked)


@router.put("/budgets/{organisation}/{project}", tags=["tenants"])
async def set_project_budget(
    organisation: str, project: str, asked: wire.BudgetAsked, desk: At, by: WritesBudgets, once: OnceKey = None
) -> Body:
    """What one project may spend. At its end no new runs of it start."""
    return await _set(desk, by, once, organisation, project, asked)


@router.delete("/budgets/{organisation}", tags=["tenants"])
async def lift_budget(organisation: str, desk: At, by: WritesTenants, once: OnceKey = None) -> Body:
    return await _lift(desk, by, once, organisation, "")


@router.delete("/budgets/{organisation}/{project}", tags=["tenants"])
async def lift_project_budget(organisation: str, project: str, desk: At, by: WritesBudgets, once: OnceKey = None) -> Body:
    return await _lift(desk, by, once, organisation, project)


async def _set(desk: At, by: Who, once: str | None, organisation: str, project: str, asked: wire.BudgetAsked) -> Body:
    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        _may_budget(state, by, organisation, project)
        budget = Budget(
            organisation=organisation,
            project=project,
            limit_micro=asked.limit_micro,
            from_ns=now_ns if asked.from_ns is None else asked.from_ns,
            warn_share=asked.warn_share,
        )
        return e.BudgetSet(at_ns=now_ns, by=by.key.id, budget=budget), encode(budget)

    return await write(desk, by, once, f"budget {organisation}/{project}", asked.model_dump(), make)


async def _lift(desk: At, by: Who, once: str | None, organisation: str, project: str) -> Body:
    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        _may_budget(state, by, organisation, project)
        known = state.t.budgets.get(f"{organisation}/{project}")
        if known is None:
            raise Unknown("There is no such budget.", asked=f"{organisation}/{project}".rstrip("/"), hint="`forebay budget list`")
        return e.BudgetLifted(at_ns=now_ns, by=by.key.id, organisation=organisation, project=project), encode(known)

    return await write(desk, by, once, f"lift budget {organisation}/{project}", None, make)


def _may_budget(state: State, by: Who, organisation: str, project: str) -> None:
    by.manages(state, organisation)
    if project and f"{organisation}/{project}" not in state.t.projects:
        raise Unknown("There is no such project.", asked=f"{organisation}/{project}", hint="`forebay org list`")


# Effective compute, and whose a centre is.


@router.get("/indexes", tags=["pool"])
async def indexes(desk: At, by: ReadsPool) -> Body:
    """How much one card of a chip counts for, in cards of the reference chip. A chip that isn't named counts for one."""
    return {"indexes": dict(desk.state.t.indexes)}


@router.put("/indexes/{chip}", tags=["pool"])
async def set_index(chip: str, asked: wire.IndexAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    find(chip)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        asks = asked.model_dump()
        return e.IndexSet(at_ns=now_ns, by=by.key.id, chip=chip, **asks), {"chip": chip, **asks}

    return await write(desk, by, once, f"index {chip}", asked.model_dump(), make)


@router.put("/centres/{name}/owner", tags=["pool"])
async def own_centre(name: str, asked: wire.OwnerAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """Which organisation brought a centre: it is credited with a share of what others pay for its cards from now on."""

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        if name not in state.t.centres:
            raise Unknown("There is no such centre.", asked=name, hint="`forebay centre list`")
        if asked.organisation is not None:
            by.manages(state, asked.organisation)
        fact = e.CentreOwned(at_ns=now_ns, by=by.key.id, centre=name, organisation=asked.organisation or "", share=asked.share)
        return fact, {"centre": name, "organisation": asked.organisation, "share": asked.share}

    return await write(desk, by, once, f"owner {name}", asked.model_dump(), make)


@router.put("/centres/{name}/rate", tags=["pool"])
async def set_rate(name: str, asked: wire.RateAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """How fast data comes to a centre, until its agent measures it anew. Where a job ends first depends on it."""

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        if name not in state.t.centres:
            raise Unknown("There is no such centre.", asked=name, hint="`forebay centre list`")
        fact = e.CentreRateSet(at_ns=now_ns, by=by.key.id, centre=name, bytes_per_s=asked.bytes_per_s or 0.0)
        return fact, {"centre": name, "bytes_per_s": asked.bytes_per_s}

    return await write(desk, by, once, f"rate {name}", asked.model_dump(), make)
