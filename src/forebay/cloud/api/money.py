"""What was held and what it costs; what the pool did with its cards; who is idle; what prices were and will be."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from forebay.chips.catalogue import find
from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, OnceKey, ReadsBills, ReadsPool, WritesPool, write
from forebay.cloud.core import events as e
from forebay.cloud.core.bill_by import grouped
from forebay.cloud.core.meter import ALWAYS_NS, Bill, bill
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import IdleLimits
from forebay.cloud.core.use import report
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.errors import BadInput

router = APIRouter(prefix="/api/v1")

Moment = Annotated[int, Query(ge=0, le=ALWAYS_NS)]


@router.get("/bill", tags=["pool"])
async def get_bill(
    desk: At,
    by: ReadsBills,
    organisation: str = "",
    project: str = "",
    job: str = "",
    member: str = "",
    chip: str = "",
    since_ns: Moment = 0,
    until_ns: Moment = ALWAYS_NS,
    split: Annotated[str, Query(max_length=200)] = "",
) -> Body:
    """What was held in a period and what it costs, a line a run; with `split` (as "member,chip") also a row for each of those."""
    mine = by.organisation(organisation)
    if since_ns > until_ns:
        raise BadInput("A period begins before it ends.", asked=f"{since_ns} to {until_ns}")
    if job:
        job = by.job(desk.state, job).job.id
    whole = bill(
        desk.state,
        desk.loop.clock.now_ns(),
        organisation=mine,
        project=project,
        job=job,
        member=member,
        chip=chip,
        from_ns=since_ns,
        to_ns=until_ns,
    )
    fields = [field.strip() for field in split.split(",") if field.strip()]
    rows = [{**encode(row), "billed_micro": row.billed_micro} for row in grouped(whole, fields)] if fields else None
    return {**shown_bill(whole), **({"by": fields, "rows": rows} if fields else {})}


def shown_bill(whole: Bill) -> Body:
    body: Body = encode(whole)
    for line, noun in zip(body["lines"], whole.lines, strict=True):
        line |= {"card_ns": noun.card_ns, "billed_micro": noun.billed_micro}
    return body


# Prices. The rest of them is beside the other things that operators set.


@router.get("/prices/history", tags=["tenants"])
async def price_history(desk: At, by: ReadsPool, chip: str = "") -> Body:
    """What a card-second cost, and will cost, from when on; a run keeps the price at which it was launched."""
    now_ns = desk.loop.clock.now_ns()
    state = desk.state
    prices = [price for name, history in state.t.price_history.items() if chip in ("", name) for price in history]
    return {"currency": state.t.currency, "now_ns": now_ns, "prices": encode(tuple(prices))}


# What the pool did.


@router.get("/pool/use", tags=["pool"])
async def pool_use(desk: At, by: ReadsPool, since_ns: Moment = 0) -> Body:
    """Of the cards of the pool, of each centre and chip, and of each organisation: elapsed, down, idle, used, held, active and
    productive card-time. An organisation sees its own line. `from_ns`: from when is counted, at or before `since_ns`.
    """
    mine = "" if by.is_operator else by.key.organisation
    told: Body = encode(report(desk.state, desk.loop.clock.now_ns(), from_ns=since_ns, organisation=mine))
    return told


@router.get("/pool/idle", tags=["pool"])
async def idle_limits(desk: At, by: ReadsPool) -> Body:
    limits: Body = encode(desk.state.t.idle_limits)
    return limits


@router.put("/pool/idle", tags=["pool"])
async def set_idle_limits(asked: wire.IdleAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """When holders of cards that do nothing are warned, and when their cards are taken back (null: never)."""

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        limits = IdleLimits(**asked.model_dump())
        return e.IdleLimitsSet(at_ns=now_ns, by=by.key.id, limits=limits), encode(limits)

    return await write(desk, by, once, "idle", asked.model_dump(), make)


def price_fact(state: State, now_ns: int, by: str, chip: str, asked: wire.PriceAsked) -> tuple[e.Event, Body]:
    """A price from now on, or from a moment to come on."""
    find(chip)
    if asked.from_ns and asked.from_ns < now_ns:
        raise BadInput(
            "A price can't come into force in the past: runs keep the price of their launch.", asked=str(asked.from_ns)
        )
    fact = e.PriceSet(at_ns=now_ns, by=by, chip=chip, micro_per_card_s=asked.micro_per_card_s, from_ns=asked.from_ns)
    return fact, {"chip": chip, "micro_per_card_s": asked.micro_per_card_s, "from_ns": asked.from_ns or now_ns}
