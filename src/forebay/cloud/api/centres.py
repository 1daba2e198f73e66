"""The operator's hand on the pool: centres, what is drained, and windows of maintenance."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter

from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, Desk, OnceKey, WritesPool, write
from forebay.cloud.core import events as e
from forebay.cloud.core.pool import LOCAL_CENTRE, Centre, Window, place_name
from forebay.cloud.core.state import State
from forebay.cloud.core.transfer import bytes_per_s, measured_bytes_per_s
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, Refused, Unknown
from forebay.units import NS_PER_S

router = APIRouter(prefix="/api/v1", tags=["pool"])


# Centres.


@router.get("/centres")
async def centres(desk: At, by: WritesPool) -> Body:
    return {"centres": [shown_centre(desk, centre) for centre in desk.state.t.centres.values()]}


@router.post("/centres", status_code=201)
async def make_centre(asked: wire.CentreAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """A centre that may join with the token whose hash is given. The token is good for one agent's key."""

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        if asked.name in state.t.centres:
            raise Conflict(
                "There is a centre of that name already.",
                asked=asked.name,
                hint=f"`forebay centre token {asked.name}` to join again",
            )
        _new_token(state, asked)
        expires = _expires(asked, now_ns)
        fact = e.CentreMade(at_ns=now_ns, by=by.key.id, name=asked.name, token_sha256=asked.token_sha256, expires_at_ns=expires)
        return fact, {"name": asked.name, "expires_at_ns": expires}

    return await write(desk, by, once, "centre", asked.model_dump(), make)


@router.post("/centres/{name}/token", status_code=201)
async def make_token(name: str, asked: wire.TokenAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """A new token for a centre that is to join again. The key that it has is good until it does."""

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        _known(state, name)
        _not_local(name)
        _new_token(state, asked)
        expires = _expires(asked, now_ns)
        fact = e.TokenMade(at_ns=now_ns, by=by.key.id, centre=name, token_sha256=asked.token_sha256, expires_at_ns=expires)
        return fact, {"name": name, "expires_at_ns": expires}

    return await write(desk, by, once, f"token {name}", asked.model_dump(), make)


@router.delete("/centres/{name}")
async def revoke_centre(name: str, desk: At, by: WritesPool, once: OnceKey = None, give_up: bool = False) -> Body:
    """Refuse a centre's agent from now on. Its runs go on there, unseen, until they are given up: here, or one by one by
    cancelling their jobs.
    """

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        centre = _known(state, name)
        _not_local(name)
        runs = [run.id for run in state.runs_at(name)]
        nothing_new = centre.revoked and not (give_up and runs)
        fact = e.CentreRevoked(at_ns=now_ns, by=by.key.id, centre=name, give_up=give_up)
        return (None if nothing_new else fact), {"name": name, "runs": runs, "given_up": give_up}

    return await write(desk, by, once, f"revoke centre {name}", give_up, make)


def shown_centre(desk: Desk, centre: Centre) -> Body:
    """A centre without its hashes."""
    state, heard = desk.state, desk.loop.heard_s_ago(centre.name)
    mark = state.t.marks.get(centre.name)
    return {
        "name": centre.name,
        "state": standing_of(centre),
        "engine": centre.engine,
        "version": centre.version,
        "heard_s_ago": None if heard is None else round(heard, 1),
        "token": _token_state(centre, desk.loop.clock.now_ns()),
        "drained": encode(mark) if mark else None,
        "runs": len(state.live_at.get(centre.name, {})),
        "cards": sum(len(node.cards) for node in centre.nodes),
        "rate": {"bytes_per_s": bytes_per_s(centre), "source": _rate_source(centre)},
    }


def _rate_source(centre: Centre) -> str:
    """Who says how fast data comes there."""
    return "measured" if measured_bytes_per_s(centre) else "said" if centre.said_bytes_per_s else "assumed"


def standing_of(centre: Centre) -> str:
    if centre.revoked:
        return "revoked"
    if not centre.key_sha256:
        return "not joined"
    return "away" if centre.away else "here"


def _token_state(centre: Centre, now_ns: int) -> str:
    if not centre.token_sha256:
        return "none"
    if centre.token_key_sha256:
        return "used"
    return "expired" if centre.token_expires_at_ns is not None and now_ns >= centre.token_expires_at_ns else "unused"


def _expires(asked: wire.TokenAsked, now_ns: int) -> int | None:
    return now_ns + int(asked.expires_in_s * NS_PER_S) if asked.expires_in_s else None


def _new_token(state: State, asked: wire.TokenAsked) -> None:
    if asked.token_sha256 in state.centres_by_token or asked.token_sha256 in state.centres_by_key:
        raise Conflict("There is a centre with that token already.", hint="make a new token")


def _known(state: State, name: str) -> Centre:
    centre = state.t.centres.get(name)
    if centre is None:
        raise Unknown(
            "There is no such centre.", asked=name, found=", ".join(state.t.centres) or "none", hint="`forebay centre list`"
        )
    return centre


def _not_local(name: str) -> None:
    if name == LOCAL_CENTRE:
        raise Refused(
            "The local centre is a part of this cloud.",
            asked=name,
            hint="`forebay down` stops it, `forebay pool drain local` drains it",
        )


# What gets no runs.


@router.post("/pool/drain")
async def drain(asked: wire.DrainAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """Give a centre, a node or a card no new runs. Those that go on there are left alone."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        place = _place(state, asked)
        fact = e.Drained(at_ns=now_ns, by=by.key.id, centre=asked.centre, node=asked.node, card=asked.card, reason=asked.reason)
        known = state.t.marks.get(place)
        same = known is not None and (known.quarantine or known.reason == asked.reason)
        return (None if same else fact), {"place": place, "runs": _runs_on(state, asked)}

    return await write(desk, by, once, "drain", asked.model_dump(), make)


@router.post("/pool/undrain")
async def undrain(asked: wire.PlaceAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """Give it runs again. A card is taken out of quarantine too."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        place = _place(state, asked)
        if place not in state.t.marks:
            below = [mark.place for mark in state.t.marks.values() if mark.place.startswith(place + "/")]
            if below:
                raise Conflict("That isn't drained itself; what is lies in it.", asked=place, found=", ".join(below))
            return None, {"place": place}
        fact = e.Undrained(at_ns=now_ns, by=by.key.id, centre=asked.centre, node=asked.node, card=asked.card)
        return fact, {"place": place}

    return await write(desk, by, once, "undrain", asked.model_dump(), make)


@router.post("/pool/maintenance", status_code=201)
async def set_maintenance(asked: wire.MaintenanceAsked, desk: At, by: WritesPool, once: OnceKey = None) -> Body:
    """A window in which a centre, or a node of it, runs nothing of ours."""
    window_id = "w" + secrets.token_hex(3)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        _place(state, wire.PlaceAsked(centre=asked.centre, node=asked.node))
        if asked.to_ns <= asked.from_ns or asked.to_ns <= now_ns:
            raise BadInput("A window ends after it begins, and not in the past.", asked=f"{asked.from_ns} to {asked.to_ns}")
        window = Window(id=window_id, by=by.key.id, **asked.model_dump())
        return e.MaintenanceSet(at_ns=now_ns, by=by.key.id, window=window), encode(window)

    return await write(desk, by, once, "maintenance", asked.model_dump(), make)


@router.delete("/pool/maintenance/{window_id}")
async def lift_maintenance(window_id: str, desk: At, by: WritesPool, once: OnceKey = None) -> Body:

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        if window_id not in state.t.windows:
            raise Unknown("There is no such window.", asked=window_id, hint="`forebay pool` shows them")
        fact = e.MaintenanceLifted(at_ns=now_ns, by=by.key.id, window=window_id)
        return fact, {"id": window_id, "place": state.t.windows[window_id].place}

    return await write(desk, by, once, "lift maintenance", window_id, make)


def _place(state: State, asked: wire.PlaceAsked) -> str:
    """The name of a place in the pool that there is."""
    centre = _known(state, asked.centre)
    if asked.node:
        node = next((node for node in centre.nodes if node.name == asked.node), None)
        if node is None:
            raise Unknown("That centre has no such node.", asked=place_name(asked.centre, asked.node), hint="`forebay pool`")
        if asked.card is not None and asked.card not in [card.index for card in node.cards]:
            marked = place_name(asked.centre, asked.node, asked.card) in state.t.marks  # its engine may count otherwise
            if not marked:
                raise Unknown(
                    "That node has no such card.",
                    asked=place_name(asked.centre, asked.node, asked.card),
                    found=", ".join(str(card.index) for card in node.cards),
                )
    return place_name(asked.centre, asked.node, asked.card)


def _runs_on(state: State, asked: wire.PlaceAsked) -> list[str]:
    """The runs that go on there."""
    runs: list[Any] = list(state.runs_at(asked.centre, asked.node))
    if asked.card is not None:
        return list(filter(None, [state.holder(asked.centre, asked.node, asked.card)]))
    return [run.id for run in runs]
