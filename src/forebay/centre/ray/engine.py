"""The Ray engine: runs on the nodes of a Ray cluster. The agent's side, which never imports ray and never waits for it.

Asked:  how does a run start on a cluster that is slow, away or new, without the agent growing or standing still?
Answer: a run's spec and the wish to stop it lie in the centre's folder. A process of its own, the hand (`hand.py`), carries them
        out and writes down what it sees; we read that. The hand is started when something is wanted and let go when nothing has
        gone on for a minute. At rest the nodes are watched through the dashboard's HTTP API, where `centre.toml` names it.
Limits: without a dashboard the hand stays, with about 100 MB. The agent's machine is one of the cluster's.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import files, home, isolation, layout, local
from forebay.centre.home import Home
from forebay.centre.ray import view
from forebay.centre.ray.dashboard import Dashboard
from forebay.centre.ray.view import Host, Place
from forebay.centre.settings import Settings
from forebay.centre.spec import Handle, Phase, Piece, Progress, Seen, Spec
from forebay.chips.node import Condition, Node, NodeState
from forebay.errors import Conflict, ForebayError, Unavailable
from forebay.units import MIB

REST_S = 5.0  # between two questions to the dashboard
IDLE_S = 60.0  # after which a hand with nothing to do is let go
SILENT_S = 30.0  # after which a hand that says nothing is ended
AGAIN_S = (1.0, 10.0)  # before a hand that died is started again: at first, and later
DIAL_S = 10.0


class Ray:
    """The nodes of a Ray cluster, as an Engine (`spec.py`)."""

    def __init__(self, path: Path, told: Settings, *, shim: Path | None = None) -> None:
        """`shim`: where this machine has the carrier of CUDA's words; the nodes use it if they see it. Takes up what an earlier
        engine over the same folder left.
        """
        self._told = told
        self._home = Home(path, base=dict(told.base), trust_all=told.trust_all, shim=shim)
        home.lay_out(self._home.path)
        (self._home.path / "ray").mkdir(exist_ok=True, mode=0o700)
        self._tag = _tag(self._home.path, told.name)
        self._guard = threading.RLock()
        self._hosts: tuple[Host, ...] | None = None  # None: nobody has said yet
        self._places: dict[str, Place] = {}
        self._placed: tuple[str, ...] = ()
        self._away = ""
        self._nodes: tuple[Node, ...] = ()
        self._states: tuple[NodeState, ...] = ()
        self._seen: dict[str, tuple[tuple[int, int], Seen]] = {}  # by run, with the file's stamp
        self._live: dict[str, Spec] = {}  # runs that haven't ended
        for name, handle in self.handles().items():
            if self.look(handle).phase is not Phase.ENDED:
                self._live[name] = _spec(Path(handle))
        self._dashboard = Dashboard(told.ray.dashboard)
        self._hand: subprocess.Popen[str] | None = None
        self._heard_s = 0.0  # when the hand last said something
        self._pause_s = AGAIN_S[0]
        self._awake = threading.Event()
        self._over = threading.Event()
        self._undialled: dict[str, str] = {}
        self._watcher = threading.Thread(target=self._watch, name="ray", daemon=True)
        self._watcher.start()

    # Nodes.

    def nodes(self) -> tuple[Node, ...]:
        return self._nodes

    def states(self) -> tuple[NodeState, ...]:
        return self._states

    # Runs.

    def launch(self, spec: Spec) -> Handle:
        run_dir = layout.run(self._home.path, spec.name)
        layout.name(spec.job)
        with self._guard:
            if not layout.spec(run_dir).exists():
                isolation.own_folder(run_dir, 0o711)
                files.write_json(layout.spec(run_dir), codec.encode(spec), durable=True)
                files.sync_folder(run_dir.parent)
                self._live[spec.name] = spec
        self._nudge()
        return Handle(str(run_dir))

    def look(self, handle: Handle) -> Seen:
        run_dir = self._home.known(handle)
        try:
            about = (run_dir / "seen.json").stat()
        except FileNotFoundError:
            return Seen(name=run_dir.name, phase=Phase.QUEUED, reason="Ray hasn't been asked for its cards yet.")
        stamp = (about.st_mtime_ns, about.st_ino)
        known = self._seen.get(run_dir.name)
        if known is None or known[0] != stamp:
            seen = codec.decode(Seen, files.read_json(run_dir / "seen.json"), strict=False)
            self._seen[run_dir.name] = known = (stamp, seen)
            if seen.phase is Phase.ENDED:
                self._live.pop(run_dir.name, None)
        return known[1]

    def progress(self, handle: Handle) -> Progress | None:
        run_dir = self._home.known(handle)
        for share in self._shares(run_dir):
            found = files.read_json(layout.progress(layout.share(run_dir, share)))
            if found is not None:
                return codec.decode(Progress, found, strict=False)
        return None

    def read_log(self, handle: Handle, marks: Mapping[str, int], most: int = MIB) -> Piece | None:
        run_dir = self._home.known(handle)
        shares = self._shares(run_dir)
        begin = sum(marks.values())  # each share has its turn, however much another prints
        for turn in range(len(shares)):
            share = shares[(begin + turn) % len(shares)]
            piece = local.read_share(layout.share(run_dir, share), str(share), marks, most)
            if piece is not None:
                return piece
        return None

    def stop(self, handle: Handle, grace_s: float) -> None:
        run_dir = self._home.known(handle)
        if self.look(handle).phase is not Phase.ENDED:
            files.write_json(layout.stop(run_dir), {"grace_s": grace_s}, durable=True)
            self._nudge()

    def handles(self) -> Mapping[str, Handle]:
        return self._home.handles()

    def forget(self, handle: Handle) -> None:
        run_dir = Path(handle)
        if not self._home.holds(handle) or not run_dir.exists():
            return
        if self.look(handle).phase is not Phase.ENDED:
            raise Conflict("The run hasn't ended, so its folder is still needed.", asked=run_dir.name, hint="stop it first")
        self._home.remove(run_dir)
        self._seen.pop(run_dir.name, None)
        self._live.pop(run_dir.name, None)

    def dial(self, handle: Handle) -> socket.socket:
        run_dir = self._home.known(handle)
        hand = self._hand
        if hand is None or self.look(handle).phase is not Phase.RUNNING:
            raise Unavailable("The run's door isn't open.", asked=run_dir.name)
        at = f"/proc/self/fd/{{}}/{secrets.token_hex(8)}"  # a socket's whole name has 107 bytes at most
        folder = os.open(self._home.path / "ray", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        place = self._home.path / "ray" / Path(at).name
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            try:
                listening.bind(at.format(folder))
                listening.listen(1)
                listening.settimeout(0.2)
                self._tell({"say": "dial", "run": run_dir.name, "at": str(place)})
                return self._accept(listening, str(place))
            finally:
                place.unlink(missing_ok=True)
                os.close(folder)

    def _accept(self, listening: socket.socket, at: str) -> socket.socket:
        until_s = time.monotonic() + DIAL_S
        while time.monotonic() < until_s:
            try:
                line, _ = listening.accept()
                line.settimeout(None)
                return line
            except TimeoutError:
                if (why := self._undialled.pop(at, None)) is not None:
                    raise Unavailable("The run's door can't be reached.", found=why) from None
        raise Unavailable("The run's door can't be reached.", found=f"nobody answered in {DIAL_S:g} s")

    # What is kept.

    def output(self, job: str) -> Path:
        return layout.output(self._home.path, job)

    def take_in(self, job: str, organisation: str, folder: Path) -> None:
        self._home.take_in(job, organisation, folder)

    def imports_torch(self, sha256: str) -> bool:
        return self._home.imports_torch(sha256)

    def data_folder(self, organisation: str) -> Path:
        return self._home.data_folder(organisation)

    def close(self) -> None:
        """Let the hand go. Runs go on."""
        self._over.set()
        self._awake.set()
        self._watcher.join(timeout=10)
        self._let_go()

    # The hand, and the dashboard.

    def _watch(self) -> None:
        """Have a hand while something is wanted, and know the nodes meanwhile."""
        wanted_s = time.monotonic()
        failed = 0
        while not self._over.is_set():
            self._awake.clear()
            now_s = time.monotonic()
            for name, handle in self.handles().items() if self._live else ():
                if name in self._live:
                    self.look(handle)  # which notices those that have ended
            if self._live or not self._told.ray.dashboard or failed > 1:
                wanted_s = now_s
            if now_s - wanted_s < IDLE_S and (self._live or self._hand is not None or wanted_s == now_s):
                self._keep_hand(now_s)
            else:
                self._let_go()
            if self._hand is None:
                failed = 0 if self._ask_dashboard() else failed + 1
            elif self._told.ray.dashboard and failed > 1 and not self._live:
                failed = 0 if self._ask_dashboard() else failed
            self._awake.wait(1.0 if self._hand is not None else REST_S)

    def _keep_hand(self, now_s: float) -> None:
        hand = self._hand
        if hand is not None and hand.poll() is None:
            if now_s - self._heard_s < SILENT_S:
                return
            hand.kill()
        if hand is not None:
            hand.wait()
            self._hand = None
            self._learn(away=f"The process that speaks to Ray ended: {self._last_words()}")
            self._over.wait(self._pause_s)
            self._pause_s = min(2 * self._pause_s, AGAIN_S[1])
            if self._over.is_set():
                return
        self._start_hand()

    def _start_hand(self) -> None:
        path = self._home.path / "ray" / "hand.log"
        if path.exists() and path.stat().st_size > MIB:
            path.replace(path.with_suffix(".old"))
        with path.open("ab") as log:
            hand = subprocess.Popen(
                hand_command(self._told.python or sys.executable),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                cwd="/",
                env=hand_environment(),
            )
        self._hand, self._heard_s = hand, time.monotonic()
        threading.Thread(target=self._listen, args=(hand,), daemon=True).start()
        told = codec.encode(self._told)
        self._tell({"home": str(self._home.path), "told": told, "tag": self._tag, "shim": self._home.shim})

    def _let_go(self) -> None:
        hand, self._hand = self._hand, None
        if hand is None:
            return
        try:
            assert hand.stdin is not None
            hand.stdin.close()
            hand.wait(timeout=3)
        except (OSError, subprocess.TimeoutExpired):
            hand.kill()
            hand.wait()

    def _listen(self, hand: subprocess.Popen[str]) -> None:
        assert hand.stdout is not None
        for line in hand.stdout:
            self._heard_s = time.monotonic()
            word = json.loads(line)
            match word["say"]:
                case "nodes":
                    self._pause_s = AGAIN_S[0]
                    hosts = tuple(codec.decode(Host, host, strict=False) for host in word["hosts"])
                    self._learn(hosts, tuple(word["placed"]))
                case "away":
                    self._learn(away=word["why"])
                case "undialled":
                    self._undialled[word["at"]] = word["why"]

    def _ask_dashboard(self) -> bool:
        """Learn the nodes over HTTP. Whether it answered."""
        try:
            hosts = self._dashboard.ask()
        except ForebayError as error:
            self._learn(away=f"{error.text} ({error.found})")
            return False
        self._learn(hosts, ())
        return True

    def _learn(self, hosts: tuple[Host, ...] | None = None, placed: tuple[str, ...] = (), *, away: str = "") -> None:
        """What is true of the nodes now. `hosts` None: what was true before, but nobody answers."""
        with self._guard:
            if hosts is not None:
                hosts = view.remembering(hosts, self._hosts or ())
                self._hosts, self._placed = hosts, placed
                self._places = view.places(hosts, self._told.ray, pretend=self._told.pretend)
            self._away = away
            if self._hosts is None:
                return
            if not self._places and self._nodes:  # to say "no node" would be to say that we don't know
                why = self._away or "The Ray cluster has no such node any more."
                self._states = tuple(NodeState(name=node.name, condition=Condition.DOWN, reason=why) for node in self._nodes)
                return
            self._nodes = view.nodes(self._places)
            self._states = view.states(self._places, self._hosts, self._told.ray, dict(self._live), self._placed, self._away)

    def _tell(self, word: Mapping[str, Any]) -> None:
        hand = self._hand
        if hand is None or hand.stdin is None:
            return
        with self._guard:
            try:
                hand.stdin.write(json.dumps(word) + "\n")
                hand.stdin.flush()
            except (OSError, ValueError):
                return  # it has died; another one reads what is on disk

    def _nudge(self) -> None:
        self._awake.set()
        self._tell({"say": "look"})

    def _last_words(self) -> str:
        try:
            lines = (self._home.path / "ray" / "hand.log").read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            return "nothing"
        return next((line[-200:] for line in reversed(lines[-50:]) if line.strip()), "nothing")

    def _shares(self, run_dir: Path) -> range:
        spec = self._live.get(run_dir.name)
        return range(len(spec.shares if spec is not None else _spec(run_dir).shares))


def hand_command(python: str, entry: str = "main") -> list[str]:
    """The command line of the hand: a Python that has ray, on our own source."""
    source = str(Path(__file__).resolve().parents[3])
    return [python, "-c", f"import sys; sys.path.insert(0, {source!r}); from forebay.centre.ray import hand; hand.{entry}()"]


def hand_environment(ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """From nothing, but for what Ray itself is told (its TLS files, its token's place)."""
    told = {name: value for name, value in ours.items() if name.startswith("RAY_")}
    return {
        "PATH": ours.get("PATH", os.defpath),
        "HOME": ours.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        **told,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _tag(path: Path, name: str) -> str:
    """A centre's own beginning for the names that it gives in a cluster; drawn once."""
    mark = path / "ray" / "tag"
    if not mark.exists():
        files.write_text(mark, f"{name or 'centre'}-{secrets.token_hex(4)}", durable=True)
    return mark.read_text("utf-8")


def _spec(run_dir: Path) -> Spec:
    return codec.decode(Spec, files.read_json(layout.spec(run_dir)), strict=False)
