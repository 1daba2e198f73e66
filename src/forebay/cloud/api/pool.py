"""What the pool has and who holds it; what was held and what it costs."""

from __future__ import annotations

import time

from fastapi import APIRouter

from forebay.cloud.access import Who
from forebay.cloud.api.desk import At, By
from forebay.cloud.core.meter import Bill, bill
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.errors import Unknown

router = APIRouter(prefix="/api/v1")


@router.get("/pool", tags=["pool"])
async def pool(desk: At, by: By) -> Body:
    """Centres, nodes and cards. Whose run holds a card is told to its own organisation and to operators only."""
    state = desk.state
    now = time.monotonic()
    centres = []
    for centre in state.t.centres.values():
        heard = desk.heard.get(centre.name)
        nodes = [
            {
                "name": node.name,
                "chip": node.chip,
                "pretend": node.pretend,
                "island": node.island,
                "cards": [
                    {
                        "index": card.index,
                        "cores": list(card.cores),
                        "held_by": _holder(state, by, centre.name, node.name, card.index),
                    }
                    for card in node.cards
                ],
            }
            for node in centre.nodes
        ]
        centres.append({"name": centre.name, "heard_s_ago": None if heard is None else round(now - heard, 1), "nodes": nodes})
    return {"centres": centres, "waiting": state.waiting}


@router.get("/bill", tags=["pool"])
async def get_bill(desk: At, by: By, organisation: str = "", project: str = "", job: str = "") -> Body:
    """What was held and what it costs, a line a run."""
    mine = organisation if by.is_operator else by.key.organisation
    if not by.sees(organisation or mine):
        raise Unknown("There is no such organisation.", asked=organisation)
    if job:
        job = by.job(desk.state, job).job.id
    return shown_bill(bill(desk.state, desk.loop.clock.now_ns(), organisation=mine, project=project, job=job))


def shown_bill(whole: Bill) -> Body:
    body: Body = encode(whole)
    for line, noun in zip(body["lines"], whole.lines, strict=True):
        line |= {"card_ns": noun.card_ns, "cost_micro": noun.cost_micro, "lost_micro": noun.lost_micro}
    return body


def _holder(state: State, by: Who, centre: str, node: str, card: int) -> str | None:
    run = state.holder(centre, node, card)
    if run is None:
        return None
    return run if by.sees(state.t.jobs[state.t.runs[run].job].job.organisation) else "busy"
