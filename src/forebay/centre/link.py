"""The agent's side of the API under /api/v1/agent. It only dials out.

Asked:  what do a centre and its cloud say to each other?
Answer: everything is a state that may be told twice: "these are my nodes", "this is wanted here", "this is what I see". Content
        travels by its hash, a message of chunks at a time, so that a link that breaks costs one message.
Limits: HTTP, and HTTPS with the system's certificates or those in SSL_CERT_FILE.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from forebay import __version__
from forebay.centre.spec import Seen, Spec
from forebay.chips.node import Node, NodeState
from forebay.codec import decode, encode
from forebay.data.manifest import Manifest, check
from forebay.errors import Unavailable, from_json

WAIT_S = 20.0  # how long a request for news may hang at the cloud


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that the cloud wants here."""

    spec: Spec
    stop: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class News:
    """What the cloud wants of this centre, whole."""

    version: int
    runs: Mapping[str, Wanted]
    send: tuple[str, ...] = ()  # runs of this centre whose output is wanted elsewhere
    tunnels: Mapping[str, str] = field(default_factory=dict)  # people who want to talk to a run: tunnel -> run
    generation: int | None = None  # to be said with reports; None: the cloud is older than this word
    troubled: Mapping[str, str] | None = None  # node -> how it stands, of those that aren't up; None: likewise


def address(cloud: str) -> str:
    """The cloud's address, as given or as it stands in a file."""
    text = cloud if "://" in cloud else Path(cloud).read_text().strip()
    return text.rstrip("/")


def join(cloud: str, token: str, key_sha256: str) -> str:
    """Exchange a token for a key whose hash is shown; the secret itself stays here. Returns the centre's name.

    Said again with the same key, it is answered the same.
    """
    link = Link(cloud, token)
    name: str = link._ask("POST", "/join", json={"key_sha256": key_sha256, "version": __version__})["centre"]
    return name


def _told(node: Node) -> dict[str, Any]:
    """A node without what it doesn't say: a cloud of the version before refuses fields that it doesn't know."""
    body: dict[str, Any] = encode(node)
    return {name: value for name, value in body.items() if value or name in ("name", "chip", "cards")}


class Link:
    """Requests of one centre, shown by its key to be its own."""

    def __init__(self, cloud: str, key: str, connections: int = 100) -> None:
        """`cloud`: its address, or the file in which it writes its address when it starts."""
        self._cloud = cloud
        self._key = key
        self._http = httpx.Client(
            base_url=address(cloud) + "/api/v1/agent",
            headers={"Authorization": f"Bearer {key}", "User-Agent": f"forebay-agent/{__version__}"},
            timeout=httpx.Timeout(WAIT_S + 10, connect=5.0),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=False,
            verify=ssl.create_default_context(),  # the system's certificates, or those in SSL_CERT_FILE
        )

    def twin(self, connections: int) -> Link:
        """Another link to the same cloud, with connections of its own."""
        return Link(self._cloud, self._key, connections)

    # Who we are, and how our nodes stand.

    def hello(self, engine: str, nodes: tuple[Node, ...] | None) -> None:
        """`nodes` None: the engine doesn't know them now, and what was said before stands."""
        told = None if nodes is None else [_told(node) for node in nodes]
        self._ask("POST", "/hello", json={"version": __version__, "engine": engine, "nodes": told})

    def report(
        self,
        seen: Sequence[Seen],
        progress: Mapping[str, Any],
        states: tuple[NodeState, ...] | None,
        generation: int | None = None,
    ) -> tuple[int, list[str]]:
        """Returns the version of `wanted` that knows of this, and which of our runs the cloud doesn't want.

        `states` None: nothing has changed. `generation`: that of the news which we have. Raises Stale when it is an old one.
        """
        body: dict[str, Any] = {"seen": encode(tuple(seen)), "progress": dict(progress)}
        if states is not None:
            body["states"] = encode(states)
        if generation is not None:
            body["generation"] = generation
        answer = self._ask("POST", "/report", json=body)
        return answer["version"], answer["gone"]

    # What is wanted here.

    def wanted(self, after: int, generation: int | None = None) -> News:
        """`generation`: that of the news which we have; it is answered at once when another has come."""
        params: dict[str, Any] = {"after": after, "wait_s": WAIT_S if after >= 0 else 0}
        if generation is not None:
            params["generation"] = generation
        body = self._ask("GET", "/wanted", params=params)
        runs = [Wanted(decode(Spec, run["spec"], strict=False), run["stop"], run["grace_s"]) for run in body["runs"]]
        return News(
            body["version"],
            {run.spec.name: run for run in runs},
            tuple(body.get("send", ())),
            body.get("tunnels", {}),
            body.get("generation"),
            body.get("troubled"),
        )

    def bundle(self, run: str) -> bytes:
        return self._answer("GET", f"/bundles/{run}").content

    def manifest(self, run: str, version: str) -> Manifest:
        return self._manifest(f"/manifests/{run}/{version}")

    def chunks(self, run: str, version: str, wanted: Sequence[str]) -> bytes:
        return self._answer("POST", f"/chunks/{run}/{version}", json=list(wanted)).content

    # What runs print and leave.

    def log(self, run: str, offset: int, body: bytes) -> None:
        self._ask("POST", f"/runs/{run}/log", params={"offset": offset}, content=body)

    def output(self, run: str, of: str) -> Manifest:
        """What the run `of` has left, for a run that needs it here. Unavailable as long as the cloud hasn't got it."""
        return self._manifest(f"/outputs/{run}/{of}")

    def output_chunks(self, run: str, of: str, wanted: Sequence[str]) -> bytes:
        return self._answer("POST", f"/outputs/{run}/{of}/chunks", json=list(wanted)).content

    def missing(self, run: str, manifest: Manifest) -> list[str]:
        """Which chunks of a run's output the cloud doesn't have."""
        missing: list[str] = self._ask("POST", f"/outputs/{run}/missing", json=encode(manifest))["missing"]
        return missing

    def send_chunks(self, run: str, message: bytes) -> None:
        self._ask("POST", f"/outputs/{run}/chunks", content=message)

    def keep_output(self, run: str, manifest: Manifest) -> None:
        self._ask("PUT", f"/outputs/{run}", json=encode(manifest))

    # Tunnels to runs. `life` names this life of the agent.

    def read_tunnel(self, tunnel: str, life: str, offset: int) -> tuple[bytes, str]:
        """Bytes for the run from `offset` on, after a wait if need be; and why the tunnel is closed, after its last byte."""
        answer = self._answer("GET", f"/tunnels/{tunnel}/up", params={"by": life, "offset": offset, "wait_s": WAIT_S})
        return answer.content, unquote(answer.headers.get("Forebay-Closed", ""))

    def write_tunnel(self, tunnel: str, life: str, offset: int, body: bytes) -> tuple[int, str]:
        """Send what the run's door gave. Returns where the stream ends now, and why the tunnel is closed if it is."""
        where = {"by": life, "offset": offset, "wait_s": WAIT_S}
        answer = self._ask("POST", f"/tunnels/{tunnel}/down", params=where, content=body)
        return answer["end"], answer["closed"]

    def close_tunnel(self, tunnel: str, life: str, why: str) -> None:
        self._ask("DELETE", f"/tunnels/{tunnel}", params={"by": life, "why": why})

    def _manifest(self, path: str) -> Manifest:
        manifest = decode(Manifest, self._ask("GET", path))
        check(manifest)
        return manifest

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        return self._answer(method, path, **what).json()

    def _answer(self, method: str, path: str, **what: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **what)
        except httpx.TransportError as error:
            self._http.base_url = address(self._cloud) + "/api/v1/agent"  # it may have come back elsewhere
            raise Unavailable(
                "The cloud doesn't answer.", asked=address(self._cloud), found=str(error) or type(error).__name__
            ) from error
        if response.status_code >= 400:
            try:
                problem = from_json(response.json()["error"])
            except (ValueError, KeyError):
                problem = Unavailable("The cloud's answer makes no sense.", found=f"HTTP {response.status_code}")
            raise problem
        return response
