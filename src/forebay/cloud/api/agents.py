"""What centres ask of the cloud, and tell it. Agents dial out to here; the cloud never dials in.

An agent exchanges its centre's token for a key of its own, says which nodes it has, waits for what should run at its centre,
fetches code and data by content hash, and reports what it sees. All of it may be said twice: what the cloud knows already changes
nothing. Fields that only the other side knows are passed over, so that an agent one minor version older or newer works.

With what is wanted an agent is told its centre's generation, and says it with its reports. It grows when the centre is taken for
away and when its key is exchanged anew: a report of an older one is answered Stale and changes nothing, and the agent asks anew.
An agent that says none, being older than this word, is believed as before.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import FileResponse, Response

from forebay import __version__
from forebay.centre.spec import Phase, Progress, Seen
from forebay.chips.node import Condition, Node, NodeState
from forebay.cloud import access, versions
from forebay.cloud.api.desk import At, Desk
from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job, Run, Script
from forebay.cloud.core.state import State
from forebay.cloud.facts import facts
from forebay.cloud.loop import Body, Make
from forebay.cloud.specs import spec_of
from forebay.codec import decode, encode
from forebay.data.manifest import Manifest, is_hash
from forebay.data.store import ChunkStore, pack_chunks
from forebay.errors import BadInput, Conflict, Stale, Unknown
from forebay.units import MIB

router = APIRouter(prefix="/api/v1/agent", tags=["centres"])

MESSAGE_BYTES = 8 * MIB  # of chunks in one answer, about
T = TypeVar("T")
Authorization = Annotated[str | None, Header()]


async def _known(desk: At, authorization: Authorization = None) -> str:
    return access.centre(desk.state, authorization)


Known = Annotated[str, Depends(_known)]
"""The centre whose key it is."""


async def _centre(desk: At, name: Known) -> str:
    await _hear(desk, name)
    return name


Centre = Annotated[str, Depends(_centre)]
"""The same, which is heard of with this."""


async def _hear(desk: Desk, centre: str) -> None:
    desk.loop.hear(centre)
    if desk.state.t.centres[centre].away:
        await desk.loop.tell(partial(_is_back, centre))


# Who is there.


@router.post("/join")
async def join(body: dict[str, Any], desk: At, authorization: Authorization = None) -> Body:
    """Exchange a centre's token for a key, of which only the hash is sent. A token is good for one key."""
    key, version = str(body.get("key_sha256", "")), str(body.get("version") or versions.UNTOLD)
    if not is_hash(key):
        raise BadInput("A key's hash is a sha256 in 64 small hexadecimal digits.", found="something else")  # maybe the key itself
    versions.must_fit(version)

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        name = access.joining(state, authorization, key, now_ns)
        if state.t.centres[name].key_sha256 == key:
            return None, {"centre": name}
        if key in state.centres_by_key:
            raise Conflict("Another centre has that key.", hint="make a new one")
        return e.CentreJoined(at_ns=now_ns, by=f"centre {name}", centre=name, key_sha256=key, version=version), {"centre": name}

    answer = await desk.loop.tell(make)
    desk.loop.hear(answer["centre"])
    return answer


@router.post("/hello")
async def hello(body: dict[str, Any], desk: At, centre: Centre) -> Body:
    """An agent has started, or its nodes have changed. `nodes` null: what was said before stands."""
    version, engine = str(body.get("version") or versions.UNTOLD), str(body.get("engine") or "local")
    versions.must_fit(version)
    told = body.get("nodes")
    nodes = None if told is None else _nodes(told)

    def seen_agent(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        known = state.t.centres[centre]
        same = (known.engine, known.version) == (engine, version)
        fact = e.AgentSeen(at_ns=now_ns, by=f"centre {centre}", centre=centre, engine=engine, version=version)
        return (None if same else fact), {}

    def seen_nodes(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        same = nodes is None or state.t.centres[centre].nodes == nodes
        return (None if same else e.NodesSeen(at_ns=now_ns, by=f"centre {centre}", centre=centre, nodes=nodes or ())), {}

    await asyncio.gather(desk.loop.tell(seen_agent), desk.loop.tell(seen_nodes))
    return {"centre": centre, "forebay": __version__}


def _nodes(told: Any) -> tuple[Node, ...]:
    if not isinstance(told, list):
        raise BadInput("nodes: a list", found=f"{told!r:.80}")
    nodes = tuple(decode(Node, node, at="node", strict=False) for node in told)
    for name, count in Counter(node.name for node in nodes).items():
        if count > 1 or not name or "/" in name:
            raise BadInput("A node's name is its own within its centre, and has no slash.", found=f"{name!r:.80}")
    return nodes


def _is_back(centre: str, state: State, now_ns: int) -> tuple[e.Event | None, Body]:
    fact = e.CentreBack(at_ns=now_ns, by=f"centre {centre}", centre=centre)
    return (fact if state.t.centres[centre].away else None), {}


# What should run, and what does.


@router.get("/wanted")
async def wanted(
    desk: At,
    centre: Centre,
    after: int = -1,
    wait_s: Annotated[float, Query(ge=0, le=60)] = 0.0,
    generation: int | None = None,
    authorization: Authorization = None,
) -> Body:
    """What should run at this centre, whole, and what else is asked of it. Waits up to `wait_s` while nothing has changed since
    version `after` and the generation is still that which the agent knows.
    """
    until = desk.loop.clock.monotonic_s() + wait_s
    generation = _generation(desk.state, centre) if generation is None else generation
    while (
        desk.loop.version(centre) == after
        and _generation(desk.state, centre) == generation
        and (asks := desk.asks(centre)) == desk.told.get(centre, asks)
    ):
        left = until - desk.loop.clock.monotonic_s()
        if left <= 0:
            break
        await desk.loop.changed(left)
        access.centre(desk.state, authorization)  # its key may have been revoked meanwhile
    state, now_ns = desk.state, desk.loop.clock.now_ns()
    runs = [
        {
            "spec": encode(spec_of(run, state, now_ns, desk.sealed.of(state.t.jobs[run.job].job))),
            "stop": run.stop,
            "grace_s": run.grace_s,
        }
        for run in desk.loop.wanted(centre)
    ]
    desk.told[centre] = asks = desk.asks(centre)
    answer = {
        "version": desk.loop.version(centre),
        "generation": _generation(state, centre),
        "runs": runs,
        "troubled": _troubled(state, centre),
        **asks,
    }
    await desk.loop.safe()  # a generation that nobody will know of any more would fence nothing
    return answer


def _generation(state: State, centre: str) -> int:
    return state.t.centres[centre].generation


def _troubled(state: State, centre: str) -> dict[str, str]:
    """The nodes that we take to be down or drained. The agent tells anew when it isn't so: a report that was long under way may
    have been overtaken by a newer one, and nothing but a change is told a second time.
    """
    known = state.t.node_states.get(centre, {})
    return {name: stands.condition.value for name, stands in known.items() if stands.condition is not Condition.UP}


def _must_be_of(generation: int | None, centre: str, state: State) -> None:
    """Raise Stale for what an agent says that doesn't know of the newest generation. None: it is too old to say which."""
    now = _generation(state, centre)
    if generation is not None and generation != now:
        raise Stale(
            "This centre was away or joined anew since, so nothing of this was taken down.",
            asked=f"a report of generation {generation}",
            found=f"generation {now}",
            hint="ask what is wanted, and report again",
        )


def _fenced(
    generation: int | None, centre: str, make: Make, state: State, now_ns: int
) -> tuple[e.Event | Sequence[e.Event] | None, Body]:
    """The same request, refused if the generation has grown by the time it is its turn."""
    _must_be_of(generation, centre, state)
    return make(state, now_ns)


@router.post("/report")
async def report(body: dict[str, Any], desk: At, centre: Known) -> Body:
    """What an agent sees of its runs and nodes.

    Answers which of the runs the cloud doesn't want any more, and since which version of `wanted` it knows all this: an older
    answer to `wanted` may still name runs that have ended.
    """
    generation = body.get("generation")
    if generation is not None and type(generation) is not int:
        raise BadInput("generation: a whole number", found=f"{generation!r:.80}")
    _must_be_of(generation, centre, desk.state)
    await _hear(desk, centre)
    gone, news = [], []
    for item in _said(body, "seen", list):
        seen = decode(Seen, item, at="seen", strict=False)
        known = is_ours(desk.state, centre, seen.name)
        if seen.phase is not Phase.ENDED and (not known or desk.state.t.runs[seen.name].outcome):
            gone.append(seen.name)
        if not known:
            continue
        if seen.artefacts:
            desk.store.keep_artefacts(seen.name, seen.artefacts)
        desk.sending.saw(seen, desk.loop.clock.now_ns())
        # As many facts as it tells of are asked for one by one, each against the state that the one before has made.
        new = facts(desk.state, desk.loop.clock.now_ns(), centre, seen)
        news += [desk.loop.tell(partial(_fenced, generation, centre, partial(_next_fact, centre, seen))) for _ in new]
    if body.get("states") is not None:
        states = tuple(decode(NodeState, state, at="state", strict=False) for state in _said(body, "states", list))
        if _changed_states(desk.state, centre, states):
            news.append(desk.loop.tell(partial(_fenced, generation, centre, partial(_states_seen, centre, states))))
    # What we knew already may be of a report that broke off and is still being written: the agent is to believe us only when
    # that is safe, since it forgets runs that have ended, and doesn't say twice what was taken down.
    await asyncio.gather(desk.loop.safe(), *news)
    for run, progress in _said(body, "progress", dict).items():
        if is_ours(desk.state, centre, run):
            desk.store.progress[run] = decode(Progress, progress, at="progress", strict=False)
    if body.get("progress"):
        desk.loop.wake()
    return {"gone": gone, "version": desk.loop.version(centre)}


def _said(body: dict[str, Any], name: str, shape: type[T]) -> T:
    """A part of what an agent tells; empty when it tells none."""
    told = body.get(name, shape())
    if not isinstance(told, shape):
        raise BadInput(f"{name}: a {'list' if shape is list else 'mapping'}", found=f"{told!r:.80}")
    return told


def _next_fact(centre: str, seen: Seen, state: State, now_ns: int) -> tuple[e.Event | None, Body]:
    return next(iter(facts(state, now_ns, centre, seen)), None), {}


def _changed_states(state: State, centre: str, states: tuple[NodeState, ...]) -> tuple[NodeState, ...]:
    """Of the nodes that stand otherwise than the cloud knows. One that isn't named is up."""
    known = state.t.node_states.get(centre, {})
    told = {stands.name: stands for stands in states if stands != NodeState(name=stands.name)}
    changed = [stands for name, stands in told.items() if known.get(name) != stands]
    return (*changed, *(NodeState(name=name) for name in known if name not in told))


def _states_seen(centre: str, states: tuple[NodeState, ...], state: State, now_ns: int) -> tuple[e.Event | None, Body]:
    changed = _changed_states(state, centre, states)
    fact = e.NodeStatesSeen(at_ns=now_ns, by=f"centre {centre}", centre=centre, states=changed)
    return (fact if changed else None), {}


@router.post("/runs/{run}/log")
async def add_log(run: str, request: Request, desk: At, centre: Centre, offset: Annotated[int, Query(ge=0, lt=2**63)]) -> Body:
    """More of what a run printed, from a byte offset on. 409, with the true size as `found`, when the offset isn't the log's
    end.
    """
    our_run(desk.state, centre, run)
    size = desk.store.add_log(run, offset, await request.body())
    desk.loop.wake()
    return {"size": size}


# What a run needs.


@router.get("/bundles/{run}")
async def bundle(run: str, desk: At, centre: Centre) -> FileResponse:
    """The packed code of a run."""
    job = _job(desk, centre, run)
    return FileResponse(desk.store.bundles(job.organisation).path(_script(job).bundle))


@router.get("/manifests/{run}/{version}")
async def manifest(run: str, version: str, desk: At, centre: Centre) -> Any:
    """The manifest of a data set's version that a run mounts."""
    return desk.store.manifest(_mounted(desk, centre, run, version), version)


@router.post("/chunks/{run}/{version}")
async def chunks(run: str, version: str, wanted: list[str], desk: At, centre: Centre) -> Response:
    """Chunks of a version that a run mounts, by hash: as many of the wanted ones, in order, as make one message."""
    organisation = _mounted(desk, centre, run, version)
    listed = decode(Manifest, desk.store.manifest(organisation, version))
    return await message_of(desk.store.chunks(organisation), listed, wanted)


async def message_of(store: ChunkStore, listed: Manifest, wanted: list[str]) -> Response:
    """As many of the wanted chunks of a manifest, in order, as make one message."""
    there = listed.chunks()
    unknown = [sha256 for sha256 in wanted if sha256 not in there]
    if unknown:
        raise Unknown("This version has no such chunk.", asked=f"{unknown[0]:.80}")
    message = await asyncio.to_thread(_message, store, wanted)
    return Response(message, media_type="application/octet-stream")


def _message(store: ChunkStore, wanted: list[str]) -> bytes:
    message: dict[str, bytes] = {}
    size = 0
    for sha256 in wanted:
        with store.open(sha256) as chunk:
            message[sha256] = chunk.read()
        size += len(message[sha256])
        if size >= MESSAGE_BYTES:
            break
    return pack_chunks(message)


def is_ours(state: State, centre: str, run_id: str) -> bool:
    run = state.t.runs.get(run_id)
    return run is not None and run.allocation.centre == centre


def our_run(state: State, centre: str, run_id: str) -> Run:
    if not is_ours(state, centre, run_id):
        raise Unknown("There is no such run at this centre.", asked=run_id)
    return state.t.runs[run_id]


def _job(desk: Desk, centre: str, run_id: str) -> Job:
    return desk.state.t.jobs[our_run(desk.state, centre, run_id).job].job


def _script(job: Job) -> Script:
    assert job.script is not None, "recipes are refused at submission"
    return job.script


def _mounted(desk: Desk, centre: str, run_id: str, version: str) -> str:
    """The organisation whose version a run mounts. A centre gets no data that none of its runs may read."""
    job = _job(desk, centre, run_id)
    if f"data:{version}" not in _script(job).mounts.values():
        raise Unknown("This run doesn't mount that version.", asked=version)
    return job.organisation
