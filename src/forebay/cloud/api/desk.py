"""What all handlers share: the loop with its state, the files, who asks, and the checks that several need."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from forebay.cloud import access
from forebay.cloud.access import Who
from forebay.cloud.core.state import State
from forebay.cloud.limits import USUAL, Buckets, Rates
from forebay.cloud.loop import Body, Loop, Make
from forebay.cloud.loop import Request as Once
from forebay.cloud.menu import Reader
from forebay.cloud.probe import Probe
from forebay.cloud.sealed import Sealed
from forebay.cloud.sending import Sending
from forebay.cloud.store import Store
from forebay.cloud.tunnels import Tunnels
from forebay.errors import BadInput, TooLarge, Unknown
from forebay.units import MIB


class Desk:
    """What the handlers share: the loop, the files, the reader of programs."""

    def __init__(self, loop: Loop, store: Store, rates: Rates = USUAL) -> None:
        self.loop = loop
        self.store = store
        self.reader = Reader(store.empty_folder("reading"))
        self.tunnels = Tunnels(loop.clock.monotonic_s, loop.wake)
        self.sending = Sending()
        self.sealed = Sealed(store)
        self.told: dict[str, Body] = {}  # centre -> what it was last asked for besides runs
        self.probe = Probe(store.folder)
        self.jobs = Buckets(rates.job, time.monotonic)  # how many more a key may submit just now
        self.metrics_open = False  # to whoever asks from this machine

    @property
    def state(self) -> State:
        return self.loop.state

    def is_live(self, run: str) -> bool:
        """Whether a run holds cards."""
        known = self.state.t.runs.get(run)
        return known is not None and not known.outcome

    def asks(self, centre: str) -> Body:
        """What a centre is asked for besides runs. It is news when it differs from what was told last."""
        return {
            "send": self.sending.wanted(self.state, centre, self.loop.clock.now_ns()),
            "tunnels": self.tunnels.listing(centre, self.is_live),
        }


async def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


class May:
    """Lets those to a route who have a right of `access.RIGHTS`. It is asked before anything else of the request is looked at."""

    def __init__(self, right: str) -> None:
        assert right in access.RIGHTS, right
        self.right = right

    async def __call__(self, request: Request, authorization: Annotated[str | None, Header()] = None) -> Who:
        desk: Desk = request.app.state.desk
        by = access.who(desk.state, authorization, desk.loop.clock.now_ns())
        by.must(self.right)
        return by


At = Annotated[Desk, Depends(desk_of)]
Anybody = Annotated[Who, Depends(May("self"))]
ReadsJobs = Annotated[Who, Depends(May("jobs:read"))]
WritesJobs = Annotated[Who, Depends(May("jobs:write"))]
EntersJobs = Annotated[Who, Depends(May("jobs:enter"))]
ReadsData = Annotated[Who, Depends(May("data:read"))]
WritesData = Annotated[Who, Depends(May("data:write"))]
ReadsPool = Annotated[Who, Depends(May("pool:read"))]
WritesPool = Annotated[Who, Depends(May("pool:write"))]
ReadsBills = Annotated[Who, Depends(May("bill:read"))]
ReadsMembers = Annotated[Who, Depends(May("members:read"))]
WritesMembers = Annotated[Who, Depends(May("members:write"))]
WritesBudgets = Annotated[Who, Depends(May("budgets:write"))]
WritesTenants = Annotated[Who, Depends(May("tenants:write"))]
Audits = Annotated[Who, Depends(May("audit:read"))]
OnceKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


async def write(desk: Desk, by: Who, once: str | None, what: str, body: Any, make: Make) -> Body:
    return await desk.loop.tell(make, Once.of(by.key.id, once, what, body) if once else None)


def known_organisation(state: State, organisation: str) -> None:
    if organisation not in state.t.organisations:
        raise Unknown("There is no such organisation.", asked=organisation, hint="`forebay org list`")


def home_of(state: State, by: Who, organisation: str | None) -> str:
    """The organisation whose code or data is meant."""
    if not by.is_operator:
        return by.key.organisation
    if not organisation:
        raise BadInput("An operator's key belongs to no organisation.", hint="say --project ORGANISATION/PROJECT")
    known_organisation(state, organisation)
    return organisation


async def body_of(request: Request, limit: int, what: str) -> bytes:
    """The request's body, read no further than its limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(
                f"That is too large for {what}.", found=f"more than {limit // MIB} MiB", hint=f"at most {limit // MIB} MiB"
            )
        parts.append(part)
    return b"".join(parts)
