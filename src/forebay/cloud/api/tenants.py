"""Organisations, projects, keys, prices, quotas."""

from __future__ import annotations

import secrets

from fastapi import APIRouter

from forebay import __version__
from forebay.chips.catalogue import find
from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, By, OnceKey, known_organisation, write
from forebay.cloud.api.money import price_fact
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Key, Role
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, Unknown
from forebay.units import NS_PER_S

router = APIRouter(prefix="/api/v1")


@router.get("/", tags=["cloud"])
async def about(desk: At) -> Body:
    """What this is: answers without a key, so that a client can tell that it found a cloud."""
    return {"forebay": __version__, "currency": desk.state.t.currency, "time_ns": desk.loop.clock.now_ns()}


@router.get("/me", tags=["cloud"])
async def me(by: By) -> Body:
    """Whose key this is."""
    return _shown_key(by.key)


@router.get("/organisations", tags=["tenants"])
async def organisations(desk: At, by: By) -> Body:
    t = desk.state.t
    return {
        "organisations": [
            {**encode(org), "projects": [p.name for p in t.projects.values() if p.organisation == org.name]}
            for org in t.organisations.values()
            if by.sees(org.name)
        ]
    }


@router.post("/organisations", tags=["tenants"], status_code=201)
async def make_organisation(asked: wire.OrganisationAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    by.must_operate()

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        if asked.name in state.t.organisations:
            raise Conflict("There is an organisation of that name already.", asked=asked.name, hint="`forebay org list`")
        return e.OrganisationMade(at_ns=now_ns, by=by.key.id, name=asked.name, title=asked.title), {
            "name": asked.name,
            "title": asked.title,
        }

    return await write(desk, by, once, "organisation", asked.model_dump(), make)


@router.post("/organisations/{organisation}/projects", tags=["tenants"], status_code=201)
async def make_project(organisation: str, asked: wire.ProjectAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    by.must_operate()

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        known_organisation(state, organisation)
        if f"{organisation}/{asked.name}" in state.t.projects:
            raise Conflict(
                "There is a project of that name already.", asked=f"{organisation}/{asked.name}", hint="`forebay org list`"
            )
        fact = e.ProjectMade(at_ns=now_ns, by=by.key.id, organisation=organisation, name=asked.name)
        return fact, {"organisation": organisation, "name": asked.name}

    return await write(desk, by, once, f"project {organisation}", asked.model_dump(), make)


@router.get("/keys", tags=["tenants"])
async def keys(desk: At, by: By) -> Body:
    return {"keys": [_shown_key(key) for key in desk.state.t.keys.values() if by.sees(key.organisation)]}


@router.post("/keys", tags=["tenants"], status_code=201)
async def make_key(asked: wire.KeyAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    by.must_operate()
    key_id = "k" + secrets.token_hex(4)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        role = Role(asked.role)
        organisation, project = "", ""
        if role is not Role.OPERATOR:
            organisation, project = by.place(state, asked.organisation, asked.project)
        elif asked.organisation or asked.project:
            raise BadInput("An operator's key belongs to no organisation.", asked=f"{asked.organisation}/{asked.project}")
        if asked.secret_sha256 in state.keys_by_hash:
            raise Conflict("There is a key with that secret already.", hint="make a new secret")
        expires = now_ns + int(asked.expires_in_s * NS_PER_S) if asked.expires_in_s else None
        key = Key(
            id=key_id,
            secret_sha256=asked.secret_sha256,
            role=role,
            organisation=organisation,
            project=project,
            name=asked.name,
            expires_at_ns=expires,
        )
        return e.KeyMade(at_ns=now_ns, by=by.key.id, key=key), _shown_key(key)

    return await write(desk, by, once, "key", asked.model_dump(), make)


@router.delete("/keys/{key_id}", tags=["tenants"])
async def revoke_key(key_id: str, desk: At, by: By, once: OnceKey = None) -> Body:
    by.must_operate()

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        key = state.t.keys.get(key_id)
        if key is None:
            raise Unknown("There is no such key.", asked=key_id, hint="`forebay key list`")
        if key.id == by.key.id:
            raise Conflict("A key can't revoke itself.", asked=key_id, hint="use another operator's key")
        answer = {**_shown_key(key), "revoked": True}
        return (None if key.revoked else e.KeyRevoked(at_ns=now_ns, by=by.key.id, key=key_id)), answer

    return await write(desk, by, once, "revoke", key_id, make)


@router.get("/prices", tags=["tenants"])
async def prices(desk: At, by: By) -> Body:
    """What a card-second costs in runs that are launched now."""
    state, now_ns = desk.state, desk.loop.clock.now_ns()
    chips = [chip for chip in {**state.t.prices, **state.t.price_history} if state.is_priced(chip, now_ns)]
    return {
        "currency": state.t.currency,
        "prices": [{"chip": chip, "micro_per_card_s": state.price(chip, now_ns)} for chip in chips],
    }


@router.put("/prices/{chip}", tags=["tenants"])
async def set_price(chip: str, asked: wire.PriceAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    """The price of a card-second from now on, or from a moment to come on. A run keeps the price at which it was launched."""
    by.must_operate()
    find(chip)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        return price_fact(state, now_ns, by.key.id, chip, asked)

    return await write(desk, by, once, f"price {chip}", asked.model_dump(), make)


@router.get("/quotas", tags=["tenants"])
async def quotas(desk: At, by: By) -> Body:
    state = desk.state
    return {
        "quotas": [
            {**encode(quota), "held": state.held.get(f"{quota.organisation}/{quota.chip}", 0)}
            for quota in state.t.quotas.values()
            if by.sees(quota.organisation)
        ]
    }


@router.put("/quotas/{organisation}/{chip}", tags=["tenants"])
async def set_quota(organisation: str, chip: str, asked: wire.QuotaAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    """How many cards of a chip an organisation may hold at once, from now on. Runs that go on are left alone."""
    by.must_operate()
    find(chip)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        known_organisation(state, organisation)
        fact = e.QuotaSet(at_ns=now_ns, by=by.key.id, organisation=organisation, chip=chip, cards=asked.cards)
        return fact, {"organisation": organisation, "chip": chip, "cards": asked.cards}

    return await write(desk, by, once, f"quota {organisation} {chip}", asked.model_dump(), make)


def _shown_key(key: Key) -> Body:
    body: Body = encode(key)
    del body["secret_sha256"]
    return body
