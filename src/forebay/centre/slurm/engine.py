"""The Slurm engine: a run is one job of the site.

Asked:  how does a run become a job exactly once, and how is it known what becomes of it, while the agent, slurmctld and
        machines die?
Answer: `launch` writes the order down; a thread of its own writes the request down, submits it and writes the job's number
        down. A request without a number is looked for by the job's name before it is said again. The same thread asks Slurm
        for all our jobs in one call and for all machines in another, and acts on what it hears; everybody else reads what it
        heard last, and the shares' folders, which tell most without Slurm.
Limits: the centre's folder is seen by all machines of the site under the same name. Nothing is decided about where a run is:
        the cloud chose the machines, and Slurm when they are free. Jobs of others are counted, never touched.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import files, isolation, layout, supervisor
from forebay.centre import home as homes
from forebay.centre.home import Home
from forebay.centre.local import read_share
from forebay.centre.order import Order
from forebay.centre.settings import Settings
from forebay.centre.slurm import accounts, dialling, facts, hostlist, request, sources, step, survey, verdict
from forebay.centre.slurm.accounts import User, acting_as
from forebay.centre.slurm.facts import Job, Site
from forebay.centre.slurm.gres import Unsure
from forebay.centre.slurm.request import Request
from forebay.centre.slurm.transport import Transport
from forebay.centre.slurm.verdict import Marks
from forebay.centre.spec import Handle, Outcome, Phase, Piece, Progress, Seen, Spec
from forebay.chips.node import Node, NodeState
from forebay.errors import BadInput, Conflict, ForebayError, Refused, Unavailable
from forebay.units import MIB, NS_PER_S

log = logging.getLogger("forebay.slurm")

JOBS_S = 1.0  # between two looks at our jobs, while there are any
MACHINES_S = 10.0  # between two looks at the machines, while runs go on
REST_S = 30.0  # the same at rest
SITE_S = 600.0  # between two looks at what changes rarely
RETRY_S = 2.0  # after Slurm couldn't be asked
OVERDUE_S = 5.0  # over a run's grace, before its job is cancelled
GONE_AFTER_S = 15.0  # of silence in a run's folders, before a job that Slurm has forgotten is called over
REQUEST, JOB, REFUSED, SITE, TAG = "request.json", "job.json", "refused.json", "slurm-site.json", "slurm-tag"


@dataclass(slots=True)
class _Run:
    """What is known of a run beside its folder. The thread writes, others read."""

    order: Order
    user: User | None
    job_id: str = ""
    looked_for: bool = False  # its job may exist, and hasn't been looked for yet
    job: Job | None = None  # as last heard
    gone: bool = False  # slurmctld has forgotten it
    quiet_since_s: float = 0.0
    beats: tuple[int, ...] = ()
    problem: str = ""
    stop_by_s: float | None = None  # then its job is cancelled, whatever its supervisors say
    cancelled: bool = False
    ended: Seen | None = None
    statuses: dict[int, tuple[tuple[int, int], Seen]] = field(default_factory=dict)  # share -> (file's time and inode, content)


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
        jobs_s: float = JOBS_S,
        machines_s: float = MACHINES_S,
        rest_s: float = REST_S,
        package: Path | None = None,
    ) -> None:
        """`variables`: those of everything that is started at the site. `package`: the source of ours that its nodes get."""
        self._home = Home(home, base=told.base, trust_all=told.trust_all, shim=shim, build_env=told.build_env, check=told.check)
        self._told = told
        self._transport = transport
        self._variables = dict(variables)
        self._pauses = (jobs_s, machines_s, rest_s)
        self._python = told.python or sys.executable
        self._guard = threading.RLock()
        self._awake, self._over = threading.Event(), threading.Event()
        self._site: Site | None = None
        self._survey = survey.Survey(nodes=(), gres={})
        self._states: tuple[NodeState, ...] = ()
        self._submit_at = 0.0
        self._holding: dict[str, dict[str, int]] = {}  # job -> node -> cards that Slurm counts as used for it
        self._home.lay_out()
        sources.bring(self._home.path, package or Path(__file__).resolve().parents[2])
        self._tag = self._own_tag()
        self._recall_site()
        self._runs = {name: self._take_up(Path(handle)) for name, handle in self._home.handles().items()}
        if not self._runs:
            sources.tidy(self._home.path)
        self._thread = threading.Thread(target=self._serve, name="slurm", daemon=True)
        self._thread.start()

    def nodes(self) -> tuple[Node, ...]:
        return self._survey.nodes

    def states(self) -> tuple[NodeState, ...]:
        return self._states

    def unsure(self) -> tuple[Unsure, ...]:
        """The kinds of cards of which somebody has to say what they are."""
        return self._survey.unsure

    def launch(self, spec: Spec) -> Handle:
        run_dir = layout.run(self._home.path, spec.name)
        layout.name(spec.job)
        handle = Handle(str(run_dir))
        with self._guard:
            if layout.spec(run_dir).exists():
                return handle
            asked = self._request(spec)  # refused now rather than later
            user = self._user_of(spec.organisation)
            order = self._order(spec, user)
            self._lay_run_out(run_dir, asked, order, user)
            files.write_json(layout.spec(run_dir), codec.encode(order), durable=True)
            files.sync_folder(run_dir.parent)
            self._runs[spec.name] = _Run(order, user)
        self._awake.set()
        return handle

    def look(self, handle: Handle) -> Seen:
        run_dir = self._home.known(handle)
        run = self._runs[run_dir.name]
        if run.ended is not None:
            return run.ended
        with self._guard:
            if run.ended is not None:
                return run.ended
            seen = self._judge(run_dir, run)
            if seen.phase is Phase.ENDED:
                files.write_json(layout.status(run_dir), codec.encode(seen), durable=True)
                run.ended = seen
                self._awake.set()
            return seen

    def stop(self, handle: Handle, grace_s: float) -> None:
        run_dir = self._home.known(handle)
        run = self._runs[run_dir.name]
        with self._guard:
            if run.ended is not None:
                return
            files.write_json(layout.stop(run_dir), {"grace_s": grace_s}, durable=True)
            with acting_as(run.user):
                for number in range(len(run.order.spec.shares)):
                    folder = layout.share(run_dir, number)
                    files.write_json(layout.stop(folder), {"grace_s": grace_s})
                    _knock_at(layout.control(folder))
            by_s = time.monotonic() + grace_s + OVERDUE_S
            run.stop_by_s = by_s if run.stop_by_s is None else min(by_s, run.stop_by_s)
        self._awake.set()

    def handles(self) -> dict[str, Handle]:
        return {name: Handle(str(layout.run(self._home.path, name))) for name in sorted(self._runs)}

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
        """What the run's first share last printed about its work."""
        run_dir = self._home.known(handle)
        with acting_as(self._runs[run_dir.name].user):
            found = [supervisor.last_progress(layout.share(run_dir, number)) for number in self._shares(run_dir)]
        return max((one for one in found if one is not None), key=lambda one: one.at_ns, default=None)

    def read_log(self, handle: Handle, marks: Mapping[str, int], most: int = MIB) -> Piece | None:
        run_dir = self._home.known(handle)
        with acting_as(self._runs[run_dir.name].user):
            for number in self._shares(run_dir):
                piece = read_share(layout.share(run_dir, number), str(number), marks, most)
                if piece is not None:
                    return piece
        return None

    def dial(self, handle: Handle) -> socket.socket:
        run_dir = self._home.known(handle)
        run = self._runs[run_dir.name]
        if run.job is None or not facts.holds(run.job):
            raise Unavailable("The run has no door: Slurm hasn't started it.", asked=run_dir.name)
        with acting_as(run.user):
            if not os.path.lexists(layout.door(layout.share(run_dir, 0))):
                raise Unavailable("The run's door isn't open.", asked=run_dir.name)
        machine = survey.machine_of(run.order.spec.shares[0].node)
        relay = request.step(self._python, str(layout.code(self._home.path)), "relay", str(run_dir))
        return dialling.dial(run.job.id, machine, relay, variables=self._variables, user=run.user)

    def output(self, job: str) -> Path:
        for inner in (self._home.path / "accounts").glob("*"):
            if (folder := layout.output(inner, job)).is_dir():
                return folder
        return layout.output(self._home.path, job)

    def take_in(self, job: str, organisation: str, folder: Path) -> None:
        user = self._user_of(organisation)
        if user is None:
            return self._home.take_in(job, organisation, folder)
        inner = accounts.lay_out(self._home.path, organisation, user)
        isolation.give(folder, user.uid, user.gid)
        files.exchange(folder, layout.output(inner, job))
        return None

    def imports_torch(self, sha256: str) -> bool:
        return self._home.imports_torch(sha256)

    def data_folder(self, organisation: str) -> Path:
        user = self._user_of(organisation)
        return self._home.data_folder(organisation) if user is None else accounts.share_data(self._home.path, organisation, user)

    def close(self) -> None:
        """Stop asking. Jobs and runs go on."""
        self._over.set()
        self._awake.set()
        self._thread.join(10)

    # What a run becomes before it is submitted.

    def _user_of(self, organisation: str) -> User | None:
        """The account that an organisation's jobs run as, where the operator named one that isn't us."""
        name = request.account_of(self._told, organisation).user
        if not name:
            return None
        user = accounts.find(name)
        if user.uid == os.geteuid():
            return None
        if not self._home.root:
            raise Refused(
                "Only an agent that runs as root can submit as another account.",
                asked=f"{organisation} as {name}",
                found=f"uid {os.geteuid()}",
            )
        return user

    def _order(self, spec: Spec, user: User | None) -> Order:
        order = self._home.order(spec, self._survey.nodes)
        order = replace(order, address=self._address(spec))
        if user is None:
            return order
        accounts.share_data(self._home.path, spec.organisation, user)
        accounts.bring_code(self._home.path, spec, user)
        return accounts.settle(order, self._home.path)

    def _address(self, spec: Spec) -> str:
        """Where the ranks of the first share are reached."""
        if len(spec.shares) == 1:
            return "127.0.0.1"
        return next(node.address for node in self._survey.nodes if node.name == spec.shares[0].node)

    def _request(self, spec: Spec) -> Request:
        if self._site is None:
            raise Unavailable("Slurm hasn't said yet what the site has.", asked=spec.name)
        return request.build(
            spec,
            self._told,
            self._site,
            self._survey.gres,
            home=self._home.path,
            tag=self._tag,
            python=self._python,
            variables=self._variables,
        )

    def _lay_run_out(self, run_dir: Path, asked: Request, order: Order, user: User | None) -> None:
        """The run's folder, which is ours, and in it those that the job writes to, as whoever it runs as."""
        isolation.own_folder(run_dir, 0o711)
        whose = (user.uid, user.gid) if user is not None else (None, None)
        exchange = isolation.own_folder(layout.exchange(run_dir), 0o700, *whose)
        for number in range(len(order.spec.shares)):
            isolation.own_folder(layout.share(run_dir, number), 0o711, *whose)
        body = {
            "order": codec.encode(order),
            "machines": list(asked.machines),
            "gres": asked.gres.rpartition(":")[0],
            "minutes": asked.minutes,
            "warn_s": asked.warn_s,
            "grace_s": order.spec.grace_s,
        }
        with acting_as(user):
            files.write_json(exchange / step.ORDER, body)
            (exchange / "log").touch()

    # What is known of a run.

    def _shares(self, run_dir: Path) -> range:
        return range(len(self._runs[run_dir.name].order.spec.shares))

    def _judge(self, run_dir: Path, run: _Run) -> Seen:
        refused = files.read_json(run_dir / REFUSED)
        name, now_ns = run_dir.name, time.time_ns()
        if refused is not None:
            return Seen(name=name, phase=Phase.ENDED, ended_at_ns=now_ns, outcome=Outcome.UNPREPARED, reason=refused["reason"])
        asked = layout.stop(run_dir).exists()
        if asked and not run.job_id and not run.looked_for:
            stopped = "It was asked to stop before it was handed to Slurm."
            return Seen(name=name, phase=Phase.ENDED, ended_at_ns=now_ns, outcome=Outcome.STOPPED, reason=stopped)
        exchange = layout.exchange(run_dir)
        with acting_as(run.user):
            shares = [self._status(run_dir, run, number) for number in self._shares(run_dir)]
            marks = Marks(
                stop_asked=asked,
                requeued=(run_dir / step.REQUEUED).exists() or (exchange / step.REQUEUED).exists(),
                limit=(exchange / step.LIMIT).exists(),
                gone=run.gone,
                problem=run.problem,
                down=self._down(run),
                now_ns=now_ns,
            )
            ended = run.gone or (run.job is not None and facts.is_over(run.job))
            last = [_last_sign(run_dir, name, number, shares[number]) if ended else None for number in self._shares(run_dir)]
            bound = _read(exchange / step.BOUND) or {}
        seen = verdict.judge(name, shares, last, run.job, marks)
        cards = {
            share.node: tuple(bound[machine])[: len(share.cards)] or share.cards
            for share in run.order.spec.shares
            if (machine := survey.machine_of(share.node)) in bound
        }
        return self._never_shorter(replace(seen, bound=cards), run)

    def _never_shorter(self, seen: Seen, run: _Run) -> Seen:
        """Where a tenant could have written what its supervisor says, Slurm's clock counts if it says more."""
        job = run.job
        if run.user is None or seen.phase is not Phase.ENDED or job is None or job.started_at_s is None:
            return seen
        until_s = job.ended_at_s if facts.is_over(job) and job.ended_at_s is not None else time.time()
        held_ns = int((until_s - job.started_at_s) * NS_PER_S)
        return seen if held_ns - seen.held_ns < 10 * NS_PER_S else replace(seen, held_ns=held_ns)

    def _status(self, run_dir: Path, run: _Run, number: int) -> Seen | None:
        """What a share's supervisor last said; read again only when the file is another."""
        folder = layout.share(run_dir, number)
        try:
            about = os.stat(layout.status(folder), follow_symlinks=False)
        except OSError:
            return None
        key = (about.st_mtime_ns, about.st_ino)
        kept = run.statuses.get(number)
        if kept is None or kept[0] != key:
            try:
                seen = homes.status(folder)
            except (OSError, ValueError, BadInput):
                return kept[1] if kept is not None else None
            if seen is None:
                return None
            run.statuses[number] = kept = (key, seen)
        return kept[1]

    def _down(self, run: _Run) -> tuple[str, ...]:
        down = {state.name for state in self._states if state.condition.value == "down"}
        return tuple(share.node for share in run.order.spec.shares if share.node in down)

    # The thread: it alone speaks to Slurm.

    def _serve(self) -> None:
        jobs_s, machines_s, rest_s = self._pauses
        jobs_at = machines_at = site_at = 0.0
        while not self._over.is_set():
            now_s = time.monotonic()
            try:
                if now_s >= site_at:
                    self._hear_site(self._transport.site())
                    site_at, machines_at = now_s + SITE_S, now_s + (machines_s if self._live() else rest_s)
                self._submit_all()
                live = self._live()
                machines_at = min(machines_at, now_s + machines_s) if live else machines_at
                if now_s >= jobs_at and (live or self._holding):
                    self._hear_jobs(live)
                    jobs_at = time.monotonic() + jobs_s
                if now_s >= machines_at:
                    self._hear_machines()
                    machines_at = time.monotonic() + (machines_s if live else rest_s)
                self._cancel_all()
                due_s = min(jobs_at if live or self._holding else machines_at, machines_at)
                if any(not run.job_id for run in live.values()):
                    due_s = min(due_s, self._submit_at)
                pause_s = max(due_s - time.monotonic(), 0.02)
            except ForebayError as error:
                log.warning("%s", str(error).replace("\n", " "))
                for run in self._live().values():
                    if not run.job_id:
                        run.problem = f"Slurm can't be asked now: {error.found or error.text}"
                pause_s = RETRY_S
            except Exception:
                log.exception("the site's answer wasn't understood")
                pause_s = RETRY_S
            self._awake.wait(pause_s)
            self._awake.clear()

    def _live(self) -> dict[str, _Run]:
        return {name: run for name, run in list(self._runs.items()) if run.ended is None}

    def _submit_all(self) -> None:
        waiting = {name: run for name, run in self._live().items() if not run.job_id}
        if not waiting or time.monotonic() < self._submit_at:
            return
        lost = {name: run for name, run in waiting.items() if run.looked_for}
        if lost:
            self._find(lost)
        for name, run in waiting.items():
            run_dir = layout.run(self._home.path, name)
            if run.job_id or run.ended is not None or (run_dir / REFUSED).exists():
                continue
            try:
                self._submit(run_dir, run)
            except Unavailable as error:
                run.problem = f"Slurm can't take it now: {error.found or error.text}"
                log.warning("%s: %s", name, run.problem)
                self._submit_at = time.monotonic() + RETRY_S
                return

    def _submit(self, run_dir: Path, run: _Run) -> None:
        """Hand a run to Slurm. What we are about to do is on the disk before it is done."""
        try:
            asked = self._request(run.order.spec)
            with self._guard:  # nobody calls it stopped while it is on its way
                if layout.stop(run_dir).exists():
                    return
                files.write_json(run_dir / REQUEST, codec.encode(asked), durable=True)
                run.looked_for = True
            number = self._transport.submit(asked)
        except Unavailable:
            raise
        except ForebayError as error:
            run.looked_for = False
            files.write_json(run_dir / REFUSED, {"reason": str(error)}, durable=True)
            return
        self._note_job(run_dir, run, number)

    def _note_job(self, run_dir: Path, run: _Run, number: str) -> None:
        files.write_json(run_dir / JOB, {"id": number}, durable=True)
        run.job_id, run.looked_for, run.problem = number, False, ""

    def _find(self, lost: Mapping[str, _Run]) -> None:
        """Look for the jobs of runs of which nobody knows whether they were submitted."""
        names = {f"{request.PREFIX}{self._tag}-{name}": name for name in lost}
        found = [*self._transport.past(names), *self._transport.jobs(names)]
        for name, run in lost.items():
            run_dir = layout.run(self._home.path, name)
            with acting_as(run.user):
                owner = _read(layout.exchange(run_dir) / step.OWNER) or {}
            mine = [job for job in found if names[job.name] == name]
            if owner.get("job") or mine:
                self._note_job(run_dir, run, owner.get("job") or min(mine, key=lambda job: int(job.id)).id)
            else:
                run.looked_for = False
                log.info("%s: no job of its name; it is submitted again", name)

    def _hear_jobs(self, live: Mapping[str, _Run]) -> None:
        """One call for all of ours, and what follows from it."""
        known = {f"{request.PREFIX}{self._tag}-{name}": name for name in live}
        found = self._transport.jobs({*known, *self._holding})
        by_id = {job.id: job for job in found}
        for name, run in live.items():
            if not run.job_id:
                continue
            heard = by_id.get(run.job_id)
            if heard is None:
                self._note_gone(name, run)
                continue
            run.job, run.gone, run.quiet_since_s = heard, False, 0.0
            if facts.waits(heard) and not facts.holds(heard):
                self._note_requeue(name, run, heard)
        for job in found:
            self._leave_to_the_owner(job, known)
        self._note_holding(found, known)

    def _note_gone(self, name: str, run: _Run) -> None:
        """slurmctld answers, and doesn't know the job: it forgets what is over after MinJobAge. It may also have lost its memory,
        so signs of life in the run's folders count for more.
        """
        past = {job.id: job for job in self._transport.past([f"{request.PREFIX}{self._tag}-{name}"])}
        if (job := past.get(run.job_id)) is not None and facts.is_over(job):
            run.job, run.gone = job, True
            return
        beats = tuple(_beat_ns(layout.run(self._home.path, name), number) for number in range(len(run.order.spec.shares)))
        now_s = time.monotonic()
        if beats != run.beats or not run.quiet_since_s:
            run.beats, run.quiet_since_s = beats, now_s
        run.gone = now_s - run.quiet_since_s > GONE_AFTER_S

    def _note_requeue(self, name: str, run: _Run, job: Job) -> None:
        """A job that has begun and waits again was requeued, by Slurm or an operator. A run isn't started twice: that is for the
        cloud to decide.
        """
        run_dir = layout.run(self._home.path, name)
        with acting_as(run.user):
            begun = os.path.lexists(layout.exchange(run_dir) / step.OWNER)
        if (begun or job.restarts > 0) and not run.cancelled:
            files.write_json(run_dir / step.REQUEUED, {"job": job.id, "restarts": job.restarts}, durable=True)
            run.stop_by_s = 0.0

    def _leave_to_the_owner(self, job: Job, known: Mapping[str, str]) -> None:
        """Cancel a second job of one run: it was submitted by a request that had been given up for lost."""
        run = self._runs.get(known.get(job.name, ""))
        if run is not None and run.job_id and job.id != run.job_id and not facts.is_over(job):
            with acting_as(run.user):
                owner = _read(layout.exchange(layout.run(self._home.path, known[job.name])) / step.OWNER) or {}
            if owner.get("job") == job.id:  # it began first: the other one leaves by itself
                self._note_job(layout.run(self._home.path, known[job.name]), run, job.id)
                return
            log.warning("%s: job %s is cancelled, since job %s carries it out", known[job.name], job.id, run.job_id)
            self._transport.cancel(job.id)

    def _note_holding(self, found: Iterable[Job], known: Mapping[str, str]) -> None:
        """Remember which cards are used for our jobs, until Slurm has really got them back."""
        now: dict[str, dict[str, int]] = {}
        for job in found:
            if not facts.holds(job):
                continue
            name = known.get(job.name, "")
            if name in self._runs:
                spec = self._runs[name].order.spec
                nodes = {survey.machine_of(share.node): (share.node, len(share.cards)) for share in spec.shares}
                now[job.name] = {
                    nodes[machine][0]: nodes[machine][1] for machine in hostlist.expand(job.nodes) if machine in nodes
                }
            elif job.name in self._holding:
                now[job.name] = self._holding[job.name]
        self._holding = now

    def _hear_machines(self) -> None:
        """How the machines stand. Our jobs are asked for before and after, so that none of them is taken for a stranger's."""
        assert self._site is not None
        before = dict(self._holding)
        machines = self._transport.machines()
        live = self._live()
        if live or before:
            self._hear_jobs(live)
        if {(one.name, one.gres) for one in machines} != {(one.name, one.gres) for one in self._site.machines}:
            self._hear_site(self._transport.site())
        else:
            self._site = replace(self._site, machines=machines)
        self._see_states({**before, **self._holding})

    def _see_states(self, holding: Mapping[str, Mapping[str, int]]) -> None:
        assert self._site is not None
        held: dict[str, int] = {}
        for cards in holding.values():
            for node, count in cards.items():
                held[node] = held.get(node, 0) + count
        claimed: dict[str, frozenset[int]] = {}
        for run in self._live().values():
            for share in run.order.spec.shares:
                claimed[share.node] = claimed.get(share.node, frozenset()) | frozenset(share.cards)
        states = survey.states(
            self._survey.nodes,
            self._site.machines,
            self._survey.gres,
            held=held,
            claimed=claimed,
            cpus_per_card=self._told.slurm.cpus_per_card,
        )
        if states != self._states:
            self._states = states

    def _hear_site(self, site: Site) -> None:
        found = survey.survey(site, self._told.slurm, pretend=self._told.pretend)
        for unsure in found.unsure:
            if unsure not in self._survey.unsure:
                log.warning("%s Its cards are left out until centre.toml says it.", unsure.question)
        if site != self._site:
            files.write_json(self._home.path / SITE, codec.encode(site))
        self._site = site
        if found != self._survey:
            self._survey = found
        self._see_states(self._holding)

    def _cancel_all(self) -> None:
        """End the jobs of runs that were asked to stop: at once while they wait, else when their grace is over."""
        for name, run in self._live().items():
            if run.stop_by_s is None or run.cancelled or run.job is None or facts.is_over(run.job):
                continue
            waits = facts.waits(run.job) and not facts.holds(run.job)
            if waits or time.monotonic() > run.stop_by_s:
                log.info("%s: job %s is cancelled", name, run.job.id)
                self._transport.cancel(run.job.id)
                run.cancelled = True

    # What an earlier engine over this folder left.

    def _take_up(self, run_dir: Path) -> _Run:
        order = codec.decode(Order, files.read_json(layout.spec(run_dir)), strict=False)
        user = None
        with contextlib.suppress(ForebayError):
            user = self._user_of(order.spec.organisation)
        run = _Run(order, user)
        job = files.read_json(run_dir / JOB)
        run.job_id = job["id"] if job else ""
        run.looked_for = not job and (run_dir / REQUEST).exists() and not (run_dir / REFUSED).exists()
        run.ended = homes.status(run_dir)
        if (wish := files.read_json(layout.stop(run_dir))) is not None:
            run.stop_by_s = time.monotonic() + float(wish["grace_s"]) + OVERDUE_S
        return run

    def _recall_site(self) -> None:
        """What the site had when it was last asked: a run may be launched before it answers."""
        body = files.read_json(self._home.path / SITE)
        if body is not None:
            with contextlib.suppress(ForebayError):
                self._hear_site(codec.decode(Site, body, strict=False))

    def _own_tag(self) -> str:
        """A word of this centre alone, in the names of its jobs: several centres may use one site."""
        path = self._home.path / TAG
        if not path.exists():
            files.write_text(path, secrets.token_hex(3), durable=True)
        return path.read_text("ascii").strip()


def _knock_at(control: Path) -> None:
    """Wake a supervisor that happens to be on this machine. Others look at the file every two seconds."""
    with contextlib.suppress(OSError):
        descriptor = os.open(control, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "wb", buffering=0) as pipe:
            pipe.write(b"stop\n")


def _read(path: Path) -> dict[str, Any] | None:
    """A small JSON file that the job wrote."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _beat_ns(run_dir: Path, number: int) -> int:
    """When a share's supervisor last gave a sign of life, by its file."""
    try:
        return layout.lock(layout.share(run_dir, number)).stat().st_mtime_ns
    except OSError:
        return 0


def _last_sign(run_dir: Path, name: str, number: int, seen: Seen | None) -> Seen | None:
    """What to say of a share whose supervisor is dead: it held its cards up to its last sign of life."""
    body = _read(layout.lock(layout.share(run_dir, number)))
    if body is None:
        return seen
    try:
        beat = codec.decode(supervisor.Beat, body, strict=False)
    except BadInput:
        return seen
    return replace(seen or Seen(name=name, phase=Phase.PREPARING), held_ns=beat.last_ns - beat.taken_ns)


def open_slurm(home: Path, told: Settings, *, shim: Path) -> Slurm:
    """The engine that a centre's settings describe."""
    transport, variables = open_transport(home, told)
    return Slurm(home, told, transport, variables=variables, shim=shim)


def open_transport(home: Path, told: Settings) -> tuple[Transport, dict[str, str]]:
    """The way to the site that the settings name."""
    from forebay.centre.slurm.commands import Commands, environment

    if not told.slurm.rest:
        return Commands(), environment()
    import pwd

    from forebay.centre.slurm.rest import Rest, Tokens

    variables = environment()
    user = told.slurm.rest_user or pwd.getpwuid(os.geteuid()).pw_name
    return Rest(told.slurm.rest, user=user, tokens=Tokens(home, variables), variables=variables), variables
