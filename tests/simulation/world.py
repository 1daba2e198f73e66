"""One life of a cloud, by a seed: the real core, journal and loop; simulated time, disks, networks, engines, people, accidents.

Asked:  does the cloud keep its promises, whatever happens in whatever order?
Answer: `live(seed, steps)` lets it live until its journal has been changed so many times, then stops the accidents and the
        arrivals and waits until every job is over. Each committed line is audited (`audit.py`); every some hundred lines the
        state is held against the audit and against itself made again (`laws.py`). A step is one fact, or one tick with its
        decisions, that changed the journal.
Repeat: all dice are made of the seed and a name, so the same seed and steps give the same life, in any process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import random
import tempfile
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay.centre.spec import Outcome, Spec
from forebay.chips.node import Condition
from forebay.cloud.api.desk import Desk
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.state import State
from forebay.cloud.core.tenant import COMPUTE, Key, Role
from forebay.cloud.loop import Loop
from forebay.cloud.store import Store
from forebay.errors import ForebayError

from . import laws
from .agent import Agent
from .audit import Audit, Broken, must
from .disk import InMemory, Kept, OnSqlite
from .engine import Engine
from .network import Network
from .people import Operators, Tenants, Truth, secret_hash
from .plan import CHIPS, ORGANISATIONS, PROJECTS, draw
from .promises import Promises
from .time import EPOCH_NS, VirtualClock, VirtualLoop

NS = 10**9
DECISIONS = frozenset((
    e.Launched, e.StopAsked, e.Reckoned, e.Reserved, e.Released, e.BudgetWarned, e.Credited, e.IdleWarned,
    e.Requeued, e.Quarantined, e.Finished,
))  # fmt: skip
LOOK_EVERY = 250  # steps
SQLITE_EVERY = 10  # lives
COPY_EVERY = 6  # looks


@dataclass(slots=True)
class Life:
    """How a life went."""

    seed: int
    steps: int
    lines: int
    jobs: int
    runs: int
    crashes: int
    virtual_s: float
    kinds: dict[str, int]
    most_overdue: float  # of a job that waited, in mean lengths of a job
    digest: str  # of the kinds and times of all lines, and of what they end in


class Failed(AssertionError):
    """A promise was broken. Its text repeats it and tells the last events."""


class Cloud:
    """The cloud's process, from its start to its death."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False
        dice = world.dice(f"cloud {world.now_s}")
        self._slow = dice.random() * world.plan.slow_disk_s
        self._dice = dice
        self.journal = world.open_journal()
        skew_ns = dice.choice((0, 0, 0, -30 * NS))  # of the machine's clock
        self.loop = Loop(
            self.journal,
            tick_s=world.plan.tick_s,
            clock=lambda not_before_ns: VirtualClock(world.loop, skew_ns, not_before_ns),
            aside=self._aside,
        )
        self.desk = Desk(self.loop, Store(world.folder))
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in the order in which they began
        self._main = self.serve(lambda _: self.loop.run())
        self._main.add_done_callback(self._over)

    def serve(self, ask: Callable[[Cloud], Awaitable[Any]]) -> asyncio.Task[Any]:
        task = self.world.loop.create_task(ask(self))  # type: ignore[arg-type]
        self._tasks[task] = None
        task.add_done_callback(self._served)
        return task

    def _served(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # maybe nobody who asked is there any more

    async def _aside(self, call: Callable[..., Any], *given: Any) -> Any:
        """The disk takes its time, in which others ask, and in which the cloud may die."""
        if self._dice.random() < 0.3:
            await asyncio.sleep(self._dice.random() * self._slow)
        try:
            return call(*given)
        finally:
            if self.dead:
                await asyncio.get_running_loop().create_future()  # nobody comes back from here

    def kill(self) -> None:
        self.dead = True
        for task in list(self._tasks):
            task.cancel()

    def _over(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.world.fail(f"the loop ended: {error!r}", error)


class World:
    def __init__(self, seed: int, steps: int, folder: Path, *, on_sqlite: bool) -> None:
        self.seed, self.wanted_steps, self.folder, self.on_sqlite = seed, steps, folder, on_sqlite
        self.plan = draw(seed)
        self.kept = Kept()  # on the disk in memory
        self.loop = VirtualLoop()
        self.steps = self.crashes = self._looked_at = self._looks = 0
        self.calm = False
        self.cloud: Cloud | None = None
        self.audit = Audit()
        self.truths: dict[str, Truth] = {}
        self.submitted: dict[str, str] = {}  # idempotency key -> job
        self.held_truly: dict[str, int] = {}
        self.begun: dict[str, str] = {}  # run -> centre
        self.last: deque[tuple[float, int, e.Event | str]] = deque(maxlen=30)
        self.kinds: dict[str, int] = {}
        self._digest = hashlib.sha256()
        self.over: asyncio.Future[None] = self.loop.create_future()
        self._dice: dict[str, random.Random] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.centre_keys = {centre: f"fc_{centre}_0" for centre in self.plan.centres}
        self.network = Network(self)
        self.tenants = Tenants(self)
        self.operators = Operators(self)
        self.engines = {
            name: Engine(self, name, nodes, name in self.plan.queued_centres) for name, nodes in self.plan.centres.items()
        }
        self.agents: dict[str, Agent | None] = {}
        self.promises = Promises(self)

    # What the parts ask of the world.

    @property
    def now_s(self) -> float:
        return self.loop.time()

    def wall_ns(self) -> int:
        return EPOCH_NS + int(self.now_s * NS)

    def dice(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def happens(self, what: str, chance: float) -> bool:
        if chance <= 0 or self.calm:
            return False
        if what not in self._dice:
            self._dice[what] = self.dice(what)
        return self._dice[what].random() < chance

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.fail(f"a part of the simulation failed: {error!r}", error)

    def note(self, what: str) -> None:
        self.last.append((self.now_s, 0, what))

    def must(self, holds: object, promise: str) -> None:
        if not holds:
            self.fail(promise)

    def fail(self, why: str, error: BaseException | None = None) -> None:
        if not self.over.done():
            told = "".join(traceback.format_exception(error)) if error else ""
            self.over.set_exception(Failed(f"{why}\n{told}"))

    # The journal.

    def open_journal(self) -> OnSqlite | InMemory:
        every = self.plan.snapshot_every
        journal = OnSqlite.open(self.folder, snapshot_every=every) if self.on_sqlite else InMemory(self.kept, every)
        assert isinstance(journal, OnSqlite | InMemory)
        journal.world = self
        return journal

    def committed(self, events: Sequence[e.Event], state: State, seq: int) -> None:
        """A batch is safe."""
        facts, self.audit.now_s = 0, self.now_s
        try:
            for event in events:
                seq += 1
                name = type(event).__name__
                self.last.append((self.now_s, seq, event))
                self.kinds[name] = self.kinds.get(name, 0) + 1
                self._digest.update(f"{name} {event.at_ns} ".encode())
                if isinstance(event, e.Submitted):
                    key = event.job.id.partition("x")[0]
                    must(key not in self.submitted, f"the same idempotency key made {self.submitted.get(key)} and {event.job.id}")
                    self.submitted[key] = event.job.id
                facts += type(event) not in DECISIONS
                self.audit.see(event)
            self.steps += facts or 1
            rare = any(isinstance(event, e.Released) for event in events)
            if rare or self.steps - self._looked_at >= LOOK_EVERY:
                self._looked_at = self.steps
                self.look(state)
        except (Broken, KeyError) as broken:
            self.fail(f"broken: {broken}", broken)
        if self.steps >= self.wanted_steps and not self.calm:
            self.spawn(self._calm_down())

    def snapshot_made(self, journal: OnSqlite, state: State) -> None:
        try:
            laws.snapshot(journal, state)
        except Broken as broken:
            self.fail(f"broken: {broken}", broken)

    def look(self, state: State) -> None:
        laws.cards(state, self.audit)
        laws.jobs(state, self.audit)
        laws.shares(state)
        self._looks += 1
        if self._looks % COPY_EVERY == 0:
            laws.decided_again(state, state.t.last_at_ns)

    # Engines tell what really happens.

    def began(self, centre: str, spec: Spec) -> Truth:
        truth = self.truths[spec.job]
        self.must(spec.name not in self.begun, f"{spec.name} was started at {self.begun.get(spec.name)} and again at {centre}")
        self.begun[spec.name] = centre
        if spec.name in self.audit.given_up:
            return truth  # an operator gave it up while the order to start it was on its way
        going_on = truth.active and truth.active not in self.audit.given_up
        self.must(not going_on, f"{spec.name} is started while {truth.active} goes on")
        truth.active = spec.name
        return truth

    def ended(self, centre: str, spec: Spec, outcome: Outcome, ran_s: float, *, stopped: bool) -> int:
        """When a run's newest checkpoint was made; 0: it made none."""
        truth = self.truths[spec.job]
        if truth.active == spec.name:
            truth.active = ""
        whole_s = truth.times[(spec.chip, spec.ranks)]
        every_s = max(1.0, whole_s / 8)
        kept_s = 0.0
        if outcome is Outcome.SUCCEEDED:
            truth.done = 1.0
        elif truth.resumable:
            kept_s = ran_s if stopped and outcome is Outcome.STOPPED else ran_s - ran_s % every_s
            truth.done = min(0.999, truth.done + kept_s / whole_s)
        return self.wall_ns() if kept_s > 0 else 0

    async def send_output(self, centre: str, run: str) -> None:
        def make(state: State, now_ns: int) -> tuple[e.Event | None, dict[str, Any]]:
            known = state.t.runs.get(run)
            if known is None or (known.kept and known.kept.whole):
                return None, {}
            fact = e.OutputKept(at_ns=now_ns, by=f"centre {centre}", job=known.job, run=run, version="v", size_bytes=1, files=1)
            return fact, {}

        await self.network.call(centre, lambda cloud: cloud.loop.tell(make))

    # Accidents.

    def crash_cloud(self) -> None:
        cloud = self.cloud
        if cloud is None or cloud.dead:
            return
        self.crashes += 1
        self.note("the cloud dies")
        before = cloud.loop.state
        cloud.kill()
        self.cloud = None
        self.spawn(self._start_again(cloud, before))

    async def _start_again(self, dead: Cloud, before: State) -> None:
        dice = self.dice(f"down {self.crashes}")
        await asyncio.sleep(dice.random() * (5.0 if dice.random() < 0.8 else 100.0))
        dead.journal.close()
        self.cloud = Cloud(self)
        self.note("the cloud lives")
        try:
            self.look(self.cloud.loop.state)
            if self.on_sqlite and self.crashes % 3 == 0:
                laws.listing(self.cloud.loop.state, self.cloud.journal)
            self._acknowledged(self.cloud.loop.state)
        except Broken as broken:
            self.fail(f"after a restart: {broken}", broken)

    def _acknowledged(self, state: State) -> None:
        for key, job in self.tenants.keys.items():
            must(job in state.t.jobs, f"{job}, acknowledged for {key}, is not lost")

    async def _accidents(self) -> None:
        dice, plan = self.dice("accidents"), self.plan
        while not self.calm:
            await asyncio.sleep(dice.expovariate(1 / plan.trouble_every_s))
            if self.calm:
                return
            centre = dice.choice(sorted(plan.centres))
            engine, how_long_s = self.engines[centre], dice.expovariate(2 / plan.mean_job_s)
            match dice.choice(("cloud", "agent", "node", "node", "drain", "link", "link", "kill", "kill")):
                case "cloud":
                    self.crash_cloud()
                case "agent":
                    self._kill_agent(centre)
                    self.loop.call_later(how_long_s * 0.3, self._start_agent, centre)
                case "node" | "drain" as what:
                    name = dice.choice(engine.nodes).name
                    engine.lose_node(name, Condition.DOWN if what == "node" else Condition.DRAINED)
                    self.note(f"{centre}/{name} is out")
                    self.loop.call_later(how_long_s, engine.get_node, name)
                case "link":
                    self.network.broken.add(centre)
                    self.note(f"the link of {centre} is broken")
                    self.loop.call_later(how_long_s if dice.random() < 0.5 else 90.0, self.network.broken.discard, centre)
                case _:
                    if engine.works:
                        engine.kill(dice.choice(sorted(engine.works)))

    def _kill_agent(self, centre: str) -> None:
        agent = self.agents.get(centre)
        if agent:
            self.note(f"the agent of {centre} dies")
            agent.die()
            self.agents[centre] = None

    def _start_agent(self, centre: str) -> None:
        if self.agents.get(centre) is None:
            self.agents[centre] = Agent(self, centre, self.engines[centre])

    def rejoin_soon(self, centre: str) -> None:
        self.spawn(self.rejoin(centre))

    async def rejoin(self, centre: str) -> None:
        key = self.centre_keys[centre] = f"fc_{centre}_{self.now_s}"
        await self.operators.tell(
            lambda s, t: e.CentreJoined(at_ns=t, by=f"centre {centre}", centre=centre, key_sha256=secret_hash(key)),
            until_heard=True,
        )

    # The life.

    def live(self) -> Life:
        watch = _Watch(self)
        logger = logging.getLogger("forebay.cloud")
        logger.addHandler(watch)
        propagates, logger.propagate = logger.propagate, False
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        except Failed as failed:
            raise Failed(self._told(str(failed))) from failed
        except RuntimeError as error:
            raise Failed(self._told(str(error))) from error
        finally:
            logger.removeHandler(watch)
            logger.propagate = propagates
            self._close()
        return Life(
            seed=self.seed,
            steps=self.steps,
            lines=self.audit.lines,
            jobs=len(self.audit.jobs),
            runs=len(self.begun),
            crashes=self.crashes,
            virtual_s=self.now_s,
            kinds=dict(sorted(self.kinds.items())),
            most_overdue=self.promises.most_overdue,
            digest=self._digest.hexdigest(),
        )

    async def _main(self) -> None:
        self._begin()
        self.cloud = Cloud(self)
        for centre in self.plan.centres:
            self._start_agent(centre)
        self.spawn(self.tenants.arrive())
        self.spawn(self.operators.work())
        self.spawn(self._accidents())
        self.spawn(self._keep_promises())
        await self.over

    def _begin(self) -> None:
        """The first lines of the journal."""
        journal = self.open_journal()
        state = journal.load()
        by = {"at_ns": EPOCH_NS, "by": "forebay"}
        facts: list[e.Event] = [
            e.CloudMade(**by, currency="CNY", version="0"),
            e.KeyMade(**by, key=Key(id="k-operator", secret_sha256="x", role=Role.OPERATOR)),
        ]
        facts += [e.OrganisationMade(**by, name=name) for name in ORGANISATIONS]
        facts += [e.ProjectMade(**by, organisation=o, name=p) for o in ORGANISATIONS for p in PROJECTS]
        facts += [e.PriceSet(**by, chip=chip, micro_per_card_s=1000 + 7 * i) for i, chip in enumerate(CHIPS)]
        for centre, key in self.centre_keys.items():
            facts.append(e.CentreMade(**by, name=centre, token_sha256=f"t-{centre}"))
            facts.append(e.CentreJoined(**by, centre=centre, key_sha256=secret_hash(key)))
            facts.append(e.NodesSeen(**by, centre=centre, nodes=self.plan.centres[centre]))
        for fact in facts:
            decide(state, fact)
        calm, self.calm = self.calm, True  # the first disk is a good one
        journal.append(facts, state)
        self.calm = calm
        journal.close()

    async def _keep_promises(self) -> None:
        while True:
            await asyncio.sleep(max(5.0, self.plan.mean_job_s / 3))
            try:
                self.promises.look()
            except Broken as broken:
                self.fail(f"broken: {broken}", broken)

    async def _calm_down(self) -> None:
        """No more arrivals and accidents: all is mended, and every job that can run is to end."""
        if self.calm:
            return
        self.calm = True
        self.note("calm")
        self.network.broken.clear()
        for centre, engine in self.engines.items():
            for name in list(engine.down):
                engine.get_node(name)
            self._start_agent(centre)
        await asyncio.sleep(200)
        for centre in self.plan.centres:
            if centre in self.audit.revoked:
                await self.rejoin(centre)
        await self._undrain()
        for window in list(self.audit.windows):
            await self.operators.tell(
                lambda s, t, window=window: e.MaintenanceLifted(at_ns=t, by="op", window=window), until_heard=True
            )
        for budget, _ in list(self.audit.budgets.values()):
            await self.operators.tell(
                lambda s, t, b=budget: e.BudgetLifted(at_ns=t, by="op", organisation=b.organisation, project=b.project),
                until_heard=True,
            )
        if self.dice("calm").random() < 0.5:
            for organisation, chip in sorted(self.audit.quotas):
                await self.operators.tell(
                    lambda s, t, o=organisation, c=chip: e.QuotaSet(at_ns=t, by="op", organisation=o, chip=c, cards=None),
                    until_heard=True,
                )
        else:  # what a quota that was lowered meanwhile keeps out for ever is withdrawn
            for name, known in list(self.audit.jobs.items()):
                if known.where == "waits" and not any(
                    self._could_run(known.job.organisation, o.chip, o.cards) for o in known.job.menu
                ):
                    await self.tenants.cancel(name)
        await self._until_all_is_over()

    async def _undrain(self) -> None:
        for place in sorted(self.audit.marks, key=str):
            await self.operators.tell(
                lambda s, t, place=place: e.Undrained(at_ns=t, by="op", centre=place[0], node=place[1], card=place[2]),
                until_heard=True,
            )

    def _could_run(self, organisation: str, chip: str, cards: int) -> bool:
        """Whether an organisation may have so many cards while nobody else has any."""
        islands: Counter[tuple[str, str]] = Counter()
        for centre, nodes in self.audit.nodes.items():
            for node in nodes.values():
                islands[(centre, node.island)] += len(node.cards) if node.chip == chip else 0
        if cards > max(islands.values()):
            return False
        quota = self.audit.quotas.get((organisation, chip))
        own = self.audit.guaranteed(organisation, chip)
        if quota is not None and cards > own:
            lent = self.audit.lent(self.audit.cohorts.get(organisation, ""), chip)
            if (quota.borrow is not None and cards > own + quota.borrow) or cards > lent:
                return False
        compute = self.audit.quotas.get((organisation, COMPUTE))
        most = None if compute is None or compute.borrow is None else (compute.cards or 0) + compute.borrow
        return most is None or cards * self.audit.indexes.get(chip, 1.0) <= most

    async def _until_all_is_over(self) -> None:
        plan = self.plan
        left_s = sum(max(self.truths[name].times.values()) for name in self.audit.open)
        until_s = self.now_s + 3 * left_s + 20 * 300 + 100 * plan.tick_s + 50 * plan.mean_job_s
        while self.audit.open:
            if self.now_s > until_s:
                stuck = [(name, known.where, known.runs[-1:]) for name, known in self.audit.open.items()]
                return self.fail(f"every job that can run ends: {len(stuck)} didn't, as {stuck[:5]}")
            await asyncio.sleep(plan.mean_job_s)
            await self._undrain()  # what is convicted by what happened before
        await asyncio.sleep(30)  # stragglers: repeated messages, the last reports
        return await self._at_last()

    async def _at_last(self) -> None:
        while self.cloud is None:
            await asyncio.sleep(1)
        cloud, audit = self.cloud, self.audit
        state, now_ns = cloud.loop.state, cloud.loop.clock.now_ns()
        try:
            self.look(state)
            must(not state.live and not state.t.reservations, "nothing is held when all is over")
            must(all(not truth.active for truth in self.truths.values()), "and no engine runs anything")
            if self.on_sqlite:
                laws.listing(state, cloud.journal)
            laws.money(state, audit, self.held_truly, now_ns)
            laws.elapsed(state, audit, now_ns)
            laws.same(cloud.journal.load(), state, "what a restart reads")
            if self.on_sqlite or self.kept.snapshot:  # else that was the same
                laws.same(laws.from_the_beginning(cloud.journal), state, "the journal from its beginning")
            self._digest.update(laws.text_of(state))
            self._acknowledged(state)
        except Broken as broken:
            return self.fail(f"at the end: {broken}", broken)
        if not self.over.done():
            self.over.set_result(None)
        return None

    def _close(self) -> None:
        if self.cloud:
            self.cloud.kill()
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks))
        if self.cloud:
            self.cloud.journal.close()
        asyncio.set_event_loop(None)
        self.loop.close()

    def _told(self, why: str) -> str:
        events = "\n".join(f"{at_s:12.3f} {seq or '':7} {_shown(what)}" for at_s, seq, what in self.last)
        return (
            f"seed {self.seed}, step {self.steps}, after {self.now_s:.1f} virtual seconds: {why}\n"
            f"the last {len(self.last)} events:\n{events}\n"
            f"again: python -m tests.simulation --seed {self.seed} --steps {self.wanted_steps}"
        )


class _Watch(logging.Handler):
    """The loop swallows errors of its own, refuses the batch and goes on. Here they end the life."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] and not isinstance(record.exc_info[1], ForebayError):
            self._world.fail(f"the core failed: {record.exc_info[1]!r}", record.exc_info[1])


def live(seed: int, steps: int, *, on_sqlite: bool | None = None) -> Life:
    """Let a cloud live. Raises Failed with the seed and the last events when a promise is broken.

    `on_sqlite`: where its journal is; None: on SQLite in one life of ten, as the seed says.
    """
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fb-sim-", dir=place) as folder:
        on_sqlite = seed % SQLITE_EVERY == 0 if on_sqlite is None else on_sqlite
        return World(seed, steps, Path(folder), on_sqlite=on_sqlite).live()


def _shown(event: e.Event | str) -> str:
    if isinstance(event, str):
        return f"-- {event}"
    body = e.to_json(event)
    for name in ("at_ns", "outlooks"):
        body.pop(name, None)
    return f"{type(event).__name__} " + " ".join(
        f"{name}={value!r:.90}" for name, value in body.items() if value not in ("", None, {}, [], False, 0)
    )
