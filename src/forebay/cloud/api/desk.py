"""What all handlers share: the loop with its state, the files, who asks, and the checks that several need."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from forebay.cloud import access
from forebay.cloud.access import Who
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body, Loop, Make
from forebay.cloud.loop import Request as Once
from forebay.cloud.menu import Reader
from forebay.cloud.probe import Probe
from forebay.cloud.sending import Sending
from forebay.cloud.store import Store
from forebay.cloud.tunnels import Tunnels
from forebay.errors import BadInput, Unknown
from forebay.units import MIB


class Desk:
    """What the handlers share: the loop, the files, the reader of programs."""

    def __init__(self, loop: Loop, store: Store) -> None:
        self.loop = loop
        self.store = store
        self.reader = Reader(store.empty_folder("reading"))
        self.tunnels = Tunnels(time.monotonic, loop.wake)
        self.sending = Sending()
        self.told: dict[str, Body] = {}  # centre -> what it was last asked for besides runs
        self.probe = Probe(store.folder)
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


async def who_of(request: Request, authorization: Annotated[str | None, Header()] = None) -> Who:
    desk: Desk = request.app.state.desk
    return access.who(desk.state, authorization, desk.loop.clock.now_ns())


At = Annotated[Desk, Depends(desk_of)]
By = Annotated[Who, Depends(who_of)]
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
            raise BadInput(
                f"That is too large for {what}.", found=f"more than {limit // MIB} MiB", hint=f"at most {limit // MIB} MiB"
            )
        parts.append(part)
    return b"".join(parts)
