"""The agent: joins a centre to a cloud. `python -m forebay.centre.agent --home DIR`, with settings from DIR/centre.toml.

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
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from forebay.centre import engines, files, layout, settings
from forebay.centre.haul import Haul
from forebay.centre.link import Link, News, Wanted
from forebay.centre.settings import Settings
from forebay.centre.ship import Shipper
from forebay.centre.spec import Engine, Handle, Outcome, Phase, Seen, Spec
from forebay.centre.tunnels import Tunnels
from forebay.chips.node import Condition, Node, NodeState
from forebay.codec import encode
from forebay.data.remote import Remote
from forebay.errors import Conflict, ForebayError, Stale, Unavailable

log = logging.getLogger("forebay.agent")

LOOK_S = 0.2  # between two looks at runs that go on
REST_S = 1.0  # when nothing goes on
LONGEST_PAUSE_S = 5.0
BUSY_TOLD_S = 5.0  # between two tellings of which cards others hold; that a node died is told at once


class Agent:
    def __init__(
        self,
        home: Path,
        engine: Engine,
        link: Link,
        builds: Sequence[subprocess.Popen[bytes]] = (),
        *,
        kind: str = "local",
        remote: Remote | None = None,
    ) -> None:
        """`builds`: processes that must have ended before a script that imports torch can start. `kind`: the engine's name.

        `remote`: a store that isn't in the home.
        """
        self._home = home
        self._engine = engine
        self._kind = kind
        self._builds = builds
        self._link = link
        self._haul = Haul(home, engine, link, remote)
        self._shipper = Shipper(home)
        self._tunnels = Tunnels(engine, link)
        self._guard = threading.Lock()  # over the next two
        self._news: News | None = None  # None: the cloud hasn't said yet
        self._told_version = -1  # what the cloud knew when we last told it something; older news would start an ended run again
        self._awake = threading.Event()
        self._over = threading.Event()
        self._met = False  # the cloud knows us, and our nodes
        self._nodes: tuple[Node, ...] = ()  # as it knows them
        self._states: tuple[NodeState, ...] | None = None  # the same; None: it may know older ones
        self._states_told_s = 0.0
        self._hauling: dict[str, Future[None]] = {}  # what is being fetched for a run, or sent of one
        self._haulers = ThreadPoolExecutor(2, thread_name_prefix="haul")
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
            self._awake.wait(pause_s)
            self._awake.clear()
        self._haulers.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        self._over.set()
        self._awake.set()

    def _listen(self) -> None:
        """Keep `_news` true. Says hello first, and again whenever the link was broken."""
        version, pause_s = -1, 0.2
        generation: int | None = None
        while not self._over.is_set():
            try:
                if not self._met:
                    with self._guard:
                        self._told_version = -1  # it may be another cloud, whose journal is younger
                    self._introduce()
                news = self._link.wanted(version, generation)
                version, generation, pause_s = news.version, news.generation, 0.2
                with self._guard:
                    if version >= self._told_version:
                        self._news = news
                        if not self._is_known(news):
                            self._states = None
                self._awake.set()
            except ForebayError as error:
                log.warning("%s", str(error).replace("\n", " "))
                version, generation, self._met = -1, None, False
                self._over.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _introduce(self) -> None:
        nodes = self._engine.nodes()
        self._link.hello(self._kind, nodes or None)
        self._nodes, self._states, self._met = nodes, None, True
        if nodes:
            cards = Counter(dict.fromkeys(sorted({node.chip for node in nodes}), 0))
            for node in nodes:
                cards[node.chip] += len(node.cards)
            files.write_json(self._home / "joined.json", {"at_ns": time.time_ns(), "nodes": len(nodes), "cards": dict(cards)})

    def _turn(self) -> bool:
        """Compare what is wanted with what is, once. True while something goes on."""
        news = self._news
        if news is None:
            return True
        if self._met and self._engine.nodes() != self._nodes and self._engine.nodes():
            self._introduce()
        handles = self._engine.handles()
        for run, want in news.runs.items():
            if run not in handles:
                self._begin(want)
            elif want.stop and run not in self._stopping:
                self._stopping.add(run)
                self._engine.stop(handles[run], want.grace_s)
        self._tunnels.serve(news.tunnels, handles)
        self._tell(news, handles)
        for run in news.send:
            self._haul_once(f"send {run}", partial(self._haul.send, run))
        return bool(handles or news.runs or self._hauling)

    # Starting.

    def _begin(self, want: Wanted) -> None:
        """One step towards a launch: fetch, or launch what has been fetched."""
        run = want.spec.name
        if run in self._never_started:
            return
        if want.stop:
            self._hauling.pop(run, None)
            self._never_started[run] = _unstarted(run, Outcome.STOPPED, want.stop)
            return
        if run not in self._hauling and self._haul.is_here(want.spec):
            self._launch(want.spec)
            return
        try:
            if self._haul_once(run, partial(self._haul.fetch, want.spec)):
                self._launch(want.spec)
        except ForebayError as problem:
            self._never_started[run] = _unstarted(run, Outcome.UNPREPARED, f"its code or data could not be fetched: {problem}")

    def _launch(self, spec: Spec) -> None:
        if any(build.poll() is None for build in self._builds) and self._engine.imports_torch(spec.bundle):
            return  # its cards are not counted as held before the engine has it
        try:
            self._haul.note(spec.name)
            self._engine.launch(spec)
        except ForebayError as error:
            self._never_started[spec.name] = _unstarted(spec.name, Outcome.UNPREPARED, str(error))

    def _haul_once(self, what: str, carry: Callable[[], None]) -> bool:
        """Have something carried in the background; True, once, when it has arrived. What may pass is tried again; raises what
        won't.
        """
        going_on = self._hauling.get(what)
        if going_on is None:
            self._hauling[what] = future = self._haulers.submit(self._carry_calmly, carry)
            future.add_done_callback(lambda _: self._awake.set())
            return False
        if not going_on.done():
            return False
        del self._hauling[what]
        problem = going_on.exception()
        if isinstance(problem, (Unavailable, OSError)):
            log.warning("%s: carrying failed and is tried again: %s", what, str(problem).replace("\n", " "))
            return False
        if problem is not None:
            raise problem
        return True

    def _carry_calmly(self, carry: Callable[[], None]) -> None:
        """Carry; after a failure that may pass, wait a moment, since the next attempt begins as soon as this one is over."""
        try:
            carry()
        except (Unavailable, OSError):
            self._over.wait(REST_S)
            raise

    # Telling.

    def _tell(self, known: News, handles: Mapping[str, Handle]) -> None:
        """Send logs, then what has changed. An end is told only after the last line that was printed. `known`: what we have acted
        on.
        """
        news: dict[str, Seen] = dict(self._never_started)
        progress: dict[str, Any] = {}
        for run, handle in handles.items():
            seen = self._with_brought(self._engine.look(handle))
            self._shipper.ship(run, partial(self._engine.read_log, handle), partial(self._link.log, run))
            unwanted = run not in known.runs and seen.phase is not Phase.ENDED and run not in self._stopping
            if self._reported.get(run) != seen or unwanted:  # of one that it gave up the cloud says so when it hears of it
                news[run] = seen
            now = self._engine.progress(handle)
            if now is not None and self._progress.get(run) != now:
                progress[run] = self._progress[run] = now
        states = self._engine.states()
        states_are_news = self._states_are_news(states)
        if not news and not progress and not states_are_news:
            return
        try:
            version, gone = self._link.report(
                list(news.values()),
                {run: encode(value) for run, value in progress.items()},
                states if states_are_news else None,
                known.generation,
            )
        except Stale:
            self._ask_anew(known)
            raise
        if states_are_news:
            self._states, self._states_told_s = states, time.monotonic()
        over = [run for run, seen in news.items() if seen.phase is Phase.ENDED]
        with self._guard:
            self._told_version = max(self._told_version, version)
            if self._news is not None:
                left = {run: want for run, want in self._news.runs.items() if run not in over}
                self._news = replace(self._news, runs=left)
        for run, seen in news.items():
            self._reported[run] = seen
        for run in over:
            self._drop(run, handles)
        for run in gone:
            if run in handles and run not in self._stopping:
                log.warning("%s is not wanted by the cloud and is stopped", run)
                self._stopping.add(run)
                self._engine.stop(handles[run], 0.0)

    def _with_brought(self, seen: Seen) -> Seen:
        """With how much was brought for a run, and how fast. What was measured in another life of the agent is forgotten."""
        brought = self._haul.brought.get(seen.name)
        return replace(seen, fetched_bytes=brought[0], fetched_ns=brought[1]) if brought else seen

    def _ask_anew(self, stale: News) -> None:
        """The cloud took us for away: do nothing until it has said what it wants now, then tell all that is true. Runs go on."""
        with self._guard:
            if self._news is not None and self._news.generation == stale.generation:  # else it has said so meanwhile
                self._news = None
        self._states = None
        self._reported.clear()
        self._progress.clear()

    def _is_known(self, news: News) -> bool:
        """Whether the cloud takes the nodes to stand as we told it. An older report may have arrived after the newest."""
        told = self._states
        if news.troubled is None or told is None:
            return True
        return set(news.troubled.items()) == {(name, condition.value) for name, condition in _troubles(told)}

    def _states_are_news(self, states: tuple[NodeState, ...]) -> bool:
        """Whether the cloud should hear now how the nodes stand."""
        if not self._met or states == self._states:
            return False
        if self._states is None or _troubles(states) != _troubles(self._states):
            return True
        return time.monotonic() - self._states_told_s > BUSY_TOLD_S

    def _drop(self, run: str, handles: Mapping[str, Handle]) -> None:
        """The cloud has journaled the end of this run."""
        if run in handles:
            self._engine.forget(handles[run])
        for known in (self._reported, self._progress, self._never_started, self._haul.brought):
            known.pop(run, None)
        self._shipper.forget(run)
        self._stopping.discard(run)


def _troubles(states: tuple[NodeState, ...]) -> set[tuple[str, Condition]]:
    return {(state.name, state.condition) for state in states if state.condition is not Condition.UP}


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
        prog="python -m forebay.centre.agent",
        description="Joins a centre to a cloud. `forebay up` and `forebay centre join` start it.",
    )
    parser.add_argument(
        "--home", required=True, type=Path, help="the centre's folder; what isn't said here is in its centre.toml"
    )
    parser.add_argument("--cloud", help="the cloud's address, or a file that will hold it")
    parser.add_argument("--key-file", type=Path, help="default: `key` in the home")
    parser.add_argument("--nodes", type=Path, help="JSON file: the nodes of this machine; default: those that are found")
    parser.add_argument(
        "--base", action="append", default=[], metavar="CHIP=PYTHON", help="the base environment of a chip; '*' for all others"
    )
    parser.add_argument("--shim", type=Path, help="where the carrier of CUDA's words is compiled to; default: in the home")
    parser.add_argument("--trust-all", action="store_true")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if asked.cloud:
        told = Settings(cloud=asked.cloud, base=dict(item.split("=", 1) for item in asked.base), trust_all=asked.trust_all)
    else:
        told = settings.read(asked.home)
    key_file = asked.key_file or asked.home / settings.KEY
    alone = only_agent(asked.home)
    # First of all, so that the import of torch and the compiling, which come next, take no core from a cloud that is starting.
    wait_for([key_file] if "://" in told.cloud else [key_file, Path(told.cloud)])
    shim = asked.shim or layout.shim(asked.home)
    engine = engines.open_engine(asked.home, told, nodes=asked.nodes, shim=shim)
    programs = {str(path) for path in engines.bases(asked.home, told, shim).values()} if told.engine == "local" else ()
    builds = build_carriers(asked.home, shim, programs)
    remote = Remote(told.store) if told.store else None
    link = Link(told.cloud, key_file.read_text().strip())
    agent = Agent(asked.home, engine, link, builds, kind=told.engine, remote=remote)
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
