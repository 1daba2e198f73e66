"""The API, version 1: what tenants and operators ask of the cloud.

Centres speak through `agents.py`, followers through `streams.py`.

Each write may carry an `Idempotency-Key`: the same key and body again get the same answer, also after a restart. Each handler
checks who asks, builds one fact, and hands it to the loop; it never changes anything itself. Handlers that walk the tables
are coroutines, so that they run between two events and never while one is folded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from forebay import __version__
from forebay.chips.catalogue import find
from forebay.cloud import access, agents, streams, wire
from forebay.cloud.access import Who
from forebay.cloud.core import events as e
from forebay.cloud.core.admit import admit
from forebay.cloud.core.job import Job, Script, Standing
from forebay.cloud.core.meter import Bill, bill
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import Key, Role
from forebay.cloud.loop import Body, Loop, Make
from forebay.cloud.loop import Request as Once
from forebay.cloud.menu import Reader, menu
from forebay.cloud.store import Store
from forebay.cloud.story import tell
from forebay.codec import decode, encode
from forebay.data import dataset
from forebay.data.manifest import Manifest, check
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.errors import BadInput, Conflict, ForebayError, Unavailable, Unknown
from forebay.units import MIB, NS_PER_S

log = logging.getLogger("forebay.cloud")

BUNDLE_LIMIT_BYTES = 256 * MIB
CHUNK_LIMIT_BYTES = 64 * MIB
RESERVED_VARIABLES = ("FOREBAY_", "TORCHELASTIC_", "MASTER_", "LD_")
RESERVED_NAMES = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "PYTHONPATH", "PYTHONHOME"})

router = APIRouter(prefix="/api/v1")


class Desk:
    """What the handlers share: the loop, the files, the reader of programs."""

    def __init__(self, loop: Loop, store: Store) -> None:
        self.loop = loop
        self.store = store
        self.reader = Reader()

    @property
    def state(self) -> State:
        return self.loop.state


async def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def who_of(request: Request, authorization: Annotated[str | None, Header()] = None) -> Who:
    desk: Desk = request.app.state.desk
    return access.who(desk.state, authorization, desk.loop.clock.now_ns())


At = Annotated[Desk, Depends(desk_of)]
By = Annotated[Who, Depends(who_of)]
OnceKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


async def _write(desk: Desk, by: Who, once: str | None, what: str, body: Any, make: Make) -> Body:
    return await desk.loop.tell(make, Once.of(by.key.id, once, what, body) if once else None)


# The cloud.


@router.get("/", tags=["cloud"])
async def about(desk: At) -> Body:
    """What this is: answers without a key, so that a client can tell that it found a cloud."""
    return {"forebay": __version__, "currency": desk.state.t.currency, "time_ns": desk.loop.clock.now_ns()}


@router.get("/me", tags=["cloud"])
async def me(by: By) -> Body:
    """Whose key this is."""
    return _shown_key(by.key)


# Organisations, projects, keys, prices, quotas.


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

    return await _write(desk, by, once, "organisation", asked.model_dump(), make)


@router.post("/organisations/{organisation}/projects", tags=["tenants"], status_code=201)
async def make_project(organisation: str, asked: wire.ProjectAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    by.must_operate()

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        _known_organisation(state, organisation)
        if f"{organisation}/{asked.name}" in state.t.projects:
            raise Conflict(
                "There is a project of that name already.", asked=f"{organisation}/{asked.name}", hint="`forebay org list`"
            )
        fact = e.ProjectMade(at_ns=now_ns, by=by.key.id, organisation=organisation, name=asked.name)
        return fact, {"organisation": organisation, "name": asked.name}

    return await _write(desk, by, once, f"project {organisation}", asked.model_dump(), make)


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

    return await _write(desk, by, once, "key", asked.model_dump(), make)


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

    return await _write(desk, by, once, "revoke", key_id, make)


@router.get("/prices", tags=["tenants"])
async def prices(desk: At, by: By) -> Body:
    return {"currency": desk.state.t.currency, "prices": encode(tuple(desk.state.t.prices.values()))}


@router.put("/prices/{chip}", tags=["tenants"])
async def set_price(chip: str, asked: wire.PriceAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    """The price of a card-second from now on. A run keeps the price at which it was launched."""
    by.must_operate()
    find(chip)

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        fact = e.PriceSet(at_ns=now_ns, by=by.key.id, chip=chip, micro_per_card_s=asked.micro_per_card_s)
        return fact, {"chip": chip, "micro_per_card_s": asked.micro_per_card_s}

    return await _write(desk, by, once, f"price {chip}", asked.model_dump(), make)


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
        _known_organisation(state, organisation)
        fact = e.QuotaSet(at_ns=now_ns, by=by.key.id, organisation=organisation, chip=chip, cards=asked.cards)
        return fact, {"organisation": organisation, "chip": chip, "cards": asked.cards}

    return await _write(desk, by, once, f"quota {organisation} {chip}", asked.model_dump(), make)


# Code and data.


@router.head("/bundles/{sha256}", tags=["data"])
def has_bundle(sha256: str, desk: At, by: By, organisation: wire.Name | None = None) -> JSONResponse:
    home = organisation if by.is_operator and organisation else by.key.organisation
    return JSONResponse(None, status_code=200 if home and desk.store.bundles(home).has(sha256) else 404)


@router.put("/bundles/{sha256}", tags=["data"], status_code=201)
async def put_bundle(sha256: wire.Sha256, request: Request, desk: At, by: By, organisation: wire.Name | None = None) -> Body:
    """Packed code, by the SHA-256 of the archive."""
    by.must_write()
    home = _home(desk.state, by, organisation)
    body = await _body(request, BUNDLE_LIMIT_BYTES, "a code archive")
    desk.store.bundles(home).put(body, sha256)
    return {"sha256": sha256, "size_bytes": len(body)}


@router.get("/data", tags=["data"])
async def data_sets(desk: At, by: By) -> Body:
    return {"versions": [encode(v) for v in desk.state.t.versions.values() if by.sees(v.organisation)]}


@router.post("/data/missing", tags=["data"])
async def missing_chunks(manifest: dict[str, Any], desk: At, by: By, organisation: wire.Name | None = None) -> Body:
    """Which chunks of a manifest the cloud doesn't have yet."""
    by.must_write()
    home = _home(desk.state, by, organisation)
    return {"missing": desk.store.chunks(home).missing(_manifest(manifest))}


@router.post("/data/chunks", tags=["data"], status_code=201)
async def put_chunks(request: Request, desk: At, by: By, organisation: wire.Name | None = None) -> Body:
    """Chunks, several in one message (`data/store.py` says how). Each is checked against its hash."""
    by.must_write()
    home = _home(desk.state, by, organisation)
    message = await _body(request, CHUNK_LIMIT_BYTES, "a message of chunks")
    return {"kept": await asyncio.to_thread(_keep_chunks, desk.store.chunks(home), message)}


@router.put("/data/sets/{name}", tags=["data"], status_code=201)
async def make_version(
    name: wire.Name, manifest: dict[str, Any], desk: At, by: By, once: OnceKey = None, organisation: wire.Name | None = None
) -> Body:
    """A version of a data set, once all its chunks are there. The same content again is the same version."""
    by.must_write()
    home = _home(desk.state, by, organisation)
    whole = _manifest(manifest)
    absent = desk.store.chunks(home).missing(whole)
    if absent:
        raise Conflict(
            "The cloud doesn't have all chunks of this version.", found=f"{len(absent)} are missing", hint="send them first"
        )
    desk.store.keep_manifest(
        home, dataset.version(dataset.DataSet(organisation=home, name=name), whole, created_ns=0).id, manifest
    )

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        version = dataset.version(dataset.DataSet(organisation=home, name=name), whole, created_ns=now_ns)
        known = state.t.versions.get(f"{home}/{version.id}")
        if known:
            return None, encode(known)
        fact = e.VersionMade(
            at_ns=now_ns,
            by=by.key.id,
            organisation=home,
            dataset=name,
            version=version.id,
            manifest=version.manifest,
            size_bytes=version.size_bytes,
            files=version.files,
        )
        return fact, {key: value for key, value in e.to_json(fact).items() if key not in ("at_ns", "by")} | {"made_at_ns": now_ns}

    return await _write(desk, by, once, f"version {name}", whole.id, make)


# Jobs.


@router.post("/jobs", tags=["jobs"], status_code=201)
async def submit(asked: wire.JobAsked, desk: At, by: By, once: OnceKey = None) -> Body:
    """Ask for a script to be run. Acknowledged means journaled: it will run, whatever crashes."""
    by.must_write()
    organisation, project = by.place(desk.state, asked.organisation, asked.project)
    _refuse_reserved(asked.env)
    bundles = desk.store.bundles(organisation)
    if not bundles.has(asked.bundle):
        raise Unknown("The cloud doesn't have that code archive.", asked=asked.bundle, hint="send it first: PUT /bundles/…")
    judged = await desk.reader.verdicts(bundles.path(asked.bundle), asked.entry)
    job_id = "j" + "".join(secrets.choice("23456789abcdefghjkmnpqrstuvwxyz") for _ in range(7))

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        job = Job(
            id=job_id,
            organisation=organisation,
            project=project,
            name=asked.name or Path(asked.entry).stem,
            menu=menu(state, judged, asked.chips, asked.cards),
            time_limit_s=asked.time_limit_s,
            retries=asked.retries,
            grace_s=asked.grace_s,
            script=Script(
                bundle=asked.bundle,
                entry=asked.entry,
                argv=tuple(asked.argv),
                env=asked.env,
                output=asked.output,
                requirements=asked.requirements,
                mounts={mount.at: _mount(state, organisation, mount) for mount in asked.mounts},
            ),
        )
        admit(state, job)
        return e.Submitted(at_ns=now_ns, by=by.key.id, job=job), {"id": job_id, "name": job.name, "menu": encode(job.menu)}

    return await _write(desk, by, once, "job", asked.model_dump(), make)


@router.get("/jobs", tags=["jobs"])
def jobs(
    desk: At,
    by: By,
    organisation: str = "",
    project: str = "",
    phase: str = "",
    before: Annotated[int, Query(ge=0)] = 0,
    most: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Body:
    """Jobs, newest first; the next page starts `before` the `place` of the last."""
    mine = organisation if by.is_operator else by.key.organisation
    if not by.sees(organisation or mine):
        raise Unknown("There is no such organisation.", asked=organisation)
    return {"jobs": desk.loop.journal.jobs(organisation=mine, project=project, phase=phase, before=before, most=most)}


@router.get("/jobs/{job_id}", tags=["jobs"])
async def job(job_id: str, desk: At, by: By) -> Body:
    standing = by.job(desk.state, job_id)
    return shown_job(desk, standing)


@router.post("/jobs/{job_id}/cancel", tags=["jobs"])
async def cancel(job_id: str, desk: At, by: By, once: OnceKey = None) -> Body:
    """Cancel a job. Asking twice, or for one that is over, changes nothing."""
    by.must_write()

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        standing = by.job(state, job_id)
        live = state.live_run(standing.job.id)
        idle = standing.phase.over or (live is not None and bool(live.stop))
        fact = None if idle else e.Cancelled(at_ns=now_ns, by=by.key.id, job=standing.job.id)
        return fact, {"id": standing.job.id, "was": standing.phase.value}

    return await _write(desk, by, once, "cancel", job_id, make)


@router.get("/jobs/{job_id}/story", tags=["jobs"])
def story(job_id: str, desk: At, by: By) -> Body:
    """A job's whole life, or one run's of it: each event, who caused it, and the numbers."""
    standing = by.job(desk.state, job_id)
    run = job_id if job_id in desk.state.t.runs else ""
    lines = [shown_event(desk.state, seq, event) for seq, event in desk.loop.journal.story(standing.job.id)]
    return {"job": standing.job.id, "events": [line for line in lines if not run or line["body"].get("run") in (run, None)]}


# The pool and the bill.


@router.get("/pool", tags=["pool"])
async def pool(desk: At, by: By) -> Body:
    """Centres, nodes and cards. Whose run holds a card is told to its own organisation and to operators only."""
    state = desk.state
    now = time.monotonic()
    centres = []
    for centre in state.t.centres.values():
        heard = agents.heard_at(desk.loop, centre.name)
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


# Showing nouns.


def shown_bill(whole: Bill) -> Body:
    body: Body = encode(whole)
    for line, noun in zip(body["lines"], whole.lines, strict=True):
        line |= {"card_ns": noun.card_ns, "cost_micro": noun.cost_micro, "lost_micro": noun.lost_micro}
    return body


def shown_job(desk: Desk, standing: Standing) -> Body:
    """A job as its owner sees it. Of the environment only the names: values may be secrets."""
    state = desk.state
    body: Body = encode(standing.job)
    if body["script"]:
        body["script"]["env"] = sorted(body["script"]["env"])
    runs = [encode(state.t.runs[run]) for run in standing.runs]
    last = standing.runs[-1] if standing.runs else ""
    progress = desk.store.progress.get(last)
    return {
        **body,
        "phase": standing.phase.value,
        "reason": standing.reason,
        "submitted_at_ns": standing.submitted_at_ns,
        "submitted_by": standing.submitted_by,
        "ended_at_ns": standing.ended_at_ns,
        "runs": runs,
        "progress": encode(progress) if progress else None,
        "artefacts": encode(desk.store.artefacts(last)) if last else [],
    }


def shown_event(state: State, seq: int, event: e.Event) -> Body:
    body = e.to_json(event)
    if isinstance(event, e.Submitted) and body["job"]["script"]:
        body["job"]["script"]["env"] = sorted(body["job"]["script"]["env"])
    return {
        "seq": seq,
        "at_ns": event.at_ns,
        "by": event.by,
        "kind": type(event).__name__,
        "text": tell(event, state),
        "body": body,
    }


def _shown_key(key: Key) -> Body:
    body: Body = encode(key)
    del body["secret_sha256"]
    return body


def _holder(state: State, by: Who, centre: str, node: str, card: int) -> str | None:
    run = state.holder(centre, node, card)
    if run is None:
        return None
    return run if by.sees(state.t.jobs[state.t.runs[run].job].job.organisation) else "busy"


# Checking requests.


def _known_organisation(state: State, organisation: str) -> None:
    if organisation not in state.t.organisations:
        raise Unknown("There is no such organisation.", asked=organisation, hint="`forebay org list`")


def _home(state: State, by: Who, organisation: str | None) -> str:
    """The organisation whose code or data is meant."""
    if not by.is_operator:
        return by.key.organisation
    if not organisation:
        raise BadInput("An operator's key belongs to no organisation.", hint="say --project ORGANISATION/PROJECT")
    _known_organisation(state, organisation)
    return organisation


def _mount(state: State, organisation: str, mount: wire.MountAsked) -> str:
    """What a mount means, checked. A data set without a version is its newest."""
    if mount.kind == "output":
        standing = state.standing(mount.source)
        if standing is None or standing.job.organisation != organisation:
            raise Unknown("There is no such job.", asked=mount.source, hint="`forebay jobs` lists yours")
        return f"output:{standing.job.id}"
    versions = [v for v in state.t.versions.values() if v.organisation == organisation and mount.source in (v.version, v.dataset)]
    if not versions:
        raise Unknown("There is no such data set or version.", asked=mount.source, hint="`forebay data list`")
    return f"data:{max(versions, key=lambda v: v.made_at_ns).version}"


def _refuse_reserved(env: dict[str, str]) -> None:
    for name in env:
        if name in RESERVED_NAMES or name.startswith(RESERVED_VARIABLES):
            raise BadInput("That variable is set by the launcher.", asked=name, hint="choose another name")


def _keep_chunks(store: ChunkStore, message: bytes) -> int:
    kept = 0
    for sha256, content in unpack_chunks(message):
        store.put(content, sha256)
        kept += 1
    return kept


def _manifest(body: dict[str, Any]) -> Manifest:
    manifest = decode(Manifest, body)
    check(manifest)
    return manifest


async def _body(request: Request, limit: int, what: str) -> bytes:
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


# The application.


def application(loop: Loop, store: Store) -> FastAPI:
    """The ASGI application over a loop and its files."""
    desk = Desk(loop, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(loop.run())
        running.add_done_callback(_end_with_the_loop)
        yield
        running.cancel()
        desk.reader.close()

    app = FastAPI(
        title="Forebay",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url="/api/v1/docs",
        redirect_slashes=False,
    )
    app.state.desk = desk
    app.include_router(router)
    app.include_router(agents.router)
    app.include_router(streams.router)
    app.add_exception_handler(ForebayError, _tell_error)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(OSError, _tell_os_error)
    app.add_exception_handler(Exception, _tell_bug)
    return app


def _end_with_the_loop(running: asyncio.Task[None]) -> None:
    """A cloud whose journal can't be read any more must not go on answering: it ends, and whoever watches it starts it again."""
    if not running.cancelled() and running.exception():
        log.critical("the loop ended, and the cloud with it", exc_info=running.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def _tell_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ForebayError)
    return JSONResponse({"error": error.to_json()}, status_code=error.http_status)


async def _tell_os_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    problem = Unavailable(
        "The cloud's disk can't be used, so this was not done.",
        found=error.strerror or str(error),
        hint="tell the operator; then try again",
    )
    return JSONResponse({"error": problem.to_json()}, status_code=problem.http_status)


async def _tell_bug(_: Request, error: Exception) -> JSONResponse:
    problem = ForebayError(
        "The cloud met an error of its own.", found=type(error).__name__, hint="tell the operator: see cloud.log"
    )
    return JSONResponse({"error": problem.to_json()}, status_code=problem.http_status)


async def _tell_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(
        str(part) for part in first["loc"] if part not in ("body", "query", "path") and first["type"] != "json_invalid"
    )
    problem = BadInput(
        f"{where or 'the request'}: {first['msg'].removeprefix('Value error, ')}",
        asked=f"{first.get('input')!r:.100}",
        hint="the API is described at /api/v1/docs",
    )
    return JSONResponse({"error": problem.to_json()}, status_code=422)


async def _tell_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    problem = (
        Unknown("There is nothing at this address.", hint="the API is described at /api/v1/docs")
        if error.status_code == 404
        else BadInput(str(error.detail))
    )
    return JSONResponse({"error": problem.to_json()}, status_code=error.status_code)
