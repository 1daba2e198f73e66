"""The supervisor of one run.

Asked:  who looks after a run when the agent and the cloud may die?
Answer: a small process of its own, in its own session. It holds the run's lock for life, lays code and environment out, has
        the ranks started, writes down what they print, and when they are through sees to it that no process of theirs is left.
        What it has seen is in status.json at any moment, so whoever comes later needs nobody to ask.
Limits: it never retries and never chooses. If it is killed, its ranks die with it, and the next look() sweeps up and says "lost".

    python -c "from forebay.centre.supervisor import main; main()" RUN_DIR [FD]     with FD: end, by force, when it is closed
    ... --standby FD HOME BASE SHIM CARDS COOKIE      wait with a crew that has imported torch; the run's folder comes over FD
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import artefacts, environment, files, isolation, layout, leftovers, log, looks, order, progress, work
from forebay.centre.crew import Crew
from forebay.centre.gauge import Gauge
from forebay.centre.lock import Beat, boot, wait_for_lock
from forebay.centre.order import Order
from forebay.centre.spec import Outcome, Phase, Progress, Seen
from forebay.errors import ForebayError
from forebay.units import KIB

TICK_S = 2.0  # between two looks at the output folder and two signs of life
PROGRESS_S = 0.5
USE_S = 60.0  # between two tellings of how busy the cards are
MEET_S = 0.05  # between two looks for the rendezvous
CARRIERS = {"": "", "native": "native", "simulated": "simulated cuda device", "mapped": "mapped to cpu"}  # in words
SAME_SIGNAL_S = 0.5  # a machine signals all processes of a run, in any order: within this time we have it too
FAILURE_GRACE_S = 5.0  # for the other ranks, after one has failed
_CHUNK = 64 * KIB
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main() -> None:
    settle()
    if sys.argv[1] == "--standby":
        descriptor, home, base, shim, cards, cookie = sys.argv[2:]
        crew = Crew(Path(home), base, cookie, shim=shim, torch="import", cards=int(cards))
        crew.hurry(False)
        run_dir = wait_for_a_run(socket.socket(fileno=int(descriptor)), crew)
        if run_dir is None:
            crew.hang_up()
        else:
            crew.hurry(True)
            attend(run_dir, crew)
    else:
        attend(Path(sys.argv[1]), None, fate=int(sys.argv[2]) if sys.argv[2:] else None)


def settle() -> None:
    """Make this process fit to be a supervisor: orphans of the run fall back to it, and no terminal ends it."""
    os.umask(0o022)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_for_a_run(agent: socket.socket, crew: Crew) -> Path | None:
    """The folder of the run to carry out; None when the agent has gone, or the crew could not start."""
    watched: list[socket.socket] = [agent, crew.socket]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if agent in ready:
            told = agent.recv(4096)
            agent.close()
            return Path(os.fsdecode(told)) if told else None
        if crew.receive() is None:
            return None


def attend(run_dir: Path, crew: Crew | None, *, fate: int | None = None) -> Outcome | None:
    """Carry one run, or one share of it, out, from the lock to the last process. Does nothing when it is another's, or over.

    `fate`: a pipe's reading end. When its other end is closed, we and all ranks die at once: for an engine whose death must
    not leave processes behind, because it would give their cards to somebody else.
    """
    lock = wait_for_lock(run_dir)
    if lock is None:
        if crew is not None:
            crew.hang_up()
        return None
    wanted = codec.decode(Order, files.read_json(layout.spec(run_dir)), strict=False)
    return Supervisor(run_dir, wanted, lock, crew, fate).carry_out()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: the last part of what is Seen of it."""

    outcome: Outcome
    reason: str = ""
    exit_code: int | None = None
    failed_rank: int | None = None


class _Stop(Exception):
    """The run was asked to stop before its ranks were started."""


class _Unfit(Exception):
    """A card failed its check before the ranks were started."""


class Supervisor:
    """One run being carried out. Its methods are in the order in which they happen."""

    def __init__(self, run_dir: Path, wanted: Order, lock: int, crew: Crew | None, fate: int | None = None) -> None:
        self.run_dir = run_dir
        self.order = wanted
        self.home = Path(wanted.home)
        self.crew = crew
        self.lock = lock
        self.taken_ns = time.monotonic_ns()
        self.boot = boot()
        self.seen = Seen(name=wanted.spec.name, phase=Phase.PREPARING, started_at_ns=time.time_ns())
        self.log = log.Writer(layout.log(run_dir))
        self.output = layout.output(self.home, wanted.spec.job)
        self.shelf = artefacts.Shelf(self.output)
        self.selector = selectors.DefaultSelector()
        self.pipes: dict[int, tuple[int, str, log.Splitter]] = {}
        self.lines: list[tuple[int, int, str, str]] = []
        self.recent: deque[str] = deque(maxlen=50)
        self.captured: list[str] | None = None  # a step's stdout, while one runs
        self.exits: dict[int, int] = {}
        self.first_bad: tuple[int, int] | None = None
        self.hung_up = True  # there is nobody on the wire yet
        self.refusal = ""
        self.port: int | None = None  # of the rendezvous, when another share keeps it
        self.stop_grace_s: float | None = None
        self.signalled = False
        self.unheld_ns = 0  # spent on checks
        self.found: dict[str, Any] | None = None  # what the last check found
        self.forced = False
        self.kill_at_s: float | None = None
        self.next_tick_s = 0.0
        self.next_progress_s = 0.0
        self.next_use_s = time.monotonic() + USE_S
        self.gauge = Gauge(
            wanted.places[0].cards,
            monitor=wanted.monitor,
            on_cpu=wanted.spec.pretend or wanted.device == "cpu",
            held_ns=lambda: time.monotonic_ns() - self.taken_ns - self.unheld_ns,
        )
        if fate is not None:
            os.set_blocking(fate, False)
            self.selector.register(fate, selectors.EVENT_READ, lambda: self._share_fate(fate))

    # From the lock to the last process.

    def carry_out(self) -> Outcome:
        self._beat()
        self._say(self.seen)
        self._listen()
        try:
            self._heed()
            python, packages, argv, view = self._prepare()
            ending = self._conduct(python, packages, argv, view)
        except _Stop:
            ending = self._stopped("before its ranks were started")
        except _Unfit as unfit:
            ending = Ending(Outcome.UNFIT, str(unfit))
        except ForebayError as error:
            ending = Ending(Outcome.UNPREPARED, str(error))
        except OSError as error:
            ending = Ending(Outcome.UNPREPARED, f"The run could not be laid out: {error}")
        if ending.outcome is Outcome.FAILED and self.order.check_after:
            self._suspect()
        self._finish(ending)
        return ending.outcome

    def _stopped(self, how: str = "") -> Ending:
        """What to say of a run that was told to stop: by us, or by a signal from its machine or its centre."""
        asked = "Its centre ended it (SIGTERM)" if self.signalled else "It was asked to stop"
        return Ending(Outcome.PREEMPTED if self.signalled else Outcome.STOPPED, f"{asked}{f' {how}' if how else ''}.")

    def _prepare(self) -> tuple[str, Path | None, list[str], dict[str, Any]]:
        """Folders, code, packages. Returns the Python, the packages laid over it, the command, and what of the files a rank
        must see.
        """
        wanted, spec = self.order, self.order.spec
        if self.crew is None:  # it imports while we unpack
            self.crew = Crew(
                self.home, wanted.base, wanted.cookie, shim=wanted.shim, torch=wanted.torch, cards=len(wanted.places)
            )
        folder = layout.work(self.run_dir)
        self.run_dir.chmod(0o700)  # nobody looks in until the code has its owner
        isolation.own_folder(layout.temporary(self.run_dir), 0o700, wanted.uid, wanted.gid)
        isolation.own_folder(self.output.parent, 0o711)
        isolation.own_folder(self.output, 0o700, wanted.uid, wanted.gid)
        work.unpack(self.home, spec.bundle, folder)
        folder.chmod(0o700)
        work.link_in(spec, self.home, folder)
        work.command(spec, folder, wanted.base)  # refused before anything is built for it
        isolation.give(folder, wanted.uid, wanted.gid)
        self.run_dir.chmod(0o711)
        about = self._ready(self.crew)
        if wanted.check_before:
            self._check("before", self.crew if wanted.torch == "import" else None)
            if complaint := looks.complaint(self.seen.checks):
                raise _Unfit(f"A check before the ranks were started failed: {complaint}.")
        overlay = environment.prepare(wanted, folder, about, self._step)
        python = str(environment.python(overlay)) if overlay is not None else str(about["executable"])
        packages = environment.packages(overlay, about) if overlay is not None else None
        return python, packages, work.command(spec, folder, python), self._view(about, overlay)

    def _view(self, about: Mapping[str, Any], overlay: Path | None) -> dict[str, Any]:
        wanted, spec = self.order, self.order.spec
        read_only = [
            *(Path(path) for path in (*about["prefixes"], *about["path"], about["executable"])),
            layout.code(self.home) / "forebay",
            Path(wanted.shim),
            *(layout.data(self.home, spec.organisation, mount.source) for mount in spec.mounts if mount.kind == "data"),
            *(layout.output(self.home, mount.source) for mount in spec.mounts if mount.kind == "output"),
            *([overlay] if overlay is not None else []),
        ]
        written = [self.run_dir, self.output]
        gids = [gid for gid in (wanted.gid, wanted.run_gid) if gid is not None]
        return isolation.view([*((path, False) for path in read_only), *((path, True) for path in written)], wanted.uid, gids)

    def _step(self, argv: list[str], folder: Path, extra: Mapping[str, str]) -> tuple[int, str]:
        """Run one command of the preparation as the organisation, in the same confinement as a rank. Its words go to the log."""
        wanted = self.order
        crew = Crew(self.home, wanted.base, wanted.cookie, shim=wanted.shim, torch="none", cards=1)
        about = self._ready(crew)
        above = layout.environments(self.home, wanted.spec.organisation)
        gids = [gid for gid in (wanted.gid, wanted.run_gid) if gid is not None]
        needed = [(Path(path), False) for path in (*about["prefixes"], *about["path"], about["executable"])]
        links = extra.get("PIP_FIND_LINKS", "")  # the site's own wheels
        needed += [(Path(links), False)] if links.startswith("/") else []
        view = isolation.view([*needed, (above, True), (self.run_dir, True)], wanted.uid, gids)
        tmp = str(layout.temporary(self.run_dir))
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": tmp,
            "TMPDIR": tmp,
            "FOREBAY_COOKIE": wanted.cookie,
            **extra,
        }
        single = replace(wanted, places=wanted.places[:1])
        # Port 0: a step has no ranks, and must not open the meeting that the other shares wait for.
        packet = order.begin(
            single, start="exec", work=str(folder), argv=argv, python="", env=env, view=view, packages=None, port=0
        )
        mine = {"say": "rank", "rank": log.ENGINE, "env": {}, "cores": [], "threads": 1, "cards": 1}
        self.captured = []
        self._follow(crew, crew.begin(packet, [mine]))
        self._until(lambda: log.ENGINE in self.exits or self.hung_up)
        captured, self.captured = "\n".join(self.captured), None
        code = self.exits.pop(log.ENGINE, 1)
        self.first_bad = None
        self._unfollow(crew)
        crew.hang_up()
        leftovers.end(lambda: self._left() - self._crew_pids(), reap=self._reap)
        self._drain()
        if self.refusal:
            raise ForebayError(self.refusal)
        return code, captured

    # The health of the cards. What it takes isn't counted as held: it is the pool's own cost.

    def _suspect(self) -> None:
        """Look at the cards of a run that failed, once its processes are gone."""
        if self.crew is not None:
            self._unfollow(self.crew)
            self.crew.hang_up()
        self.crew = None
        leftovers.end(self._left, reap=self._reap)
        self._drain()
        self._check("after", None)

    def _check(self, when: str, crew: Crew | None) -> None:
        """Have the cards looked at by a process that has imported torch: `crew`, or one of its own."""
        wanted, begun_ns = self.order, time.monotonic_ns()
        own = crew is None
        try:
            crew = crew or Crew(self.home, wanted.base, wanted.cookie, shim=wanted.shim, torch="import", cards=len(wanted.places))
            self._ready(crew)
            for node, cards in order.cards_by_node(wanted).items():
                found = self._checked(crew, order.check_packet(wanted, cards))
                self._say(replace(self.seen, checks=(*self.seen.checks, looks.check_of(node, cards, when, found))))
        except ForebayError as error:  # the base can't be started, with torch in it: of the cards nothing is known
            self._say(replace(self.seen, checks=(*self.seen.checks, *looks.skipped(wanted, when, error))))
        finally:
            if own and crew is not None:
                crew.hang_up()
                leftovers.end(lambda: self._left() - self._crew_pids(), reap=self._reap)
            self.unheld_ns += time.monotonic_ns() - begun_ns

    def _checked(self, crew: Crew, packet: Mapping[str, Any]) -> dict[str, Any]:
        self.found = None
        self._follow(crew, {})
        crew.ask(packet)
        self._until(lambda: self.found is not None or self.hung_up)
        self._unfollow(crew)
        return self.found or {"skipped": "the process that looked at the cards died"}

    def _ready(self, crew: Crew) -> dict[str, Any]:
        """What the base's Python says of itself, once it has imported what it was asked to."""
        if crew.about is None:
            self._follow(crew, {})
            self._until(lambda: crew.about is not None or self.hung_up)
            self._unfollow(crew)
        if crew.about is None:
            last = crew.told().splitlines()[-1:] or [""]
            raise ForebayError("The chip's base environment could not be started.", asked=self.order.base, found=last[0])
        return crew.about

    def _conduct(self, python: str, packages: Path | None, argv: list[str], view: dict[str, Any]) -> Ending:
        """Have the ranks started, and see them end."""
        wanted, crew = self.order, self.crew
        assert crew is not None and crew.about is not None
        start = "exec" if wanted.torch != "import" else "fresh" if order.needs_fresh(wanted) else "fork"
        overlay = str(packages.parents[2]) if packages is not None else None
        env = order.shared_environment(wanted, str(self.run_dir), str(self.output), python, overlay)
        packet = order.begin(
            wanted,
            start=start,
            work=str(layout.work(self.run_dir)),
            argv=argv if start == "exec" else list(wanted.spec.argv),
            python=python,
            env=env,
            view=view,
            packages=str(packages) if packages is not None else None,
            port=self._meet(),
        )
        self._heed()
        self._say(
            replace(self.seen, phase=Phase.RUNNING, running_at_ns=time.time_ns(), carrier=CARRIERS[str(crew.about["carrier"])])
        )
        try:
            pipes = crew.begin(packet, [order.rank_packet(wanted, place) for place in wanted.places])
        except (BrokenPipeError, ConnectionResetError):
            code = crew.hang_up()
            return Ending(Outcome.FAILED, in_words("The process that starts the ranks", code), code)
        self._follow(crew, pipes)
        self.gauge.begin()
        self._until(lambda: len(self.exits) == len(wanted.places) or self.hung_up)
        if self.refusal:
            return Ending(Outcome.UNPREPARED, self.refusal)
        self._wait_for_the_same_signal()
        if self.stop_grace_s is not None:
            return self._stopped(f"and was killed after {self.stop_grace_s:g} s" if self.forced else "")
        if self.first_bad is not None:
            rank, code = self.first_bad
            return Ending(Outcome.FAILED, in_words(f"Rank {rank}", code), code, rank)
        if len(self.exits) < len(wanted.places):
            code = crew.hang_up()
            return Ending(Outcome.FAILED, in_words("The process that had started the ranks", code), code)
        return Ending(Outcome.SUCCEEDED, "Every rank ended well.", 0)

    def _wait_for_the_same_signal(self) -> None:
        """Where a rank was ended by a signal, or the ranks' parent is gone: was it the machine, which is about to tell us too?"""
        gone = len(self.exits) < len(self.order.places)
        if gone or (self.first_bad is not None and self.first_bad[1] == -signal.SIGTERM):
            until_s = time.monotonic() + SAME_SIGNAL_S
            while self.stop_grace_s is None and (left_s := until_s - time.monotonic()) > 0:
                self._turn(left_s)

    def _meet(self) -> int | None:
        """Wait until the first share's supervisor has said where the ranks meet. None: we are the first, or alone."""
        if self.order.first or not self.order.meeting:
            return None
        meeting = Path(self.order.meeting)
        while (found := files.read_json(meeting)) is None:
            self._turn(MEET_S)
            self._heed()
        return int(found["port"])

    def _finish(self, ending: Ending) -> None:
        """See the last process out, and say how it ended."""
        if self.crew is not None:
            self._unfollow(self.crew)
            self.crew.hang_up()
        self.crew = None
        leftovers.end(self._left, reap=self._reap)
        self._drain()
        self._note_progress()
        self.gauge.end()
        now_ns = time.time_ns()
        found = self.shelf.scan() if self.order.first and self.output.is_dir() else ()
        self._note_checkpoint(checkpoint_at_ns := artefacts.newest_checkpoint_ns(found, now_ns))
        seen = replace(
            self.seen,
            phase=Phase.ENDED,
            ended_at_ns=now_ns,
            held_ns=time.monotonic_ns() - self.taken_ns - self.unheld_ns,
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            failed_rank=ending.failed_rank,
            reason=ending.reason,
            artefacts=found,
            checkpoint_at_ns=checkpoint_at_ns,
            use=self.gauge.read(),
        )
        layout.control(self.run_dir).unlink(missing_ok=True)
        self._say(seen, durable=True)
        os.close(self.lock)

    # While it runs: one thing at a time.

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._turn()

    def _turn(self, most_s: float = TICK_S) -> None:
        """What there is to do now; waits for more, but not longer than this."""
        now_s = time.monotonic()
        if self.kill_at_s is not None and now_s >= self.kill_at_s:
            self.kill_at_s, self.forced = None, True
            if self.crew is not None:
                self.crew.signal(signal.SIGKILL)
        if now_s >= self.next_tick_s:
            self.next_tick_s = now_s + TICK_S
            self._tick()
        if self.recent and now_s >= self.next_progress_s:
            self.next_progress_s = now_s + PROGRESS_S
            self._note_progress()
        wake_s = min(
            self.next_tick_s, self.kill_at_s or self.next_tick_s, self.next_progress_s if self.recent else self.next_tick_s
        )
        for key, _ in self.selector.select(min(max(wake_s - now_s, 0), most_s)):
            key.data()
        self._write_lines()

    def _tick(self) -> None:
        self._beat()
        self._reap()
        self._heed()  # on another machine than the engine's the file is seen, and the pipe isn't
        if self.seen.phase is Phase.RUNNING and self.order.first:  # one look is enough, where all see the same folder
            found = self.shelf.scan()
            if found != self.seen.artefacts:
                self._note_checkpoint(checkpoint_at_ns := artefacts.newest_checkpoint_ns(found, time.time_ns()))
                self._say(replace(self.seen, artefacts=found, checkpoint_at_ns=checkpoint_at_ns))
        self.gauge.look()
        if self.seen.phase is Phase.RUNNING and time.monotonic() >= self.next_use_s:
            self.next_use_s = time.monotonic() + USE_S
            self._say(replace(self.seen, use=self.gauge.read()))

    def _note_checkpoint(self, checkpoint_at_ns: int) -> None:
        if checkpoint_at_ns > max(self.seen.checkpoint_at_ns, self.seen.started_at_ns):
            self.gauge.saved()

    def _follow(self, crew: Crew, pipes: Mapping[int, tuple[int, str]]) -> None:
        self.hung_up = False
        self.selector.register(crew.socket, selectors.EVENT_READ, lambda: self._hear(crew))
        for descriptor, (rank, stream) in pipes.items():
            os.set_blocking(descriptor, False)
            self.pipes[descriptor] = (rank, stream, log.Splitter())
            self.selector.register(descriptor, selectors.EVENT_READ, lambda descriptor=descriptor: self._read(descriptor))  # type: ignore[misc]

    def _hear(self, crew: Crew) -> None:
        """A packet from the crew."""
        match crew.receive():
            case None:
                self.hung_up = True
                self.selector.unregister(crew.socket)
            case {"say": "meeting", "port": port}:
                if self.order.meeting:
                    self._persist(lambda: files.write_json(Path(self.order.meeting), {"port": port}, mode=0o644))
            case {"say": "checked"} as found:
                self.found = found
            case {"say": "refused", "reason": reason}:
                hint = "Run the engine as root with CAP_SYS_ADMIN, or open these folders to others (chmod o+x)."
                self.refusal = f"The ranks could not be shut in: {reason}. {hint}"
            case {"say": "exit", "rank": rank, "code": code}:
                self.exits[rank] = code
                if code != 0 and self.first_bad is None:
                    self.first_bad = (rank, code)
                    if self.stop_grace_s is None:
                        crew.signal(signal.SIGTERM)
                        self.kill_at_s = time.monotonic() + FAILURE_GRACE_S

    def _read(self, descriptor: int) -> bool:
        """Take in what a rank has printed. False when there is nothing now."""
        rank, stream, splitter = self.pipes[descriptor]
        try:
            chunk = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        lines = splitter.feed(chunk) if chunk else splitter.flush()
        now_ns = time.time_ns()
        self.recent.extend(lines)
        if self.captured is not None and stream == "stdout":
            self.captured.extend(lines)
        self.lines.extend((now_ns, rank, stream if rank != log.ENGINE else "engine", line) for line in lines)
        if not chunk:
            self.selector.unregister(descriptor)
            del self.pipes[descriptor]
            os.close(descriptor)
        return bool(chunk)

    def _drain(self) -> None:
        """Take in the rest of every pipe; all who could write are gone."""
        for descriptor in list(self.pipes):
            while self._read(descriptor):
                self._write_lines()
        self._write_lines()

    def _write_lines(self) -> None:
        if self.lines:
            self.log.write(self.lines)
            self.lines = []

    def _note_progress(self) -> None:
        found = next((found for line in reversed(self.recent) if (found := progress.read(line)) is not None), None)
        self.recent.clear()
        if found is not None:
            self.gauge.note(found)
            self._persist(
                lambda: files.write_json(layout.progress(self.run_dir), codec.encode(replace(found, at_ns=time.time_ns())))
            )

    # The wish to stop: a file, for a supervisor that isn't there yet, and a pipe that says "look at the file".

    def _listen(self) -> None:
        path = layout.control(self.run_dir)
        os.mkfifo(path, 0o600)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(descriptor, selectors.EVENT_READ, lambda: self._told_to_stop(descriptor))
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.selector.register(woken, selectors.EVENT_READ, lambda: self._signalled(woken))
        for number in (signal.SIGTERM, signal.SIGINT):  # the machine is being shut down
            signal.signal(number, lambda number, frame: None)

    def _told_to_stop(self, descriptor: int) -> None:
        os.read(descriptor, 4096)
        self._heed()

    def _signalled(self, descriptor: int) -> None:
        os.read(descriptor, 4096)
        if files.read_json(layout.stop(self.run_dir)) is None:
            self.signalled = True
            files.write_json(layout.stop(self.run_dir), {"grace_s": self.order.spec.grace_s})
        self._heed()

    def _share_fate(self, descriptor: int) -> None:
        """Whoever started us has something to say, which is only that he is gone. The parent of the ranks dies with us."""
        if not os.read(descriptor, 1):
            os._exit(1)

    def _heed(self) -> None:
        wish = files.read_json(layout.stop(self.run_dir))
        if wish is None:
            return
        if self.seen.phase is Phase.PREPARING:
            raise _Stop
        deadline_s = time.monotonic() + float(wish["grace_s"])
        if self.stop_grace_s is None:
            self.stop_grace_s = float(wish["grace_s"])
            self.kill_at_s = deadline_s
            if self.crew is not None:
                self.crew.signal(signal.SIGTERM)
        elif self.kill_at_s is not None and deadline_s < self.kill_at_s:  # said again, more urgently
            self.stop_grace_s, self.kill_at_s = float(wish["grace_s"]), deadline_s

    # The processes of the run.

    def _left(self) -> set[int]:
        return leftovers.find(gid=self.order.run_gid, cookie=self.order.cookie, ancestor=os.getpid())

    def _crew_pids(self) -> set[int]:
        return {self.crew.process.pid} if self.crew is not None else set()

    def _reap(self) -> None:
        leftovers.reap(but=self.crew.process.pid if self.crew is not None else 0)

    def _unfollow(self, crew: Crew) -> None:
        if not self.hung_up:
            self.selector.unregister(crew.socket)
            self.hung_up = True

    # What others read.

    def _say(self, seen: Seen, *, durable: bool = False) -> None:
        self.seen = seen
        self._persist(lambda: files.write_json(layout.status(self.run_dir), codec.encode(seen), durable=durable))

    def _beat(self) -> None:
        if not self.run_dir.exists():  # the lock is open and would be written to for ever
            sys.exit("the run's folder is gone")
        body = codec.encode(Beat(self.boot, self.taken_ns, time.monotonic_ns()))
        self._persist(lambda: files.overwrite_json(self.lock, body))

    def _persist(self, write: Callable[[], None]) -> None:
        """Write, and on a full disk wait and write again: a run whose state can't be written down must not look ended, or
        running, when it isn't. Leave when the run's folder is gone: then nobody will ever ask. The ranks go with us.
        """
        while True:
            try:
                return write()
            except OSError as error:
                if not self.run_dir.exists():
                    sys.exit(f"the run's folder is gone: {error}")
                print(f"can't write the run's state: {error}", file=sys.stderr, flush=True)
                time.sleep(1)


def in_words(who: str, code: int) -> str:
    """An exit code as a sentence."""
    if code >= 0:
        return f"{who} ended with exit code {code}."
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"{who} was killed by signal {-code}{name}."


def last_progress(run_dir: Path) -> Progress | None:
    body = files.read_json(layout.progress(run_dir))
    return None if body is None else codec.decode(Progress, body, strict=False)
