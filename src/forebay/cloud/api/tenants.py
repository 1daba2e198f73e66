"""Organisations, projects, members, keys; and prices."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Path

from forebay import __version__
from forebay.chips.catalogue import find
from forebay.cloud.access import Who, no_higher
from forebay.cloud.api import wire
from forebay.cloud.api.desk import Anybody, At, OnceKey, ReadsMembers, ReadsPool, WritesMembers, WritesTenants, write
from forebay.cloud.api.money import price_fact
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Key, Member, Role
from forebay.cloud.loop import Body
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, Refused, Unknown
from forebay.units import NS_PER_S

router = APIRouter(prefix="/api/v1")
MemberPath = Annotated[wire.MemberName, Path()]


@router.get("/", tags=["cloud"])
async def about(desk: At) -> Body:
    """What this is: answers without a key, so that a client can tell that it found a cloud."""
    return {"forebay": __version__, "currency": desk.state.t.currency, "time_ns": desk.loop.clock.now_ns()}


@router.get("/me", tags=["cloud"])
async def me(by: Anybody) -> Body:
    """Whose key this is. `may`: their role today, which is their member's if that is less than the key's."""
    return {**shown_key(by.key), "may": by.role.value}


# Organisations and projects.


@router.get("/organisations", tags=["tenants"])
async def organisations(desk: At, by: ReadsMembers) -> Body:
    t = desk.state.t
    return {
        "organisations": [
            {
                **encode(org),
                "projects": [p.name for p in t.projects.values() if p.organisation == org.name],
                "weights": {p.name: p.weight for p in t.projects.values() if p.organisation == org.name},
            }
            for org in t.organisations.values()
            if by.sees(org.name)
        ]
    }


@router.post("/organisations", tags=["tenants"], status_code=201)
async def make_organisation(asked: wire.OrganisationAsked, desk: At, by: WritesTenants, once: OnceKey = None) -> Body:
    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        if asked.name in state.t.organisations:
            raise Conflict("There is an organisation of that name already.", asked=asked.name, hint="`forebay org list`")
        return e.OrganisationMade(at_ns=now_ns, by=by.key.id, name=asked.name, title=asked.title), {
            "name": asked.name,
            "title": asked.title,
        }

    return await write(desk, by, once, "organisation", asked.model_dump(), make)


@router.put("/organisations/{organisation}", tags=["tenants"])
async def set_organisation(
    organisation: str, asked: wire.OrganisationSetAsked, desk: At, by: WritesTenants, once: OnceKey = None
) -> Body:
    """With whom it lends and borrows, and its weight beside the others."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        by.manages(state, organisation)
        known = state.t.organisations[organisation]
        cohort = known.cohort if asked.cohort is None else asked.cohort
        weight = known.weight if asked.weight is None else asked.weight
        fact = e.OrganisationSet(at_ns=now_ns, by=by.key.id, organisation=organisation, cohort=cohort, weight=weight)
        same = (known.cohort, known.weight) == (cohort, weight)
        return (None if same else fact), {"name": organisation, "cohort": cohort, "weight": weight}

    return await write(desk, by, once, f"organisation {organisation}", asked.model_dump(), make)


@router.post("/organisations/{organisation}/projects", tags=["tenants"], status_code=201)
async def make_project(organisation: str, asked: wire.ProjectAsked, desk: At, by: WritesMembers, once: OnceKey = None) -> Body:
    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        by.manages(state, organisation)
        if f"{organisation}/{asked.name}" in state.t.projects:
            raise Conflict(
                "There is a project of that name already.", asked=f"{organisation}/{asked.name}", hint="`forebay org list`"
            )
        fact = e.ProjectMade(at_ns=now_ns, by=by.key.id, organisation=organisation, name=asked.name)
        return fact, {"organisation": organisation, "name": asked.name}

    return await write(desk, by, once, f"project {organisation}", asked.model_dump(), make)


@router.put("/organisations/{organisation}/projects/{project}", tags=["tenants"])
async def set_project(
    organisation: str, project: str, asked: wire.ProjectSetAsked, desk: At, by: WritesMembers, once: OnceKey = None
) -> Body:
    """Its weight beside the organisation's other projects."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        by.manages(state, organisation)
        known = state.t.projects.get(f"{organisation}/{project}")
        if known is None:
            raise _no_project(organisation, project)
        fact = e.ProjectSet(at_ns=now_ns, by=by.key.id, organisation=organisation, project=project, weight=asked.weight)
        answer = {"organisation": organisation, "name": project, "weight": asked.weight}
        return (None if known.weight == asked.weight else fact), answer

    return await write(desk, by, once, f"project {organisation}/{project}", asked.model_dump(), make)


# Members.


@router.get("/organisations/{organisation}/members", tags=["tenants"])
async def members(organisation: str, desk: At, by: ReadsMembers) -> Body:
    """Who is a member, with how many good keys each has."""
    by.manages(desk.state, organisation)
    t, now_ns = desk.state.t, desk.loop.clock.now_ns()
    good = [key.member for key in t.keys.values() if key.organisation == organisation and key.good_at(now_ns)]
    return {
        "members": [
            {**encode(member), "keys": good.count(member.name)}
            for member in t.members.values()
            if member.organisation == organisation
        ]
    }


@router.put("/organisations/{organisation}/members/{name}", tags=["tenants"])
async def set_member(
    organisation: str, name: MemberPath, asked: wire.MemberAsked, desk: At, by: WritesMembers, once: OnceKey = None
) -> Body:
    """Make somebody a member, or give them another role. Their keys are never good for more than that."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        by.manages(state, organisation)
        member = Member(organisation=organisation, name=name, role=Role(asked.role), project=asked.project or "")
        if member.project and f"{organisation}/{member.project}" not in state.t.projects:
            raise _no_project(organisation, member.project)
        if member.project and member.role is Role.OWNER:
            raise BadInput("An owner is one of the whole organisation.", asked=f"owner of {organisation}/{member.project}")
        if not no_higher(member.role, by.role):
            raise Refused("Nobody gives a role beyond their own.", asked=asked.role, found=f"yours is {by.role.value}")
        if by.key.member == name and by.key.organisation == organisation and not no_higher(by.role, member.role):
            raise Conflict("Nobody lowers their own role.", asked=name, hint="another owner can")
        same = state.t.members.get(f"{organisation}/{name}") == member
        return (None if same else e.MemberSet(at_ns=now_ns, by=by.key.id, member=member)), encode(member)

    return await write(desk, by, once, f"member {organisation}/{name}", asked.model_dump(), make)


@router.delete("/organisations/{organisation}/members/{name}", tags=["tenants"])
async def remove_member(organisation: str, name: str, desk: At, by: WritesMembers, once: OnceKey = None) -> Body:
    """They are no member any more, and none of their keys is good from now on. Their jobs go on."""

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        by.manages(state, organisation)
        member = state.t.members.get(f"{organisation}/{name}")
        if member is None:
            raise Unknown("There is no such member.", asked=f"{organisation}/{name}", hint="`forebay member list`")
        if (by.key.organisation, by.key.member) == (organisation, name):
            raise Conflict("Nobody removes themselves.", asked=name, hint="another owner can")
        keys = [k.id for k in state.t.keys.values() if (k.organisation, k.member) == (organisation, name) and k.good_at(now_ns)]
        return e.MemberRemoved(at_ns=now_ns, by=by.key.id, organisation=organisation, name=name), {
            **encode(member),
            "revoked": keys,
        }

    return await write(desk, by, once, f"remove member {organisation}/{name}", None, make)


# Keys.


@router.get("/keys", tags=["tenants"])
async def keys(desk: At, by: ReadsMembers) -> Body:
    return {"keys": [shown_key(key) for key in desk.state.t.keys.values() if by.sees(key.organisation)]}


@router.post("/keys", tags=["tenants"], status_code=201)
async def make_key(asked: wire.KeyAsked, desk: At, by: WritesMembers, once: OnceKey = None) -> Body:
    """A key with at most the maker's rights, and at most its member's."""
    key_id = "k" + secrets.token_hex(4)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        expires = now_ns + int(asked.expires_in_s * NS_PER_S) if asked.expires_in_s else None
        by.hands_out(Role(asked.role), asked.scopes, expires)
        if asked.secret_sha256 in state.keys_by_hash:
            raise Conflict("There is a key with that secret already.", hint="make a new secret")
        organisation, project = _of_whom(state, by, asked)
        key = Key(
            id=key_id,
            secret_sha256=asked.secret_sha256,
            role=Role(asked.role),
            organisation=organisation,
            project=project,
            name=asked.name,
            expires_at_ns=expires,
            member=asked.member or "",
            scopes=tuple(sorted(set(asked.scopes))),
        )
        return e.KeyMade(at_ns=now_ns, by=by.key.id, key=key), shown_key(key)

    return await write(desk, by, once, "key", asked.model_dump(), make)


@router.delete("/keys/{key_id}", tags=["tenants"])
async def revoke_key(key_id: str, desk: At, by: WritesMembers, once: OnceKey = None) -> Body:
    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        key = state.t.keys.get(key_id)
        if key is None or not by.sees(key.organisation):
            raise Unknown("There is no such key.", asked=key_id, hint="`forebay key list`")
        if key.id == by.key.id:
            raise Conflict("A key can't revoke itself.", asked=key_id, hint="use another key")
        answer = {**shown_key(key), "revoked": True}
        return (None if key.revoked else e.KeyRevoked(at_ns=now_ns, by=by.key.id, key=key_id)), answer

    return await write(desk, by, once, "revoke", key_id, make)


def _of_whom(state: State, by: Who, asked: wire.KeyAsked) -> tuple[str, str]:
    """The organisation and project of a new key, checked against what there is."""
    role, organisation, project = Role(asked.role), asked.organisation, asked.project or ""
    if role is Role.OPERATOR:
        if organisation or project or asked.member:
            raise BadInput("An operator's key belongs to no organisation.", asked=f"{organisation}/{project}")
        return "", ""
    organisation = organisation or by.key.organisation
    if not organisation:
        raise BadInput("Whose key is it?", hint="`forebay key make ORGANISATION` or ORGANISATION/PROJECT")
    by.manages(state, organisation)
    if project and f"{organisation}/{project}" not in state.t.projects:
        raise _no_project(organisation, project)
    if project and role is Role.OWNER:
        raise BadInput("An owner's key is for the whole organisation.", asked=f"{organisation}/{project}")
    if asked.member is None:
        return organisation, project
    member = state.t.members.get(f"{organisation}/{asked.member}")
    if member is None:
        raise Unknown("There is no such member.", asked=f"{organisation}/{asked.member}", hint="`forebay member list`")
    if not no_higher(role, member.role) or (member.project and project not in ("", member.project)):
        what = f"{member.role.value} of {member.organisation}" + (f"/{member.project}" if member.project else "")
        raise Refused(
            "A member's key isn't good for more than its member.",
            asked=f"{role.value} of {organisation}" + (f"/{project}" if project else ""),
            found=f"{member.name} is {what}",
            hint="`forebay member set` first",
        )
    return organisation, project or member.project


def _no_project(organisation: str, project: str) -> Unknown:
    return Unknown("There is no such project.", asked=f"{organisation}/{project}", hint="`forebay org list`")


def shown_key(key: Key) -> Body:
    body: Body = encode(key)
    del body["secret_sha256"]
    return body


# Prices.


@router.get("/prices", tags=["tenants"])
async def prices(desk: At, by: ReadsPool) -> Body:
    """What a card-second costs in runs that are launched now."""
    state, now_ns = desk.state, desk.loop.clock.now_ns()
    chips = [chip for chip in {**state.t.prices, **state.t.price_history} if state.is_priced(chip, now_ns)]
    return {
        "currency": state.t.currency,
        "prices": [{"chip": chip, "micro_per_card_s": state.price(chip, now_ns)} for chip in chips],
    }


@router.put("/prices/{chip}", tags=["tenants"])
async def set_price(chip: str, asked: wire.PriceAsked, desk: At, by: WritesTenants, once: OnceKey = None) -> Body:
    """The price of a card-second from now on, or from a moment to come on. A run keeps the price at which it was launched."""
    find(chip)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        return price_fact(state, now_ns, by.key.id, chip, asked)

    return await write(desk, by, once, f"price {chip}", asked.model_dump(), make)
