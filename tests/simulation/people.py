"""Tenants who submit and cancel, and operators who change everything while it runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forebay.centre.spec import Spec
from forebay.cloud.access import Who
from forebay.cloud.api import jobs as api_jobs
from forebay.cloud.api.desk import write
from forebay.cloud.core import events as e
from forebay.cloud.core.admit import admit
from forebay.cloud.core.job import Job, Option, Script
from forebay.cloud.core.pool import Window
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE, Budget, Key, Member, Role
from forebay.errors import ForebayError, Unavailable

from .network import Lost
from .plan import CHIPS, ORGANISATIONS, PROJECTS

if TYPE_CHECKING:
    from .world import World

OPERATOR = Who(Key(id="k-operator", secret_sha256="x", role=Role.OPERATOR), Role.OPERATOR)
NS = 10**9


@dataclass(slots=True)
class Truth:
    """What is true of a job, whatever the cloud thinks."""

    times: dict[tuple[str, int], float]  # (chip, cards) -> how long the whole of it takes
    resumable: bool
    done: float = 0.0
    active: str = ""  # the run that is going on, wherever
    acknowledged: bool = False
    cancelled: bool = False

    def runs_s(self, spec: Spec) -> float:
        return max(0.01, self.times[(spec.chip, spec.ranks)] * (1.0 - self.done))


@dataclass(slots=True)
class Tenants:
    world: World
    made: int = 0
    keys: dict[str, str] = field(default_factory=dict)  # idempotency key -> the job that was acknowledged

    async def arrive(self) -> None:
        """Submit, at random times and now and then many at once, until the world is calm."""
        world, dice = self.world, self.world.dice("tenants")
        while not world.calm:
            burst = dice.random() < 0.03
            if world.cloud is None or world.cloud.loop.state.waiting < world.plan.longest_queue:
                for _ in range(dice.randint(5, 30) if burst else 1):
                    world.spawn(self.submit())
            await asyncio.sleep(dice.expovariate(world.plan.arrivals_per_s) * (10 if burst else 1))

    async def submit(self) -> None:
        world = self.world
        self.made += 1
        key = f"s{self.made}"
        dice = world.dice(key)
        draft, times = self._draft(key, dice, world)
        attempt = 0
        while key not in self.keys:
            attempt += 1
            job_id = f"j{key[1:]}" + (f"x{attempt}" if attempt > 1 else "")
            job = _named(draft, job_id)
            world.truths[job_id] = Truth(times=times, resumable=job.resumable)

            def make(state: State, now_ns: int, job: Job = job) -> tuple[e.Event, dict[str, Any]]:
                admit(state, job)
                return e.Submitted(at_ns=now_ns, by="k1", job=job), {"id": job.id}

            try:
                answer = await world.network.call(
                    "tenants",
                    written(key, "job", make),
                )
            except (Lost, Unavailable):
                if attempt > 8 and dice.random() < 0.3:
                    return  # whether it was heard, nobody knows
                await asyncio.sleep(dice.random() * 3)
                continue
            except ForebayError:
                return
            if dice.random() < 0.05:  # and once more, as a nervous person would
                with_key = await self._again(key, make)
                world.must(with_key in (None, answer), f"the same key gets the same job: {with_key} and {answer}")
            self.keys[key] = answer["id"]
            world.truths[answer["id"]].acknowledged = True
            if dice.random() < 0.08:
                await asyncio.sleep(dice.expovariate(0.5 / world.plan.mean_job_s))
                await self.cancel(answer["id"])
            return

    async def _again(self, key: str, make: Any) -> Any:
        try:
            return await self.world.network.call("tenants", written(key, "job", make))
        except (Lost, ForebayError):
            return None

    async def cancel(self, job: str) -> None:
        self.world.truths[job].cancelled = True
        for attempt in range(10):
            try:
                await self.world.network.call(
                    "tenants", lambda cloud: api_jobs.cancel(job, cloud.desk, OPERATOR, f"cancel {job}")
                )
                return
            except (Lost, ForebayError):
                await asyncio.sleep(1 + attempt)

    def _draft(self, key: str, dice: Any, world: World) -> tuple[Job, dict[tuple[str, int], float]]:
        plan = world.plan
        organisation = dice.choice(ORGANISATIONS)
        base_s = min(dice.expovariate(1 / plan.mean_job_s), 6 * plan.mean_job_s) + 0.5
        timed, resumable = dice.random() < plan.timed, dice.random() < plan.resumable
        elastic = timed and resumable and dice.random() < plan.elastic
        wide = dice.random() < 0.08
        first = dice.choice(CHIPS)
        count = dice.randint(1, max(1, plan.widest)) if wide else dice.choice((1, 1, 1, 2, 2, 4))
        needs = {(first, count)}
        if elastic:
            needs |= {(first, n) for n in (1, 2, 4, 8) if n <= plan.widest}
        if dice.random() < 0.3:
            needs.add((dice.choice(CHIPS), max(1, count + dice.choice((0, 0, 1, -1)))))
        speed = {chip: 0.6 + dice.random() for chip in CHIPS}
        times = {(chip, n): base_s * count / n**0.9 / speed[chip] for chip, n in sorted(needs)}
        menu = tuple(
            Option(chip=chip, cards=n, expected_s=round(s * (0.5 + dice.random()), 3) if timed else None)
            for (chip, n), s in sorted(times.items(), key=lambda item: (item[0][0] != first, item[1]))
        )
        deadline_s = base_s * (1 + 5 * dice.random())
        job = Job(
            id="",
            organisation=organisation,
            project=dice.choice(PROJECTS),
            name=dice.choice(("train", "eval", "sweep")),
            menu=menu,
            script=Script(bundle="b", entry="train.py"),
            time_limit_s=base_s * dice.choice((0.5, 2, 8)) if dice.random() < 0.2 else None,
            retries=dice.randint(0, 4),
            grace_s=dice.choice((1.0, 10.0, 30.0)),
            priority=dice.choice((0, 0, 0, 1, 5, -1)),
            resumable=resumable,
            elastic=elastic,
            restart_s=min(60.0, base_s / 4),
            prefer=dice.choice(("fastest", "cheapest", "balanced")),
            deadline_ns=world.wall_ns() + int(deadline_s * NS) if dice.random() < 0.1 else 0,
        )
        return job, times


def written(key: str, what: str, make: Any) -> Callable[[Any], Any]:
    """The request that the API makes of such a write."""
    return lambda cloud: write(cloud.desk, OPERATOR, key, what, key, make)


def _named(job: Job, name: str) -> Job:
    from dataclasses import replace

    return replace(job, id=name)


class Operators:
    """One of many changes, again and again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice("operators")
        self.count = 0

    async def work(self) -> None:
        world = self.world
        while not world.calm:
            await asyncio.sleep(self.dice.expovariate(1 / world.plan.operator_every_s))
            if not world.calm:
                await self.tell(self._something())

    async def tell(self, fact: Callable[[State, int], e.Event | None], *, until_heard: bool = False) -> None:
        def make(state: State, now_ns: int) -> tuple[e.Event | None, dict[str, Any]]:
            return fact(state, now_ns), {}

        self.count += 1
        for attempt in range(100 if until_heard else 3):
            try:
                key = f"op{self.count}"
                await self.world.network.call("operators", written(key, "op", make))
                return
            except (Lost, ForebayError):
                await asyncio.sleep(1 + min(attempt, 5))

    def _something(self) -> Callable[[State, int], e.Event | None]:
        dice, world = self.dice, self.world
        kind = dice.choice(
            ["quota"] * (4 if world.plan.quotas else 0)
            + ["organisation", "project", "price", "index", "drain", "undrain", "undrain", "window", "lift", "budget", "member"]
            + ["owner", "revoke", "checkpoint", "checkpoint", "use", "compute"]
        )
        organisation, chip = dice.choice(ORGANISATIONS), dice.choice(CHIPS)
        centre = dice.choice(sorted(world.plan.centres))
        node = dice.choice(world.plan.centres[centre])
        total = sum(len(n.cards) for nodes in world.plan.centres.values() for n in nodes if n.chip == chip)
        number = dice.randint(0, total)
        roll, roll2 = dice.random(), dice.random()
        match kind:
            case "quota":
                cards = None if roll < 0.1 else number // 2
                borrow = dice.choice((0, None, 2, total))
                reclaim_s = dice.choice((2.0, 10.0, 60.0))
                return lambda s, t: e.QuotaSet(
                    at_ns=t, by="op", organisation=organisation, chip=chip, cards=cards, borrow=borrow, reclaim_s=reclaim_s
                )
            case "compute":
                return lambda s, t: e.QuotaSet(
                    at_ns=t, by="op", organisation=organisation, chip=COMPUTE, cards=None if roll < 0.5 else total, borrow=number
                )
            case "organisation":
                cohort, weight = dice.choice(("", "x", "y")), dice.choice((0.5, 1.0, 3.0))
                return lambda s, t: e.OrganisationSet(at_ns=t, by="op", organisation=organisation, cohort=cohort, weight=weight)
            case "project":
                return lambda s, t: e.ProjectSet(at_ns=t, by="op", organisation=organisation, project="p", weight=0.5 + roll)
            case "price":
                return lambda s, t: e.PriceSet(at_ns=t, by="op", chip=chip, micro_per_card_s=number * 37)
            case "index":
                return lambda s, t: e.IndexSet(at_ns=t, by="op", chip=chip, compute=0.25 + roll)
            case "drain":
                card = node.cards[int(roll2 * len(node.cards))].index if roll < 0.3 else None
                name = "" if roll > 0.95 else node.name
                world.loop.call_later(dice.expovariate(0.5 / world.plan.mean_job_s), self._undrain_soon, centre, name, card)
                return lambda s, t: e.Drained(at_ns=t, by="op", centre=centre, node=name, card=card if name else None)
            case "undrain":
                return self._undrained
            case "window":
                begins, lasts = roll * 3 * world.plan.mean_job_s, (0.2 + roll2) * world.plan.mean_job_s
                name = node.name if roll2 < 0.7 else ""
                number = self.count
                return lambda s, t: e.MaintenanceSet(
                    at_ns=t,
                    by="op",
                    window=Window(
                        id=f"w{number}",
                        centre=centre,
                        node=name,
                        from_ns=t + int(begins * NS),
                        to_ns=t + int((begins + lasts) * NS),
                    ),
                )
            case "lift":
                return lambda s, t: e.MaintenanceLifted(at_ns=t, by="op", window=next(iter(s.t.windows))) if s.t.windows else None
            case "budget":
                limit = int(roll2 * 40 * world.plan.mean_job_s * 1000)
                if roll < 0.5:
                    return lambda s, t: e.BudgetSet(
                        at_ns=t, by="op", budget=Budget(organisation=organisation, limit_micro=limit, from_ns=t)
                    )
                return lambda s, t: e.BudgetLifted(at_ns=t, by="op", organisation=organisation)
            case "member":
                if roll < 0.6:
                    member = Member(organisation=organisation, name=f"m{int(roll2 * 5)}", role=Role.MEMBER)
                    return lambda s, t: e.MemberSet(at_ns=t, by="op", member=member)
                return lambda s, t: e.MemberRemoved(at_ns=t, by="op", organisation=organisation, name=f"m{int(roll2 * 5)}")
            case "owner":
                return lambda s, t: e.CentreOwned(at_ns=t, by="op", centre=centre, organisation=organisation, share=roll)
            case "revoke":
                if roll < 0.8:
                    return lambda s, t: None
                world.loop.call_later(dice.expovariate(1 / world.plan.mean_job_s), world.rejoin_soon, centre)
                return lambda s, t: e.CentreRevoked(at_ns=t, by="op", centre=centre, give_up=roll2 < 0.5)
            case "use":
                return lambda s, t: e.UseSeen(at_ns=t, by="op", run=next(iter(s.live)), held_ns=1) if s.live else None
            case _:
                return lambda s, t: _checkpoint(s, t, roll)

    def _undrain_soon(self, centre: str, node: str, card: int | None) -> None:
        self.world.spawn(
            self.tell(lambda s, t: e.Undrained(at_ns=t, by="op", centre=centre, node=node, card=card if node else None))
        )

    def _undrained(self, state: State, now_ns: int) -> e.Event | None:
        marks = list(state.t.marks.values())
        if not marks:
            return None
        mark = marks[now_ns % len(marks)]
        return e.Undrained(at_ns=now_ns, by="op", centre=mark.centre, node=mark.node, card=mark.card)


def _checkpoint(state: State, now_ns: int, roll: float) -> e.Event | None:
    runs = [state.t.runs[run] for run in state.live]
    runs = [run for run in runs if run.running_at_ns and state.t.jobs[run.job].job.resumable]
    return e.CheckpointSeen(at_ns=now_ns, by="op", run=runs[int(roll * len(runs))].id) if runs else None


def secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
