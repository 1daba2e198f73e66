"""The agent: joins a centre to a cloud. `python -m forebay.centre.agent --home DIR --cloud URL --token-file FILE`.

Asked:  what must run here, and what does the cloud have to know?
Answer: two threads. One waits at the cloud for what is wanted; the other compares it with what the engine has, fetches code
        and data, launches, stops, and reports. It keeps nothing in memory that it couldn't find again: what runs is in the
        engine's folders, what should run is in the cloud's journal. So it may be killed at any moment, and the link may break
        for as long as it likes.
Limits: the cloud is spoken to over HTTP only, and only dialled out to. It chooses nothing: no host, no retry of a run.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from forebay import __version__
from forebay.centre import layout
from forebay.centre.local import Local
from forebay.centre.spec import Handle, Outcome, Phase, Seen, Spec
from forebay.chips.node import Node
from forebay.codec import decode, encode
from forebay.data.bundle import file_hash
from forebay.data.manifest import Manifest, check
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.errors import Conflict, ForebayError, Unavailable, from_json

log = logging.getLogger("forebay.agent")

LOOK_S = 0.2  # between two looks at runs that go on
REST_S = 1.0  # when nothing goes on
WAIT_S = 20.0  # how long a request for news may hang at the cloud
LONGEST_PAUSE_S = 5.0
MOST_CHUNKS = 4096  # asked for at a time


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that the cloud wants here."""

    spec: Spec
    stop: str
    grace_s: float


def address(cloud: str) -> str:
    """The cloud's address, as given or as it stands in a file."""
    text = cloud if "://" in cloud else Path(cloud).read_text().strip()
    return text.rstrip("/")


class Link:
    """The agent's side of the API under /api/v1/agent."""

    def __init__(self, cloud: str, token: str) -> None:
        """`cloud`: its address, or the file in which it writes its address when it starts."""
        self._cloud = cloud
        self._http = httpx.Client(
            base_url=address(cloud) + "/api/v1/agent",
            headers={"Authorization": f"Bearer {token}", "User-Agent": f"forebay-agent/{__version__}"},
            timeout=httpx.Timeout(WAIT_S + 10, connect=5.0),
            trust_env=False,
            verify=ssl.create_default_context(),  # the system's certificates, or those in SSL_CERT_FILE
        )

    def hello(self, nodes: tuple[Node, ...]) -> None:
        self._ask("POST", "/hello", json={"version": __version__, "nodes": encode(nodes)})

    def wanted(self, after: int) -> tuple[int, dict[str, Wanted]]:
        body = self._ask("GET", "/wanted", params={"after": after, "wait_s": WAIT_S if after >= 0 else 0})
        runs = [Wanted(decode(Spec, run["spec"], strict=False), run["stop"], run["grace_s"]) for run in body["runs"]]
        return body["version"], {run.spec.name: run for run in runs}

    def report(self, seen: list[Seen], progress: Mapping[str, Any]) -> tuple[int, list[str]]:
        """Returns the version of `wanted` that knows of this, and which of our runs the cloud doesn't want."""
        body = self._ask("POST", "/report", json={"seen": encode(seen), "progress": dict(progress)})
        return body["version"], body["gone"]

    def log(self, run: str, offset: int, body: bytes) -> None:
        self._ask("POST", f"/runs/{run}/log", params={"offset": offset}, content=body)

    def manifest(self, run: str, version: str) -> Manifest:
        manifest = decode(Manifest, self._ask("GET", f"/manifests/{run}/{version}"))
        check(manifest)
        return manifest

    def chunks(self, run: str, version: str, wanted: Sequence[str]) -> bytes:
        return self._answer("POST", f"/chunks/{run}/{version}", json=list(wanted)).content

    def bundle(self, run: str) -> bytes:
        return self._answer("GET", f"/bundles/{run}").content

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        return self._answer(method, path, **what).json()

    def _answer(self, method: str, path: str, **what: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **what)
        except httpx.TransportError as error:
            self._http.base_url = address(self._cloud) + "/api/v1/agent"  # it may have come back elsewhere
            raise Unavailable("The cloud doesn't answer.", found=str(error) or type(error).__name__) from error
        if response.status_code >= 400:
            try:
                problem = from_json(response.json()["error"])
            except (ValueError, KeyError):
                problem = Unavailable("The cloud's answer makes no sense.", found=f"HTTP {response.status_code}")
            raise problem
        return response


class Agent:
    def __init__(self, home: Path, engine: Local, link: Link, builds: Sequence[subprocess.Popen[bytes]] = ()) -> None:
        """`builds`: processes that must have ended before a script that imports torch can start."""
        self._home = home
        self._engine = engine
        self._builds = builds
        self._link = link
        self._guard = threading.Lock()  # over the next two
        self._wanted: dict[str, Wanted] | None = None  # None: the cloud hasn't said yet
        self._told_version = -1  # what the cloud knew when we last told it something; older news would start an ended run again
        self._news = threading.Event()
        self._over = threading.Event()
        self._fetching: dict[str, Future[None]] = {}
        self._fetchers = ThreadPoolExecutor(2, thread_name_prefix="fetch")
        self._reported: dict[str, Seen] = {}
        self._progress: dict[str, Any] = {}
        self._never_started: dict[str, Seen] = {}  # ended before the engine ever heard of them
        self._stopping: set[str] = set()

    def run(self) -> None:
        """Serve until `stop` is called."""
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        pause_s = LOOK_S
        while not self._over.is_set():
            try:
                busy = self._turn()
                pause_s = LOOK_S if busy else REST_S
            except (ForebayError, OSError) as error:  # the link is broken, a disk is full: nothing that ends runs or us
                pause_s = min(max(2 * pause_s, 0.5), LONGEST_PAUSE_S)
                log.warning("%s; trying again in %.1f s", str(error).replace("\n", " "), pause_s)
            self._news.wait(pause_s)
            self._news.clear()
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        self._over.set()
        self._news.set()

    def _listen(self) -> None:
        """Keep `_wanted` true. Says hello first, and again whenever the link was broken."""
        version, pause_s, met = -1, 0.2, False
        while not self._over.is_set():
            try:
                if not met:
                    with self._guard:
                        self._told_version = -1  # it may be another cloud, whose journal is younger
                    self._link.hello(self._engine.nodes())
                    met = True
                version, wanted = self._link.wanted(version)
                pause_s = 0.2
                with self._guard:
                    if version >= self._told_version:
                        self._wanted = wanted
                self._news.set()
            except ForebayError as error:
                log.warning("%s", str(error).replace("\n", " "))
                version, met = -1, False
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _turn(self) -> bool:
        """Compare what is wanted with what is, once. True while something goes on."""
        if self._wanted is None:
            return True
        wanted, handles = self._wanted, {Path(handle).name: handle for handle in self._engine.handles()}
        for run, want in wanted.items():
            if run not in handles:
                self._begin(want)
            elif want.stop and run not in self._stopping:
                self._stopping.add(run)
                self._engine.stop(handles[run], want.grace_s)
        self._tell(handles)
        return bool(handles or wanted or self._fetching)

    # Starting.

    def _begin(self, want: Wanted) -> None:
        """One step towards a launch: fetch, or launch what has been fetched."""
        run = want.spec.name
        if run in self._never_started:
            return
        if want.stop:
            self._fetching.pop(run, None)
            self._never_started[run] = _unstarted(run, Outcome.STOPPED, want.stop)
            return
        fetching = self._fetching.get(run)
        if fetching is None:
            if self._is_here(want.spec):
                self._launch(want.spec)
            else:
                self._fetching[run] = self._fetchers.submit(self._fetch_calmly, want.spec)
                self._fetching[run].add_done_callback(lambda _: self._news.set())
            return
        if not fetching.done():
            return
        del self._fetching[run]
        problem = fetching.exception()
        if problem is None:
            self._launch(want.spec)
        elif isinstance(problem, (Unavailable, OSError)):
            log.warning("%s: fetching failed and is tried again: %s", run, str(problem).replace("\n", " "))
        else:
            self._never_started[run] = _unstarted(run, Outcome.UNPREPARED, f"its code or data could not be fetched: {problem}")

    def _launch(self, spec: Spec) -> None:
        if any(build.poll() is None for build in self._builds) and self._engine.imports_torch(spec.bundle):
            return  # its cards are not counted as held before the engine has it
        try:
            self._engine.launch(spec)
        except ForebayError as error:
            self._never_started[spec.name] = _unstarted(spec.name, Outcome.UNPREPARED, str(error))

    def _is_here(self, spec: Spec) -> bool:
        versions = [mount.source for mount in spec.mounts if mount.kind == "data"]
        return layout.bundle(self._home, spec.bundle).exists() and all(
            layout.data(self._home, spec.organisation, version).exists() for version in versions
        )

    def _fetch_calmly(self, spec: Spec) -> None:
        """Fetch; after a failure that may pass, wait a moment, since the next attempt begins as soon as this one is over."""
        try:
            self._fetch(spec)
        except (Unavailable, OSError):
            self._over.wait(REST_S)
            raise

    def _fetch(self, spec: Spec) -> None:
        """Bring a run's code and data here. Complete files only; what is here already isn't fetched again."""
        archive = layout.bundle(self._home, spec.bundle)
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            draft = archive.with_suffix(f".draft-{spec.name}")
            draft.write_bytes(self._link.bundle(spec.name))
            if file_hash(draft) != spec.bundle:
                draft.unlink()
                raise Unavailable("The code arrived damaged.", asked=spec.bundle)
            draft.rename(archive)
        for mount in spec.mounts:
            if mount.kind == "data":
                self._fetch_version(spec, mount.source)

    def _fetch_version(self, spec: Spec, version: str) -> None:
        tree = layout.data(self._home, spec.organisation, version)
        if tree.exists():
            return
        manifest = self._link.manifest(spec.name, version)
        chunks = ChunkStore(self._home / "store" / "chunks" / layout.name(spec.organisation))
        while missing := chunks.missing(manifest):
            for sha256, content in unpack_chunks(self._link.chunks(spec.name, version, missing[:MOST_CHUNKS])):
                chunks.put(content, sha256)
        self._engine.data_folder(spec.organisation)  # closed to everybody else before anything lies in it
        chunks.materialise(manifest, tree)

    # Telling.

    def _tell(self, handles: Mapping[str, Handle]) -> None:
        """Send logs, then what has changed. An end is told only after the last line that was printed."""
        news: dict[str, Seen] = dict(self._never_started)
        progress: dict[str, Any] = {}
        for run, handle in handles.items():
            seen = self._engine.look(handle)
            self._send_log(run, Path(handle))
            if self._reported.get(run) != seen:
                news[run] = seen
            now = self._engine.progress(handle)
            if now is not None and self._progress.get(run) != now:
                progress[run] = self._progress[run] = now
        if not news and not progress:
            return
        version, gone = self._link.report(list(news.values()), {run: encode(value) for run, value in progress.items()})
        over = [run for run, seen in news.items() if seen.phase is Phase.ENDED]
        with self._guard:
            self._told_version = max(self._told_version, version)
            self._wanted = {run: want for run, want in (self._wanted or {}).items() if run not in over}
        for run, seen in news.items():
            self._reported[run] = seen
        for run in over:
            self._drop(run, handles)
        for run in gone:
            if run in handles and run not in self._stopping:
                log.warning("%s is not wanted by the cloud and is stopped", run)
                self._stopping.add(run)
                self._engine.stop(handles[run], 0.0)

    def _drop(self, run: str, handles: Mapping[str, Handle]) -> None:
        """The cloud has journaled the end of this run."""
        if run in handles:
            self._engine.forget(handles[run])
        for known in (self._reported, self._progress, self._never_started):
            known.pop(run, None)
        self._stopping.discard(run)

    def _send_log(self, run: str, folder: Path) -> None:
        """Send what is new in a run's log.

        `sent.json` remembers how far both ends are, since rotation may have left a gap between them.
        """
        marks = folder / "sent.json"
        here, there = json.loads(marks.read_bytes()) if marks.exists() else (0, 0)
        while True:
            part = self._engine.read_log(Handle(str(folder)), here)
            if part.gap:
                here += part.gap
            if not part.body:
                return
            try:
                self._link.log(run, there, part.body)
                there += len(part.body)
                here = part.next_offset
            except ForebayError as error:
                if not error.found.isdigit():
                    if isinstance(error, Unavailable):
                        raise
                    return  # the cloud doesn't want this log
                ahead = int(error.found) - there  # it got some that we didn't note, before one of us was killed
                there, here = there + ahead, here + ahead
            draft = marks.with_suffix(".draft")
            draft.write_text(json.dumps([here, there]))
            draft.rename(marks)


def _unstarted(run: str, outcome: Outcome, reason: str) -> Seen:
    """What to say of a run that never held its cards here."""
    now = time.time_ns()
    return Seen(name=run, phase=Phase.ENDED, started_at_ns=now, ended_at_ns=now, outcome=outcome, reason=reason)


def build_carriers(home: Path, shim: Path, bases: Collection[str]) -> list[subprocess.Popen[bytes]]:
    """Start to compile what carries CUDA's words, for each base environment: about a minute, once a machine."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(layout.code(home)), "HOME": str(home)}
    with open(home / "shim.log", "ab") as told:
        return [
            subprocess.Popen(
                [base, "-m", "forebay.porting.shim", "build", "--cache", str(shim)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                process_group=0,  # with its compilers, so that all of them can be ended
            )
            for base in bases
        ]


def only_agent(home: Path) -> int:
    """The lock of a centre's folder, held for life: two agents over one folder would launch everything twice."""
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict("Another agent works on this folder.", asked=str(home), hint="`forebay down`, or end that agent") from None
    return lock


def wait_for(files: Sequence[Path], patience_s: float = 30.0) -> None:
    """Wait for what a cloud that is just starting will write."""
    until = time.monotonic() + patience_s
    while absent := [path for path in files if not path.exists()]:
        if time.monotonic() > until:
            raise Unavailable("The cloud never wrote this file.", asked=str(absent[0]), hint="see cloud.log beside it")
        time.sleep(0.03)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.centre.agent", description="Joins this machine to a cloud. `forebay up` starts it."
    )
    parser.add_argument("--home", required=True, type=Path, help="the centre's folder")
    parser.add_argument("--cloud", required=True, help="the cloud's address, or a file that will hold it")
    parser.add_argument("--token-file", required=True, type=Path)
    parser.add_argument("--nodes", required=True, type=Path, help="JSON file: the nodes of this centre")
    parser.add_argument(
        "--base", action="append", default=[], metavar="CHIP=PYTHON", help="the base environment of a chip; '*' for all others"
    )
    parser.add_argument("--shim", type=Path, help="where the carrier of CUDA's words is compiled to; default: in the home")
    parser.add_argument("--trust-all", action="store_true")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    base = dict(item.split("=", 1) for item in asked.base)
    nodes = tuple(decode(Node, node) for node in json.loads(asked.nodes.read_bytes()))
    alone = only_agent(asked.home)
    shim = asked.shim or layout.shim(asked.home)
    pythons = {chip: Path(python) for chip, python in base.items()}
    # First of all, so that the import of torch and the compiling, which come next, take no core from a cloud that is starting.
    wait_for([asked.token_file] if "://" in asked.cloud else [asked.token_file, Path(asked.cloud)])
    engine = Local(asked.home, nodes=nodes, base=pythons, trust_all=asked.trust_all, shim=shim)
    builds = build_carriers(asked.home, shim, set(base.values()))
    agent = Agent(asked.home, engine, Link(asked.cloud, asked.token_file.read_text().strip()), builds)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: agent.stop())
    agent.run()
    engine.close()
    for build in builds:
        if build.poll() is None:
            os.killpg(build.pid, signal.SIGTERM)
    os.close(alone)
    os._exit(0)  # the listening thread may hang at the cloud for seconds more


if __name__ == "__main__":
    try:
        main()
    except ForebayError as error:
        json.dump({"error": error.to_json()}, sys.stderr)
        sys.stderr.write("\n")
        sys.exit(error.exit_code)
