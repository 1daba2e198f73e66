"""The Python SDK: the same verbs as the command line.

    from forebay import Client

    cloud = Client("http://127.0.0.1:7373", key="fb_…")
    job = cloud.run("train.py", ["--steps", "100"], cards=2)
    for line in cloud.logs(job["id"], follow=True):
        print(line["text"])

Answers are the API's JSON, as dicts. Every write carries an idempotency key of its own and is tried again when the connection
breaks, so that a cloud which is restarted meanwhile does it once. Errors are those of `forebay.errors`, the same classes as
inside.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from forebay import __version__
from forebay.client_jobs import CODE_LIMIT_BYTES, Jobs, Said, asked
from forebay.client_jobs import silent as _silent
from forebay.client_tenants import Tenants, quoted, split_project
from forebay.codec import encode
from forebay.data.dataset import pieces, scan
from forebay.data.fetch import fetch_output
from forebay.data.manifest import Manifest
from forebay.data.store import pack_chunks
from forebay.errors import BadInput, ForebayError, TooMany, Unavailable, from_json
from forebay.units import MIB, parse_seconds

MESSAGE_BYTES = 8 * MIB  # of chunks in one request, about
SILENCE_S = 30.0  # of a stream, whose cloud says every 15 s that it is still there
OUTPUT_S = 600.0  # for an output that is brought from its centre
CROWDED_S = 60.0  # with a cloud that says to come back later
PATIENCE_S = 20.0  # for a cloud that doesn't answer: it may be starting again

Body = dict[str, Any]
__all__ = ["CODE_LIMIT_BYTES", "Client", "asked", "split_place"]


class Client(Jobs, Tenants):
    """A connection to a cloud, as the holder of one key. Use it as a context manager, or `close()` it."""

    def __init__(self, url: str, key: str = "", *, patience_s: float = PATIENCE_S) -> None:
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        headers = {"User-Agent": f"forebay/{__version__}"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._http = httpx.Client(
            base_url=self.url + "/api/v1",
            headers=headers,
            timeout=httpx.Timeout(30.0, connect=5.0),
            limits=httpx.Limits(max_connections=1000, max_keepalive_connections=100),  # a tunnel holds two
            trust_env=False,  # no proxy stands between a tenant and the cloud
            verify=ssl.create_default_context(),  # the system's certificates, or those in SSL_CERT_FILE
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # The cloud.

    def about(self) -> Body:
        return self._get("/")

    def me(self) -> Body:
        return self._get("/me")

    # Centres, and what of the pool is out of use.

    def centres(self) -> list[Body]:
        return self._list("/centres", "centres")

    def make_centre(self, name: str, *, expires_in: str | None = None) -> tuple[Body, str]:
        """A centre that may join, and the token with which it does. The cloud gets the token's hash only."""
        token, body = _new_token(expires_in)
        return self._write("POST", "/centres", {"name": name, **body}), token

    def make_token(self, centre: str, *, expires_in: str | None = None) -> tuple[Body, str]:
        """A new token for a centre that is to join again."""
        token, body = _new_token(expires_in)
        return self._write("POST", f"/centres/{quoted(centre)}/token", body), token

    def revoke_centre(self, centre: str, *, give_up: bool = False) -> Body:
        """Refuse a centre's agent from now on. `give_up`: take its runs for lost, so that their jobs are tried elsewhere."""
        return self._write("DELETE", f"/centres/{quoted(centre)}", params={"give_up": str(give_up).lower()})

    def drain(self, place: str, reason: str = "") -> Body:
        """Give "centre", "centre/node" or "centre/node/card" no new runs."""
        return self._write("POST", "/pool/drain", {**split_place(place), "reason": reason})

    def undrain(self, place: str) -> Body:
        return self._write("POST", "/pool/undrain", split_place(place))

    def set_maintenance(self, place: str, from_ns: int, to_ns: int, reason: str = "") -> Body:
        where = split_place(place)
        if where.pop("card") is not None:
            raise BadInput("Maintenance is of a centre or a node.", asked=place, hint="drain the card instead")
        return self._write("POST", "/pool/maintenance", {**where, "from_ns": from_ns, "to_ns": to_ns, "reason": reason})

    def lift_maintenance(self, window: str) -> Body:
        return self._write("DELETE", f"/pool/maintenance/{quoted(window)}")

    # Data sets.

    def data(self) -> list[Body]:
        return self._list("/data", "versions")

    def make_data(
        self,
        name: str,
        folder: Path | str,
        *,
        include: Sequence[str] = ("**",),
        exclude: Sequence[str] = (),
        project: str | None = None,
        said: Said = _silent,
    ) -> Body:
        """Make a version of a data set out of a folder's files. Only chunks that the cloud doesn't have are sent."""
        root = Path(folder)
        manifest = scan(root, tuple(include), lambda files, _: said("reading", files, 0), exclude=tuple(exclude))
        where = _organisation(project)
        body = encode(manifest)
        missing = set(self._post("/data/missing", body, where)["missing"])
        for done, message in _messages(root, manifest, missing):
            if message:
                post = partial(self._http.post, "/data/chunks", content=pack_chunks(message), params=where, timeout=300.0)
                self._patiently(post)
            said("sending", done, len(manifest.files))
        return self._write("PUT", f"/data/sets/{quoted(name)}", body, where)

    # Jobs.

    def wait(self, job: str, timeout_s: float = float("inf")) -> Body:
        """The job once it is over. Unavailable when `timeout_s` passes first."""
        for kind, _ in self.events(job, follow=True, timeout_s=timeout_s):
            if kind == "end":
                return self.job(job)
        raise Unavailable(
            "The job isn't over yet.", asked=job, found=f"its state is {self.job(job)['phase']} after {timeout_s:.0f} s"
        )

    def logs(self, job: str, *, follow: bool = False) -> Iterator[Body]:
        """The lines that a job printed: {"run", "rank", "stream", "t_ns", "text"}."""
        for kind, body in self._stream(f"/jobs/{quoted(job)}/logs?follow={str(follow).lower()}"):
            if kind == "line":
                yield body

    def events(self, job: str, *, follow: bool = False, timeout_s: float = float("inf")) -> Iterator[tuple[str, Body]]:
        """What happens to a job: ("story", event), ("progress", progress), and ("end", its last state)."""
        yield from self._stream(f"/jobs/{quoted(job)}/events?follow={str(follow).lower()}", timeout_s)

    # Tunnels: to the door of a job that runs (`visitor.py` speaks through them).

    def open_tunnel(self, job: str) -> Body:
        """{"id", "run"}. Conflict when the job is over, Unavailable while it doesn't run yet."""
        return self._write("POST", f"/jobs/{quoted(job)}/tunnels", {})

    def write_tunnel(self, tunnel: str, offset: int, body: bytes, wait_s: float) -> tuple[int, str]:
        """Where the stream ends now, which may be short of what was sent; and why the tunnel is closed, if it is."""
        where = {"offset": offset, "wait_s": wait_s}
        answer = self._patiently(lambda: self._http.post(f"/tunnels/{tunnel}/up", params=where, content=body))
        return answer["end"], answer["closed"]

    def read_tunnel(self, tunnel: str, offset: int, wait_s: float) -> tuple[bytes, str]:
        """Bytes from `offset` on, after a wait if need be; and why the tunnel is closed, after its last byte."""
        where = {"offset": offset, "wait_s": wait_s}
        answer = self._answered(lambda: self._http.get(f"/tunnels/{tunnel}/down", params=where))
        if answer.status_code >= 400:
            raise from_json(answer.json().get("error", {}))
        return answer.content, unquote(answer.headers.get("Forebay-Closed", ""))

    def close_tunnel(self, tunnel: str) -> None:
        self._write("DELETE", f"/tunnels/{tunnel}")

    def output(self, job: str, to: Path | str, *, said: Said = _silent, timeout_s: float = OUTPUT_S) -> Body:
        """Bring what a job (or one run of it) left into a folder that is new or empty. Waits while the cloud gets it from the
        centre. May be called again after it was cut off: what has arrived isn't fetched again.
        """
        path = f"/jobs/{quoted(job)}/output"
        left = self._once_there(path, said, time.monotonic() + timeout_s)
        fetch_output(left, Path(to), partial(self._chunks, path), said)
        return left

    def _once_there(self, path: str, said: Said, deadline: float) -> Body:
        """What is at a path, once the cloud has it. It says itself what it waits for."""
        while True:
            response = self._answered(lambda: self._http.get(path))
            if response.status_code != Unavailable.http_status:
                return self._body(response)
            problem = from_json(response.json().get("error", {}))
            if time.monotonic() > deadline:
                raise problem
            said(problem.text.rstrip("."), 0, 0)
            time.sleep(0.5)

    def _chunks(self, path: str, wanted: Sequence[str]) -> bytes:
        response = self._answered(lambda: self._http.post(f"{path}/chunks", json=list(wanted), timeout=300.0))
        if response.status_code >= 400:
            raise from_json(response.json().get("error", {}))
        return response.content

    # The pool and the bill.

    def pool(self, *, cards: bool = True) -> Body:
        """`cards` False leaves out the single cards, which are many in a large pool."""
        return self._get("/pool", cards=str(cards).lower())

    def bill(
        self,
        *,
        organisation: str = "",
        project: str = "",
        job: str = "",
        member: str = "",
        chip: str = "",
        by: Sequence[str] = (),
        since_ns: int = 0,
        until_ns: int | None = None,
    ) -> Body:
        """What was held in a period and what it costs. `by`: any of organisation, project, member, centre, chip, job, whose
        sums are `rows` then.
        """
        period = {"since_ns": since_ns} | ({} if until_ns is None else {"until_ns": until_ns})
        told = {"job": job, "member": member, "chip": chip, "split": ",".join(by)}
        return self._get("/bill", **told, **period, **_filtered(organisation, project))

    def pool_use(self, *, since_ns: int = 0) -> Body:
        """What the cards of the pool did: used, idle, down, held, active, productive."""
        return self._get("/pool/use", since_ns=since_ns)

    def idle_limits(self) -> Body:
        return self._get("/pool/idle")

    def set_idle_limits(self, *, warn_s: float, reclaim_s: float | None, share: float = 0.05) -> Body:
        return self._write("PUT", "/pool/idle", {"warn_s": warn_s, "reclaim_s": reclaim_s, "share": share})

    # Talking HTTP.

    def _get(self, path: str, **params: str | int) -> Body:
        return self._patiently(lambda: self._http.get(path, params=params))

    def _list(self, path: str, name: str, **params: str | int) -> list[Body]:
        items: list[Body] = self._get(path, **params)[name]
        return items

    def _post(self, path: str, body: Any, params: Mapping[str, str]) -> Body:
        return self._patiently(lambda: self._http.post(path, json=body, params=params))

    def _write(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Body:
        once = {"Idempotency-Key": uuid.uuid4().hex}
        return self._patiently(lambda: self._http.request(method, path, json=body, params=params, headers=once))

    def _send(self, path: str, content: bytes, params: Mapping[str, str]) -> Body:
        return self._patiently(lambda: self._http.put(path, content=content, params=params, timeout=300.0))

    def _has_bundle(self, sha256: str, params: Mapping[str, str]) -> bool:
        response = self._answered(lambda: self._http.head(f"/bundles/{sha256}", params=params))
        return response.status_code == 200

    def _patiently(self, ask: Callable[[], httpx.Response]) -> Body:
        return self._body(self._answered(ask))

    def _body(self, response: httpx.Response) -> Body:
        try:
            body: Body = response.json()
        except ValueError:
            raise ForebayError(
                "That address doesn't speak Forebay.", asked=self.url, found=f"HTTP {response.status_code}"
            ) from None
        if "error" in body:
            raise from_json(body["error"])
        return body

    def _answered(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Ask until there is an answer.

        A request may have been carried out although its answer was lost: that's what the key is for.
        """
        asked_at = time.monotonic()
        until = asked_at + self._patience_s
        pause_s = 0.1
        while True:
            try:
                response = ask()
            except httpx.TransportError as error:
                if time.monotonic() + pause_s > until:
                    raise self._unreachable(error) from error
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 2.0)
                continue
            wait_s = _told_to_wait(response)
            if not wait_s or time.monotonic() + wait_s > asked_at + max(self._patience_s, CROWDED_S):
                return response
            time.sleep(wait_s)
            until = time.monotonic() + self._patience_s

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            "The cloud doesn't answer.",
            asked=self.url,
            found=str(error) or type(error).__name__,
            hint="`forebay up` starts one here; FOREBAY_URL says where it is",
        )

    def _stream(self, path: str, timeout_s: float = float("inf")) -> Iterator[tuple[str, Body]]:
        """Server-sent events up to `end`; goes on after the last event seen when the connection breaks."""
        last, deadline = "", time.monotonic() + timeout_s
        patient_until = time.monotonic() + self._patience_s
        while (left_s := deadline - time.monotonic()) > 0:
            heard = False
            try:
                headers = {"Last-Event-ID": last} if last else {}
                timeout = httpx.Timeout(min(SILENCE_S, left_s), connect=5.0)
                with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                    if wait_s := _told_to_wait(response):
                        time.sleep(wait_s)
                        continue
                    if response.status_code >= 400:
                        response.read()
                        raise from_json(response.json().get("error", {}))
                    for last_seen, kind, body in _parse(response.iter_lines()):
                        heard = True
                        last = last_seen or last
                        if kind:
                            yield kind, body
                        if kind == "end" or time.monotonic() > deadline:
                            return
            except httpx.TransportError as error:
                if heard:
                    patient_until = time.monotonic() + self._patience_s
                if patient_until < time.monotonic() < deadline:
                    raise self._unreachable(error) from error
            time.sleep(0.2)


def _told_to_wait(response: httpx.Response) -> float:
    """How long the cloud asks us to wait, because we ask too much; 0: it doesn't."""
    if response.status_code != TooMany.http_status:
        return 0.0
    told = response.headers.get("Retry-After", "")
    return float(told) if told.isdigit() else 1.0


def _messages(root: Path, manifest: Manifest, missing: set[str]) -> Iterator[tuple[int, dict[str, bytes]]]:
    """The missing chunks of a folder, gathered into messages of a bearable size, each with the count of files done."""
    left, message, size = set(missing), dict[str, bytes](), 0
    for done, file in enumerate(manifest.files, 1):
        if left.isdisjoint(chunk.sha256 for chunk in file.chunks):
            continue
        with open(root / file.path, "rb") as content:
            for chunk, piece in zip(file.chunks, pieces(content), strict=False):
                if chunk.sha256 in left:
                    left.discard(chunk.sha256)
                    message[chunk.sha256] = piece
                    size += len(piece)
                if size >= MESSAGE_BYTES:
                    yield done, message
                    message, size = {}, 0
    yield len(manifest.files), message


def _parse(lines: Iterator[str]) -> Iterator[tuple[str, str, Body]]:
    """(id, event, data) for each server-sent event; comments come as empty ones, so that the caller can look at its watch."""
    identity, kind, data = "", "", ""
    for line in lines:
        if line.startswith(":"):
            yield "", "", {}
        elif line.startswith("id: "):
            identity = line[4:]
        elif line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            data += line[6:]
        elif not line and (identity or kind):
            yield identity, kind, json.loads(data) if data else {}
            identity, kind, data = "", "", ""


def split_place(text: str) -> Body:
    """{"centre": "north", "node": "h3", "card": 7} for "north/h3/7"."""
    centre, _, rest = text.partition("/")
    node, slash, card = rest.partition("/")
    if not centre or (slash and not card.isdigit()):
        raise BadInput("That is no place in the pool.", asked=text, hint="CENTRE, CENTRE/NODE or CENTRE/NODE/CARD")
    return {"centre": centre, "node": node, "card": int(card) if slash else None}


def _new_token(expires_in: str | None) -> tuple[str, Body]:
    """A token, and what the cloud is told of it."""
    token = "fj_" + secrets.token_urlsafe(24)
    body = {
        "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
        "expires_in_s": parse_seconds(expires_in) if expires_in else None,
    }
    return token, body


def _filtered(organisation: str, project: str) -> dict[str, str]:
    """Filters of a listing: a project may be said with its organisation or without."""
    if "/" in project:
        organisation, project = split_project(project)
    return {"organisation": organisation, "project": project}


def _organisation(project: str | None) -> dict[str, str]:
    return {"organisation": split_project(project)[0]} if project else {}
