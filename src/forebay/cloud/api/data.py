"""Packed code and data sets: by content hash, each organisation's apart."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, OnceKey, ReadsData, ReadsJobs, WritesData, WritesJobs, body_of, home_of, write
from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body
from forebay.codec import decode, encode
from forebay.data import dataset
from forebay.data.manifest import Manifest, check
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.errors import Conflict
from forebay.units import MIB

CHUNK_LIMIT_BYTES = 64 * MIB

router = APIRouter(prefix="/api/v1")


@router.head("/bundles/{sha256}", tags=["data"])
def has_bundle(sha256: str, desk: At, by: ReadsJobs, organisation: wire.Name | None = None) -> JSONResponse:
    home = organisation if by.is_operator and organisation else by.key.organisation
    return JSONResponse(None, status_code=200 if home and desk.store.bundles(home).has(sha256) else 404)


@router.put("/bundles/{sha256}", tags=["data"], status_code=201)
async def put_bundle(
    sha256: wire.Sha256, request: Request, desk: At, by: WritesJobs, organisation: wire.Name | None = None
) -> Body:
    """Packed code, by the SHA-256 of the archive."""
    home = home_of(desk.state, by, organisation)
    with desk.store.draft() as draft:  # on disk, and not in memory
        async for part in request.stream():
            draft.write(part)
        size = draft.tell()
        draft.seek(0)
        await asyncio.to_thread(desk.store.bundles(home).put, draft, sha256)
    return {"sha256": sha256, "size_bytes": size}


@router.get("/data", tags=["data"])
async def data_sets(desk: At, by: ReadsData) -> Body:
    return {"versions": [encode(v) for v in desk.state.t.versions.values() if by.sees(v.organisation)]}


@router.post("/data/missing", tags=["data"])
async def missing_chunks(manifest: dict[str, Any], desk: At, by: WritesData, organisation: wire.Name | None = None) -> Body:
    """Which chunks of a manifest the cloud doesn't have yet."""
    home = home_of(desk.state, by, organisation)
    return {"missing": desk.store.chunks(home).missing(manifest_of(manifest))}


@router.post("/data/chunks", tags=["data"], status_code=201)
async def put_chunks(request: Request, desk: At, by: WritesData, organisation: wire.Name | None = None) -> Body:
    """Chunks, several in one message (`data/store.py` says how). Each is checked against its hash."""
    home = home_of(desk.state, by, organisation)
    message = await body_of(request, CHUNK_LIMIT_BYTES, "a message of chunks")
    return {"kept": await asyncio.to_thread(keep_chunks, desk.store.chunks(home), message)}


@router.put("/data/sets/{name}", tags=["data"], status_code=201)
async def make_version(
    name: wire.Name,
    manifest: dict[str, Any],
    desk: At,
    by: WritesData,
    once: OnceKey = None,
    organisation: wire.Name | None = None,
) -> Body:
    """A version of a data set, once all its chunks are there. The same content again is the same version."""
    home = home_of(desk.state, by, organisation)
    whole = manifest_of(manifest)
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

    return await write(desk, by, once, f"version {name}", whole.id, make)


def keep_chunks(store: ChunkStore, message: bytes) -> int:
    kept = 0
    for sha256, content in unpack_chunks(message):
        store.put(content, sha256)
        kept += 1
    return kept


def manifest_of(body: dict[str, Any]) -> Manifest:
    manifest = decode(Manifest, body)
    check(manifest)
    return manifest
