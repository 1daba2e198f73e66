"""The one thread that speaks to Slurm: it submits, asks, and cancels.

Asked:  how is a run submitted once, and how is it known what became of its job, with as few questions as can be?
Answer: before it says sbatch it writes down what it is about to say; where nobody knows whether that was heard, it looks for
        a job of the run's name before it says it again. It asks for all our jobs in one call and for all machines in another;
        at rest only the latter, and rarely. While Slurm doesn't answer, what was heard last stays true.
Limits: a request that was given up for lost and arrives later makes a second job: it is cancelled when it is seen, and leaves
        by itself when it starts (`step.py`).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from forebay import codec
from forebay.centre import files
from forebay.centre.settings import Settings
from forebay.centre.slurm import facts, hostlist, step, survey
from forebay.centre.slurm.facts import Job, Site
from forebay.centre.slurm.request import Request
from forebay.centre.slurm.run import JOB, REFUSED, REQUEST, Run
from forebay.centre.slurm.transport import Transport
from forebay.centre.spec import Spec
from forebay.chips.node import NodeState
from forebay.errors import ForebayError, Unavailable

log = logging.getLogger("forebay.slurm")

# Between two looks at our jobs, for some time after something happened, and later, when the shares' folders tell what matters; at
# the machines, while runs go on, and at rest. A question costs a command of Slurm 0.1 CPU seconds on a site of 1,000 machines.
PAUSES_S = (1.0, 5.0, 10.0, 30.0)
HAPPENING_S = 15.0
SITE_S = 600.0  # between two looks at what changes rarely
RETRY_S = 2.0  # after Slurm couldn't be asked
ASIDE_S = 60.0  # that a forgotten run's folder stays
GONE_AFTER_S = 15.0  # of silence in a run's folders, before a job that Slurm has forgotten is called over
SITE = "slurm-site.json"  # what the site was when it was last asked


class Watch:
    """What Slurm says of a site and of our jobs, kept up to date; and what is said to it."""

    def __init__(
        self,
        home: Path,
        told: Settings,
        transport: Transport,
        runs: dict[str, Run],
        guard: threading.RLock,
        *,
        job_name: Callable[[str], str],
        build: Callable[[Spec, Site, Mapping[str, str]], Request],
        pauses_s: tuple[float, float, float, float],
    ) -> None:
        """`job_name`: of a run. `build`: the request for a run, given the site and its nodes' GRES."""
        self._home = home
        self._told = told
        self.transport = transport
        self._runs = runs
        self._guard = guard
        self._job_name = job_name
        self._build = build
        self._jobs_s, self._later_s, self._machines_s, self._rest_s = pauses_s
        self._happened_s = 0.0
        self._awake, self._over = threading.Event(), threading.Event()
        self._site: Site | None = None
        self._submit_at = 0.0
        self._aside: list[tuple[float, Path]] = []  # folders of forgotten runs, and when they may be removed
        self._holding: dict[str, dict[str, int]] = {}  # job's name -> node -> cards that Slurm counts as used for it
        self.survey = survey.Survey(nodes=(), gres={})
        self.states: tuple[NodeState, ...] = ()
        self._recall_site()
        self._thread = threading.Thread(target=self._serve, name="slurm", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something to tell Slurm, or it is about to have something to tell."""
        self._happened_s = time.monotonic()
        self._awake.set()

    def hurry(self) -> None:
        """What Slurm says next is waited for. May be said often."""
        if time.monotonic() - self._happened_s > self._jobs_s:
            self.wake()

    def close(self) -> None:
        self._over.set()
        self._awake.set()
        self._thread.join(10)

    def request(self, spec: Spec) -> Request:
        if self._site is None:
            raise Unavailable("Slurm hasn't said yet what the site has.", asked=spec.name)
        return self._build(spec, self._site, self.survey.gres)

    def _live(self) -> dict[str, Run]:
        return {name: run for name, run in list(self._runs.items()) if run.ended is None}

    def _serve(self) -> None:
        heard_s = machines_at = site_at = 0.0
        while not self._over.is_set():
            pause_s = RETRY_S
            try:
                if time.monotonic() >= site_at:
                    self._hear_site(self.transport.site())
                    site_at = time.monotonic() + SITE_S
                self._submit_all()
                live = self._live()
                machines_s = self._machines_s if live else self._rest_s
                machines_at = min(machines_at, time.monotonic() + machines_s)
                if time.monotonic() >= heard_s + self._between_s() and (live or self._holding):
                    self._hear_jobs(live)
                    heard_s = time.monotonic()
                if time.monotonic() >= machines_at:
                    self._hear_machines()
                    machines_at = time.monotonic() + machines_s
                self._cancel_all()
                self._clear_up()
                pause_s = self._until_due_s(heard_s, machines_at)
            except ForebayError as error:
                log.warning("%s", str(error).replace("\n", " "))
                for run in self._live().values():
                    if not run.job_id:
                        run.problem = f"Slurm can't be asked now: {error.found or error.text}"
            except Exception:
                log.exception("the site's answer wasn't understood")
            self._awake.wait(pause_s)
            self._awake.clear()

    def _between_s(self) -> float:
        """The pause between two looks at our jobs."""
        return self._jobs_s if time.monotonic() - self._happened_s < HAPPENING_S else self._later_s

    def _until_due_s(self, heard_s: float, machines_at: float) -> float:
        due = [machines_at]
        live = self._live().values()
        if live or self._holding:
            due.append(heard_s + self._between_s())
        if any(not run.job_id and not run.refused for run in live):
            due.append(self._submit_at)
        due += [run.stop_by_s for run in live if run.stop_by_s is not None and not run.cancelled and run.job is not None]
        return max(min(due) - time.monotonic(), 0.05)

    def put_aside(self, folder: Path) -> None:
        """Remove a forgotten run's folder, but not under the feet of its job, whose last script still reads in it."""
        self._aside.append((time.monotonic() + ASIDE_S, folder))

    def _clear_up(self) -> None:
        due = [folder for at_s, folder in self._aside if at_s < time.monotonic()]
        for folder in due:
            shutil.rmtree(folder, ignore_errors=True)
        self._aside = [(at_s, folder) for at_s, folder in self._aside if folder not in due]

    # Submitting.

    def _submit_all(self) -> None:
        waiting = [run for run in self._live().values() if not run.job_id]
        if not waiting or time.monotonic() < self._submit_at:
            return
        self._find([run for run in waiting if run.is_doubtful])
        for run in waiting:
            if run.job_id or run.ended is not None or run.refused:
                continue
            try:
                self._submit(run)
            except Unavailable as error:
                run.problem = f"Slurm can't take it now: {error.found or error.text}"
                log.warning("%s: %s", run.name, run.problem)
                self._submit_at = time.monotonic() + RETRY_S
                return

    def _submit(self, run: Run) -> None:
        """Hand a run to Slurm. What we are about to do is on the disk before it is done."""
        try:
            asked = self.request(run.order.spec)
            with self._guard:  # nobody calls it stopped while it is on its way
                if run.stop_asked:
                    return
                files.write_json(run.folder / REQUEST, codec.encode(asked), durable=True)
                run.is_doubtful = True
            number = self.transport.submit(asked)
        except Unavailable:
            raise
        except ForebayError as error:
            files.write_json(run.folder / REFUSED, {"reason": str(error)}, durable=True)
            run.is_doubtful, run.refused = False, str(error)
            return
        self._note_job(run, number)

    def _note_job(self, run: Run, number: str) -> None:
        files.write_json(run.folder / JOB, {"id": number}, durable=True)
        run.job_id, run.is_doubtful, run.problem = number, False, ""

    def _find(self, doubtful: Iterable[Run]) -> None:
        """Look for the jobs of runs of which nobody knows whether they were submitted."""
        names = {self._job_name(run.name): run for run in doubtful}
        if not names:
            return
        found = [*self.transport.past(names), *self.transport.jobs(names)]
        for name, run in names.items():
            owner = run.owner()
            mine = sorted(int(job.id) for job in found if job.name == name)
            if owner or mine:
                self._note_job(run, owner or str(mine[0]))
            else:
                run.is_doubtful = False
                log.info("%s: there is no job of its name; it is submitted again", run.name)

    # What becomes of our jobs.

    def _hear_jobs(self, live: Mapping[str, Run]) -> None:
        """One call for all of ours, and what follows from it."""
        known = {self._job_name(name): run for name, run in live.items()}
        found = self.transport.jobs({*known, *self._holding})
        by_name = {(job.name, job.id): job for job in found}  # a slurmctld that lost its memory gives numbers out again
        for run in live.values():
            if not run.job_id:
                continue
            heard = by_name.get((self._job_name(run.name), run.job_id))
            if heard is None:
                self._note_gone(run)
                continue
            if run.job is None or run.job.state != heard.state:
                self._happened_s = time.monotonic()
            run.job, run.gone, run.quiet_since_s = heard, False, 0.0
            if facts.only_waits(heard):
                self._note_requeue(run, heard)
        for job in found:
            if (carried := known.get(job.name)) is not None:
                self._leave_to_the_owner(job, carried)
        self._note_holding(found, known)

    def _note_gone(self, run: Run) -> None:
        """slurmctld answers, and doesn't know the job: it forgets what is over after MinJobAge. It may also have lost its memory,
        so signs of life in the run's folders count for more.
        """
        name = self._job_name(run.name)
        past = {job.id: job for job in self.transport.past([name]) if job.name == name}
        if (job := past.get(run.job_id)) is not None and facts.is_over(job):
            run.job, run.gone = job, True
            return
        beats, now_s = run.beat(), time.monotonic()
        if beats != run.beats or not run.quiet_since_s:
            run.beats, run.quiet_since_s = beats, now_s
        run.gone = now_s - run.quiet_since_s > GONE_AFTER_S

    def _note_requeue(self, run: Run, job: Job) -> None:
        """A job that has begun and waits again was requeued, by Slurm or an operator. A run isn't started twice: that is for the
        cloud to decide.
        """
        if (job.restarts > 0 or run.has_begun()) and not run.cancelled:
            files.write_json(run.folder / step.REQUEUED, {"job": job.id, "restarts": job.restarts}, durable=True)
            run.requeued, run.stop_by_s = True, 0.0

    def _leave_to_the_owner(self, job: Job, run: Run) -> None:
        """Cancel a second job of one run: it was submitted by a request that had been given up for lost."""
        if not run.job_id or job.id == run.job_id or facts.is_over(job):
            return
        if run.owner() == job.id:  # it began first: the other one leaves by itself
            self._note_job(run, job.id)
            return
        log.warning("%s: job %s is cancelled, since job %s carries it out", run.name, job.id, run.job_id)
        self.transport.cancel(job)

    def _note_holding(self, found: Iterable[Job], known: Mapping[str, Run]) -> None:
        """Remember which cards are used for our jobs, until Slurm has really got them back."""
        now: dict[str, dict[str, int]] = {}
        for job in found:
            if not facts.holds(job):
                continue
            if (run := known.get(job.name)) is not None:
                machines = set(hostlist.expand(job.nodes))
                shares = run.order.spec.shares
                now[job.name] = {one.node: len(one.cards) for one in shares if survey.machine_of(one.node) in machines}
            elif job.name in self._holding:
                now[job.name] = self._holding[job.name]
        self._holding = now

    def _cancel_all(self) -> None:
        """End the jobs of runs that were asked to stop: at once while they wait, else when their grace is over."""
        for run in self._live().values():
            if run.stop_by_s is None or run.cancelled or run.job is None or facts.is_over(run.job):
                continue
            if facts.only_waits(run.job) or time.monotonic() > run.stop_by_s:
                log.info("%s: job %s is cancelled", run.name, run.job.id)
                self.transport.cancel(run.job)
                run.cancelled = True

    # The site.

    def _hear_machines(self) -> None:
        """How the machines stand. Our jobs are asked for before and after, so that none of them is taken for a stranger's."""
        assert self._site is not None
        before = dict(self._holding)
        machines = self.transport.machines()
        live = self._live()
        if live or before:
            self._hear_jobs(live)
        if {(one.name, one.gres) for one in machines} != {(one.name, one.gres) for one in self._site.machines}:
            self._hear_site(self.transport.site())
            return
        self._site = replace(self._site, machines=machines)
        self._see_states({**before, **self._holding})

    def _hear_site(self, site: Site) -> None:
        found = survey.survey(site, self._told.slurm, pretend=self._told.pretend)
        for unsure in found.unsure:
            if unsure not in self.survey.unsure:
                log.warning("%s Its cards are left out until centre.toml says it.", unsure.question)
        if self._site is None or _lasting(site) != _lasting(self._site):
            files.write_json(self._home / SITE, codec.encode(site))
        self._site = site
        if found != self.survey:
            self.survey = found
        self._see_states(self._holding)

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
            self.survey.nodes,
            self._site.machines,
            self.survey.gres,
            held=held,
            claimed=claimed,
            cpus_per_card=self._told.slurm.cpus_per_card,
            reserved=any(line.startswith("--reservation") for line in self._told.slurm.extra),
        )
        if states != self.states:
            self.states = states

    def _recall_site(self) -> None:
        """What the site was when it was last asked: a run may be launched before it answers."""
        body = files.read_json(self._home / SITE)
        if body is not None:
            with contextlib.suppress(ForebayError):
                self._hear_site(codec.decode(Site, body, strict=False))


def _lasting(site: Site) -> Site:
    """A site without what changes from moment to moment."""
    still = (replace(one, used=(), cpus_used=0, state=(), silent=False, reason="") for one in site.machines)
    return replace(site, machines=tuple(still))
