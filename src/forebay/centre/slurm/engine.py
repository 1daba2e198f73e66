"""The Slurm engine: a run is one job of the site.

Asked:  how does a run become a job, and what is true of it, while the agent, slurmctld and machines come and go?
Answer: `launch` lays the run's folder out, and a thread of its own (`watch.py`) hands it to Slurm. What is true of a run is
        judged (`verdict.py`) from what the thread heard last and from the shares' folders, which tell most without Slurm.
        Nothing is held that isn't in the folders.
Limits: the centre's folder is seen by all machines of the site under the same name. Nothing is decided about where a run is:
        the cloud chose the machines, and Slurm chooses when. Jobs of others are counted, never touched.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from forebay import codec
from forebay.centre import files, isolation, layout, supervisor
from forebay.centre import home as homes
from forebay.centre.home import Home
from forebay.centre.local import read_share
from forebay.centre.order import Order
from forebay.centre.settings import Settings
from forebay.centre.slurm import accounts, dialling, facts, request, sources, step, survey, verdict, watch
from forebay.centre.slurm.accounts import User, acting_as
from forebay.centre.slurm.gres import Unsure
from forebay.centre.slurm.run import JOB, OVERDUE_S, REFUSED, REQUEST, Run
from forebay.centre.slurm.transport import Transport
from forebay.centre.slurm.verdict import Marks
from forebay.centre.slurm.watch import Watch
from forebay.centre.spec import Handle, Outcome, Phase, Piece, Progress, Seen, Spec
from forebay.chips.node import Condition, Node, NodeState
from forebay.errors import Conflict, ForebayError, Refused, Unavailable
from forebay.units import MIB, NS_PER_S

TAG = "slurm-tag"
CLOCKS_DIFFER_S = 10.0  # less than this between Slurm's count and a supervisor's is no contradiction


class Slurm:
    """A site of Slurm, as an Engine (`centre/spec.py`)."""

    def __init__(
        self,
        home: Path,
        told: Settings,
        transport: Transport,
        *,
        variables: Mapping[str, str],
        shim: Path | None = None,
        pauses_s: tuple[float, float, float] = (watch.JOBS_S, watch.MACHINES_S, watch.REST_S),
    ) -> None:
        """`variables`: of everything that is started at the site. `pauses_s`: between two looks at our jobs, at the machines
        while runs go on, and at the machines at rest.
        """
        self._home = Home(home, base=told.base, trust_all=told.trust_all, shim=shim, build_env=told.build_env, check=told.check)
        self._told = told
        self._variables = dict(variables)
        self._python = told.python or sys.executable
        self._guard = threading.RLock()
        self._home.lay_out()
        sources.bring(self._home.path, Path(__file__).resolve().parents[2])
        self._tag = _own_tag(self._home.path)
        self._runs = {name: self._take_up(Path(handle)) for name, handle in self._home.handles().items()}
        if not self._runs:
            sources.tidy(self._home.path)
        self._watch = Watch(
            self._home.path,
            told,
            transport,
            self._runs,
            self._guard,
            job_name=lambda run: f"{request.PREFIX}{self._tag}-{run}",
            build=lambda spec, site, known: request.build(
                spec, told, site, known, home=self._home.path, tag=self._tag, python=self._python, variables=self._variables
            ),
            pauses_s=pauses_s,
        )
        self._watch.start()

    def nodes(self) -> tuple[Node, ...]:
        return self._watch.survey.nodes

    def states(self) -> tuple[NodeState, ...]:
        return self._watch.states

    def unsure(self) -> tuple[Unsure, ...]:
        """The kinds of cards of which somebody has to say what they are."""
        return self._watch.survey.unsure

    def launch(self, spec: Spec) -> Handle:
        run_dir = layout.run(self._home.path, spec.name)
        layout.name(spec.job)
        with self._guard:
            if spec.name not in self._runs:
                asked = self._watch.request(spec)  # refused now rather than later
                user = self._user_of(spec.organisation)
                run = Run(run_dir, self._order(spec, user), user)
                run.lay_out(asked)
                self._runs[spec.name] = run
        self._watch.wake()
        return Handle(str(run_dir))

    def look(self, handle: Handle) -> Seen:
        run = self._run(handle)
        if run.ended is not None:
            return run.ended
        with self._guard:
            if run.ended is not None:
                return run.ended
            seen = self._judge(run)
            if seen.phase is Phase.ENDED:
                files.write_json(layout.status(run.folder), codec.encode(seen), durable=True)
                run.ended = seen
                self._watch.wake()
            return seen

    def stop(self, handle: Handle, grace_s: float) -> None:
        run = self._run(handle)
        with self._guard:
            if run.ended is not None:
                return
            files.write_json(layout.stop(run.folder), {"grace_s": grace_s}, durable=True)
            with acting_as(run.user):
                for folder in run.shares:
                    files.write_json(layout.stop(folder), {"grace_s": grace_s})
                    _knock_at(layout.control(folder))
            by_s = time.monotonic() + grace_s + OVERDUE_S
            run.stop_by_s = by_s if run.stop_by_s is None else min(by_s, run.stop_by_s)
        self._watch.wake()

    def handles(self) -> dict[str, Handle]:
        return {name: Handle(str(run.folder)) for name, run in sorted(self._runs.items())}

    def forget(self, handle: Handle) -> None:
        run_dir = Path(handle)
        if not self._home.holds(handle) or not run_dir.exists():
            return
        if self.look(handle).phase is not Phase.ENDED:
            raise Conflict("The run hasn't ended, so its folder is still needed.", asked=run_dir.name, hint="stop it first")
        with self._guard:
            self._home.remove(run_dir)
            self._runs.pop(run_dir.name, None)

    def progress(self, handle: Handle) -> Progress | None:
        """What any of the run's shares last printed about its work."""
        run = self._run(handle)
        with acting_as(run.user):
            found = [supervisor.last_progress(folder) for folder in run.shares]
        return max((one for one in found if one is not None), key=lambda one: one.at_ns, default=None)

    def read_log(self, handle: Handle, marks: Mapping[str, int], most: int = MIB) -> Piece | None:
        run = self._run(handle)
        with acting_as(run.user):
            for number, folder in enumerate(run.shares):
                if (piece := read_share(folder, str(number), marks, most)) is not None:
                    return piece
        return None

    def dial(self, handle: Handle) -> socket.socket:
        run = self._run(handle)
        if run.job is None or not facts.holds(run.job):
            raise Unavailable("The run has no door: Slurm hasn't started it.", asked=run.name)
        with acting_as(run.user):
            if not os.path.lexists(layout.door(run.shares[0])):
                raise Unavailable("The run's door isn't open.", asked=run.name)
        machine = survey.machine_of(run.order.spec.shares[0].node)
        relay = request.step(self._python, str(layout.code(self._home.path)), "relay", str(run.folder))
        return dialling.dial(run.job.id, machine, relay, variables=self._variables, user=run.user)

    def output(self, job: str) -> Path:
        inner = (layout.output(home, job) for home in (self._home.path / "accounts").glob("*"))
        return next((folder for folder in inner if folder.is_dir()), layout.output(self._home.path, job))

    def take_in(self, job: str, organisation: str, folder: Path) -> None:
        user = self._user_of(organisation)
        if user is None:
            self._home.take_in(job, organisation, folder)
            return
        inner = accounts.lay_out(self._home.path, organisation, user)
        isolation.give(folder, user.uid, user.gid)
        files.exchange(folder, layout.output(inner, job))

    def imports_torch(self, sha256: str) -> bool:
        return self._home.imports_torch(sha256)

    def data_folder(self, organisation: str) -> Path:
        user = self._user_of(organisation)
        return self._home.data_folder(organisation) if user is None else accounts.share_data(self._home.path, organisation, user)

    def close(self) -> None:
        """Stop asking. Jobs and runs go on."""
        self._watch.close()

    # What a run becomes before it is submitted.

    def _user_of(self, organisation: str) -> User | None:
        """The account that an organisation's jobs run as, where the operator named one that isn't us."""
        name = request.account_of(self._told, organisation).user
        user = accounts.find(name) if name else None
        if user is None or user.uid == os.geteuid():
            return None
        if not self._home.root:
            asked, found = f"{organisation} as {name}", f"uid {os.geteuid()}"
            raise Refused("Only an agent that runs as root can submit as another account.", asked=asked, found=found)
        return user

    def _order(self, spec: Spec, user: User | None) -> Order:
        order = replace(self._home.order(spec, self.nodes()), address=self._address(spec))
        if user is None:
            return order
        accounts.share_data(self._home.path, spec.organisation, user)
        accounts.bring_code(self._home.path, spec, user)
        return accounts.settle(order, self._home.path)

    def _address(self, spec: Spec) -> str:
        """Where the ranks of the first share are reached."""
        if len(spec.shares) == 1:
            return "127.0.0.1"
        return next(node.address for node in self.nodes() if node.name == spec.shares[0].node)

    # What is true of a run.

    def _run(self, handle: Handle) -> Run:
        return self._runs[self._home.known(handle).name]

    def _judge(self, run: Run) -> Seen:
        now_ns = time.time_ns()
        refused = files.read_json(run.folder / REFUSED)
        if refused is not None:
            return _unbegun(run.name, now_ns, Outcome.UNPREPARED, refused["reason"])
        asked = layout.stop(run.folder).exists()
        if asked and not run.job_id and not run.is_doubtful:
            return _unbegun(run.name, now_ns, Outcome.STOPPED, "It was asked to stop before it was handed to Slurm.")
        down = {state.name for state in self.states() if state.condition is Condition.DOWN}
        over = run.gone or (run.job is not None and facts.is_over(run.job))
        with acting_as(run.user):
            shares = [run.status(number) for number in range(len(run.shares))]
            last = [run.last_sign(number, share) if over else None for number, share in enumerate(shares)]
            bound = run.bound()
            marks = Marks(
                stop_asked=asked,
                requeued=any((folder / step.REQUEUED).exists() for folder in (run.folder, run.exchange)),
                limit=(run.exchange / step.LIMIT).exists(),
                gone=run.gone,
                problem=run.problem,
                down=tuple(share.node for share in run.order.spec.shares if share.node in down),
                now_ns=now_ns,
            )
        return _never_shorter(replace(verdict.judge(run.name, shares, last, run.job, marks), bound=bound), run)

    def _take_up(self, run_dir: Path) -> Run:
        """A run that an earlier engine over this folder left."""
        order = codec.decode(Order, files.read_json(layout.spec(run_dir)), strict=False)
        run = Run(run_dir, order, None, ended=homes.status(run_dir))
        with contextlib.suppress(ForebayError):
            run.user = self._user_of(order.spec.organisation)
        job = files.read_json(run_dir / JOB)
        run.job_id = job["id"] if job else ""
        run.is_doubtful = not job and (run_dir / REQUEST).exists() and not (run_dir / REFUSED).exists()
        if (wish := files.read_json(layout.stop(run_dir))) is not None:
            run.stop_by_s = time.monotonic() + float(wish["grace_s"]) + OVERDUE_S
        return run


def _unbegun(run: str, now_ns: int, outcome: Outcome, reason: str) -> Seen:
    return Seen(name=run, phase=Phase.ENDED, ended_at_ns=now_ns, outcome=outcome, reason=reason)


def _never_shorter(seen: Seen, run: Run) -> Seen:
    """Where a tenant could have written what its supervisor says, Slurm's clock counts if it says more."""
    job = run.job
    if run.user is None or seen.phase is not Phase.ENDED or job is None or job.started_at_s is None:
        return seen
    until_s = job.ended_at_s if facts.is_over(job) and job.ended_at_s is not None else time.time()
    held_ns = int((until_s - job.started_at_s) * NS_PER_S)
    return seen if held_ns - seen.held_ns < CLOCKS_DIFFER_S * NS_PER_S else replace(seen, held_ns=held_ns)


def _own_tag(home: Path) -> str:
    """A word of this centre alone, in the names of its jobs: several centres may use one site."""
    path = home / TAG
    if not path.exists():
        files.write_text(path, secrets.token_hex(3), durable=True)
    return path.read_text("ascii").strip()


def _knock_at(control: Path) -> None:
    """Wake a supervisor that happens to be on this machine. Others look at the file every two seconds."""
    with contextlib.suppress(OSError):
        descriptor = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "wb", buffering=0) as pipe:
            pipe.write(b"stop\n")


def open_slurm(home: Path, told: Settings, *, shim: Path) -> Slurm:
    """The engine that a centre's settings describe."""
    transport, variables = open_transport(home, told)
    return Slurm(home, told, transport, variables=variables, shim=shim)


def open_transport(home: Path, told: Settings) -> tuple[Transport, dict[str, str]]:
    """The way to the site that the settings name, and the variables of everything that is started there."""
    from forebay.centre.slurm.commands import Commands, environment

    variables = environment()
    if not told.slurm.rest:
        return Commands(), variables
    from forebay.centre.slurm.rest import Rest, Tokens

    user = told.slurm.rest_user or pwd.getpwuid(os.geteuid()).pw_name
    return Rest(told.slurm.rest, user=user, tokens=Tokens(home, variables), variables=variables), variables
