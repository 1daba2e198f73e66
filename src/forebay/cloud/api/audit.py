"""The audit view: the journal, line by line, as an operator reads it (all) or an owner (their organisation's lines only)."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from forebay.cloud.api.desk import At, Audits
from forebay.cloud.audit import line, whose
from forebay.cloud.core import events as e
from forebay.cloud.loop import Body
from forebay.errors import BadInput, nearest

router = APIRouter(prefix="/api/v1")

LOOKED_AT = 1_000  # lines of the journal that one answer looks at, at most
Seq = Annotated[int, Query(ge=0, lt=2**63)]


@router.get("/audit", tags=["tenants"])
async def audit(
    desk: At,
    by: Audits,
    before: Seq = 0,
    after: Seq | None = None,
    most: Annotated[int, Query(ge=1, le=1000)] = 100,
    who: Annotated[str, Query(max_length=64)] = "",
    kind: Annotated[str, Query(max_length=64)] = "",
    since_ns: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    organisation: Annotated[str, Query(max_length=64)] = "",
) -> Body:
    """Lines of the journal, newest first; the next page starts `before` the answer's `next`. With `after`: oldest first, and
    the next page starts `after` the answer's `next`. `next` null: there are no more for now. A page may be short, even empty,
    and go on all the same: an answer looks at so many lines and no more. `who`: a key's id, a member, "centre NAME", "forebay".
    """
    if kind and kind not in e.KINDS:
        raise BadInput("There is no such kind of event.", asked=kind, hint=", ".join(nearest(kind, list(e.KINDS))))
    mine = by.organisation(organisation)
    journal, state = desk.loop.journal, desk.state
    last = journal.seq
    found = await asyncio.to_thread(
        journal.page,
        before=before,
        after=after,
        kind=kind,
        since_ns=since_ns,
        most=LOOKED_AT,
        last=last,
        wanted=lambda job: not mine or not job or state.t.jobs[job].job.organisation == mine,
    )
    lines: list[Body] = []
    looked = 0
    for seq, job, event in found:
        looked = seq
        if event is None or (mine and whose(event, job, state) != mine):
            continue
        told = line(seq, event, job, state, by.sees)
        if who in ("", told["by"], told["member"], told["key_name"]):
            lines.append(told)
            if len(lines) == most:
                break
    ended = len(found) < LOOKED_AT and (not found or looked == found[-1][0])
    return {"lines": lines, "next": None if ended else looked, "last": last}
