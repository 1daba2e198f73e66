"""Simulated time: jobs arrive, a policy decides, a simulated engine obeys.

    history = World(jobs, nodes, decider, settings).run()

Asked:  what would this policy have done with these jobs on these nodes?
Answer: the same facts in the same order as live: a job is submitted, a run is started, it ends. Between two of them nothing
        happens, so time jumps from one to the next. At one instant runs end first, then jobs arrive, and a Tick comes last, if
        the policy says that it is due. The same input gives the same history, to the nanosecond.
Work:   a job is a whole, of which a run on an option does a share: the time it held its cards over the option's true seconds. A
        run after a stop first spends `restart_s` on going on from its checkpoint. A job that can't resume begins anew.
Limits: a run starts the instant it is launched, and a stopped one leaves at once with its work in a checkpoint. Nothing fails.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forebay.chips.node import Node
from forebay.cloud.core import events as e
from forebay.cloud.replay import site
from forebay.cloud.replay.decider import Decider
from forebay.cloud.replay.opening import CENTRE, EPOCH_NS, opening
from forebay.cloud.replay.trace import Line, Settings, Tenant, Traced, can_resume, job_of
from forebay.units import NS_PER_S

WAKES_WITHOUT_NEWS = 1000  # ticks in a row at one instant after which a policy is taken for broken


@dataclass(slots=True)
class Life:
    """What became of one job."""

    traced: Traced
    resumable: bool
    done: float = 0.0  # share of the work that is kept
    first_start_ns: int = -1
    foretold_ns: int = -1  # when it was to start, as was said when it came; -1: nobody said
    foretold_between_ns: tuple[int, int] = (-1, -1)  # and in which interval
    end_ns: int = -1
    phase: str = ""
    launches: int = 0
    stops: int = 0
    held_card_ns: int = 0
    lost_card_ns: int = 0  # work that was done and must be done again, and restarts
    moves: int = 0  # launches with another count of cards or another chip than the launch before
    where: tuple[str, int] = ("", 0)

    @property
    def arrival_ns(self) -> int:
        return _arrival_ns(self.traced)

    @property
    def jct_ns(self) -> int:
        """From arrival to end."""
        return self.end_ns - self.arrival_ns


@dataclass(slots=True)
class _Running:
    life: Life
    began_ns: int
    whole_ns: int  # what the whole job takes on these cards
    overhead_ns: int
    cards: int
    chip: str
    places: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(slots=True)
class History:
    """What happened, for the figures."""

    lives: list[Life]
    cards: Counter[str]
    times: array[int] = field(default_factory=lambda: array("q"))  # when the number of held cards changed
    held: array[int] = field(default_factory=lambda: array("q"))  # to what
    waiting: array[int] = field(default_factory=lambda: array("q"))  # and how many jobs waited then
    facts: int = 0
    decisions: int = 0
    ticks: int = 0


class World:
    """One replay. `run` may be called once."""

    def __init__(
        self,
        jobs: Sequence[Traced],
        nodes: Sequence[Node],
        decider: Decider,
        settings: Settings,
        *,
        tenants: Sequence[Tenant] = (),
        known: bool = False,
        spread: bool = False,
        heard: Callable[[e.Event], None] | None = None,
    ) -> None:
        """`tenants`: what is known of the organisations beside their names. `known`: whether the policy is told how long jobs
        take. `spread`: whether cards on more nodes than needed are slower. `heard` gets every fact and decision, in order.
        """
        self._jobs = sorted(jobs, key=lambda job: job.arrival_s)
        self._nodes = tuple(nodes)
        self._decider = decider
        self._settings = settings
        self._tenants = tenants
        self._known = known
        self._spread = spread
        self._heard = heard
        self._lives: dict[str, Life] = {}
        self._running: dict[str, _Running] = {}
        self._ends: list[tuple[int, int, str]] = []  # (when, in which order launched, run)
        self._order = 0
        self._taken: dict[str, set[int]] = {node.name: set() for node in nodes}
        self._facts: list[e.Event] = []  # what the engine has to say at this instant
        self._size: dict[str, int] = {}  # chip -> cards of its largest node
        for node in nodes:
            self._size[node.chip] = max(self._size.get(node.chip, 0), len(node.cards))
        self._held = 0
        self._waiting = 0
        self._history = History([], site.cards(self._nodes))
        self._restart_ns = int(settings.restart_s * NS_PER_S)

    def run(self, progress: Callable[[int, int], None] | None = None) -> History:
        """`progress` is told now and then how many jobs of how many are over."""
        self._open()
        jobs, settings, known, lives = self._jobs, self._settings, self._known, self._lives
        ends, running, due = self._ends, self._running, self._decider.due_ns
        tell, history = self._tell, self._history
        foretell = getattr(self._decider, "forecast_ns", None) if settings.forecasts else None
        number, many, restless = 0, len(jobs), 0
        arrival_ns = _arrival_ns(jobs[0]) if jobs else None
        while True:
            while ends and ends[0][2] not in running:
                heapq.heappop(ends)
            now_ns = ends[0][0] if ends else None
            if arrival_ns is not None and (now_ns is None or arrival_ns < now_ns):
                now_ns = arrival_ns
            due_ns = due()
            if due_ns is not None and (now_ns is None or due_ns < now_ns):
                last_ns = history.times[-1] if history.times else EPOCH_NS
                now_ns = max(due_ns, last_ns)
            if now_ns is None:
                break
            before = history.facts
            while ends and ends[0][0] == now_ns:
                _, _, run = heapq.heappop(ends)
                if run in running:
                    tell(self._end(run, now_ns, "succeeded"))
            while arrival_ns == now_ns:
                traced = jobs[number]
                lives[traced.id] = Life(traced, can_resume(traced, settings))
                self._waiting += 1
                tell(e.Submitted(at_ns=now_ns, by="replay", job=job_of(traced, settings, known, EPOCH_NS)))
                if foretell:
                    self._foretell(lives[traced.id], now_ns, foretell)
                number += 1
                arrival_ns = _arrival_ns(jobs[number]) if number < many else None
                if progress and number % 500 == 0:
                    progress(number, many)
            due_ns = due()
            if due_ns is not None and due_ns <= now_ns:
                history.ticks += 1
                tell(e.Tick(at_ns=now_ns, by="replay"))
                restless = restless + 1 if history.facts == before + 1 else 0
                assert restless < WAKES_WITHOUT_NEWS, f"the policy is due again and again at {now_ns} and decides nothing"
            else:
                restless = 0
            self._note(now_ns)
        history.lives = list(lives.values())
        if progress:
            progress(many, many)
        return history

    def _open(self) -> None:
        for fact in opening(self._jobs, self._nodes, self._tenants, self._settings, known=self._known):
            self._tell(fact)

    # What happens.

    def _tell(self, fact: e.Event) -> None:
        """Tell the policy a fact, obey its decisions, and tell what comes of them at once."""
        history, queue = self._history, self._facts
        queue.append(fact)
        at = 0
        while at < len(queue):
            fact = queue[at]
            at += 1
            history.facts += 1
            decisions = self._decider.tell(fact)
            if self._heard:
                self._heard(fact)
            for decision in decisions:
                history.decisions += 1
                if self._heard:
                    self._heard(decision)
                match decision:
                    case e.Launched():
                        self._start(decision)
                    case e.StopAsked(run=run, requeue=requeue):
                        self._stop(run, decision.at_ns, "preempted" if requeue else "stopped")
                    case e.Requeued():
                        self._waiting += 1
                    case e.Finished(job=job, phase=phase):
                        life = self._lives[job]
                        life.end_ns, life.phase = decision.at_ns, phase
                    case _:
                        pass
        queue.clear()

    def _foretell(self, life: Life, now_ns: int, foretell: Callable[[str, int], tuple[int, int, int] | None]) -> None:
        """A job that has started already needs no forecast, and none is asked that would have been right for nothing."""
        if life.first_start_ns >= 0:
            return
        said_ns = foretell(life.traced.id, now_ns)
        if said_ns is not None:
            soonest_ns, life.foretold_ns, latest_ns = said_ns
            life.foretold_between_ns = soonest_ns, latest_ns

    def _start(self, launched: e.Launched) -> None:
        now_ns, allocation = launched.at_ns, launched.allocation
        life = self._lives[launched.job]
        places = tuple([(part.node, part.cards) for part in allocation.parts])
        cards = 0
        for node, indexes in places:
            taken = self._taken[node]
            for index in indexes:
                assert index not in taken, f"card {index} of {node} is held already and was given to {launched.run}"
                taken.add(index)
            cards += len(indexes)
        where = (allocation.chip, cards)
        line = _line(life.traced, where)
        if life.first_start_ns < 0:
            life.first_start_ns = now_ns
        elif life.where != where:
            life.moves += 1
        life.where = where
        seconds = line.seconds
        if self._spread and line.spread_s is not None and len(places) > -(-cards // self._size[allocation.chip]):
            seconds = line.spread_s
        whole_ns = int(seconds * NS_PER_S)
        overhead_ns = self._restart_ns if life.launches else 0
        life.launches += 1
        self._running[launched.run] = _Running(life, now_ns, whole_ns, overhead_ns, cards, allocation.chip, places)
        self._order += 1
        end_ns = now_ns + overhead_ns + max(1, round((1.0 - life.done) * whole_ns))
        heapq.heappush(self._ends, (end_ns, self._order, launched.run))
        self._held += cards
        self._waiting -= 1
        self._facts.append(e.Started(at_ns=now_ns, by=f"centre {CENTRE}", run=launched.run))

    def _stop(self, run: str, now_ns: int, outcome: str) -> None:
        if run in self._running:
            self._facts.append(self._end(run, now_ns, outcome))

    def _end(self, run: str, now_ns: int, outcome: str) -> e.Ended:
        gone = self._running.pop(run)
        life = gone.life
        held_ns = now_ns - gone.began_ns
        lost_ns = 0
        if outcome == "succeeded":
            life.done = 1.0
            life.lost_card_ns += gone.overhead_ns * gone.cards
        elif life.resumable:
            useful_ns = max(0, held_ns - gone.overhead_ns)
            life.done = min(1.0, life.done + useful_ns / gone.whole_ns)
            lost_ns = held_ns - useful_ns
        else:
            life.done = 0.0
            lost_ns = held_ns
        if outcome != "succeeded":
            life.stops += 1
            life.lost_card_ns += lost_ns * gone.cards
        life.held_card_ns += held_ns * gone.cards
        for node, indexes in gone.places:
            self._taken[node].difference_update(indexes)
        self._held -= gone.cards
        return e.Ended(
            at_ns=now_ns,
            by=f"centre {CENTRE}",
            run=run,
            outcome=outcome,
            held_ns=held_ns,
            lost_ns=lost_ns,
            exit_code=0 if outcome == "succeeded" else None,
            checkpointed=life.resumable and outcome != "succeeded",
        )

    def _note(self, now_ns: int) -> None:
        history = self._history
        if history.times and history.times[-1] == now_ns:
            history.held[-1], history.waiting[-1] = self._held, self._waiting
            return
        history.times.append(now_ns)
        history.held.append(self._held)
        history.waiting.append(self._waiting)


def _line(traced: Traced, where: tuple[str, int]) -> Line:
    chip, cards = where
    for line in traced.lines:
        if line.chip == chip and line.cards == cards:
            return line
    raise AssertionError(f"{traced.id} was given {cards} x {chip}, which isn't on its menu")


def _arrival_ns(job: Traced) -> int:
    return EPOCH_NS + round(job.arrival_s * NS_PER_S)
