"""All that the core knows, and how an event changes it.

Asked:  what is true now, given everything that happened?
Answer: `State.fold(event)`, once an event, in the journal's order. It decides nothing and can't fail on an event that the core or
        the API let through, so a restart only has to fold the journal again (or a snapshot and the lines after it).
Shape:  the tables hold frozen nouns and are what a snapshot keeps; the indexes beside them are derived, and exist so that an
        event costs the same whether ten jobs are known or ten thousand.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from forebay.cloud.core import events as e
from forebay.cloud.core.job import Job, Phase, Run, Standing
from forebay.cloud.core.pool import Allocation, Centre, Room
from forebay.cloud.core.tenant import Key, Organisation, Price, Project, Quota

Lane = tuple[str, tuple[str, ...]]
"""Jobs of one organisation that want the same chips wait in one lane, in the order of submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionKept:
    """A version of a data set, as far as the core must know it."""

    organisation: str
    dataset: str
    version: str
    manifest: str
    size_bytes: int
    files: int
    made_at_ns: int


@dataclass(slots=True, kw_only=True)
class Tables:
    """The state proper: what a snapshot keeps."""

    currency: str = ""
    last_at_ns: int = 0
    orders: int = 0
    organisations: dict[str, Organisation] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)  # by "organisation/project"
    keys: dict[str, Key] = field(default_factory=dict)
    prices: dict[str, Price] = field(default_factory=dict)
    quotas: dict[str, Quota] = field(default_factory=dict)  # by "organisation/chip"
    centres: dict[str, Centre] = field(default_factory=dict)
    versions: dict[str, VersionKept] = field(default_factory=dict)  # by "organisation/version"
    jobs: dict[str, Standing] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)


class State:
    """The tables with their indexes. Made by folding events; changed by nothing else."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.t = tables or Tables()
        self.keys_by_hash: dict[str, str] = {}
        self.lanes: dict[Lane, list[tuple[int, str]]] = {}  # heaps of (order, job id)
        self.waiting = 0
        self.live: dict[str, None] = {}  # runs that hold cards, oldest first
        self.held: dict[str, int] = {}  # "organisation/chip" -> cards held
        self.total: dict[str, int] = {}  # chip -> cards in the pool
        self.rooms: dict[str, dict[tuple[str, str], Room]] = {}  # chip -> (centre, node) -> its free cards
        self._taken: dict[tuple[str, str, int], str] = {}  # card -> run
        self._index()

    # What the rest of the core asks.

    def free_cards(self, chip: str) -> int:
        return sum(len(room.free) for room in self.rooms.get(chip, {}).values())

    def price(self, chip: str) -> int:
        price = self.t.prices.get(chip)
        return price.micro_per_card_s if price else 0

    def quota_left(self, organisation: str, chip: str) -> int | None:
        """Cards that the organisation may still take; None: no limit."""
        quota = self.t.quotas.get(f"{organisation}/{chip}")
        return None if quota is None else quota.cards - self.held.get(f"{organisation}/{chip}", 0)

    def standing(self, name: str) -> Standing | None:
        """The job of that id, or the one that has a run of that id."""
        run = self.t.runs.get(name)
        return self.t.jobs.get(run.job if run else name)

    def live_run(self, job: str) -> Run | None:
        """The run of a job that still holds cards."""
        runs = self.t.jobs[job].runs
        run = self.t.runs[runs[-1]] if runs else None
        return run if run and not run.outcome else None

    def holder(self, centre: str, node: str, card: int) -> str | None:
        return self._taken.get((centre, node, card))

    def runs_at(self, centre: str) -> Iterator[Run]:
        for run_id in self.live:
            run = self.t.runs[run_id]
            if run.allocation.centre == centre:
                yield run

    # Folding.

    def fold(self, event: e.Event) -> None:
        t = self.t
        t.last_at_ns = max(t.last_at_ns, event.at_ns)
        match event:
            case e.Submitted(job=job):
                t.orders += 1
                t.jobs[job.id] = Standing(job=job, order=t.orders, submitted_at_ns=event.at_ns, submitted_by=event.by)
                self._wait(job, t.orders)
            case e.Launched():
                self._launch(event)
            case e.Started(run=run_id, carrier=carrier):
                run = t.runs[run_id]
                t.runs[run_id] = replace(run, running_at_ns=event.at_ns, carrier=carrier)
                if t.jobs[run.job].phase is Phase.STARTING:
                    self._stand(run.job, phase=Phase.RUNNING)
            case e.StopAsked(run=run_id, reason=reason, grace_s=grace_s):
                run = t.runs[run_id]
                t.runs[run_id] = replace(run, stop=reason, grace_s=grace_s)
                self._stand(run.job, phase=Phase.STOPPING, reason=reason)
            case e.Ended():
                self._end(event)
            case e.Requeued(job=job_id, not_before_ns=not_before_ns, reason=reason):
                self._stand(job_id, phase=Phase.WAITING, not_before_ns=not_before_ns, reason=reason)
                self._wait(t.jobs[job_id].job, t.jobs[job_id].order)
            case e.Finished(job=job_id, phase=phase, reason=reason):
                if t.jobs[job_id].phase is Phase.WAITING:
                    self._leave(job_id)
                self._stand(job_id, phase=Phase(phase), reason=reason, ended_at_ns=event.at_ns)
            case e.Cancelled():
                pass  # what follows from it is decided, and folded when it was
            case e.NodesSeen(centre=name, nodes=nodes):
                t.centres[name] = replace(t.centres[name], nodes=nodes)
                self._index_rooms()
            case e.CentreMade(name=name, token_sha256=token):
                t.centres[name] = replace(t.centres.get(name) or Centre(name=name, token_sha256=""), token_sha256=token)
            case e.KeyMade(key=key):
                t.keys[key.id] = key
                self.keys_by_hash[key.secret_sha256] = key.id
            case e.KeyRevoked(key=key_id):
                t.keys[key_id] = replace(t.keys[key_id], revoked=True)
            case e.PriceSet(chip=chip, micro_per_card_s=micro):
                t.prices[chip] = Price(chip=chip, micro_per_card_s=micro)
            case e.QuotaSet(organisation=organisation, chip=chip, cards=cards):
                if cards is None:
                    t.quotas.pop(f"{organisation}/{chip}", None)
                else:
                    t.quotas[f"{organisation}/{chip}"] = Quota(organisation=organisation, chip=chip, cards=cards)
            case e.VersionMade():
                t.versions[f"{event.organisation}/{event.version}"] = VersionKept(
                    organisation=event.organisation,
                    dataset=event.dataset,
                    version=event.version,
                    manifest=event.manifest,
                    size_bytes=event.size_bytes,
                    files=event.files,
                    made_at_ns=event.at_ns,
                )
            case e.OrganisationMade(name=name, title=title):
                t.organisations[name] = Organisation(name=name, title=title)
            case e.ProjectMade(organisation=organisation, name=name):
                t.projects[f"{organisation}/{name}"] = Project(organisation=organisation, name=name)
            case e.CloudMade(currency=currency):
                t.currency = currency
            case _:
                raise AssertionError(f"no fold for {type(event).__name__}")

    def _stand(self, job_id: str, **changes: object) -> None:
        self.t.jobs[job_id] = replace(self.t.jobs[job_id], **changes)  # type: ignore[arg-type]

    def _wait(self, job: Job, order: int) -> None:
        heapq.heappush(self.lanes.setdefault(lane_of(job), []), (order, job.id))
        self.waiting += 1

    def _leave(self, job_id: str) -> None:
        standing = self.t.jobs[job_id]
        lane = lane_of(standing.job)
        queue = self.lanes[lane]
        if queue[0] == (standing.order, job_id):
            heapq.heappop(queue)
        else:
            queue.remove((standing.order, job_id))
            heapq.heapify(queue)
        if not queue:
            del self.lanes[lane]
        self.waiting -= 1

    def _launch(self, event: e.Launched) -> None:
        self._leave(event.job)
        standing = self.t.jobs[event.job]
        self.t.runs[event.run] = Run(
            id=event.run,
            job=event.job,
            attempt=event.attempt,
            allocation=event.allocation,
            price_micro_per_card_s=event.price_micro_per_card_s,
            launched_at_ns=event.at_ns,
        )
        self._stand(event.job, phase=Phase.STARTING, runs=(*standing.runs, event.run), reason="")
        self.live[event.run] = None
        self._take(event.allocation, event.run, standing.job.organisation)

    def _end(self, event: e.Ended) -> None:
        run = self.t.runs[event.run]
        self.t.runs[event.run] = replace(
            run,
            ended_at_ns=event.at_ns,
            outcome=event.outcome,
            exit_code=event.exit_code,
            reason=event.reason,
            held_ns=event.held_ns,
            lost_ns=event.lost_ns,
            artefacts=event.artefacts,
        )
        del self.live[event.run]
        self._give_back(run.allocation, self.t.jobs[run.job].job.organisation)

    # Indexes.

    def _index(self) -> None:
        self.keys_by_hash = {key.secret_sha256: key.id for key in self.t.keys.values()}
        for standing in self.t.jobs.values():
            if standing.phase is Phase.WAITING:
                self._wait(standing.job, standing.order)
        self._index_rooms()
        for run in self.t.runs.values():
            if not run.outcome:
                self.live[run.id] = None
                self._take(run.allocation, run.id, self.t.jobs[run.job].job.organisation)

    def _index_rooms(self) -> None:
        self.rooms, self.total = {}, Counter()
        for centre in self.t.centres.values():
            for node in centre.nodes:
                free = tuple(card.index for card in node.cards if (centre.name, node.name, card.index) not in self._taken)
                self.rooms.setdefault(node.chip, {})[(centre.name, node.name)] = Room(centre=centre.name, node=node, free=free)
                self.total[node.chip] += len(node.cards)

    def _take(self, allocation: Allocation, run: str, organisation: str) -> None:
        for card in allocation.each():
            assert card not in self._taken, f"{card} is held by {self._taken[card]} and was given to {run}"
            self._taken[card] = run
        self._refresh(allocation)
        held = f"{organisation}/{allocation.chip}"
        self.held[held] = self.held.get(held, 0) + allocation.cards

    def _give_back(self, allocation: Allocation, organisation: str) -> None:
        for card in allocation.each():
            del self._taken[card]
        self._refresh(allocation)
        self.held[f"{organisation}/{allocation.chip}"] -= allocation.cards

    def _refresh(self, allocation: Allocation) -> None:
        rooms = self.rooms.get(allocation.chip, {})
        for part in allocation.parts:
            room = rooms.get((allocation.centre, part.node))
            if room:  # a node may have left while a run held its cards
                free = tuple(c.index for c in room.node.cards if (allocation.centre, part.node, c.index) not in self._taken)
                rooms[(allocation.centre, part.node)] = replace(room, free=free)


def lane_of(job: Job) -> Lane:
    return job.organisation, tuple(sorted({option.chip for option in job.menu}))
