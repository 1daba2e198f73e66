"""The local engine: runs on this machine's cards.

Asked:  how does a run start at once, go on when we die, and never run twice?
Answer: `launch` writes the order down and hands it to a supervisor of its own (`supervisor.py`). The run's lock says whether
        that one lives; the run's folder says the rest. We hold nothing that isn't in the folders, but for one idle supervisor
        (the standby), which has had torch imported in advance.
Limits: Linux. One machine. Code and data are on disk already: the agent brings them.
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
from dataclasses import dataclass, replace
from pathlib import Path

from forebay import codec
from forebay.centre import files, home, isolation, layout, leftovers, log, order, supervisor
from forebay.centre.home import Home
from forebay.centre.lock import Beat, boot, take_lock
from forebay.centre.order import Order
from forebay.centre.spec import Handle, Outcome, Phase, Piece, Progress, Seen, Spec
from forebay.chips.node import Node, NodeState
from forebay.errors import Unavailable
from forebay.units import MIB

STANDBY_AFTER_S = 2.0  # the next standby imports when the run that took the last one has had its own start


@dataclass(frozen=True, slots=True)
class _Standby:
    """An idle supervisor whose crew has imported torch, or is doing so."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    base: str
    cookie: str


class Local:
    """The cards of this machine, as an Engine (`spec.py`)."""

    def __init__(
        self,
        home: Path,
        *,
        nodes: tuple[Node, ...],
        base: Mapping[str, Path],
        trust_all: bool = False,
        standby: bool = True,
        shim: Path | None = None,
        build_env: Mapping[str, str] | None = None,
        fate: bool = False,
        check: str = "1h",
    ) -> None:
        """`base`: chip (or "*") to its base environment's Python. `shim`: where the carrier of CUDA's words is compiled to,
        if not into this home. `build_env`: variables for pip, such as PIP_INDEX_URL. `fate`: runs end with this process, by
        force. `check`: a run's cards are looked at first if the last good look is older, or never.

        Takes up what an earlier engine over the same home left: its runs are remembered, and one that it had only written down
        is started.
        """
        pythons = {chip: str(python) for chip, python in base.items()}
        self._home = Home(home, base=pythons, trust_all=trust_all, shim=shim, build_env=build_env, check=check)
        self._nodes = nodes
        self._guard = threading.RLock()
        self._supervisors: dict[Handle, subprocess.Popen[bytes]] = {}
        self._handed: set[Handle] = set()  # given to a standby; started anew if that one died before it took the lock
        self._standby: _Standby | None = None
        self._wants_standby = standby
        self._timer: threading.Timer | None = None
        self._fate = os.pipe2(os.O_CLOEXEC) if fate else None
        self._home.lay_out()
        self._home.link_code(Path(__file__).resolve().parents[1])
        for handle in self.handles().values() if not fate else ():  # what shared the fate of an earlier engine is over
            if self._unbegun(handle):
                self._start(handle)
        self._replace_standby()

    def nodes(self) -> tuple[Node, ...]:
        return self._nodes

    def states(self) -> tuple[NodeState, ...]:
        """None: whoever can ask is on the machine, and its cards are all ours."""
        return ()

    def launch(self, spec: Spec) -> Handle:
        run_dir = layout.run(self._home.path, spec.name)
        layout.name(spec.job)
        handle = Handle(str(run_dir))
        with self._guard:
            if layout.spec(run_dir).exists():
                return handle
            wanted = self._home.order(spec, self._nodes)
            standby = self._take_standby(wanted)
            if standby is not None:
                wanted = replace(wanted, cookie=standby.cookie)
            _write_down(wanted, run_dir)
            if standby is None:
                self._start(handle)
            else:
                self._hand_over(standby, handle)
            return handle

    def carry(self, spec: Spec, share: int, *, cards: tuple[int, ...], address: str) -> Handle:
        """Start one share of a run that other machines carry out with us, in a folder below the run's. `cards`: those that the
        share really got. `address`: where its first machine is reached.
        """
        run_dir = layout.share(layout.run(self._home.path, spec.name), share)
        handle = Handle(str(run_dir))
        with self._guard:
            if not layout.spec(run_dir).exists():
                whole = replace(self._home.order(spec, self._nodes), address=address)
                isolation.own_folder(run_dir.parent, 0o711)
                _write_down(order.for_share(whole, share, cards=cards, meeting=str(layout.meeting(run_dir))), run_dir)
                self._start(handle)
            return handle

    def look(self, handle: Handle) -> Seen:
        run_dir = self._home.known(handle)
        child = self._supervisors.get(handle)
        alive = child is not None and child.poll() is None
        seen = home.status(run_dir)
        if alive or (seen is not None and seen.phase is Phase.ENDED):
            return seen or _preparing(run_dir)
        lock = take_lock(run_dir)
        if lock is None:  # its supervisor is none of our children, and lives
            return home.status(run_dir) or _preparing(run_dir)
        try:
            seen = home.status(run_dir)  # it may have ended between our two looks
            if seen is not None:
                return seen if seen.phase is Phase.ENDED else _sweep(run_dir, lock, seen)
            if (child is not None or self._fate is not None) and handle not in self._handed:
                return _sweep(run_dir, lock, _preparing(run_dir))
        finally:
            os.close(lock)
        with self._guard:  # nobody has begun it: we have just taken it up, or the standby died with it in its hands
            self._handed.discard(handle)
            self._start(handle)
        return _preparing(run_dir)

    def stop(self, handle: Handle, grace_s: float) -> None:
        run_dir = self._home.known(handle)
        seen = home.status(run_dir)
        if seen is not None and seen.phase is Phase.ENDED:
            return
        files.write_json(layout.stop(run_dir), {"grace_s": grace_s}, durable=True)
        try:
            descriptor = os.open(layout.control(run_dir), os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no supervisor listens: not yet, or not any more
            return
        with os.fdopen(descriptor, "wb", buffering=0) as control:
            control.write(b"stop\n")

    def handles(self) -> dict[str, Handle]:
        return self._home.handles()

    def forget(self, handle: Handle) -> None:
        self._home.forget(handle, self.look)
        self._supervisors.pop(handle, None)

    def progress(self, handle: Handle) -> Progress | None:
        """What the run last printed about its work."""
        return supervisor.last_progress(self._home.known(handle))

    def read_log(self, handle: Handle, marks: Mapping[str, int], most: int = MIB) -> Piece | None:
        """What the run printed, from this mark on."""
        return read_share(self._home.known(handle), "0", marks, most)

    def dial(self, handle: Handle) -> socket.socket:
        return knock(layout.door(self._home.known(handle)))

    def output(self, job: str) -> Path:
        return layout.output(self._home.path, job)

    def take_in(self, job: str, organisation: str, folder: Path) -> None:
        self._home.take_in(job, organisation, folder)

    def imports_torch(self, sha256: str) -> bool:
        return self._home.imports_torch(sha256)

    def data_folder(self, organisation: str) -> Path:
        return self._home.data_folder(organisation)

    def close(self) -> None:
        """Let the standby go. Runs go on."""
        with self._guard:
            self._wants_standby = False
            if self._timer is not None:
                self._timer.cancel()
            if self._standby is not None:
                self._standby.line.close()
                self._standby.process.wait()
                self._standby = None

    # Supervisors.

    def _start(self, handle: Handle) -> None:
        """Start a supervisor. If another has the run's lock, this one leaves at once."""
        ours = (self._fate[0],) if self._fate else ()
        self._supervisors[handle] = _detached(
            _supervisor([handle, *map(str, ours)]), layout.complaints(Path(handle)), pass_fds=ours
        )

    def _hand_over(self, standby: _Standby, handle: Handle) -> None:
        self._supervisors[handle] = standby.process
        self._handed.add(handle)
        try:
            standby.line.sendall(os.fsencode(handle))
        except OSError:
            self._handed.discard(handle)
            self._start(handle)
        standby.line.close()
        self._timer = threading.Timer(STANDBY_AFTER_S, self._replace_standby)
        self._timer.daemon = True
        self._timer.start()

    def _take_standby(self, wanted: Order) -> _Standby | None:
        standby = self._standby
        if standby is None or wanted.torch != "import" or standby.base != wanted.base or not wanted.can_fork:
            return None
        self._standby = None
        if standby.process.poll() is not None:
            standby.line.close()
            self._replace_standby()
            return None
        return standby

    def _replace_standby(self) -> None:
        """Start an idle supervisor, if there should be one and isn't."""
        with self._guard:
            if not self._wants_standby or self._standby is not None or not self._nodes:
                return
            first = next((node for node in self._nodes if not node.pretend), self._nodes[0])
            base = self._home.base_of(first.chip, pretend=first.pretend)
            cards, cookie = max(len(node.cards) for node in self._nodes), secrets.token_hex(16)
            ours, theirs = socket.socketpair()
            with theirs:
                arguments = ["--standby", str(theirs.fileno()), str(self._home.path), base, self._home.shim, str(cards), cookie]
                process = _detached(_supervisor(arguments), self._home.path / "standby.log", (theirs.fileno(),))
            self._standby = _Standby(process, ours, base, cookie)

    def _unbegun(self, handle: Handle) -> bool:
        """True when the run was written down, but no supervisor has begun it."""
        run_dir = Path(handle)
        if layout.status(run_dir).exists():
            return False
        lock = take_lock(run_dir)
        if lock is None:
            return False
        os.close(lock)
        return not layout.status(run_dir).exists()


def read_share(run_dir: Path, share: str, marks: Mapping[str, int], most: int) -> Piece | None:
    """The next lines that the supervisor of one share wrote down."""
    offset = marks.get(share, 0)
    part = log.read(layout.log(run_dir), offset, most)
    if not part.body:
        return None
    return Piece(share=share, start=offset + part.gap, end=part.next_offset, body=part.body)


def knock(door: Path) -> socket.socket:
    """Connect to a run's door on this machine."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(door.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            line.connect(f"/proc/self/fd/{folder}/{door.name}")  # a socket's whole name has 107 bytes at most
        finally:
            os.close(folder)
    except OSError as error:
        line.close()
        raise Unavailable("The run's door isn't open.", asked=str(door), found=error.strerror or str(error)) from error
    return line


def _detached(command: list[str], complaints: Path, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
    """Start a process that outlives us, in a session of its own. Nothing of our environment goes along."""
    with complaints.open("ab") as told:
        return subprocess.Popen(
            command,
            pass_fds=pass_fds,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
        )


def _supervisor(arguments: list[str]) -> list[str]:
    """The command line of a supervisor: this Python with the standard library and our own source, without site, so that it
    starts fast and stays small.
    """
    source = str(Path(__file__).resolve().parents[2])
    opening = f"import sys; sys.path.insert(0, {source!r}); from forebay.centre.supervisor import main; main()"
    return [sys.executable, "-I", "-S", "-c", opening, *arguments]


def _write_down(wanted: Order, run_dir: Path) -> None:
    """An order is on disk before anything is done for it."""
    isolation.own_folder(run_dir, 0o711)
    files.write_json(layout.spec(run_dir), codec.encode(wanted), durable=True)
    files.sync_folder(run_dir.parent)


def _preparing(run_dir: Path) -> Seen:
    return Seen(name=run_dir.name, phase=Phase.PREPARING)


def _sweep(run_dir: Path, lock: int, seen: Seen) -> Seen:
    """The supervisor is dead, and we hold its lock: end what is left of the run, and say so."""
    wanted = codec.decode(Order, files.read_json(layout.spec(run_dir)), strict=False)
    any_left = leftovers.end(lambda: leftovers.find(gid=wanted.run_gid, cookie=wanted.cookie))
    held_ns = 0
    body = os.pread(lock, 4096, 0)
    if body:
        beat = codec.decode(Beat, json.loads(body))
        same_boot = beat.boot == boot()
        held_ns = (time.monotonic_ns() if any_left and same_boot else beat.last_ns) - beat.taken_ns
    lost = replace(
        seen,
        phase=Phase.ENDED,
        ended_at_ns=time.time_ns(),
        held_ns=held_ns,
        outcome=Outcome.LOST,
        reason="Its supervisor vanished, and its ranks with it."
        if body
        else "Its supervisor could not be started; see supervisor.log in its folder.",
    )
    files.write_json(layout.status(run_dir), codec.encode(lost), durable=True)
    return lost
